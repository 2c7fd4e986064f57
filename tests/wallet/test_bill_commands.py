"""`wattchain bill`, as customers and suppliers run it, against a ledger in memory with the real contracts."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.addresses import BILLING_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.genesis import genesis_alloc
from contracts.reading_format import READING_FIELDS, compact_signature, reading_typed_data
from contracts.tariff_format import GenesisTariff, Slab, TariffVersion
from primitives.secp256k1 import sign
from tests.contracts.tariff_stage import tariff_accounts
from tests.gateway.memory_ledger import CHAIN_ID
from tests.wallet.command_stage import ContractLedger, serve_ledger
from tests.wallet.contract_person import (
    CUSTOMER,
    KEYS,
    METER,
    OWNER,
    REGULATOR,
    STRANGER,
    SUPPLIER,
    WATT,
    Neighbour,
    shown,
)
from tests.wallet.refusal_checks import check_refusals
from wallet.bill_commands import bill
from wallet.billing import BILLING

DAY_S = 86_400
KWH = 1_000
METER_KEY = KEYS[6]
HOUSE = TariffVersion(
    (Slab(3 * WATT // KWH, 100 * KWH), Slab(5 * WATT // KWH)),
    period_days=1,
    export_price_wei_per_wh=WATT // KWH,
    standing_wei_per_day=WATT // 4,
)


class Home(Neighbour):
    """A postpaid meter that measures what a test says."""

    sequence = 0
    import_wh = 0
    export_wh = 0
    hash = bytes(32)

    def days_pass(self, days: int) -> int:
        """To the time of the newest block then, in s."""

        async def wait() -> int:
            self.ledger.clock.advance_s(days * DAY_S)
            return self.ledger.mine().header.timestamp_s

        return self.on_the_ledger(wait())

    def measure(self, days: int, import_wh: int, export_wh: int = 0) -> None:
        """A signed reading so many days later, in a block of its own."""
        now_s = self.days_pass(days)
        self.sequence += 1
        self.import_wh += import_wh
        self.export_wh += export_wh
        values: dict[str, object] = {
            "meter": METER,
            "sequence": self.sequence,
            "time": now_s,
            "importWh": self.import_wh,
            "exportWh": self.export_wh,
            "powerW": 0,
            "flags": 0,
            "previousHash": self.hash,
        }
        typed = reading_typed_data(CHAIN_ID)
        self.hash = typed.struct_hash(values)
        signed = (
            tuple([values[name] for name, _ in READING_FIELDS]),
            *compact_signature(*sign(typed.hash(values), METER_KEY)),
        )
        self.call(STRANGER, METER_ADDRESS, "Meter", "submit", signed)


@contextmanager
def home(folder: Path) -> Iterator[Home]:
    tariffs = [GenesisTariff(SUPPLIER, "house", HOUSE)]
    alloc = genesis_alloc(OWNER, [SUPPLIER], regulators=[REGULATOR]) | tariff_accounts(tariffs)
    with serve_ledger(ledger := ContractLedger(alloc, {CUSTOMER: 1_000 * WATT, STRANGER: WATT})) as (loop, url):
        here = Home(bill, folder, ledger, loop, url, KEYS)
        arguments = (METER, CUSTOMER, BILLING_ADDRESS, 1, bytes(32), 0, 0)
        here.call(SUPPLIER, REGISTRY_ADDRESS, "Registry", "installMeter", *arguments)
        yield here


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as here:
        yield here


def billed(people: Home) -> None:
    """120 kWh taken and 10 given on the second day: bill 1, of 390.25 WATT, and 1 kWh on the third."""
    people.measure(1, 120 * KWH, 10 * KWH)
    people.measure(1, KWH)


def test_each_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(BILLING)


def test_a_meter_without_a_bill_shows_what_it_has_used(people: Home) -> None:
    assert people.ok("show", shown(METER)).splitlines()[-1] == "There is no bill yet."
    people.measure(1, 2 * KWH)
    text = people.ok("show", shown(METER))
    assert "2 kWh taken, 6.25 WATT." in text
    metered = people.json("show", shown(METER))["metered"]
    assert (metered["imported_wh"], metered["energy_wei"], metered["bills"]) == (2 * KWH, str(6 * WATT), [])
    assert "There is no bill of the meter" in people.error("show", shown(METER), "1")
    assert "There is no bill of the meter" in people.error("show", shown(METER), "--pdf", str(people.folder / "x.pdf"))
    assert "was ever installed" in people.error("show", shown(STRANGER))


def test_a_bill_is_shown_in_full_and_paid_in_parts(people: Home) -> None:
    people.as_(SUPPLIER, "describe", "Mill Lane Power", "--description", "12 Mill Lane")
    billed(people)
    lines = [line.split() for line in people.ok("show", shown(METER), "1").splitlines()]
    assert lines[0] == ["Mill", "Lane", "Power"]
    assert ["Tariff", "house,", "number", "1"] in lines
    assert ["Energy", "taken", "120", "kWh", "400", "WATT"] in lines
    assert ["Energy", "given", "10", "kWh", "-10", "WATT"] in lines
    assert ["Standing", "charge", "0.25", "WATT"] in lines
    assert lines[-1] == ["Still", "open", "390.25", "WATT"]
    paid = people.as_(CUSTOMER, "pay", shown(METER), "1", "100.25")
    assert (paid["receipt"], paid["open_wei"]) == (1, str(290 * WATT))
    assert "290 WATT" in people.ok("show", shown(METER), "1").splitlines()[-1]
    said = people.said_to(CUSTOMER, "pay", shown(METER), "1")
    assert said == "Receipt 2 of the supplier: 290 WATT paid. The bill is paid."
    assert people.refused(CUSTOMER, "pay", shown(METER), "1") == f"The bill 1 of the meter {shown(METER)} is paid."
    assert people.json("show", shown(METER))["metered"]["bills"][0]["open_wei"] == "0"
    before = people.balance(SUPPLIER)
    assert people.as_(SUPPLIER, "payout")["amount_wei"] == str(39_025 * WATT // 100)
    assert people.balance(SUPPLIER) - before == 39_025 * WATT // 100
    assert "has nothing to take from" in people.refused(SUPPLIER, "payout")


def test_refusals_come_with_their_values(people: Home) -> None:
    billed(people)
    assert people.refused(CUSTOMER, "pay", shown(METER), "1", "390.26") == (
        "Only 390.25 WATT of this bill are to be paid; 390.26 WATT is more."
    )
    assert people.refused(CUSTOMER, "pay", shown(METER), "2") == (
        f"The bills of the meter {shown(METER)} are numbered from 1 to 1; there is no bill 2."
    )
    assert "may still be paid in time" in people.refused(SUPPLIER, "disconnect", shown(METER), "1")
    assert "is not a supplier" in people.refused(STRANGER, "terms", "--days", "14")
    assert "is no late fee" in people.refused(SUPPLIER, "terms", "--days", "14", "--late-fee", "0.001")
    late = people.refused(SUPPLIER, "terms", "--days", "14", "--late-fee", "10.01")
    assert "A late fee is at most 10 %; 10.01 % is more." in late
    assert "6 is out of range: it must be from 7 to 366" in people.refused(SUPPLIER, "terms", "--days", "6")
    assert "is not over, or only just" in people.refused(STRANGER, "close", shown(METER))


def test_bills_are_written_as_csv_and_pdf(people: Home) -> None:
    people.as_(SUPPLIER, "describe", "W\u00e4rme & Strom \u0ba4\u0bae\u0bbf\u0bb4\u0bcd")
    billed(people)
    people.measure(1, 3 * KWH)
    table, page = people.folder / "bills.csv", people.folder / "bill.pdf"
    people.ok("show", shown(METER), "--csv", str(table), "--pdf", str(page))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["number"], row["taken_kwh"], row["due_watt"]) for row in rows] == [
        ("1", "120", "390.25"),
        ("2", "1", "3.25"),
    ]
    assert (rows[0]["meter"], rows[0]["from"]) == (shown(METER), "2023-11-14")
    assert rows[0]["due_at"].startswith("202")
    content = page.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert "is there already" in people.error("show", shown(METER), "1", "--pdf", str(page))
    other = people.folder / "other.pdf"
    (no_font := people.folder / "no.ttf").write_text("no font")
    for wrong in (table, no_font, people.folder / "missing.ttf"):
        said = people.error("show", shown(METER), "1", "--pdf", str(other), "--font", str(wrong))
        assert f"The font {wrong} cannot be used" in said
    assert not other.exists()


def test_late_fee_cut_and_paying_after_all(people: Home) -> None:
    people.as_(SUPPLIER, "terms", "--days", "7", "--late-fee", "2.5")
    people.days_pass(30)
    billed(people)
    people.days_pass(8)
    text = people.ok("show", shown(METER), "1")
    assert "2.5 %" in text
    cut = people.as_(SUPPLIER, "disconnect", shown(METER), "1")
    assert cut["cut_at"] is not None
    assert "THE SUPPLY IS CUT from" in people.ok("show", shown(METER))
    assert people.as_(SUPPLIER, "reconnect", shown(METER))["number"] == 1
    open_wei = int(people.json("show", shown(METER), "1")["open_wei"])
    assert open_wei > 39_025 * WATT // 100
    assert people.as_(CUSTOMER, "pay", shown(METER), "1")["amount_wei"] == str(open_wei)


def test_a_period_without_a_further_reading_is_closed(people: Home) -> None:
    people.measure(1, 2 * KWH)
    people.days_pass(2)
    assert people.as_(STRANGER, "close", shown(METER)) | {"transaction": 0, "block": 0, "fee_wei": 0} == {
        "transaction": 0,
        "block": 0,
        "fee_wei": 0,
        "meter": shown(METER),
        "number": 1,
        "due_wei": str(625 * WATT // 100),
    }


def test_what_a_program_reports_is_shown(people: Home) -> None:
    people.as_(SUPPLIER, "describe", "TNEB", "--description", "Tamil Nadu Electricity Board")
    assert people.said_to(SUPPLIER, "report", shown(STRANGER), "--itself") == (
        f"The account {shown(STRANGER)} is kept, and reports itself."
    )
    people.call(STRANGER, BILLING_ADDRESS, "Billing", "setDebt", 550, 4_612, STRANGER)
    assert "Reported: usage 550, bill 4612, active," in people.ok("show", shown(STRANGER))
    reported: dict[str, Any] = people.json("show", shown(STRANGER))["reported"]
    assert (reported["usage"], reported["bill"], reported["provider_name"]) == ("550", "4612", "TNEB")
    people.as_(SUPPLIER, "report", shown(STRANGER), "--end")
    assert "not active" in people.ok("show", shown(STRANGER))
