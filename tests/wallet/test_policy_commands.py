"""`wattchain policy`, as a customer runs it, against a ledger in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.addresses import BILLING_ADDRESS, REGISTRY_ADDRESS
from tests.wallet.contract_person import CUSTOMER, METER, STRANGER, SUPPLIER, Neighbour, neighbour, shown
from tests.wallet.refusal_checks import check_refusals
from wallet.policy import POLICY
from wallet.policy_commands import policy

HUNDRED_KWH = 100_000


def test_each_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(POLICY)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Neighbour]:
    with neighbour(policy, tmp_path) as here:
        arguments = (METER, CUSTOMER, BILLING_ADDRESS, 0, bytes(32), 0, 0)
        here.call(SUPPLIER, REGISTRY_ADDRESS, "Registry", "installMeter", *arguments)
        yield here


def test_a_policy_is_set_changed_and_shown(people: Neighbour) -> None:
    assert people.ok("show", shown(METER)) == (
        f"Nothing was ever set for the meter {shown(METER)}; its owner does that with `wattchain policy set`.\n"
    )
    off = ["--off", "2 mon-fri 18:00-22:00", "--off", "3 sun 23:00-01:30"]
    first = people.as_(CUSTOMER, "set", shown(METER), "--saving-energy", "100", "--maximum-load", "7.5kW", *off)
    assert (first["version"], first["values"]["saving_above_energy_wh"]) == (1, HUNDRED_KWH)
    text = people.ok("show", shown(METER)).splitlines()
    assert text[0].startswith(f"Meter {shown(METER)}, version 1 of ")
    assert text[1:] == [
        "Power-saving mode above 100 kWh a day",
        "Supply cut above 7500 W",
        "Circuit 2 off Mon-Fri 18:00-22:00",
        "Circuit 3 off Sun 23:00-24:00",
        "Circuit 3 off Mon 00:00-01:30",
    ]
    second = people.as_(CUSTOMER, "set", shown(METER), "--alert-power", "3000", "--off", "none")
    assert second["values"] == {
        "saving_above_power_w": None,
        "saving_above_energy_wh": HUNDRED_KWH,
        "maximum_load_w": 7_500,
        "alert_above_power_w": 3_000,
        "alert_above_energy_wh": None,
        "off_times": [],
    }
    assert people.json("show", shown(METER))["version"] == 2
    people.as_(CUSTOMER, "set", shown(METER), "--clear")
    assert people.ok("show", shown(METER)).splitlines()[1:] == ["The meter is left to itself."]


def test_a_meter_that_is_not_there(people: Neighbour) -> None:
    told = people.error("show", shown(STRANGER))
    assert told.startswith(f"No meter {shown(STRANGER)} was ever installed on this network. Look at the address again")


def test_only_owner_and_appointed_set_it(people: Neighbour) -> None:
    setting = ("set", shown(METER), "--saving-power", "2000")
    assert people.refused(STRANGER, *setting) == (
        f"{shown(STRANGER)} is neither the owner of the meter {shown(METER)} nor appointed by the owner, which is done "
        "with `wattchain policy appoint`."
    )
    assert people.as_(CUSTOMER, "appoint", shown(METER), shown(STRANGER))["done"]
    assert people.as_(STRANGER, *setting)["version"] == 1
    assert people.said_to(CUSTOMER, "dismiss", shown(METER), shown(STRANGER)) == (
        f"{shown(STRANGER)} may no longer set the policy."
    )
    assert "is neither the owner" in people.refused(STRANGER, *setting)
    assert "is not appointed" in people.refused(CUSTOMER, "dismiss", shown(METER), shown(STRANGER))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "Nothing to set"),
        (["--saving-power", "0"], "0 is no power that can be set"),
        (["--saving-power", "much"], "'much' is no power"),
        (["--saving-energy", "0"], "0 is no energy that can be set"),
        (["--alert-energy", "9100000000000"], "more than any register can show"),
        (["--off", "mon 18:00-22:00"], "is no off-time"),
        (["--off", "256 mon 18:00-22:00"], "is no off-time"),
        (["--off", "none", "--off", "2 mon 1:00-2:00"], "cannot stand beside others"),
        (["--off", "2 mon 01:00-02:00"] * 17, "at most 16 off-times, not 17"),
    ],
)
def test_what_cannot_be_set_is_said(people: Neighbour, options: list[str], text: str) -> None:
    assert text in people.refused(CUSTOMER, "set", shown(METER), *options)
