"""`wattchain registry` and what suppliers do with meters, as people run them, against a ledger in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.addresses import BILLING_ADDRESS, EXHAUSTION_ADDRESS
from meter.commands import meter
from tests.wallet.contract_person import (
    CUSTOMER,
    METER,
    NEW_METER,
    OWNER,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Neighbour,
    consent_text,
    neighbour,
    shown,
)
from tests.wallet.refusal_checks import check_refusals
from wallet import meter_contract, registry
from wallet.registry_commands import registry as commands


def test_each_error_of_the_contracts_is_said_in_words() -> None:
    check_refusals(registry.REGISTRY)
    check_refusals(meter_contract.METER)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Neighbour]:
    with neighbour(commands, tmp_path) as here:
        yield here


def test_the_registry_is_shown(people: Neighbour) -> None:
    found = people.json("show")
    assert (found["owner"], found["pending_owner"]) == (shown(OWNER), None)
    assert shown(EXHAUSTION_ADDRESS) in found["approved_sinks"]
    assert f"Owner     {shown(OWNER)}" in people.ok("show").splitlines()
    supplier, stranger = people.json("show", shown(SUPPLIER), shown(STRANGER))
    assert (supplier["role"], supplier["admitted"], supplier["meter"]) == ("supplier", True, None)
    assert (stranger["role"], stranger["admitted"], stranger["gas_allowance"]) == ("none", False, 0)
    assert f"{shown(OWNER)} is the owner of the registry\n  admitted" in people.ok("show", shown(OWNER))
    text = people.ok("show", shown(SUPPLIER), shown(STRANGER))
    assert f"{shown(SUPPLIER)} is a supplier\n  admitted with " in text
    assert f"{shown(STRANGER)} has no role\n  not admitted" in text


@pytest.mark.parametrize(
    ("who", "role"), [(REGULATOR, "supplier"), (REGULATOR, "producer"), (REGULATOR, "consumer"), (SUPPLIER, "relay")]
)
def test_members_come_and_go(people: Neighbour, who: bytes, role: str) -> None:
    said = people.said_to(who, "add", role, shown(STRANGER))
    assert said == f"{shown(STRANGER)} is a {role} now."
    assert people.json("show", shown(STRANGER))[0]["role"] == role
    assert people.refused(REGULATOR, "add", "consumer", shown(STRANGER)) == (
        f"{shown(STRANGER)} is a {role} already, and nobody has two roles. Take that one away first, with "
        f"`wattchain registry remove {shown(STRANGER)}`."
    )
    removed = people.as_(who, "remove", shown(STRANGER))
    assert (removed["account"], removed["by"]) == (shown(STRANGER), shown(who))
    assert people.json("show", shown(STRANGER))[0]["role"] == "none"
    assert "has no role" in people.refused(who, "remove", shown(STRANGER))


def test_only_the_owner_makes_regulators_and_nothing_else(people: Neighbour) -> None:
    assert people.said_to(OWNER, "add", "regulator", shown(STRANGER)) == f"{shown(STRANGER)} is a regulator now."
    assert "is not the owner of the registry" in people.refused(REGULATOR, "add", "regulator", shown(CUSTOMER))
    assert "is not a regulator" in people.refused(OWNER, "add", "supplier", shown(CUSTOMER))
    assert people.said_to(OWNER, "remove", shown(STRANGER)) == f"{shown(STRANGER)} is not a regulator any more."


def test_the_registry_is_handed_over_in_two_steps(people: Neighbour) -> None:
    assert "Name the new owner" in people.refused(OWNER, "hand-over")
    people.as_(OWNER, "hand-over", shown(RIVAL))
    assert people.as_(OWNER, "hand-over", "--withdraw")["pending_owner"] == shown(bytes(20))
    assert "was not offered" in people.refused(RIVAL, "accept")
    people.as_(OWNER, "hand-over", shown(STRANGER))
    assert people.json("show")["pending_owner"] == shown(STRANGER)
    assert "who has not accepted yet" in people.ok("show")
    assert people.said_to(STRANGER, "accept").startswith(f"{shown(STRANGER)} is the owner of the registry now")
    assert people.json("show")["owner"] == shown(STRANGER)


def test_gas_and_sinks_are_a_regulators_to_set(people: Neighbour) -> None:
    assert people.said_to(REGULATOR, "gas-allowance", "8000000") == "Everybody may use 8000000 gas in a block now."
    people.as_(REGULATOR, "gas-allowance", "2000000", "--for", shown(SUPPLIER))
    assert people.json("show", shown(SUPPLIER), shown(RIVAL))[1]["gas_allowance"] == 8_000_000
    assert people.json("show", shown(SUPPLIER))[0]["gas_allowance"] == 2_000_000
    assert "The default holds" in people.said_to(REGULATOR, "gas-allowance", "0", "--for", shown(SUPPLIER))
    assert "5 is not" in people.refused(REGULATOR, "gas-allowance", "5")
    assert people.as_(REGULATOR, "revoke-sink", "prepaid")["sink"] == shown(EXHAUSTION_ADDRESS)
    assert people.json("show")["approved_sinks"] == [
        sink for sink in (shown(BILLING_ADDRESS),) if sink in people.json("show")["approved_sinks"]
    ]
    people.as_(REGULATOR, "approve-sink", "prepaid")
    assert "no contract at" in people.refused(REGULATOR, "approve-sink", shown(STRANGER))
    assert "not a regulator" in people.refused(STRANGER, "approve-sink", "prepaid")


def test_whom_a_distrusted_supplier_has_brought_is_admitted_no_more(people: Neighbour) -> None:
    people.as_(RIVAL, "add", "relay", shown(STRANGER))
    assert "Take that away first" in people.refused(REGULATOR, "distrust", shown(RIVAL))
    people.as_(REGULATOR, "remove", shown(RIVAL))
    assert people.json("show", shown(STRANGER))[0]["admitted"] is True
    assert "is not a regulator" in people.refused(SUPPLIER, "distrust", shown(RIVAL))
    said = people.said_to(REGULATOR, "distrust", shown(RIVAL))
    assert said.startswith(f"Those whom {shown(RIVAL)} has brought are not admitted any more")
    assert people.json("show", shown(STRANGER))[0]["admitted"] is False
    assert "A regulator distrusts" in people.refused(REGULATOR, "add", "supplier", shown(RIVAL))
    assert people.as_(REGULATOR, "trust", shown(RIVAL))["supplier"] == shown(RIVAL)
    assert "Nobody distrusts" in people.refused(REGULATOR, "trust", shown(RIVAL))
    assert people.json("show", shown(STRANGER))[0]["admitted"] is True


def test_a_supplier_sets_its_time_zone(people: Neighbour) -> None:
    assert people.said_to(SUPPLIER, "zone", "+05:30").endswith("days and months go by +05:30.")
    assert "The time zone -99:00 is none that can be: they go from -12:00 to +14:00" in people.refused(
        SUPPLIER, "zone", "-99:00"
    )
    assert "is no time zone" in people.refused(SUPPLIER, "zone", "midday")


# Meters


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Neighbour]:
    with neighbour(meter, tmp_path) as here:
        yield here


def install(homes: Neighbour, *more: str, who: bytes = SUPPLIER, device: bytes = METER) -> dict[str, object]:
    return homes.as_(who, "install", shown(device), consent_text(device, who), "--owner", shown(CUSTOMER), *more)


def test_a_meter_is_installed_and_shown(homes: Neighbour) -> None:
    command = ["install", shown(METER), consent_text(METER), "--owner", shown(CUSTOMER)]
    command += ["--place", "12 Mill  Lane", "--import", "1403.2"]
    result = homes.run(*command, "--yes", *homes.key(SUPPLIER))
    assert result.exit_code == 0, result.output
    assert "Shows   1403.2 kWh taken, 0 kWh given" in result.stderr.splitlines()
    assert result.stdout.splitlines()[-2:] == [
        f"The meter {shown(METER)} of {shown(CUSTOMER)} is installed; readings count from 1403.2 kWh and 0 kWh on.",
        "The meter measures once a person has confirmed these in the section [ledger] of its settings: "
        'believed_reading = "0 1403200 0".',
    ]
    found = homes.json("show", shown(METER))
    assert (found["owner"], found["supplier"], found["status"]) == (shown(CUSTOMER), shown(SUPPLIER), "active")
    assert found["last_reading"] == {"sequence": 0, "import_wh": 1_403_200, "export_wh": 0}
    other = install(homes, "--place", "12 mill lane", device=NEW_METER)
    assert other["point_of_supply"] == found["point_of_supply"] != "0x" + "00" * 32
    assert "Billing   prepaid, without a tariff" in homes.ok("show", shown(METER))


def test_refused_installations_say_why(homes: Neighbour) -> None:
    command = ["install", shown(METER), consent_text(METER), "--owner", shown(CUSTOMER)]
    assert "is not a supplier" in homes.refused(STRANGER, *command)
    assert "No regulator has approved" in homes.refused(SUPPLIER, *command, "--billing", shown(STRANGER))
    assert "'weekly' is no way of billing" in homes.refused(SUPPLIER, *command, "--billing", "weekly")
    assert "is no energy" in homes.refused(SUPPLIER, *command, "--import", "much")
    assert "not both" in homes.refused(SUPPLIER, *command, "--place", "x", "--point-of-supply", "0x" + "11" * 32)
    assert "no hash of 32 bytes" in homes.refused(SUPPLIER, *command, "--point-of-supply", "0x11")
    assert "was ever installed" in homes.error("show", shown(METER))
    install(homes)
    assert "was installed before" in homes.refused(SUPPLIER, *command)


def test_no_key_is_installed_or_swapped_in_that_has_not_agreed(homes: Neighbour) -> None:
    owner = ["--owner", shown(CUSTOMER)]
    assert "Give the consent of the new meter's key" in homes.refused(SUPPLIER, "install", shown(METER), *owner)
    for text in ("yes", "0x11", consent_text(METER)[:-2]):
        assert "is no consent of a meter's key" in homes.refused(SUPPLIER, "install", shown(METER), text, *owner)
    told = f"`wattchain meter key consent {shown(SUPPLIER)}`"
    for other in (consent_text(METER, RIVAL), consent_text(NEW_METER)):
        refused = homes.refused(SUPPLIER, "install", shown(METER), other, *owner)
        assert f"The key of {shown(METER)} has not agreed to be a meter of {shown(SUPPLIER)}" in refused
        assert told in refused
    install(homes)
    swap = ["swap", shown(METER), shown(NEW_METER)]
    assert "Give the consent of the new meter's key" in homes.refused(SUPPLIER, *swap, "--same-device")
    assert told in homes.refused(SUPPLIER, *swap, consent_text(METER), "--same-device")


def test_a_meter_is_swapped_and_its_key_changed(homes: Neighbour) -> None:
    install(homes, "--import", "100", "--export", "20")
    swap = ["swap", shown(METER), shown(NEW_METER), consent_text(NEW_METER)]
    assert "--opening-import" in homes.refused(SUPPLIER, *swap)
    assert "leave the opening" in homes.refused(SUPPLIER, *swap, "--same-device", "--opening-import", "1")
    assert "Registers never fall" in homes.refused(SUPPLIER, *swap, "--closing-import", "99", "--opening-import", "0")
    assert "not the supplier" in homes.refused(RIVAL, *swap, "--same-device")
    done = homes.as_(SUPPLIER, *swap, "--closing-import", "101.5", "--opening-import", "3")
    assert (done["closing_import_wh"], done["closing_export_wh"]) == (101_500, 20_000)
    assert (done["opening_import_wh"], done["opening_export_wh"]) == (3_000, 0)
    old, new = homes.json("show", shown(METER)), homes.json("show", shown(NEW_METER))
    assert (old["status"], old["successor"]) == ("removed", shown(NEW_METER))
    assert (new["status"], new["predecessor"], new["owner"]) == ("active", shown(METER), shown(CUSTOMER))
    key = homes.as_(SUPPLIER, "swap", shown(NEW_METER), shown(STRANGER), consent_text(STRANGER), "--same-device")
    assert (key["closing_import_wh"], key["opening_import_wh"]) == (3_000, 3_000)
    assert "has taken its place" in homes.refused(SUPPLIER, "reinstate", shown(METER))


def test_a_meter_goes_and_comes_back(homes: Neighbour) -> None:
    install(homes, "--import", "5")
    assert "not the supplier" in homes.refused(STRANGER, "remove", shown(METER))
    assert homes.said_to(REGULATOR, "remove", shown(METER)) == f"The meter {shown(METER)} is removed."
    assert "Removed   " in homes.ok("show", shown(METER))
    assert "was removed" in homes.refused(SUPPLIER, "remove", shown(METER))
    assert homes.as_(SUPPLIER, "reinstate", shown(METER))["opening_import_wh"] == 5_000
    homes.as_(SUPPLIER, "remove", shown(METER))
    assert homes.as_(SUPPLIER, "reinstate", shown(METER), "--import", "7")["opening_import_wh"] == 7_000
    assert "is not a removed one" in homes.refused(SUPPLIER, "reinstate", shown(METER))


def test_a_tariff_of_a_meter_that_is_not_the_suppliers_is_refused(homes: Neighbour) -> None:
    install(homes)
    assert "is not one of the supplier" in homes.refused(SUPPLIER, "tariff", shown(METER), "7")
    assert "number 7 was not announced" in homes.refused(CUSTOMER, "apply-tariff", shown(METER), "7")


def test_usage_is_shown_by_local_days(homes: Neighbour) -> None:
    install(homes, "--import", "100")
    swap = ["swap", shown(METER), shown(NEW_METER), consent_text(NEW_METER)]
    homes.as_(SUPPLIER, *swap, "--closing-import", "103.5", "--opening-import", "0")
    days = homes.json("usage", shown(METER))
    assert len(days) == 7
    assert sum(day["imported_wh"] for day in days) == 3_500
    assert homes.json("usage", "--supplier", shown(SUPPLIER)) == days == homes.json("usage")
    lines = homes.ok("usage", shown(METER), "--since", days[-1]["date"]).splitlines()
    assert lines[0] == shown(METER)
    assert lines[1].split() == [days[-1]["date"], "3.5", "kWh", "taken", "0", "kWh", "given"]
    assert lines[2].split()[:3] == ["Together", "3.5", "kWh"]
    assert "not both" in homes.error("usage", shown(METER), "--supplier", shown(SUPPLIER))
    assert "at most" in homes.error("usage", "--since", "1990-01-01")
    assert "was ever installed" in homes.error("usage", shown(STRANGER))
