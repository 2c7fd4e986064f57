"""A home, its meter and its ledger for a year in made time, and all that goes wrong in it, drawn from a seed.

The daemon is the one that `wattchain meter run` runs, on the event loop of tests/simulation/virtual_time.py. The home
(meter/drivers/simulated_home.py) and the ledger live on in real time, whatever becomes of the meter, its clock, its
line or its way to the node. A killed daemon never runs again, not even to clean up; the next one finds the files that
it left behind: all of them after a kill, those on the card alone after a power cut.
"""

import asyncio
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import meter.assembly as assembly
from meter.checkpoint import PLACE_BYTES, CheckpointKeeper
from meter.daemon import MeterDaemon
from meter.drivers.measurement import Source
from meter.drivers.simulated_home import SimulatedHome, SimulatedHomeSettings
from meter.gaps import Gap, GapJournal
from meter.live import Observation
from meter.settings import MeterSettings, parse_settings
from meter.signer import KeySigner
from primitives.secp256k1 import address_of
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, OTHER_KEY, RATE_WEI_PER_WH, SENDER_KEY, Failure
from tests.simulation.virtual_time import START_S, Life, VirtualLoop
from tests.soak.year_books import CONFIRMATIONS, SILENT, Log, Signing, Start, SupplyLook, TopUp
from tests.soak.year_home import SAMPLE_S, Line, WorldClock, YearDevice
from tests.soak.year_node import YearNode
from wallet.client import NodeUnreachable, RpcError

DAY_S = 86_400
HOUR_S = 3_600
BLOCK_TIME_S = 600
POLL_S = 120
READING_INTERVAL_S = 3_600
LONGEST_S = 400 * DAY_S
SETTLE_S = 4 * DAY_S
"""Behind the last trouble; then the ledger has to have everything."""
FORGETFUL_S = 1_600_000_000
"""What a clock without a battery may show after a boot: some day long ago."""
FIRST_CREDIT_WH = 40_000


@dataclass(frozen=True, slots=True)
class Rates:
    """Days from one trouble to the next, on average."""

    kill: float = 1.5
    power_cut: float = 3.0
    restart: float = 7.0
    clock_step: float = 5.0
    unplugged: float = 4.0
    node_outage: float = 6.0
    lost_answer: float = 1.0
    duplicate: float = 1.0
    reorganisation: float = 7.0
    top_up: float = 7.0


@dataclass(slots=True)
class Running:
    """A life of the daemon."""

    life: Life
    daemon: MeterDaemon
    keeper: CheckpointKeeper
    task: "asyncio.Task[None]"


class World:
    """Everything of one year."""

    def __init__(self, loop: VirtualLoop, folder: Path, seed: int, days: float, source: Source, rates: Rates) -> None:
        self.loop = loop
        self.random = random.Random(f"year {seed}")
        self.clock = WorldClock(loop)
        self.node = YearNode(FIRST_CREDIT_WH * RATE_WEI_PER_WH, self.clock)
        self.top_ups = [TopUp(0, FIRST_CREDIT_WH)]
        settings = SimulatedHomeSettings(seed=seed, source=source.value, begin_s=START_S - HOUR_S)
        self.line = Line(SimulatedHome(settings, self.clock), loop, self.random)
        self.log = Log()
        self.events: Counter[str] = Counter()
        self.looks: list[SupplyLook] = []
        self.signings: list[Signing] = []
        self.gaps: list[Gap] = []
        self.running: Running | None = None
        self.lives: list[Life] = []
        self.signed = 0
        self._folder = folder
        self._rates = rates
        self._days = days
        self._boots = 1
        self._machine_clock = WorldClock(loop)
        self._steady_since_s = 0.0
        self._was_down = False
        self._highest_block = 0
        self._heard_block = 0
        self._import_wh = 0
        self._is_over = False
        self._troubles: list[asyncio.Task[None]] = []
        (folder / "run").mkdir(parents=True)

    async def live(self) -> None:
        """The whole year, and as long as it takes until the ledger has everything."""
        troubles = [
            self._mine(),
            self._now_and_then(self._rates.clock_step, self._step_clock),
            self._now_and_then(self._rates.unplugged, self._unplug),
            self._now_and_then(self._rates.node_outage, self._lose_node),
            self._now_and_then(self._rates.lost_answer, self._lose_answer),
            self._now_and_then(self._rates.duplicate, self._send_twice),
            self._now_and_then(self._rates.reorganisation, self._reorganise),
            self._now_and_then(self._rates.top_up, self._top_up),
        ]
        self._troubles = [asyncio.ensure_future(trouble) for trouble in troubles]
        self._start("first")
        end_s = self._days * DAY_S
        while self.loop.time() < end_s:
            await self._wait_for_an_end(end_s)
        self._is_over = True
        await self._settle()
        await self._stop()
        for task in self._troubles:
            task.cancel()
        await asyncio.gather(*self._troubles, return_exceptions=True)

    # The machine that the daemon runs on

    async def _wait_for_an_end(self, end_s: float) -> None:
        """Run until the next kill, power cut or restart, and through it."""
        rates = self._rates
        kinds = {"kill": rates.kill, "power cut": rates.power_cut, "restart": rates.restart}
        waits = {kind: self.random.expovariate(1 / (days * DAY_S)) for kind, days in kinds.items()}
        kind = min(waits, key=lambda one: waits[one])
        running = self._alive()
        wait_s = max(min(waits[kind], end_s - self.loop.time()), 1)
        await asyncio.wait((running.task, *self._troubles), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        self._nothing_ended()
        if self.loop.time() >= end_s:
            return
        self.events[kind] += 1
        if kind == "restart":
            await self._stop()
        else:
            self._crash(is_power_cut=kind == "power cut")
        # Most come back at once, some after hours.
        down_s = math.exp(self.random.uniform(0, math.log(60 if self.random.random() < 0.7 else 12 * HOUR_S)))
        await asyncio.sleep(down_s)
        if kind == "power cut":
            self._boot()
        self._start(kind)

    def _nothing_ended(self) -> None:
        """Neither the daemon nor the world ends by itself."""
        for task in (self._alive().task, *self._troubles):
            if task.done():
                task.result()
                raise AssertionError("the daemon ended by itself")

    def _boot(self) -> None:
        """Another boot: the monotonic clock begins anew, the time of day may be lost until a time server answers."""
        self._boots += 1
        shown_s = self._machine_clock.precise_time_s()
        self._machine_clock = WorldClock(self.loop)
        draw = self.random.random()
        if draw < 0.3:
            self._machine_clock.offset_s = shown_s - self.clock.precise_time_s() - self.random.uniform(0, HOUR_S)
        elif draw < 0.5:
            self._machine_clock.offset_s = FORGETFUL_S - self.clock.precise_time_s()
        self.loop.call_later(self.random.uniform(5, 2 * HOUR_S), self._set_right, self._machine_clock)

    def _set_right(self, clock: WorldClock) -> None:
        clock.offset_s = 0.0

    def _start(self, kind: str) -> None:
        life = Life(self.loop, f"{kind} {len(self.lives)}")
        self.lives.append(life)
        self.log.start(Start(kind))
        daemon, keeper = life.call(self._build)
        daemon._driver._random = random.Random(self.random.random())
        daemon.observers.append(self)
        self.node.told_time_s = 0
        daemon._recorder.on_signed.append(lambda: self._see_signing(daemon))
        self.running = Running(life, daemon, keeper, life.start(daemon.run()))
        self._steady_since_s = self.loop.time()

    def _build(self) -> tuple[MeterDaemon, CheckpointKeeper]:
        keepers: list[CheckpointKeeper] = []
        build_keeper = assembly.build_keeper

        def capture(*arguments: Any) -> CheckpointKeeper:
            keepers.append(build_keeper(*arguments))
            return keepers[0]

        with (
            patch.object(assembly, "open_section", lambda section, clock, *_: YearDevice(self.line, clock)),
            patch.object(assembly, "read_boot_id", lambda: f"boot {self._boots}"),
            patch.object(assembly, "build_keeper", capture),
        ):
            daemon = assembly.build_daemon(
                self._settings(),
                self.node,
                self._machine_clock,
                KeySigner(METER_KEY),
                KeySigner(SENDER_KEY),
                random.Random(self.random.random()),
            )
        return daemon, keepers[0]

    def _settings(self) -> MeterSettings:
        document: dict[str, object] = {
            "meter": {
                "key": "in-memory.json",
                "outbox": "outbox.sqlite",
                "reading_interval_s": READING_INTERVAL_S,
                "runtime_folder": "run",
            },
            "ledger": {
                "chain_id": CHAIN_ID,
                "confirmations": CONFIRMATIONS,
                "poll_interval_s": POLL_S,
                "resend_after_s": 1800,
            },
            "driver": {"kind": "simulated-home", "interval_s": SAMPLE_S, "source": self.line.home.source.value},
            "relay": {"poll_interval_s": POLL_S},
            "policy": {"poll_interval_s": POLL_S},
        }
        return parse_settings(document, self._folder / "meter.toml")

    def observe(self, observation: Observation) -> None:
        """As an observer of the daemon: every sample, with its time of the world."""
        sample, measurement = observation.sample, observation.measurement
        time_s = sample.registers.time_s if sample.is_timed else -1
        self._import_wh = sample.registers.import_wh
        elapsed_ms = round(self.loop.time() * 1000)
        if measurement is None:
            self.log.add(elapsed_ms, time_s, SILENT, 0)
        elif self.line.home.source is Source.POWER:
            assert measurement.power_mw is not None
            self.log.add(elapsed_ms, time_s, measurement.power_mw, 0)
        else:
            assert measurement.import_mwh is not None
            assert measurement.export_mwh is not None
            self.log.add(elapsed_ms, time_s, measurement.import_mwh, measurement.export_mwh)

    def _see_signing(self, daemon: MeterDaemon) -> None:
        head = daemon.outbox.head()
        assert head is not None
        self.signings.append(Signing(head.sequence, head.registers.time_s, self.node.told_time_s))

    def _alive(self) -> Running:
        assert self.running is not None
        return self.running

    def _crash(self, *, is_power_cut: bool) -> None:
        """The process is gone in the middle of everything; after a power cut what was in memory, too."""
        running = self._alive()
        running.life.is_over = True
        left = {path: path.read_bytes() for path in self._files()}
        self.running = None
        running.daemon.outbox.close()
        running.keeper.close()
        for path in self._files():
            path.unlink()
        for path, content in left.items():
            if path.suffix in (".lock",) or path.name.endswith("-shm"):
                continue
            if is_power_cut and path.parent != self._folder:
                continue
            if is_power_cut and path.suffix == ".state" and self.random.random() < 0.2:
                content = self._torn(content)
            path.write_bytes(content)

    def _torn(self, content: bytes) -> bytes:
        """The page that was being written is half there."""
        self.events["torn page"] += 1
        begin = self.random.choice((0, PLACE_BYTES))
        return content[: begin + 30] + bytes(200) + content[begin + 230 :]

    def _files(self) -> list[Path]:
        return [Path(folder) / name for folder, _, names in os.walk(self._folder) for name in names]

    async def _stop(self) -> None:
        """In order, as systemd would."""
        running = self._alive()
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        journal = GapJournal(running.daemon.outbox.database)
        self.gaps = journal.between(0, 2**40)
        head = running.daemon.outbox.head()
        self.signed = 0 if head is None else head.sequence
        running.daemon.outbox.close()
        self.running = None

    async def _settle(self) -> None:
        """Everything is put right; the ledger gets what is waiting."""
        self.line.is_unplugged = self.node.is_down = False
        self.node.failures.clear()
        self._set_right(self._machine_clock)
        running = self._alive()
        await asyncio.sleep(2 * HOUR_S)
        for _ in range(SETTLE_S // BLOCK_TIME_S):
            self._nothing_ended()
            if running.daemon.outbox.count() == 0:
                return
            await asyncio.sleep(BLOCK_TIME_S)
        raise AssertionError(f"{running.daemon.outbox.count()} readings are still in the outbox")

    # The ledger

    async def _mine(self) -> None:
        while True:
            await asyncio.sleep(BLOCK_TIME_S)
            self._look_at_relay()
            self.node.mine()

    def _look_at_relay(self) -> None:
        """Just before the next block: the relay had the time to follow the last one, if it could."""
        now_s = self.loop.time()
        is_wrong = abs(self._machine_clock.offset_s) > HOUR_S / 2
        if self.running is None or is_wrong:
            self._steady_since_s = now_s
        if self.node.is_down != self._was_down:
            self._steady_since_s, self._was_down = now_s, self.node.is_down
        if not self.node.is_down:
            self._heard_block = self.node.blocks[-1].number
        if now_s - self._steady_since_s >= 2 * BLOCK_TIME_S:
            self.looks.append(
                SupplyLook(self._heard_block, self.line.supply_is_on, not self.node.is_down, self._import_wh)
            )

    # What goes wrong

    async def _now_and_then(self, days: float, trouble: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / (days * DAY_S)))
            if not self._is_over:
                await trouble()

    async def _step_clock(self) -> None:
        """Somebody sets the clock; later a time server puts it right."""
        self.events["clock step"] += 1
        size_s = math.exp(self.random.uniform(math.log(2), math.log(2 * DAY_S)))
        clock = self._machine_clock
        clock.offset_s = self.random.choice((-1, 1)) * size_s
        await asyncio.sleep(math.exp(self.random.uniform(math.log(10), math.log(6 * HOUR_S))))
        clock.offset_s = 0.0

    async def _unplug(self) -> None:
        self.events["unplugged"] += 1
        self.line.is_unplugged = True
        await asyncio.sleep(math.exp(self.random.uniform(math.log(4), math.log(6 * HOUR_S))))
        self.line.is_unplugged = False

    async def _lose_node(self) -> None:
        self.events["node outage"] += 1
        self.node.is_down = True
        await asyncio.sleep(math.exp(self.random.uniform(math.log(300), math.log(3 * DAY_S))))
        self.node.is_down = False
        self._steady_since_s = self.loop.time()

    async def _lose_answer(self) -> None:
        """A question that is not answered, or whose answer is lost after it had its effect."""
        self.events["lost answer"] += 1
        self._steady_since_s = self.loop.time()
        at_call = self.node.call_count + self.random.randint(1, 30)
        error = NodeUnreachable("the answer was lost")
        self.node.failures = [Failure(at_call, error, is_after=self.random.random() < 0.5)]

    async def _send_twice(self) -> None:
        """An old transaction comes again, and a stranger carries readings that are on their way."""
        self.events["sent twice"] += 1
        sent = self.node.accepted_raw[-20:]
        if sent:
            try:
                await self.node.send_raw(self.random.choice(sent))
            except (RpcError, NodeUnreachable):
                self.events["refused as sent before"] += 1
        if self.running is not None and not self.node.is_down:
            waiting = self.running.daemon.outbox.waiting(0, 50)
            if waiting:
                self.events["carried by a stranger"] += 1
                ledger = self.running.daemon.submitter._ledger
                other = address_of(OTHER_KEY)
                self.node.transact(other, ledger.meter_contract, ledger.batch_call(waiting[:20]))

    async def _reorganise(self) -> None:
        """Never of blocks that so many stood on that they counted as final."""
        head = self.node.blocks[-1].number
        self._highest_block = max(self._highest_block, head)
        deepest = min(head - (self._highest_block - CONFIRMATIONS), head)
        if deepest < 1:
            return
        self.events["reorganisation"] += 1
        self._steady_since_s = self.loop.time()
        self.node.reorganise(self.random.randint(1, deepest))
        self.top_ups = [top_up for top_up in self.top_ups if top_up.block_number < len(self.node.blocks)]

    async def _top_up(self) -> None:
        self.events["top-up"] += 1
        energy_wh = self.random.randint(10_000, 70_000)
        self.node.top_up(METER, energy_wh * RATE_WEI_PER_WH)
        self.top_ups.append(TopUp(self.node.blocks[-1].number, energy_wh))
