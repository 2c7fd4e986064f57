"""`wattchain tariff`, as suppliers and customers run it, against a ledger in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.memory_ledger import GENESIS_TIME_S
from tests.wallet.contract_person import RIVAL, STRANGER, SUPPLIER, Neighbour, neighbour, shown
from tests.wallet.refusal_checks import check_refusals
from wallet.quantities import format_time
from wallet.tariff_commands import tariff
from wallet.tariffs import TARIFFS, shown_name

DAY_S = 86_400
EL_DAPP = ["--step", "100=2.96", "--step", "300=5.56", "--step", "500=9.16", "--step", "10.61"]


def test_each_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(TARIFFS)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Neighbour]:
    with neighbour(tariff, tmp_path) as here:
        yield here


def set_new(people: Neighbour, *more: str, who: bytes = SUPPLIER) -> dict[str, Any]:
    return people.as_(who, "set", "--name", "Household", *more)


def test_a_tariff_is_set_and_shown_as_a_table(people: Neighbour) -> None:
    night = ["--window", "mon-fri 22:00-06:00 1.5", "--standing", "0.25", "--export", "1.2"]
    result = people.run(
        "set", "--name", "Household", *EL_DAPP, *night, "--allowance", "30", "--yes", *people.key(SUPPLIER)
    )
    assert result.exit_code == 0, result.output
    assert "Tariff  a new one, Household" in result.stderr.splitlines()
    assert result.stdout.splitlines()[-1].startswith("The tariff number 1 holds like this from ")
    lines = people.ok("show", "1").splitlines()
    assert lines[0] == f"Household, tariff number 1 of {shown(SUPPLIER)}"
    assert [line.split() for line in lines[3:8]] == [
        ["kWh", "of", "a", "month", "WATT", "a", "kWh", "Mon-Fri", "22:00-24:00", "Tue-Sat", "00:00-06:00"],
        ["0", "to", "100", "2.96", "1.5", "1.5"],
        ["100", "to", "300", "5.56", "1.5", "1.5"],
        ["300", "to", "500", "9.16", "1.5", "1.5"],
        ["above", "500", "10.61", "1.5", "1.5"],
    ]
    assert lines[8].endswith("(marginal)")
    assert "Allowance  the first 30 kWh of a month free" in lines
    assert "Standing   0.25 WATT a day" in lines
    assert "Given      1.2 WATT a kWh, for energy given to the grid" in lines
    found = people.json("show", "1")["holding"]
    assert found["slabs"][0] == {"up_to_wh": 100_000, "price_wei_per_wh": str(296 * 10**13)}
    assert found["slabs"][-1]["up_to_wh"] is None


def test_a_new_version_waits_and_the_present_one_holds(people: Neighbour) -> None:
    assert set_new(people, "--step", "5")["tariff"] == 1
    assert "needs a day's notice" in people.refused(
        SUPPLIER, "set", "1", "--step", "6", "--starts", f"@{GENESIS_TIME_S}"
    )
    assert people.as_(SUPPLIER, "set", "1", "--step", "4")["from"] < GENESIS_TIME_S + DAY_S
    later = people.as_(SUPPLIER, "set", "1", "--step", "6")
    assert later["from"] > GENESIS_TIME_S + DAY_S
    found = people.json("show", "1")
    assert found["holding"]["slabs"][0]["price_wei_per_wh"] == str(4 * 10**15)
    assert found["announced"]["from"] == later["from"]
    assert f"ANNOUNCED, from {format_time(later['from'])} on" in people.ok("show", "1")
    then = people.json("show", "1", "--at", f"@{later['from']}")
    assert then["holding"]["slabs"][0]["price_wei_per_wh"] == str(6 * 10**15)
    assert "holds at that time" in people.ok("show", "1", "--at", f"@{GENESIS_TIME_S - DAY_S}")


def test_tariffs_are_listed(people: Neighbour) -> None:
    assert people.ok("list") == "There are no tariffs.\n"
    set_new(people, *EL_DAPP)
    people.as_(RIVAL, "set", "--name", "Flat", "--step", "3")
    lines = people.ok("list").splitlines()
    assert [line.split()[:2] for line in lines] == [["1", "Household"], ["2", "Flat"]]
    assert "2.96 to 10.61 WATT a kWh" in lines[0]
    assert f"3 WATT a kWh  {shown(RIVAL)}" in lines[1]
    assert [one["tariff"] for one in people.json("list", shown(RIVAL))] == [2]


def test_what_energy_costs_is_asked_of_the_contract(people: Neighbour) -> None:
    set_new(people, *EL_DAPP)
    assert people.ok("cost", "1", "150") == "150 kWh after 0 kWh cost 574 WATT.\n"  # 100 * 2.96 + 50 * 5.56
    assert people.json("cost", "1", "1", "--used", "500")["cost_wei"] == str(1_061 * 10**16)
    people.as_(SUPPLIER, "set", "--name", "El DApp", "--rule", "whole", *EL_DAPP)
    assert people.json("cost", "2", "150")["cost_wei"] == str(834 * 10**18)


def test_refusals_are_plain(people: Neighbour) -> None:
    assert "is not a supplier" in people.refused(STRANGER, "set", "--name", "x", "--step", "1")
    assert "needs a name" in people.refused(SUPPLIER, "set", "--step", "1")
    assert "needs a price" in people.refused(SUPPLIER, "set", "--name", "x")
    assert "no tariff number 7" in people.refused(SUPPLIER, "set", "7", "--step", "1")
    assert "no tariff number 7" in people.error("show", "7")
    set_new(people, "--step", "1")
    assert "another supplier's" in people.refused(RIVAL, "set", "1", "--step", "1")
    said = people.refused(SUPPLIER, "set", "1", "--step", "5=1", "--step", "3=2", "--step", "1")
    assert said.startswith("Step 2 ends wrongly, at 3 kWh")
    many = [part for number in range(17) for part in ("--step", f"{number + 1}=1")]
    assert "from 1 to 16 steps, not 18" in people.refused(SUPPLIER, "set", "1", *many, "--step", "1")
    said = people.refused(SUPPLIER, "set", "1", "--step", "1", "--window", "mon 1:00-2:00 1/2")
    assert said == "Window 1 has 2 prices; it needs one for each of the 1 steps."


def test_a_name_from_the_ledger_cannot_play_tricks() -> None:
    assert shown_name(b"Solar \xe2\x98\x80".ljust(32, b"\0")) == "Solar ☀"
    assert shown_name(b"\x1b[2Jx\n".ljust(32, b"\0")) == "?[2Jx?"
    assert shown_name(b"\xff\0\0") == "\ufffd"
