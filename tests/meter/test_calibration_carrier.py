"""Calibrations on the way to real contracts: in force at once, told by the next reading, carried when one is there."""

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.addresses import CALIBRATIONS_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from contracts.calibration_format import ONE_PPM, Calibration, Quantity
from contracts.reading_format import StatusFlag
from meter.calibration import CalibrationBook, sign_calibration
from meter.calibration_carrier import CalibrationCarrier, CarrierSettings, record_call
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.head import first_head
from meter.outbox import Outbox, OutgoingTransaction
from meter.reading import Reading, ReadingDomain
from meter.signer import KeySigner
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, OTHER_KEY, OWNER, SENDER_KEY, FakeNode
from wallet.client import InvalidAnswer, NodeUnreachable, RpcError

CALIBRATIONS = load_artifact("Calibrations").abi
PERSON = KeySigner(OTHER_KEY)
CONFIRMATIONS = 2


class Notes:
    def __init__(self) -> None:
        self.flags = StatusFlag(0)

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        assert reason
        assert not at_once
        self.flags |= flags


class Shop:
    """A meter with its file, its ledger and its carrier; the file is written as by another program."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox.sqlite.calibrations"
        self.node = FakeNode()
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock
        self.outbox = Outbox.open(
            folder / "outbox.sqlite", ReadingDomain(CHAIN_ID, METER_ADDRESS), METER, KeySigner(METER_KEY)
        )
        self.outbox.adopt(first_head(), bytes(32), 0)
        self.applied: list[Factors] = []
        self.notes = Notes()
        self.book = self.open_book()
        self.carrier = self.new_carrier()

    def open_book(self) -> CalibrationBook:
        return CalibrationBook(self.path, CHAIN_ID, METER)

    def new_carrier(self) -> CalibrationCarrier:
        return CalibrationCarrier(
            self.open_book,
            self.applied.append,
            self.notes,
            self.outbox,
            self.node,
            KeySigner(SENDER_KEY),
            self.clock,
            CarrierSettings(CHAIN_ID, CONFIRMATIONS),
        )

    def calibrate(self, quantity: Quantity, channel: int, ppm: int) -> None:
        with self.open_book() as book:
            sequence, time_s = book.last()
            old_ppm = book.factors().ppm(QUANTITIES_WITH_FACTORS[quantity - 1], channel)
            time_s = max(time_s, self.clock.time_s())
            change = Calibration(METER, PERSON.address, sequence + 1, time_s, quantity, channel, old_ppm, ppm)
            book.add(sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), PERSON))

    async def round(self) -> None:
        self.carrier.look(self.book)
        await self.carrier.carry(self.book)

    async def rounds_and_blocks(self, count: int) -> None:
        for _ in range(count):
            await self.round()
            self.node.mine()
            self.clock.advance_s(self.node.block_time_s)

    def sign_reading(self) -> None:
        head = self.outbox.head()
        assert head is not None
        reading = Reading(METER, head.sequence + 1, self.clock.time_s(), 0, 0, 0, int(self.notes.flags), head.hash)
        self.notes.flags = StatusFlag(0)
        self.outbox.append(self.outbox.domain.sign(reading, KeySigner(METER_KEY)), b"")

    def on_ledger(self) -> tuple[int, list[tuple[int, int, int]]]:
        answers = []
        for name in ("standingOf", "factorsOf"):
            data = CALIBRATIONS.encode_call(name, (METER,))
            output = self.node._call(None, CALIBRATIONS_ADDRESS, data, self.node.blocks[-1]).output
            answers.append(CALIBRATIONS.decode_result(name, output))
        return answers[0][0], [tuple(row) for row in answers[1][0]]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.book.close()
    shop.outbox.close()


async def test_in_force_at_once_and_on_the_ledger_soon(shop: Shop) -> None:
    assert shop.applied == [Factors()]
    await shop.rounds_and_blocks(4)
    assert shop.node.pool == {}
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.calibrate(Quantity.VOLTAGE, 1, 990_000)
    await shop.round()
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250), Factor("voltage", 1, 990_000)))
    assert shop.notes.flags == StatusFlag.CALIBRATED
    await shop.rounds_and_blocks(8)
    assert shop.on_ledger() == (2, [(1, 1, 1_031_250), (2, 1, 990_000)])
    # Settled: nothing is asked any more until something changes.
    calls = shop.node.call_count
    await shop.rounds_and_blocks(3)
    assert shop.node.call_count == calls
    assert len(shop.node.accepted_raw) == 2


async def test_waits_while_there_is_no_ledger(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.node.is_down = True
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    for _ in range(3):
        shop.carrier.look(shop.book)
        with pytest.raises(NodeUnreachable):
            await shop.carrier.carry(shop.book)
    assert shop.applied[-1].ppm("current", 1) == 1_031_250
    shop.node.is_down = False
    await shop.rounds_and_blocks(6)
    assert shop.on_ledger()[0] == 1


async def test_every_call_may_fail(tmp_path: Path) -> None:
    """Before or after its effect; in the end the ledger has each calibration once."""
    randomness = random.Random(7)
    shop = Shop(tmp_path)
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.calibrate(Quantity.CURRENT, 1, 1_050_000)
    for _ in range(60):
        shop.carrier.look(shop.book)
        shop.node.is_down = randomness.random() < 0.3
        if randomness.random() < 0.2:
            shop.carrier = shop.new_carrier()
        with contextlib.suppress(NodeUnreachable, RpcError, InvalidAnswer):
            await shop.carrier.carry(shop.book)
        if randomness.random() < 0.6:
            shop.node.mine()
        shop.clock.advance_s(15)
    assert shop.on_ledger() == (2, [(1, 1, 1_050_000)])
    shop.book.close()
    shop.outbox.close()


async def test_a_transaction_that_was_lost_is_sent_again(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.round()
    assert len(shop.node.pool) == 1
    shop.node.pool.clear()
    await shop.round()
    assert shop.node.pool == {}
    shop.clock.advance_s(61)
    await shop.round()
    assert len(shop.node.pool) == 1


async def test_a_reorganisation_takes_it_away(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.rounds_and_blocks(2)
    assert shop.on_ledger()[0] == 1
    shop.node.reorganise(2, forget_pool=True)
    assert shop.on_ledger()[0] == 0
    shop.clock.advance_s(61)
    await shop.rounds_and_blocks(6)
    assert shop.on_ledger()[0] == 1


async def test_it_goes_behind_readings_of_the_same_account(shop: Shop) -> None:
    shop.outbox.store_transaction(OutgoingTransaction(0, b"s" * 20, bytes(32), b"", 1, 1, 0))
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.round()
    assert [nonce for _, nonce in shop.node.pool] == [1]


async def test_the_next_reading_tells_and_only_that(shop: Shop) -> None:
    await shop.round()
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.round()
    # Stopped before a reading was signed: the note would be lost with the program.
    shop.notes = Notes()
    shop.carrier = shop.new_carrier()
    await shop.round()
    assert shop.notes.flags == StatusFlag.CALIBRATED
    shop.sign_reading()
    await shop.round()
    shop.carrier = shop.new_carrier()
    await shop.round()
    assert shop.notes.flags == 0
    flags = [stored.signed.reading.flags for stored in shop.outbox.newest(9)]
    assert flags == [StatusFlag.CALIBRATED]


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_a_file_that_was_deleted_or_edited_shows_in_the_next_reading(shop: Shop, is_deleted: bool) -> None:
    """With no ledger in reach, which would know better; what the file says of itself is nothing to go by."""
    if is_deleted:
        shop.calibrate(Quantity.CURRENT, 1, 1_200_000)
    await shop.round()
    shop.sign_reading()
    await shop.round()
    shop.node.is_down = True
    shop.book.close()
    if is_deleted:
        for path in shop.path.parent.glob(shop.path.name + "*"):
            path.unlink()
    else:
        connection = sqlite3.connect(shop.path)
        connection.execute("INSERT INTO adopted VALUES (1, 1, 0, '[[\"power\", 1, 500000]]')")
        connection.commit()
        connection.close()
    shop.book = shop.open_book()
    shop.carrier = shop.new_carrier()
    shop.carrier.look(shop.book)
    assert shop.notes.flags == StatusFlag.CALIBRATED
    shop.sign_reading()
    shop.carrier.look(shop.book)
    shop.carrier.put_in_force(shop.book)
    assert shop.notes.flags == 0  # told once


async def test_a_lost_file_takes_the_ledgers_factors(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.calibrate(Quantity.VOLTAGE, 1, 990_000)
    await shop.rounds_and_blocks(8)
    shop.book.close()
    for path in shop.path.parent.glob(shop.path.name + "*"):
        path.unlink()
    shop.notes.flags = StatusFlag(0)
    shop.book = shop.open_book()
    shop.carrier = shop.new_carrier()
    assert shop.applied[-1] == Factors()
    await shop.round()
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250), Factor("voltage", 1, 990_000)))
    assert shop.notes.flags == StatusFlag.CALIBRATED
    shop.calibrate(Quantity.CURRENT, 1, 1_040_000)
    await shop.rounds_and_blocks(6)
    assert shop.on_ledger() == (3, [(1, 1, 1_040_000), (2, 1, 990_000)])


async def test_another_history_on_the_ledger_is_told_and_changes_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    other = Calibration(METER, PERSON.address, 1, shop.clock.time_s(), Quantity.POWER, 1, ONE_PPM, 500_000)
    signed = sign_calibration(other, CHAIN_ID, KeySigner(METER_KEY), PERSON)
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.node.transact(OWNER, CALIBRATIONS_ADDRESS, record_call(signed))
    await shop.rounds_and_blocks(5)
    assert caplog.text.count("THE LEDGER HAS OTHER CALIBRATIONS") == 1
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250),))
    assert shop.node.accepted_raw == []


async def test_a_node_that_lies_about_factors(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    good = await shop.node.call(CALIBRATIONS_ADDRESS, CALIBRATIONS.encode_call("standingOf", (METER,)))
    for quantity, ppm in ((1, 0), (1, 2**32 - 1), (0, ONE_PPM), (9, ONE_PPM)):
        rows = CALIBRATIONS.function("factorsOf").outputs.encode(([(quantity, 1, ppm)],))

        async def lie(to: bytes, data: bytes, *_: object, rows: bytes = rows) -> bytes:
            return good if data == CALIBRATIONS.encode_call("standingOf", (METER,)) else rows

        monkeypatch.setattr(shop.node, "call", lie)
        with pytest.raises(InvalidAnswer, match="the node tells of a factor"):
            await shop.round()

    async def garbage(*_: object) -> bytes:
        return b"\xff" * 40

    monkeypatch.setattr(shop.node, "call", garbage)
    with pytest.raises(InvalidAnswer, match="makes no sense"):
        await shop.round()
    assert shop.applied[-1] == Factors()


async def test_a_meter_that_is_not_installed_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(tmp_path)
    shop.node = FakeNode(meter=None)
    shop.carrier = shop.new_carrier()
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.rounds_and_blocks(3)
    assert caplog.text.count("calibration 1 has to wait: No meter ") == 1
    assert shop.applied[-1].ppm("current", 1) == 1_031_250
    shop.book.close()
    shop.outbox.close()


async def test_a_ledger_without_the_contract(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> bytes:
        return b""

    monkeypatch.setattr(shop.node, "call", nothing)
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.rounds_and_blocks(3)
    assert shop.node.accepted_raw == []


async def test_a_dear_node_is_not_paid(shop: Shop) -> None:
    shop.node.base_fee = 10**15
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    with pytest.raises(InvalidAnswer, match=r"more than the setting ledger.max_fee_wei allows"):
        await shop.round()
    assert shop.node.accepted_raw == []


async def test_an_altered_file_ends_it_plainly(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    with shop.book.transaction() as connection:
        connection.execute("UPDATE calibrations SET new_ppm = 900000")
    with pytest.raises(UserError, match="was altered"):
        await shop.carrier.run()
