"""A whole meter on a board over a serial line, against real contracts: unplugged, and calibrated while it runs.

The clock stands still until it is moved, so that every Wh can be reckoned by hand.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from contracts.addresses import CALIBRATIONS_ADDRESS
from contracts.binding import load_artifact
from contracts.calibration_format import ONE_PPM, Calibration, Quantity
from contracts.reading_format import StatusFlag
from meter.assembly import build_daemon
from meter.calibration import CalibrationBook, calibration_file
from meter.calibration_state import read_state
from meter.daemon import MeterDaemon
from meter.kept_values import KeptValues
from meter.live import Observation
from meter.settings import parse_settings
from meter.signed_calibration import sign_calibration
from meter.signer import KeySigner
from primitives.clock import ManualClock
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, OTHER_KEY, RATE_WEI_PER_WH, SENDER_KEY, FakeNode
from tests.meter.serial_pair import SerialPair, let_open

INTERVAL_S = 5
READING_S = 60
BLOCK_S = 15


class Home:
    def __init__(self, folder: Path, pair: SerialPair) -> None:
        self.folder, self.pair = folder, pair
        self.node = FakeNode(credit_wei=10**9 * RATE_WEI_PER_WH)
        # The node's first block may lie at any second; readings are due at whole minutes.
        self.clock = ManualClock(-(-self.node.blocks[-1].time_s // READING_S) * READING_S)
        self.node.clock = self.clock
        self.measured = asyncio.Event()

    def observe(self, observation: Observation) -> None:
        if observation.measurement is not None:
            self.measured.set()

    @contextmanager
    def open(self) -> Iterator[MeterDaemon]:
        document = {
            "meter": {"key": "unused.json", "outbox": "outbox.sqlite", "reading_interval_s": READING_S},
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 1},
            "driver": {"kind": "rpict", "port": self.pair.port},
            "relay": {"enabled": False},
        }
        settings = parse_settings(document, self.folder / "meter.toml")
        keys = KeySigner(METER_KEY), KeySigner(SENDER_KEY)
        daemon = build_daemon(settings, self.node, self.clock, *keys, random.Random(1))
        daemon.observers.append(self)
        try:
            yield daemon
        finally:
            daemon.outbox.close()

    async def run(self, duration_s: int, power_w: int | None) -> None:
        """A line every five seconds, or none; a block every fifteen."""
        for _ in range(duration_s // INTERVAL_S):
            self.clock.advance_s(INTERVAL_S)
            for _ in range(20):
                await asyncio.sleep(0)
            if power_w is not None:
                self.measured.clear()
                await self.pair.send(b"11 %d.00 0.00 0.00 5000.0 0.0 0.0 230.00\r\n" % power_w)
                # The first line after opening is thrown away.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await self.measured.wait()
            if self.clock.time_s() % BLOCK_S == 0:
                self.node.mine()

    def calibrate(self, ppm: int) -> None:
        with CalibrationBook(calibration_file(self.folder / "outbox.sqlite"), CHAIN_ID, METER) as book:
            person = KeySigner(OTHER_KEY)
            sequence, now_s = book.last()[0] + 1, self.clock.time_s()
            change = Calibration(METER, person.address, sequence, now_s, Quantity.CURRENT, 1, ONE_PPM, ppm)
            book.add(sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), person), now_s)

    def factor_on_ledger(self) -> int:
        abi = load_artifact("Calibrations").abi
        data = abi.encode_call("factorOf", (METER, 1, 1))
        return int(
            abi.decode_result(
                "factorOf", self.node._call(None, CALIBRATIONS_ADDRESS, data, self.node.blocks[-1]).output
            )[0]
        )


async def test_a_board_is_unplugged_and_calibrated(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        home = Home(tmp_path, pair)
        with home.open() as daemon:
            task = asyncio.ensure_future(daemon.run())
            await let_open()
            # The first line may be cut, and the first that is not begins the counting; then 36 kW for ten minutes.
            await home.run(600, 36_000)
            assert registers_wh(daemon) == 5_900
            pair.unplug()
            await home.run(120, None)
            pair.plug()
            await home.run(180, 36_000)
            plugged_wh = registers_wh(daemon)
            assert registers_wh(daemon) <= 6_000 + 1_800
            home.calibrate(1_200_000)
            await home.run(600, 36_000)
            calibrated_wh = registers_wh(daemon) - plugged_wh
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    # A line or two at the old factor at most, until the file was looked at.
    assert 7_180 <= calibrated_wh <= 7_200
    assert home.factor_on_ledger() == 1_200_000
    flags = accepted_flags(home.node)
    assert sum(1 for flag in flags if flag & StatusFlag.CALIBRATED) == 1
    assert sum(1 for flag in flags if flag & StatusFlag.GAP) >= 1
    assert not any(flag & (StatusFlag.JUMP | StatusFlag.DEVICE_CHANGED) for flag in flags)


async def test_an_edited_file_does_not_switch_the_metering_off(tmp_path: Path) -> None:
    """The owner halves the factor in the file while the meter is off: it starts, measures as before, and says so."""
    with SerialPair(tmp_path) as pair:
        home = Home(tmp_path, pair)
        home.calibrate(1_200_000)
        for is_edited in (False, True):
            if is_edited:
                with closing(sqlite3.connect(tmp_path / "outbox.sqlite.calibrations")) as file, file:
                    file.execute("UPDATE calibrations SET new_ppm = 600000")
            with home.open() as daemon:
                task = asyncio.ensure_future(daemon.run())
                await let_open()
                await home.run(180, 36_000)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                wh = registers_wh(daemon)
                altered = [one.kind for one in daemon.outbox.alterations.newest(9)]
                state = read_state(KeptValues(daemon.outbox.database))
    assert wh >= 3_500  # twice three minutes of 43.2 kW, less what each start costs
    flags = accepted_flags(home.node)
    assert sum(1 for flag in flags if flag & StatusFlag.TAMPER) == 1
    assert sum(1 for flag in flags if flag & StatusFlag.CALIBRATED) == 1
    assert altered == ["calibrations"]
    assert state is not None
    assert state.startswith("current 1 by 1.200000; calibration 1 of ")
    assert home.factor_on_ledger() == 1_200_000


def registers_wh(daemon: MeterDaemon) -> int:
    head = daemon.outbox.head()
    assert head is not None
    return head.registers.import_wh


def accepted_flags(node: FakeNode) -> list[int]:
    abi = load_artifact("Meter").abi
    found = []
    for block in node.blocks:
        for log in block.logs:
            decoded = abi.decode_log(log.topics, log.data)
            if decoded is not None and decoded.event == "ReadingAccepted":
                found.append(int(str(decoded.arguments["flags"])))
    return found
