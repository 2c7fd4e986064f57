"""One run of the mining benchmark: start so many nodes, let them agree on enough blocks, stop them, count.

The measured stretch begins when all are connected and the warm-up is over. What it shows is in the nodes' own logs and
in /proc; while it lasts nobody asks the nodes for anything.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from node.bench.measurements import MeasuredChain, measure_chain, settled_chain
from node.bench.network import BenchNode, mining_network
from node.bench.plan import MiningPlan
from node.bench.usage import Usage, usage_of_groups
from primitives.errors import UserError

LOOK_INTERVAL_S = 0.2
"""Between two looks at the logs; measured times come from the lines themselves."""
STALL_FACTOR = 25
"""Without a block for so many times the planned time the run is given up: by chance that happens once in e^25."""
STALL_ALLOWANCE_S = 60.0
"""On top: a machine may be busy otherwise, and a qbft network may need some rounds."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One node in the measured stretch."""

    cpu_percent: float
    """Share of one core, of the node and its mining process together."""
    memory_mib: float
    """Resident at the end, of both."""
    blocks: int
    """Canonical blocks that it made."""
    hash_rate: float
    """Hashes a second while there was a header to seal, over its whole life; 0 where it does not mine."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What a run has shown."""

    difficulty: int
    """Of the genesis."""
    chain: MeasuredChain
    nodes: tuple[NodeFigures, ...]

    @property
    def peers(self) -> int:
        return len(self.nodes)

    @property
    def hash_rate(self) -> float:
        """Of the whole network."""
        return sum(node.hash_rate for node in self.nodes)

    @property
    def cpu_percent(self) -> float:
        """Of the average node."""
        return sum(node.cpu_percent for node in self.nodes) / self.peers


class Network(Protocol):
    """The nodes of a run; node.bench.network.BenchNetwork is one."""

    @property
    def nodes(self) -> Sequence[BenchNode]: ...

    @property
    def makers(self) -> Mapping[bytes, int]: ...

    async def connect(self) -> None: ...

    def read_logs(self) -> None: ...

    async def watch(self) -> NoReturn:
        """Until a node ends by itself: raises UserError."""


async def run_peers(plan: MiningPlan, peers: int, difficulty: int, folder: Path, progress: Progress) -> PeerRun:
    """Measure a network of so many peers in a new folder. Raises UserError."""
    async with mining_network(plan, peers, difficulty, folder) as network:
        started = 0

        def on_started() -> None:
            nonlocal started
            started += 1
            progress("starting", started, peers)

        await network.start(on_started)
        stretch = Stretch(plan, network, progress)
        await unless_a_node_ends(network, stretch)
        await network.stop()
        return stretch.result(difficulty)


async def unless_a_node_ends(network: Network, stretch: "Stretch") -> None:
    """Raises UserError where a node ends before the measurement does."""
    measuring, watching = asyncio.create_task(stretch.measure()), asyncio.create_task(network.watch())
    try:
        await asyncio.wait({measuring, watching}, return_when=asyncio.FIRST_COMPLETED)
        # A node that ended is the cause of whatever else went wrong.
        if watching.done():
            watching.result()
        await measuring
    finally:
        for task in (measuring, watching):
            task.cancel()
        await asyncio.gather(measuring, watching, return_exceptions=True)


class Stretch:
    """The measured part of a run: `measure` while the nodes run, `result` when they were stopped."""

    def __init__(self, plan: MiningPlan, network: Network, progress: Progress) -> None:
        self._plan = plan
        self._network = network
        self._progress = progress
        self._start = 0
        self._began: dict[int, Usage] = {}
        self._ended: dict[int, Usage] = {}
        self._elapsed_s = 0.0

    @property
    def _stall_limit_s(self) -> float:
        return STALL_FACTOR * self._plan.planned_s(len(self._network.nodes)) + STALL_ALLOWANCE_S

    async def measure(self) -> None:
        plan, network = self._plan, self._network
        await network.connect()
        network.read_logs()
        connected_at = max(node.head_number for node in network.nodes)
        # A number that is chosen before its block exists: "the newest block now" would begin with an interval that is
        # twice as long as others on average, since one looks more often into a long one than into a short one.
        self._start = connected_at + plan.warm_up_blocks
        await self._reach("warming up", connected_at, plan.warm_up_blocks)
        began_s, self._began = time.monotonic(), self._usage()
        await self._reach("measuring", self._start, plan.blocks)
        self._ended, self._elapsed_s = self._usage(), time.monotonic() - began_s
        await self._agree()

    def result(self, difficulty: int) -> PeerRun:
        """After the nodes were stopped. Raises UserError."""
        network = self._network
        arrivals = [node.arrivals for node in network.nodes]
        chain = measure_chain(arrivals, network.makers, self._start, self._plan.blocks)
        figures = []
        for node in network.nodes:
            began, ended = self._began[node.process.process_id], self._ended[node.process.process_id]
            total = node.mining
            figures.append(
                NodeFigures(
                    100 * (ended.cpu_s - began.cpu_s) / self._elapsed_s,
                    ended.memory_mib,
                    chain.made_by(node.number),
                    total.hashes / total.sealing_s if total is not None and total.sealing_s else 0.0,
                )
            )
        return PeerRun(difficulty, chain, tuple(figures))

    async def _reach(self, phase: str, start: int, blocks: int) -> None:
        """Until every node's chain is so many blocks long above the start. Raises UserError where none comes."""
        limit_s, reached, since_s = self._stall_limit_s, 0, time.monotonic()
        while reached < blocks:
            self._progress(phase, reached, blocks)
            await asyncio.sleep(LOOK_INTERVAL_S)
            self._network.read_logs()
            heads = [node.head_number for node in self._network.nodes]
            now = min(max(min(heads) - start, 0), blocks)
            if now > reached:
                reached, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > limit_s:
                stand = ", ".join(map(str, heads))
                raise UserError(f"The nodes came no further for {limit_s:.0f} s; they stand at the blocks {stand}.")
        self._progress(phase, blocks, blocks)

    async def _agree(self) -> None:
        """Until no node sees a rival of a measured block as canonical any more. Raises UserError where that stays."""
        began_s = time.monotonic()
        while max(settled_chain([node.arrivals for node in self._network.nodes]), default=0) < (
            self._start + self._plan.blocks
        ):
            if time.monotonic() - began_s > self._stall_limit_s:
                raise UserError("The nodes do not agree on one chain; they seem to have lost each other.")
            await asyncio.sleep(LOOK_INTERVAL_S)
            self._network.read_logs()

    def _usage(self) -> dict[int, Usage]:
        return usage_of_groups([node.process.process_id for node in self._network.nodes])
