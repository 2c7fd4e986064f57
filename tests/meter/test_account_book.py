"""What the ledger said of the account is on the disk, with few writes; without a ledger it goes on, restarts or not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from meter.account_book import KEY, WRITE_INTERVAL_S, AccountBook
from meter.drivers.driver import Registers
from meter.head import first_head
from meter.ledger import MeterLedger
from meter.ledger_terms import LedgerTerms
from meter.outbox import Outbox
from meter.reading import Reading, ReadingDomain
from meter.relay_store import MAX_TEXT_CHARACTERS, RelayStore
from meter.signer import KeySigner
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of
from tests.meter.fake_node import (
    CHAIN_ID,
    GENESIS_TIME_S,
    METER,
    METER_KEY,
    OTHER_KEY,
    RATE_WEI_PER_WH,
    SUPPLIER,
    FakeNode,
)
from wallet.client import NodeUnreachable

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
METER_ABI, REGISTRY = load_artifact("Meter").abi, load_artifact("Registry").abi


class Household:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox.sqlite"
        self.node = FakeNode(credit_wei=1_000 * RATE_WEI_PER_WH)
        self.clock = ManualClock(GENESIS_TIME_S)
        self.outbox = Outbox.open(self.path, DOMAIN, METER)
        self.outbox.adopt(first_head(), bytes(32), 0)
        self.book = self.make_book()

    def make_book(self, meter: bytes = METER) -> AccountBook:
        self.store = RelayStore(self.outbox.database)
        terms = LedgerTerms(MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS))
        return AccountBook(terms, self.outbox, self.store, self.clock)

    def power_cut(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path, DOMAIN, METER)
        self.book = self.make_book()

    def sign(self, import_wh: int) -> None:
        head = self.outbox.head()
        assert head is not None
        self.clock.advance_s(1)
        reading = Reading(METER, head.sequence + 1, self.clock.time_s(), import_wh, 0, 0, 0, head.hash)
        self.outbox.append(DOMAIN.sign(reading, KeySigner(METER_KEY)), b"")

    def carry(self) -> None:
        signed = [(astuple(one.reading), *one.signature) for one in self.outbox.waiting(0, 100)]
        self.node.block_time_s = max(15, self.clock.time_s() - self.node.blocks[-1].time_s)
        call = METER_ABI.function("submitBatch").encode_call((signed,))
        self.node.transact(address_of(OTHER_KEY), METER_ADDRESS, call)

    async def learn(self) -> None:
        await self.book.learn(self.node.blocks[-1].number, self.clock.time_s())

    def writes(self) -> int:
        return self.outbox.database.connection.total_changes


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Household]:
    made = Household(tmp_path)
    yield made
    made.outbox.close()


async def test_nothing_is_kept_where_nothing_is_known(home: Household) -> None:
    await home.book.carry_on()
    home.book.observe(Registers(home.clock.time_s(), 5, 0))
    assert home.book.allows(home.clock.time_s()) is None


async def test_goes_on_with_what_was_signed_and_what_is_used_since(home: Household) -> None:
    home.sign(100)
    home.carry()
    await home.learn()
    home.sign(400)
    home.book.observe(Registers(home.clock.time_s(), 900, 0))
    await home.book.carry_on()
    assert home.book.local is not None
    assert home.book.local.balance_wei == 100 * RATE_WEI_PER_WH
    home.sign(950)
    home.book.observe(Registers(home.clock.time_s(), 999, 0))
    assert home.book.allows(home.clock.time_s()) is True
    home.book.observe(Registers(home.clock.time_s(), 1_000, 0))
    assert home.book.allows(home.clock.time_s()) is False


async def test_power_cut_while_the_ledger_is_in_reach(home: Household) -> None:
    """What is on the disk may be some readings old; they are in the outbox."""
    await home.learn()
    for import_wh in (100, 200, 300):
        home.sign(import_wh)
        home.carry()
        home.clock.advance_s(60)
        await home.learn()
    home.power_cut()
    await home.book.carry_on()
    assert home.book.local is not None
    assert home.book.local.known.sequence == 0, "readings alone are no reason to write"
    assert home.book.local.balance_wei == 700 * RATE_WEI_PER_WH


async def test_power_cut_without_a_ledger_in_reach(home: Household) -> None:
    home.sign(100)
    home.carry()
    await home.learn()
    await home.book.carry_on()
    for import_wh in range(190, 1_100, 90):
        home.sign(import_wh)
    home.power_cut()
    await home.book.carry_on()
    assert home.book.allows(home.clock.time_s()) is False, "also before the first sample"
    assert home.book.local is not None
    assert home.book.local.balance_wei == -90 * RATE_WEI_PER_WH


async def test_after_a_start_nobody_is_switched_on_before_a_sample(home: Household) -> None:
    await home.learn()
    await home.book.carry_on()
    assert home.book.allows(home.clock.time_s()) is None
    home.book.observe(Registers(home.clock.time_s(), 1, 0))
    assert home.book.allows(home.clock.time_s()) is True


async def test_readings_that_left_the_outbox_are_covered_by_the_head(home: Household) -> None:
    await home.learn()
    home.sign(600)
    with home.outbox.database.transaction() as connection:
        connection.execute("DELETE FROM readings")
    await home.book.carry_on()
    assert home.book.local is not None
    assert home.book.local.balance_wei == 400 * RATE_WEI_PER_WH


async def test_top_up_is_written_at_once_and_charges_seldom(home: Household) -> None:
    await home.learn()
    written = home.writes()
    home.node.top_up(METER, 5)
    await home.learn()
    assert home.writes() > written
    changes = 0
    for step in range(1, 41):
        home.sign(step)
        home.carry()
        home.clock.advance_s(WRITE_INTERVAL_S / 20)
        before = home.store.get(KEY)
        await home.learn()
        changes += home.store.get(KEY) != before
    assert changes == 2
    quiet = home.writes()
    for _ in range(50):
        home.node.mine()
        await home.learn()
    assert home.writes() - quiet <= 1


async def test_reorganisation_that_takes_a_top_up_away_is_written_at_once(home: Household) -> None:
    home.node.top_up(METER, 10**18)
    await home.learn()
    home.node.reorganise(1)
    home.node.mine(is_empty=True)
    await home.learn()
    home.power_cut()
    await home.book.carry_on()
    assert home.book.local is not None
    assert home.book.local.balance_wei == 1_000 * RATE_WEI_PER_WH


async def test_ledger_decides_again_when_it_is_back(home: Household) -> None:
    await home.learn()
    await home.book.carry_on()
    await home.learn()
    assert home.book.local is None


async def test_postpaid_meter_has_no_account_here(home: Household) -> None:
    await home.learn()
    home.node.transact(SUPPLIER, REGISTRY_ADDRESS, REGISTRY.encode_call("removeMeter", (METER,)))
    home.clock.advance_s(601)
    await home.learn()
    await home.book.carry_on()
    assert home.book.local is None
    assert home.store.get(KEY) == ""


async def test_answers_that_make_no_sense_leave_what_was_known(
    home: Household, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await home.learn()

    async def garbage(*_args: object, **_more: object) -> bytes:
        return b"\xff" * 31

    monkeypatch.setattr(home.node, "call", garbage)
    home.node.mine()
    await home.learn()
    assert "the meter's account is not known" in caplog.text
    await home.book.carry_on()
    assert home.book.local is not None


async def test_node_that_is_away_is_the_callers_to_deal_with(home: Household) -> None:
    home.node.is_down = True
    with pytest.raises(NodeUnreachable):
        await home.learn()


def test_memory_is_bounded_and_read_beside_the_daemon(home: Household) -> None:
    with pytest.raises(ValueError, match="characters long"):
        home.store.put("x", "y" * (MAX_TEXT_CHARACTERS + 1))
    home.store.put("x", "y")
    with closing(Outbox.open_for_reading(home.path, DOMAIN, METER)) as beside:
        store = RelayStore(beside.database, is_writable=False)
        assert (store.get("x"), store.get("absent")) == ("y", None)


@pytest.mark.parametrize("edit", ["flags = 70000", "previous_hash = x'00'", "time_s = -1"])
async def test_nonsense_in_the_outbox_does_not_stop_a_meter_without_a_ledger(home: Household, edit: str) -> None:
    await home.learn()
    home.sign(5)
    home.sign(10)
    with closing(sqlite3.connect(home.path)) as editor:
        editor.execute(f"UPDATE readings SET {edit} WHERE sequence = 2")
        editor.commit()
    await home.book.carry_on()
    assert home.book.local is not None
    assert home.book.local.balance_wei == 990 * RATE_WEI_PER_WH
    home.sign(15)
    home.book.observe(Registers(home.clock.time_s() + 1, 16, 0))
    assert home.book.local.balance_wei == 984 * RATE_WEI_PER_WH
