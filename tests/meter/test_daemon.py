"""The whole meter on an accelerated clock against real contracts: energy read is energy charged, to the Wh."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

import meter.outbox as outbox_module
from contracts.reading_format import StatusFlag
from meter.assembly import build_daemon
from meter.daemon import MeterDaemon
from meter.drivers.measured_csv import Column, CsvFormat, read_rows
from meter.live import Observation
from meter.profile import write_profile
from meter.settings import MeterSettings, parse_settings
from meter.signer import KeySigner
from meter.switch_journal import SwitchJournal
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, RATE_WEI_PER_WH, SENDER_KEY, FakeNode
from tests.wallet.toy_node import ToyNode, serve
from wallet.client import RpcClient
from wallet.ledger_identity import LedgerIdentity

HOUR_S = 3600
# Long blocks: what is tested does not depend on how many there are.
BLOCK_TIME_S = 300


class World:
    """A node that makes a block every five minutes of the clock, and a meter that plays a profile."""

    def __init__(self, folder: Path, *, credit_wh: int = 10**9, hours: int = 24, **driver: object) -> None:
        self.folder = folder
        self.profile = folder / "profile.csv"
        days = -(-hours // 24)
        write_profile(self.profile, days, 3)
        lines = self.profile.read_text().splitlines()[: hours + 1]
        self.profile.write_text("\n".join(lines) + "\n")
        self.node = FakeNode(credit_wei=credit_wh * RATE_WEI_PER_WH)
        self.node.block_time_s = BLOCK_TIME_S
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock
        self.driver = driver
        self.daemon: MeterDaemon | None = None

    def settings(self) -> MeterSettings:
        document: dict[str, object] = {
            "meter": {"key": "unused.json", "outbox": "outbox.sqlite", "reading_interval_s": HOUR_S},
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 2},
            "driver": {"file": "profile.csv", **self.driver},
        }
        return parse_settings(document, self.folder / "meter.toml")

    @contextmanager
    def open(self) -> Iterator[MeterDaemon]:
        daemon = build_daemon(
            self.settings(), self.node, self.clock, KeySigner(METER_KEY), KeySigner(SENDER_KEY), random.Random(1)
        )
        try:
            yield daemon
        finally:
            daemon.outbox.close()

    async def advance(self, duration_s: float) -> None:
        """Time goes on in steps of a block, and all that waited for it is done."""
        end_s = self.clock.now_s + duration_s
        while self.clock.now_s < end_s:
            self.clock.advance_s(BLOCK_TIME_S)
            for _ in range(60):
                await asyncio.sleep(0)
            self.node.mine()

    async def run_to_the_end(self) -> None:
        with self.open() as daemon:
            task = asyncio.ensure_future(daemon.run(until_settled=True))
            for _ in range(10_000):
                if task.done():
                    break
                await self.advance(BLOCK_TIME_S)
            await task

    def lose_outbox(self) -> None:
        for path in self.folder.glob("outbox.sqlite*"):
            path.unlink()

    def exact_wh(self) -> int:
        form = CsvFormat(Column("non_shiftable_load", "kWh"))
        total = sum(((row.net_wh or Fraction(0)) for row in read_rows(self.profile, form)), Fraction(0))
        return int(total)


async def test_energy_read_is_energy_charged(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.run_to_the_end()
    assert world.node.accepted_sequences() == list(range(1, 25))
    assert world.node.charged_wh() == world.exact_wh() > 5000


async def test_supply_goes_off_and_nothing_is_drawn_until_the_top_up(tmp_path: Path) -> None:
    world = World(tmp_path, credit_wh=2000)
    with world.open() as daemon:
        assert daemon.relay is not None
        task = asyncio.ensure_future(daemon.run(until_settled=True))
        while daemon.relay.is_on or world.clock.now_s == world.node.blocks[0].time_s:
            await world.advance(BLOCK_TIME_S)
        await world.advance(HOUR_S)
        head = daemon.outbox.head()
        assert head is not None
        await world.advance(3 * HOUR_S)
        later = daemon.outbox.head()
        assert later is not None
        assert later.sequence > head.sequence
        assert later.registers.import_wh == head.registers.import_wh
        assert world.node.charged_wh() == later.registers.import_wh < world.exact_wh()
        world.node.top_up(METER, 10**6 * RATE_WEI_PER_WH)
        while not task.done():
            await world.advance(BLOCK_TIME_S)
        await task
        last = daemon.outbox.head()
        assert last is not None
        assert later.registers.import_wh < last.registers.import_wh == world.node.charged_wh() < world.exact_wh()


async def test_stopped_and_started_at_any_time(tmp_path: Path) -> None:
    """Cancelled in the middle of whatever it does; the profile is charged to the Wh all the same."""
    world = World(tmp_path, hours=10)
    randomness = random.Random(4)
    for _ in range(12):
        with world.open() as daemon:
            task = asyncio.ensure_future(daemon.run())
            for _ in range(randomness.randrange(40)):
                await asyncio.sleep(0)
            await world.advance(randomness.choice((0, 300, 900, 2700)))
            world.node.is_down = randomness.random() < 0.3
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    world.node.is_down = False
    await world.run_to_the_end()
    assert world.node.accepted_sequences() == list(range(1, 11))
    # While the daemon does not run the household is supplied as before.
    assert world.node.charged_wh() == world.exact_wh()


async def test_readings_are_signed_while_the_node_is_down(tmp_path: Path) -> None:
    world = World(tmp_path, hours=6)
    with world.open() as daemon:
        task = asyncio.ensure_future(daemon.run(until_settled=True))
        await world.advance(HOUR_S)
        world.node.is_down = True
        await world.advance(4 * HOUR_S)
        assert daemon.outbox.count() >= 4
        assert not daemon.submitter.is_reachable
        world.node.is_down = False
        while not task.done():
            await world.advance(BLOCK_TIME_S)
        await task
    assert world.node.accepted_sequences() == [1, 2, 3, 4, 5, 6]
    assert world.node.charged_wh() == world.exact_wh()


async def test_new_meter_asks_the_ledger_before_it_signs(tmp_path: Path) -> None:
    world = World(tmp_path, hours=2)
    world.node.is_down = True
    with world.open() as daemon:
        task = asyncio.ensure_future(daemon.run(until_settled=True))
        await world.advance(3 * HOUR_S)
        assert daemon.outbox.head() is None
        world.node.is_down = False
        while not task.done():
            await world.advance(BLOCK_TIME_S)
        await task
    assert world.node.accepted_sequences() == [1, 2]


async def test_lost_outbox_goes_on_behind_the_ledger(tmp_path: Path) -> None:
    world = World(tmp_path, hours=3)
    await world.run_to_the_end()
    world.lose_outbox()
    charged = world.node.charged_wh()
    await world.run_to_the_end()
    assert world.node.accepted_sequences() == [1, 2, 3, 4, 5, 6]
    assert world.node.charged_wh() in (2 * charged, 2 * charged + 1, 2 * charged - 1)


async def test_readings_cover_the_rows_between_them(tmp_path: Path) -> None:
    world = World(tmp_path, hours=8, row_interval_s=900)
    await world.run_to_the_end()
    # Eight rows of a quarter of an hour: one reading at the first, two at the hour's last row, and one at the end.
    times = [block.time_s for block in world.node.blocks if block.logs]
    assert world.node.accepted_sequences() == [1, 2, 3, 4]
    assert len(times) == 4
    assert world.node.charged_wh() == world.exact_wh()


async def test_first_reading_and_gaps_are_flagged(tmp_path: Path) -> None:
    world = World(tmp_path, hours=3, missing_values=["?"])
    lines = world.profile.read_text().splitlines()
    lines[2] = "1,2,1,?,0"
    world.profile.write_text("\n".join(lines) + "\n")
    with world.open() as daemon:
        task = asyncio.ensure_future(daemon.run())
        world.node.gas_limit = 1  # nothing is sent
        await world.advance(3 * HOUR_S + BLOCK_TIME_S)
        flags = [stored.signed.reading.flags for stored in reversed(daemon.outbox.newest(9))]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert flags == [StatusFlag.RESTARTED, StatusFlag.GAP, 0]


async def test_full_outbox_delays_readings_but_loses_no_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "MAX_READINGS", 2)
    world = World(tmp_path, hours=8)
    with world.open() as daemon:
        task = asyncio.ensure_future(daemon.run(until_settled=True))
        await world.advance(BLOCK_TIME_S)
        world.node.is_down = True
        await world.advance(5 * HOUR_S)
        assert daemon.outbox.count() == 2
        assert "NO READING WAS SIGNED" in caplog.text
        world.node.is_down = False
        while not task.done():
            await world.advance(BLOCK_TIME_S)
        await task
    assert world.node.charged_wh() == world.exact_wh()


async def test_on_another_ledger_the_daemon_ends_plainly_before_anything_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, hours=3)
    with serve(ToyNode(fixed_results={"eth_chainId": "0x5"})) as other:
        async with RpcClient(other.url, ledger=LedgerIdentity(CHAIN_ID)) as client:
            world.node = client  # type: ignore[assignment]
            with world.open() as daemon:
                with pytest.raises(UserError, match="the node is on chain 5, but the settings say chain 4711"):
                    await asyncio.wait_for(daemon.run(), 10)
                assert daemon.outbox.head() is None
                assert SwitchJournal(daemon.outbox.database).last() is None
    assert {request["method"] for request in other.requests} == {"eth_chainId"}


def test_second_daemon_on_the_same_outbox(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.open(), pytest.raises(UserError, match="another meter daemon"), world.open():
        pass


class Watch:
    """An observer and a service in one, that notes tamper at the second sample."""

    def __init__(self, daemon: MeterDaemon) -> None:
        self._daemon = daemon
        self.seen: list[Observation] = []
        self.is_running = False

    def observe(self, observation: Observation) -> None:
        self.seen.append(observation)
        if len(self.seen) == 2:
            self._daemon.note(StatusFlag.TAMPER, "somebody touched it", at_once=True)

    async def run(self) -> None:
        self.is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_running = False


async def test_observers_see_every_sample_and_services_run_beside(tmp_path: Path) -> None:
    world = World(tmp_path, hours=3, row_interval_s=900)
    with world.open() as daemon:
        watch = Watch(daemon)
        daemon.observers.append(watch)
        daemon.services.append(watch)
        task = asyncio.ensure_future(daemon.run())
        world.node.gas_limit = 1  # nothing is sent
        await world.advance(HOUR_S)
        assert watch.is_running
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not watch.is_running
        readings = [stored.signed.reading for stored in reversed(daemon.outbox.newest(9))]
    assert len(watch.seen) == 3
    assert readings[1].flags == StatusFlag.TAMPER
    assert readings[1].time_s == watch.seen[1].sample.registers.time_s


async def test_a_service_that_fails_ends_the_daemon(tmp_path: Path) -> None:
    class Broken:
        async def run(self) -> None:
            raise UserError("this cannot go on")

    world = World(tmp_path, hours=3)
    with world.open() as daemon:
        daemon.services.append(Broken())
        with pytest.raises(UserError, match="this cannot go on"):
            await daemon.run()
