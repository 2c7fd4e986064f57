"""The whole meter with a measuring device: killed, cut off, silent, its clock set; only what is listed is missing."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

import meter.assembly as assembly
import meter.daemon as daemon_module
import meter.relay as relay_module
from contracts.reading_format import StatusFlag
from meter.assembly import build_daemon
from meter.daemon import MeterDaemon
from meter.drivers.measurement import Source
from meter.gaps import GapJournal
from meter.integration import MWMS_PER_WH
from meter.live import Observation
from meter.reading import Reading
from meter.settings import MeterSettings, parse_settings
from meter.signer import KeySigner
from meter.switch_journal import SwitchJournal
from primitives.clock import ManualClock
from tests.meter.fake_node import CHAIN_ID, METER_KEY, RATE_WEI_PER_WH, SENDER_KEY, FakeNode
from tests.meter.scripted_device import ScriptedDevice

INTERVAL_S = 5


class Home:
    """A meter whose device tells a power that changes all the time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, source: Source = Source.POWER) -> None:
        self.folder = folder
        self.source = source
        self.monkeypatch = monkeypatch
        self.random = random.Random(5)
        self.node = FakeNode(credit_wei=10**9 * RATE_WEI_PER_WH)
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock
        self.boot = 1
        self.true_mwms = 0
        # Energy by the second of Unix time at which it was told.
        self.told: list[tuple[int, int]] = []
        self.power_w = 1000
        self.document: dict[str, dict[str, object]] = {
            "meter": {
                "key": "unused.json",
                "outbox": "outbox.sqlite",
                "reading_interval_s": 300,
                "runtime_folder": "run",
            },
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 2},
            "driver": {"file": "unused.csv"},
        }
        (folder / "run").mkdir()
        monkeypatch.setattr(assembly, "read_boot_id", lambda: f"boot {self.boot}")
        monkeypatch.setattr(assembly, "open_section", lambda *arguments: self.device)
        self.device = ScriptedDevice(self.clock, source, INTERVAL_S)

    def settings(self) -> MeterSettings:
        return parse_settings(self.document, self.folder / "meter.toml")

    @contextmanager
    def open(self) -> Iterator[MeterDaemon]:
        self.device = ScriptedDevice(self.clock, self.source, INTERVAL_S)
        meter, payer = KeySigner(METER_KEY), KeySigner(SENDER_KEY)
        daemon = build_daemon(self.settings(), self.node, self.clock, meter, payer, random.Random(1))
        try:
            yield daemon
        finally:
            daemon.outbox.close()

    async def run(self, steps: int, *, killed: bool = False, silent: range = range(0)) -> list[Reading]:
        """So many samples, then the end; the readings of the outbox. In `silent` steps the device says nothing."""
        with self.open() as daemon:
            task = asyncio.ensure_future(daemon.run())
            await self.settle()
            for step in range(steps):
                await self.step(is_told=step not in silent)
            if killed:
                # As after SIGKILL: nothing is written any more.
                recorder = daemon._recorder
                recorder.stop = recorder._keeper.close  # type: ignore[method-assign]
            task.cancel()
            await asyncio.wait((task,))
            return [stored.signed.reading for stored in reversed(daemon.outbox.newest(1000))]

    async def begin(self) -> None:
        """The first sample; from then on without a node, so that all readings stay in the outbox."""
        self.node.gas_limit = 1
        await self.run(1)
        self.node.is_down = True

    async def step(self, *, is_told: bool = True) -> None:
        self.clock.advance_s(INTERVAL_S)
        energy_mwms = self.power_w * 1000 * INTERVAL_S * 1000
        self.true_mwms += energy_mwms
        if is_told:
            import_mwh = None if self.source is Source.POWER else self.true_mwms // 3_600_000
            self.device.tell(self.power_w, import_mwh=import_mwh)
            self.told.append((self.clock.time_s(), energy_mwms))
        await self.settle()
        if self.clock.time_s() % 15 == 0 and not self.node.is_down:
            self.node.mine()
        self.power_w = self.random.randrange(100, 5000)

    async def pass_by(self, seconds: int) -> None:
        """Without a meter."""
        for _ in range(seconds // INTERVAL_S):
            self.clock.advance_s(INTERVAL_S)
            self.true_mwms += self.power_w * 1000 * INTERVAL_S * 1000
            self.told.append((self.clock.time_s(), self.power_w * 1000 * INTERVAL_S * 1000))

    def cut_power(self) -> None:
        self.boot += 1
        for path in (self.folder / "run").iterdir():
            path.unlink()

    @staticmethod
    async def settle() -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    def gaps(self) -> list[tuple[int, int]]:
        with self.open() as daemon:
            return [
                (gap.from_s, gap.until_s or 2**60) for gap in reversed(GapJournal(daemon.outbox.database).newest(100))
            ]


async def test_whole_intervals_and_the_power_between_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, monkeypatch)
    await home.begin()
    begin_s = home.clock.time_s()
    readings = await home.run(200)
    boundaries = [time_s for time_s in range(begin_s, begin_s + 1001) if time_s % 300 == 0]
    kept = [reading.time_s for reading in readings]
    assert kept[-len(boundaries) :] == boundaries[-len(kept) :]
    assert {reading.flags for reading in readings[1:]} == {0, StatusFlag.RESTARTED}


async def test_killed_cut_off_and_silent_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Wh that is missing at the end lies in a gap that is listed, and nothing is there that was not."""
    home = Home(tmp_path, monkeypatch)
    await home.begin()
    before_first_s = home.clock.time_s()
    losses = 0
    for number in range(25):
        steps = home.random.randrange(1, 80)
        begin = home.random.randrange(steps)
        silent = range(begin, begin + home.random.choice((0, 0, 2, 10)))
        readings = await home.run(steps, killed=home.random.random() < 0.7, silent=silent)
        kind = number % 3
        if kind == 1:
            home.cut_power()
            losses += 1
            await home.pass_by(home.random.randrange(0, 600, 5))
        elif kind == 2:
            await home.pass_by(home.random.choice((0, 5, 10, 300)))
    readings = await home.run(61)
    gaps = home.gaps()
    last = readings[-1]

    def is_missing(time_s: int) -> bool:
        return time_s <= before_first_s or any(begin_s < time_s <= end_s for begin_s, end_s in gaps)

    told = [(time_s, energy) for time_s, energy in home.told if time_s <= last.time_s]
    assert losses > 5
    assert len(gaps) >= losses // 4  # those that touch are one
    least_mwms = sum(energy for time_s, energy in told if not is_missing(time_s))
    # Two silent steps are bridged by the power of the step after them: no more is there than flowed, roughly.
    most_mwms = home.true_mwms
    assert least_mwms // MWMS_PER_WH * 97 // 100 <= last.import_wh <= most_mwms // MWMS_PER_WH
    for earlier, later in pairwise(readings):
        assert later.sequence == earlier.sequence + 1
        assert later.previous_hash == earlier.hash
        assert later.import_wh >= earlier.import_wh
    for begin_s, end_s in gaps:
        covering = [reading for reading in readings if reading.time_s >= min(end_s, last.time_s)]
        assert any(reading.flags & StatusFlag.GAP for reading in readings if begin_s <= reading.time_s) or not covering


async def test_killed_again_and_again_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, monkeypatch)
    await home.begin()
    for _ in range(25):
        readings = await home.run(home.random.randrange(1, 20), killed=True)
    total_mwms = sum(energy for _, energy in home.told[1:])
    while home.clock.time_s() % 300:
        readings = await home.run(1, killed=True)
    assert total_mwms > 0
    expected = sum(energy for time_s, energy in home.told[1:] if time_s <= readings[-1].time_s)
    assert readings[-1].import_wh == expected // MWMS_PER_WH
    assert home.gaps() == []


async def test_a_node_that_hangs_does_not_keep_a_meter_from_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, monkeypatch)
    await home.begin()
    home.node.is_down = False
    monkeypatch.setattr(daemon_module, "ADOPT_PATIENCE_S", 0.05)
    monkeypatch.setattr(relay_module, "START_PATIENCE_S", 0.05)
    monkeypatch.setattr(home.node, "_answer", lambda *_: asyncio.Event().wait())
    is_seen = asyncio.Event()

    class Eye:
        def observe(self, _observation: Observation) -> None:
            is_seen.set()

    with home.open() as daemon:
        daemon.observers.append(Eye())
        task = asyncio.ensure_future(daemon.run())
        home.clock.advance_s(INTERVAL_S)
        home.device.tell(1000)
        await asyncio.wait_for(is_seen.wait(), 20)
        task.cancel()
        await asyncio.wait((task,))


async def test_a_meter_that_asks_the_ledger_for_long_says_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, monkeypatch)
    monkeypatch.setattr(daemon_module, "ADOPT_TELL_S", 0.01)
    monkeypatch.setattr(home.node, "_answer", lambda *_: asyncio.Event().wait())
    heard: asyncio.Queue[str] = asyncio.Queue()
    with home.open() as daemon:
        daemon.on_trouble.append(heard.put_nowait)
        task = asyncio.ensure_future(daemon.run())
        for _ in range(3):
            assert "the ledger is asked" in await asyncio.wait_for(heard.get(), 20)
        task.cancel()
        await asyncio.wait((task,))


@pytest.mark.parametrize("step_s", [7200, -7200])
async def test_a_clock_set_wrong_cuts_nobody_off_whose_ledger_is_in_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    home = Home(tmp_path, monkeypatch)
    home.document["relay"] = {"fail_safe": "off", "fail_safe_after_s": 600, "poll_interval_s": 15}
    with home.open() as daemon:
        task = asyncio.ensure_future(daemon.run())
        await home.settle()
        for _ in range(12):
            await home.step()
        home.clock.step_s(step_s)
        for _ in range(180):
            await home.step()
        assert daemon.relay is not None
        assert [one.is_on for one in SwitchJournal(daemon.outbox.database).newest(9)] == [True]
        task.cancel()
        await asyncio.wait((task,))


async def test_a_full_disk_ends_no_meter_and_costs_no_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(tmp_path, monkeypatch)
    await home.begin()
    with home.open() as daemon:
        task = asyncio.ensure_future(daemon.run())
        await home.settle()
        connection = daemon.outbox.database.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(1500):
            await home.step()
            assert not task.done()
            if "NO READING WAS SIGNED: THE DISK IS FULL" in caplog.text:
                break
        else:
            raise AssertionError("the disk is not full")
        for _ in range(100):
            await home.step()
        connection.execute("PRAGMA max_page_count = 100000")
        for _ in range(61):
            await home.step()
        assert not task.done()
        task.cancel()
        await asyncio.wait((task,))
        head = daemon.outbox.head()
    assert head is not None
    expected = sum(energy for time_s, energy in home.told[1:] if time_s <= head.registers.time_s)
    assert head.registers.import_wh == expected // MWMS_PER_WH
    assert home.gaps() == []


async def test_a_register_loses_nothing_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, monkeypatch, source=Source.REGISTER)
    await home.begin()
    for _ in range(6):
        await home.run(home.random.randrange(1, 60), killed=True)
        home.cut_power()
        await home.pass_by(home.random.randrange(0, 900, 5))
    first_mwh = home.told[0][1] // 3_600_000
    readings = await home.run(61)
    shown_mwh = sum(energy for time_s, energy in home.told if time_s <= readings[-1].time_s) // 3_600_000
    assert readings[-1].import_wh == (shown_mwh - first_mwh) // 1000
    # Two that touch are one; killed before its clock can be believed, it knows no better.
    assert 1 <= len(home.gaps()) <= 6


async def test_changed_settings_are_in_the_next_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, monkeypatch)
    await home.begin()
    assert StatusFlag((await home.run(3))[-1].flags) == StatusFlag.RESTARTED
    home.document["rules"] = {"connection_w": 9000}
    assert StatusFlag((await home.run(3))[-1].flags) == StatusFlag.RESTARTED | StatusFlag.SETTINGS_CHANGED
    monkeypatch.setattr(assembly, "program_hash", lambda: "another")
    assert StatusFlag((await home.run(3))[-1].flags) == StatusFlag.RESTARTED | StatusFlag.PROGRAM_CHANGED


async def test_nothing_is_signed_before_the_newest_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, monkeypatch)
    for _ in range(10):
        await home.step(is_told=False)
    home.clock.step_s(-86_400)
    assert await home.run(5) == []
    # Now it knows the block from its own card.
    home.node.is_down = True
    home.cut_power()
    assert await home.run(5) == []
    home.clock.step_s(86_400)
    (reading,) = await home.run(5)
    assert reading.time_s >= home.node.blocks[3].time_s
    assert reading.flags & StatusFlag.RESTARTED


async def test_a_limit_of_power_is_a_reason_for_a_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, monkeypatch)
    home.node.gas_limit = 1
    home.document["events"] = {"import_above_w": 6000}
    with home.open() as daemon:
        task = asyncio.ensure_future(daemon.run())
        await home.settle()
        for power_w in (500, 500, 6001, 6001, 500):
            home.power_w = power_w
            await home.step()
        task.cancel()
        await asyncio.wait((task,))
        readings = [stored.signed.reading for stored in reversed(daemon.outbox.newest(10))]
    reasons = StatusFlag.RESTARTED | StatusFlag.THRESHOLD
    assert [(reading.power_w, StatusFlag(reading.flags) & reasons) for reading in readings] == [
        (500, StatusFlag.RESTARTED),
        (6001, StatusFlag.THRESHOLD),
    ]
