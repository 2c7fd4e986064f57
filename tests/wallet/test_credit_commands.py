"""`wattchain credit` and `wattchain voucher`, as customers and suppliers run them, against a ledger in memory."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from contracts.addresses import BILLING_ADDRESS, EXHAUSTION_ADDRESS, REGISTRY_ADDRESS
from contracts.voucher_format import voucher_from_text
from primitives.keccak import keccak256
from tests.gateway.memory_ledger import CHAIN_ID, GENESIS_TIME_S
from tests.wallet.contract_person import (
    CUSTOMER,
    METER,
    NEW_METER,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    WATT,
    Neighbour,
    neighbour,
    shown,
)
from tests.wallet.refusal_checks import check_refusals
from wallet.command_line import PlainGroup
from wallet.credit import EXHAUSTION
from wallet.credit_commands import credit
from wallet.voucher_commands import voucher

LATER_S = GENESIS_TIME_S + 86_400


def test_each_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(EXHAUSTION)


@click.group(cls=PlainGroup)
def both() -> None:
    """Credit and vouchers together."""


both.add_command(credit)
both.add_command(voucher)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Neighbour]:
    """Two meters of the supplier: the customer's and the stranger's."""
    with neighbour(both, tmp_path, {CUSTOMER: 1_000 * WATT, STRANGER: 10 * WATT, SUPPLIER: 500 * WATT}) as here:
        for meter, owner in ((METER, CUSTOMER), (NEW_METER, STRANGER)):
            arguments = (meter, owner, EXHAUSTION_ADDRESS, 0, bytes(32), 0, 0)
            here.call(SUPPLIER, REGISTRY_ADDRESS, "Registry", "installMeter", *arguments)
        yield here


def test_only_prepaid_meters_have_credit(people: Neighbour) -> None:
    assert "was ever installed" in people.error("credit", "balance", shown(RIVAL))
    people.call(
        SUPPLIER, REGISTRY_ADDRESS, "Registry", "installMeter", RIVAL, CUSTOMER, BILLING_ADDRESS, 0, bytes(32), 0, 0
    )
    assert "is a postpaid one, so it has no credit" in people.error("credit", "balance", shown(METER), shown(RIVAL))


def test_credit_is_paid_in_and_shown(people: Neighbour) -> None:
    assert "Supply     OFF" in people.ok("credit", "balance", shown(METER))
    said = people.said_to(STRANGER, "credit", "top-up", shown(METER), "2.5")
    assert said == f"2.5 WATT paid; {shown(METER)} has 2.5 WATT of credit."
    assert people.as_(CUSTOMER, "credit", "top-up", shown(METER), "1")["balance_wei"] == str(35 * WATT // 10)
    (found,) = people.json("credit", "balance", shown(METER))
    assert (found["credit_wei"], found["supply_allowed"], found["days_left"]) == (str(35 * WATT // 10), True, None)
    assert f"{shown(METER)}  3.5 WATT of credit\n  Supply     on\n" in people.ok("credit", "balance", shown(METER))
    assert people.balance(EXHAUSTION_ADDRESS) == 35 * WATT // 10


def test_refused_payments_are_plain(people: Neighbour) -> None:
    assert "is not a prepaid meter" in people.refused(CUSTOMER, "credit", "top-up", shown(RIVAL), "1")
    assert "amount of nothing" in people.refused(CUSTOMER, "credit", "top-up", shown(METER), "0")
    assert "has 10 WATT, less than 11 WATT" in people.refused(STRANGER, "credit", "top-up", shown(METER), "11")
    assert "is no amount" in people.refused(CUSTOMER, "credit", "top-up", shown(METER), "much")


def test_credit_goes_to_a_neighbour(people: Neighbour) -> None:
    people.as_(CUSTOMER, "credit", "top-up", shown(METER), "10")
    given = people.as_(CUSTOMER, "credit", "transfer", shown(METER), shown(NEW_METER), "4")
    assert (given["from"], given["to"], given["amount_wei"]) == (shown(METER), shown(NEW_METER), str(4 * WATT))
    assert given["balance_wei"] == str(4 * WATT)
    amounts = [one["credit_wei"] for one in people.json("credit", "balance", shown(METER), shown(NEW_METER))]
    assert amounts == [str(6 * WATT), str(4 * WATT)]
    transfer = ["credit", "transfer", shown(METER), shown(NEW_METER)]
    assert "has 6 WATT of credit that can be taken" in people.refused(CUSTOMER, *transfer, "7")
    assert "is not the owner" in people.refused(STRANGER, *transfer, "1")
    assert "to itself" in people.refused(CUSTOMER, "credit", "transfer", shown(METER), shown(METER), "1")


def test_who_leaves_takes_the_credit_along(people: Neighbour) -> None:
    people.as_(CUSTOMER, "credit", "top-up", shown(METER), "10")
    assert "is still in use" in people.refused(CUSTOMER, "credit", "refund", shown(METER))
    people.call(REGULATOR, REGISTRY_ADDRESS, "Registry", "removeMeter", METER)
    assert "Removed    by the supplier" in people.ok("credit", "balance", shown(METER))
    assert "is not the owner" in people.refused(STRANGER, "credit", "refund", shown(METER))
    before = people.balance(CUSTOMER)
    assert people.said_to(CUSTOMER, "credit", "refund", shown(METER)) == f"10 WATT paid to {shown(CUSTOMER)}."
    assert people.balance(CUSTOMER) == before + 10 * WATT
    assert "takes no more than its debt" in people.refused(CUSTOMER, "credit", "top-up", shown(METER), "1")


def test_who_looks_for_the_credit_of_a_swapped_meter_is_sent_on(people: Neighbour) -> None:
    people.call(SUPPLIER, REGISTRY_ADDRESS, "Registry", "swapMeter", METER, RIVAL, 0, 0, 0, 0)
    assert f"Replaced   by {shown(RIVAL)}" in people.ok("credit", "balance", shown(METER))
    assert [one["successor"] for one in people.json("credit", "balance", shown(METER), shown(RIVAL))] == [
        shown(RIVAL),
        None,
    ]


def test_a_threshold_warns(people: Neighbour) -> None:
    said = people.said_to(CUSTOMER, "credit", "threshold", shown(METER), "3")
    assert said == f"The credit of {shown(METER)} is reported when it falls below 3 WATT."
    assert "Warning    below 3 WATT" in people.ok("credit", "balance", shown(METER))
    assert "is not the owner" in people.refused(SUPPLIER, "credit", "threshold", shown(METER), "3")


def test_suppliers_have_terms_and_an_account(people: Neighbour) -> None:
    terms = ["--emergency", "5", "--friendly", "mon-fri 18:00-08:00", "--whole-days", "sat,sun", "--debt-limit", "50"]
    people.as_(SUPPLIER, "credit", "set-terms", *terms, "--recovery", "30")
    assert people.ok("credit", "terms", shown(SUPPLIER)).splitlines() == [
        "Credit    emergency credit: 5 WATT may be overdrawn",
        "Hours     friendly hours: Mon-Fri 18:00-08:00, Sat, Sun all day",
        "Debt      up to 50 WATT; 30 % of what is paid goes to it",
    ]
    assert people.json("credit", "balance", shown(METER))[0]["supply_allowed"]
    assert "--debt-limit" in people.refused(SUPPLIER, "credit", "set-terms", "--friendly", "mon 1:00-2:00")
    assert "it must be from 1 to 100" in people.refused(SUPPLIER, "credit", "set-terms", "--recovery", "101")
    said = people.said_to(SUPPLIER, "credit", "holidays", "2026-12-25", "2026-12-26")
    assert said == "Holidays: 2026-12-25, 2026-12-26."
    assert people.as_(SUPPLIER, "credit", "holidays", "2026-12-25", "--remove")["are_holidays"] is False
    people.as_(CUSTOMER, "credit", "deposit", shown(SUPPLIER), "20")
    assert people.ok("credit", "account", shown(SUPPLIER)) == f"{shown(SUPPLIER)} has 20 WATT.\n"
    assert people.said_to(SUPPLIER, "credit", "payout", "5", "--to", shown(RIVAL)) == f"5 WATT paid to {shown(RIVAL)}."
    assert people.balance(RIVAL) == 5 * WATT
    assert "has 15 WATT, less than 16 WATT" in people.refused(SUPPLIER, "credit", "payout", "16")


# Vouchers


def issue(people: Neighbour, *arguments: str, who: bytes = SUPPLIER) -> list[dict[str, Any]]:
    expires = [] if "--expires" in arguments else ["--expires", f"@{LATER_S}"]
    found = people.json("voucher", "issue", *arguments, *expires, *people.key(who))
    assert isinstance(found, list)
    return found


def test_a_voucher_of_a_meter_is_redeemed_by_anybody_once(people: Neighbour) -> None:
    people.as_(SUPPLIER, "credit", "deposit", shown(SUPPLIER), "100")
    (made,) = issue(people, "25", "--meter", shown(METER), "--serial", "7")
    assert (made["serial"], made["meter"], made["amount_wei"]) == (7, shown(METER), str(25 * WATT))
    assert people.json("voucher", "show", made["voucher"])["status"] == "open"
    done = people.as_(STRANGER, "voucher", "redeem", made["voucher"].lower())
    assert (done["meter"], done["balance_wei"], done["serial"]) == (shown(METER), str(25 * WATT), 7)
    assert people.json("voucher", "show", made["voucher"])["status"] == "redeemed"
    assert "was redeemed before" in people.refused(STRANGER, "voucher", "redeem", made["voucher"])
    assert people.ok("credit", "account", shown(SUPPLIER)) == f"{shown(SUPPLIER)} has 75 WATT.\n"


def test_a_bearers_voucher_goes_to_the_meter_that_the_bearer_says(people: Neighbour) -> None:
    people.as_(SUPPLIER, "credit", "deposit", shown(SUPPLIER), "100")
    printed = people.ok("voucher", "issue", "10", "--expires", f"@{LATER_S}", *people.key(SUPPLIER))
    assert "Meter   whichever its bearer says" in printed
    assert "▄" in printed
    rows = printed.split("\n\n")[1].split()
    assert max([len(row) for row in rows]) < 80
    command = ["voucher", "redeem", *rows]
    assert "say with --meter" in people.refused(STRANGER, *command)
    assert "has the supplier" in people.refused(STRANGER, *command, "--meter", shown(RIVAL))
    assert people.said_to(STRANGER, *command, "--meter", shown(NEW_METER)).startswith("10 WATT paid; ")
    assert people.json("credit", "balance", shown(NEW_METER))[0]["credit_wei"] == str(10 * WATT)


def test_many_vouchers_are_numbered_on_and_can_be_revoked(people: Neighbour) -> None:
    people.as_(SUPPLIER, "credit", "deposit", shown(SUPPLIER), "100")
    made = issue(people, "1", "--count", "3", "--serial", "100", "--meter", shown(METER))
    assert [one["serial"] for one in made] == [100, 101, 102]
    people.as_(STRANGER, "voucher", "redeem", made[0]["voucher"])
    said = people.said_to(SUPPLIER, "voucher", "revoke", "100", "101")
    assert said == "Revoked: 101. Redeemed or revoked before, and so as they were: 100."
    assert "was revoked by its supplier" in people.refused(STRANGER, "voucher", "redeem", made[1]["voucher"])
    people.as_(STRANGER, "voucher", "redeem", made[2]["voucher"])


def test_worthless_vouchers_say_why(people: Neighbour) -> None:
    (made,) = issue(people, "25", "--meter", shown(METER))
    code = made["voucher"]
    redeem = ["voucher", "redeem"]
    assert "has 0 WATT, less than 25 WATT" in people.refused(STRANGER, *redeem, code)
    assert "is for the meter" in people.refused(STRANGER, *redeem, code, "--meter", shown(NEW_METER))
    (old,) = issue(people, "25", "--meter", shown(METER), "--expires", f"@{GENESIS_TIME_S - 1}")
    assert "was valid until 2023" in people.refused(STRANGER, *redeem, old["voucher"])
    (forged,) = issue(people, "25", "--meter", shown(METER), who=RIVAL)
    assert "has the supplier" in people.refused(STRANGER, *redeem, forged["voucher"])
    (foreign,) = issue(people, "25", "--meter", shown(METER), "--chain-id", "5")
    assert "is for the network 5" in people.refused(STRANGER, *redeem, foreign["voucher"])
    mistyped = code[:42] + ("A" if code[42] != "A" else "B") + code[43:]
    assert "mistyped" in people.refused(STRANGER, *redeem, mistyped)
    good = voucher_from_text(code)
    unsigned = replace(good, signature=(b"\x01" * 32, b"\x01" * 32)).to_text()
    assert people.json("voucher", "show", unsigned)["signed"] is False
    assert "BY NOBODY" in people.ok("voucher", "show", unsigned)
    assert "not signed by" in people.refused(STRANGER, *redeem, unsigned)
    assert "for a meter, or" not in people.ok("voucher", "show", code)


def test_a_bearers_voucher_with_a_key_that_is_none_is_refused(people: Neighbour) -> None:
    body = bytes((1, 1)) + CHAIN_ID.to_bytes(8, "big") + SUPPLIER + bytes(32 + 16 + 8 + 8 + 64)
    text = "WATT" + base64.b32encode(body + keccak256(body)[:4]).decode().rstrip("=")
    assert "cannot sign" in people.error("voucher", "show", text)


@pytest.mark.parametrize("half", [b"\xff" * 32, bytes(32)])
def test_a_signature_out_of_range_is_nobodys(people: Neighbour, half: bytes) -> None:
    (made,) = issue(people, "25", "--meter", shown(METER))
    text = replace(voucher_from_text(made["voucher"]), signature=(half, half)).to_text()
    assert people.json("voucher", "show", text)["signed"] is False


def test_a_voucher_can_be_made_without_any_connection(people: Neighbour) -> None:
    offline = ["--chain-id", str(CHAIN_ID), "--node", "http://127.0.0.1:1", "--no-qr", "--expires", "90d"]
    result = CliRunner().invoke(voucher, ["issue", "3", *offline, "--json", *people.key(SUPPLIER)])
    assert result.exit_code == 0, result.output
    (made,) = json.loads(result.stdout)
    assert people.json("voucher", "show", made["voucher"])["signed"] is True


@pytest.mark.parametrize("text", ["WATT", "WATT-AAAAA", "WATT" + "A" * 900, "hello", "x" * 5_000])
def test_what_is_no_voucher_is_refused(people: Neighbour, text: str) -> None:
    assert "voucher" in people.error("voucher", "show", text)
