"""Calibrations on the way to real contracts: in force at once, told by the next reading, carried when one is there."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.addresses import CALIBRATIONS_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from contracts.calibration_format import ONE_PPM, Calibration, Quantity
from contracts.reading_format import StatusFlag
from meter.calibration import CalibrationBook
from meter.calibration_carrier import CalibrationCarrier, CarrierSettings
from meter.calibration_ledger import record_call
from meter.calibration_shelf import CalibrationShelf
from meter.calibration_state import read_state
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.head import first_head
from meter.kept_values import KeptValues
from meter.outbox import Outbox, OutgoingTransaction
from meter.reading import Reading, ReadingDomain
from meter.signed_calibration import History, SignedCalibration, Standing, sign_calibration
from meter.signer import KeySigner
from primitives.clock import ManualClock
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
        self.outbox.alterations.note_untold(self.notes)
        self.start()

    def open_book(self) -> CalibrationBook:
        return CalibrationBook(self.path, CHAIN_ID, METER)

    def start(self) -> None:
        self.shelf = CalibrationShelf(self.path, CHAIN_ID, self.outbox, self.clock)
        self.carrier = CalibrationCarrier(
            self.shelf,
            self.applied.append,
            self.notes,
            self.outbox,
            self.node,
            KeySigner(SENDER_KEY),
            self.clock,
            CarrierSettings(CHAIN_ID, CONFIRMATIONS),
        )
        self.shelf.open()

    def restart(self) -> None:
        self.shelf.close()
        self.start()

    def close(self) -> None:
        self.shelf.close()
        self.outbox.close()

    def remove_file(self) -> None:
        self.shelf.close()
        for path in self.path.parent.glob(self.path.name + "*"):
            path.unlink()

    def change(self, quantity: Quantity, channel: int, ppm: int, **changed: object) -> SignedCalibration:
        """The next calibration, signed."""
        with self.open_book() as book:
            sequence, time_s = book.last()
            old_ppm = book.factors().ppm(QUANTITIES_WITH_FACTORS[quantity - 1], channel)
        time_s = max(time_s, self.clock.time_s())
        change = Calibration(METER, PERSON.address, sequence + 1, time_s, quantity, channel, old_ppm, ppm)
        change = replace(change, **changed)  # type: ignore[arg-type]
        return sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), PERSON)

    def calibrate(self, quantity: Quantity, channel: int, ppm: int, **changed: object) -> None:
        signed = self.change(quantity, channel, ppm, **changed)
        with self.open_book() as book:
            book.add(signed, signed.calibration.time_s)

    async def round(self) -> None:
        self.carrier.look()
        await self.carrier.carry()

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
    shop.close()


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
        shop.carrier.look()
        with pytest.raises(NodeUnreachable):
            await shop.carrier.carry()
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
        shop.carrier.look()
        shop.node.is_down = randomness.random() < 0.3
        if randomness.random() < 0.2:
            shop.restart()
        with contextlib.suppress(NodeUnreachable, RpcError, InvalidAnswer):
            await shop.carrier.carry()
        if randomness.random() < 0.6:
            shop.node.mine()
        shop.clock.advance_s(15)
    assert shop.on_ledger() == (2, [(1, 1, 1_050_000)])
    shop.close()


@pytest.mark.parametrize("step_s", [0, -86_400])
async def test_a_transaction_that_was_lost_is_sent_again_whatever_becomes_of_the_clock(shop: Shop, step_s: int) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.round()
    assert len(shop.node.pool) == 1
    shop.node.pool.clear()
    shop.clock.step_s(step_s)
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
    shop.restart()
    await shop.round()
    assert shop.notes.flags == StatusFlag.CALIBRATED
    shop.sign_reading()
    await shop.round()
    shop.restart()
    await shop.round()
    assert shop.notes.flags == 0
    flags = [stored.signed.reading.flags for stored in shop.outbox.newest(9)]
    assert flags == [StatusFlag.CALIBRATED]


def ledger_others(shop: Shop, *, time_s: int | None = None) -> None:
    """The ledger gets a calibration that the file does not know."""
    time_s = shop.clock.time_s() if time_s is None else time_s
    other = Calibration(METER, PERSON.address, 1, time_s, Quantity.POWER, 1, ONE_PPM, 500_000)
    signed = sign_calibration(other, CHAIN_ID, KeySigner(METER_KEY), PERSON)
    shop.node.transact(OWNER, CALIBRATIONS_ADDRESS, record_call(signed))


async def test_a_lost_file_and_outbox_take_the_ledgers_calibrations(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.calibrate(Quantity.VOLTAGE, 1, 990_000)
    await shop.rounds_and_blocks(8)
    signed = shop.shelf.history
    shop.remove_file()
    shop.shelf.doubt()
    shop.notes.flags = StatusFlag(0)
    shop.start()
    assert shop.applied[-1] == Factors()
    await shop.round()
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250), Factor("voltage", 1, 990_000)))
    assert shop.notes.flags == StatusFlag.CALIBRATED
    # With the signatures of those who made them, found in the ledger's transactions.
    assert shop.shelf.history == signed
    shop.calibrate(Quantity.CURRENT, 1, 1_040_000)
    await shop.rounds_and_blocks(6)
    assert shop.on_ledger() == (3, [(1, 1, 1_040_000), (2, 1, 990_000)])


async def test_where_the_signatures_are_not_found_an_empty_file_goes_by_the_nodes_word(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_others(shop)
    monkeypatch.setattr("meter.calibration_ledger.MAX_WINDOWS", 0)
    await shop.round()
    factors = Factors((Factor("power", 1, 500_000),))
    assert shop.applied[-1] == factors
    assert shop.shelf.history == History(Standing(1, shop.clock.time_s(), factors))
    shop.calibrate(Quantity.POWER, 1, 510_000)
    await shop.rounds_and_blocks(3)
    assert shop.on_ledger() == (2, [(3, 1, 510_000)])


async def test_newer_calibrations_on_the_ledger_hold_instead_of_the_files(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.node.is_down = True
    shop.carrier.look()
    shop.node.is_down = False
    shop.clock.advance_s(20)
    ledger_others(shop)
    await shop.rounds_and_blocks(5)
    assert caplog.text.count("the ledger has other calibrations of this meter, 1 of them; they are taken over") == 1
    assert shop.applied[-1] == Factors((Factor("power", 1, 500_000),))
    assert shop.node.accepted_raw == []
    aside = [path.name for path in shop.path.parent.glob("*.replaced-*") if not path.name.endswith(("-wal", "-shm"))]
    assert len(aside) == 1
    shop.restart()
    assert shop.applied[-1] == Factors((Factor("power", 1, 500_000),))
    assert "TAMPERING" not in caplog.text


async def test_older_calibrations_on_the_ledger_are_told_and_change_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.clock.advance_s(100)
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    ledger_others(shop, time_s=shop.clock.time_s() - 50)
    await shop.rounds_and_blocks(5)
    assert caplog.text.count("THE LEDGER HAS OTHER CALIBRATIONS") == 1
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250),))
    assert shop.node.accepted_raw == []
    # As the log says: with the file away the meter takes the ledger's.
    shop.remove_file()
    shop.start()
    await shop.round()
    assert shop.applied[-1] == Factors((Factor("power", 1, 500_000),))


async def test_what_nobody_signed_gives_way_to_the_ledger(shop: Shop) -> None:
    shop.remove_file()
    shop.shelf.doubt()
    with shop.open_book() as book:
        book.fill(History(Standing(9, shop.clock.time_s(), Factors((Factor("current", 1, 100_000),)))))
    shop.start()
    ledger_others(shop)
    await shop.round()
    assert shop.applied[-1] == Factors((Factor("power", 1, 500_000),))
    assert shop.shelf.history.is_signed


async def test_what_a_node_makes_up_is_not_looked_for_all_the_time(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.carrier.look()
    shop.clock.advance_s(20)
    ledger_others(shop)
    shop.node.inputs = {key: data[:40] for key, data in shop.node.inputs.items()}
    with pytest.raises(InvalidAnswer, match="makes no sense"):
        await shop.round()
    for _ in range(5):
        await shop.round()
    assert shop.node.calls.count("logs") == 1
    shop.clock.advance_s(601)
    shop.node.mine(42)
    with pytest.raises(InvalidAnswer, match="makes no sense"):
        await shop.round()
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250),))


async def test_a_node_that_catches_up_takes_nothing_back(shop: Shop) -> None:
    factors = Factors((Factor("current", 1, 1_200_000),))
    shop.remove_file()
    shop.shelf.doubt()
    with shop.open_book() as book:
        book.fill(History(Standing(9, shop.clock.time_s(), factors)))
    shop.start()
    shop.clock.advance_s(86_400)
    await shop.round()
    assert shop.applied[-1] == factors


async def test_a_calibration_of_next_year_is_not_in_force_before(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.round()
    shop.calibrate(Quantity.CURRENT, 1, 500_000, time_s=shop.clock.time_s() + 31_536_000)
    await shop.rounds_and_blocks(3)
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250),))
    assert "calibration 2 is dated 20" in caplog.text
    shop.restart()
    assert shop.applied[-1] == Factors((Factor("current", 1, 1_031_250),))
    shop.clock.advance_s(31_536_000)
    shop.carrier.look()
    assert shop.applied[-1] == Factors((Factor("current", 1, 500_000),))
    # A clock that falls behind, as that of a computer without a battery at a start, takes nothing back.
    shop.clock = ManualClock(shop.clock.time_s() - 86_400 * 30)
    shop.restart()
    assert shop.applied[-1] == Factors((Factor("current", 1, 500_000),))


async def test_a_calibration_on_the_ledger_waits_for_the_meters_clock(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.node.mine(10)
    ledger_others(shop, time_s=shop.clock.time_s() + 100)
    await shop.round()
    assert shop.applied[-1] == Factors()
    assert "ahead of the meter's clock: it is not taken over before its time" in caplog.text
    shop.clock.advance_s(60)
    await shop.round()
    assert shop.applied[-1] == Factors((Factor("power", 1, 500_000),))


async def test_what_is_in_force_is_kept_for_the_status(shop: Shop) -> None:
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    shop.shelf.close()  # the carrier opens it itself
    task = asyncio.ensure_future(shop.carrier.run())
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    state = read_state(KeptValues(shop.outbox.database))
    assert state is not None
    assert state.startswith("current 1 by 1.031250; calibration 1 of 2023-11-14")
    assert state.endswith("; the ledger has 0 of them")


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
    shop.restart()
    shop.calibrate(Quantity.CURRENT, 1, 1_031_250)
    await shop.rounds_and_blocks(3)
    assert caplog.text.count("calibration 1 has to wait: No meter ") == 1
    assert shop.applied[-1].ppm("current", 1) == 1_031_250
    shop.close()


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
