"""How long a full block takes to reach every node of a network of sixteen, by proof of work or after a vote.

The gas limit of the chain is that of the wanted number of transfers, and so many more are kept waiting that every block
is full. Times are those at which nodes had imported the block, from their own logs, on the one clock of the machine.
Nodes are connected each with each, or, with `degree`, in a random network in which a block has to be passed on several
times.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

from benchmarks.network.delays import Delays
from benchmarks.network.final_chain import StoredChain, read_chain
from benchmarks.network.load_process import LoadProcess
from benchmarks.network.loading import LoadOrder
from benchmarks.network.networks import LoadedNetwork, LoadedPlan, make_loaded_network
from benchmarks.network.running import start_and_connect, unless_a_node_ends
from chain.config import POW
from chain.validity import TRANSACTION_GAS
from node.arrivals import Arrival
from node.bench.measurements import MeasuredChain, measure_chain, settled_chain
from node.bench.run import Progress
from node.bench.usage import usage_of_groups
from p2p.received import parse_received
from primitives.errors import UserError

WARM_UP_BLOCKS = 3
POOLS_WAITING = 3
"""Full blocks that are kept waiting: one is being built, one may follow at once, and word of both takes time."""
LOOK_INTERVAL_S = 0.2
STALL_TIME_S = 120.0
"""Without a block the run is given up: far more than twenty times the block time in a row."""


@dataclass(frozen=True, slots=True)
class PropagationPlan:
    """What is measured."""

    consensus: str = POW
    nodes: int = 16
    makers: int = 4
    """Nodes that mine, or vote."""
    transfers: int = 200
    """In a block."""
    blocks: int = 50
    block_time_s: int = 5
    hash_rate: int = 5_000
    """Of each miner, in hashes a second: some percent of a core, so that the network is measured and not the mining."""
    degree: int = 0
    """Peers of each node, at least; 0 connects each with each."""
    senders: int = 400
    seed: int = 1
    """Of the random network."""


@dataclass(frozen=True, slots=True)
class Propagation:
    """What was seen, over the measured blocks."""

    plan: PropagationPlan
    links: int
    blocks: int
    transfers_per_block: float
    everywhere: Delays
    """From the first import anywhere, at the block's maker, to the last."""
    one_node: Delays
    """The same to each single node."""
    stale: int
    """Rivals of these blocks that no chain kept."""
    bundled: int
    """Blocks that some node took in together with older ones, whose own times nobody can tell."""
    ways: dict[str, int]
    """How the blocks first came to the nodes: pushed, or fetched after an announcement."""
    node_cpu_percent: float
    """Of one core, of the average node, its mining included."""
    load_cpu_percent: float


async def measure_propagation(plan: PropagationPlan, folder: Path, progress: Progress) -> Propagation:
    """Run it in a new folder. Raises UserError where the network does not do what it should."""
    loaded = make_loaded_network(
        LoadedPlan(
            plan.consensus,
            plan.nodes,
            plan.makers,
            plan.block_time_s,
            plan.senders,
            gas_limit=plan.transfers * TRANSACTION_GAS,
            hash_rate=plan.hash_rate,
        ),
        folder,
    )
    links = random_network(plan.nodes, plan.degree, Random(plan.seed)) if plan.degree else None
    async with loaded.network as network:
        await start_and_connect(network, progress, links)
        measuring = _Measuring(plan, loaded, progress)
        await unless_a_node_ends(network, measuring.run(folder))
        await network.stop()
    return measuring.result(len(links) if links is not None else plan.nodes * (plan.nodes - 1) // 2)


def random_network(nodes: int, degree: int, random: Random) -> set[tuple[int, int]]:
    """Pairs of nodes: a ring in random order, so that everybody can be reached, and random links on top until each node
    has at least so many. Raises UserError."""
    if not 2 <= degree < nodes:
        raise UserError(f"Each of {nodes} nodes can have 2 to {nodes - 1} peers in a random network, not {degree}.")
    ring = random.sample(range(nodes), nodes)
    links = {_pair(one, other) for one, other in zip(ring, ring[1:] + ring[:1], strict=True)}
    for node in ring:
        strangers = [other for other in range(nodes) if other != node and _pair(node, other) not in links]
        missing = degree - sum(node in link for link in links)
        # Those who lack links come first, so that few get more than they need.
        random.shuffle(strangers)
        strangers.sort(key=lambda other: sum(other in link for link in links))
        links |= {_pair(node, other) for other in strangers[: max(missing, 0)]}
    return links


class _Measuring:
    """The load and the blocks of one run."""

    def __init__(self, plan: PropagationPlan, loaded: LoadedNetwork, progress: Progress) -> None:
        self._plan = plan
        self._loaded = loaded
        self._progress = progress
        self._start = 0
        self._node_cpu_percent = self._load_cpu_percent = 0.0

    async def run(self, folder: Path) -> None:
        plan, nodes = self._plan, self._loaded.nodes
        count = plan.transfers * (plan.blocks + WARM_UP_BLOCKS + 2 * POOLS_WAITING)
        urls = tuple(node.rpc_url for node in nodes)
        waiting = plan.transfers * POOLS_WAITING
        order = LoadOrder(urls, self._loaded.chain_id, plan.senders, count, 0, waiting)
        self._progress("signing transfers", 0, 1)
        async with LoadProcess(order, folder) as load:
            load.begin()
            await self._reach("warming up", self._head(), WARM_UP_BLOCKS)
            self._start = self._head()
            groups = [node.process.process_id for node in nodes]
            began, began_s = usage_of_groups([*groups, load.process_id]), asyncio.get_running_loop().time()
            await self._reach("blocks", self._start, plan.blocks + 1)
            elapsed_s = asyncio.get_running_loop().time() - began_s
            ended = usage_of_groups([*groups, load.process_id])
            spent = {group: 100 * (ended[group].cpu_s - began[group].cpu_s) / elapsed_s for group in ended}
            self._load_cpu_percent = spent.pop(load.process_id)
            self._node_cpu_percent = sum(spent.values()) / len(spent)
            await self._agree()
            result = await load.stop()
        if result.refusals:
            raise UserError(f"{len(result.refusals)} transfers were refused: {result.refusals[0]}")

    def result(self, links: int) -> Propagation:
        """After the nodes were stopped. Raises UserError."""
        plan, nodes = self._plan, self._loaded.nodes
        arrivals = [node.arrivals for node in nodes]
        chain = measure_chain(arrivals, self._loaded.network.makers, self._start, plan.blocks)
        if not chain.spreads_s:
            raise UserError("No block could be followed to every node: each came to some node in a bundle.")
        lines = (line for node in nodes for line in node.log_path.read_text("utf-8", "replace").splitlines())
        return Propagation(
            plan=plan,
            links=links,
            blocks=len(chain.blocks),
            transfers_per_block=mean_transfers(read_chain(nodes[0].folder), chain),
            everywhere=Delays.of(chain.spreads_s),
            one_node=Delays.of(delays_to_nodes_s(arrivals, chain)),
            stale=chain.stale,
            bundled=len(chain.blocks) - len(chain.spreads_s),
            ways=dict(count_ways(lines, chain)),
            node_cpu_percent=self._node_cpu_percent,
            load_cpu_percent=self._load_cpu_percent,
        )

    def _head(self) -> int:
        """That every node has reached."""
        self._loaded.network.read_logs()
        return min(node.head_number for node in self._loaded.nodes)

    async def _reach(self, phase: str, start: int, blocks: int) -> None:
        """Until every node's chain is so many blocks longer than at the start. Raises UserError where none comes."""
        reached, since_s = -1, 0.0
        while (now := min(self._head() - start, blocks)) < blocks:
            time_s = asyncio.get_running_loop().time()
            if now > reached:
                reached, since_s = now, time_s
                self._progress(phase, max(reached, 0), blocks)
            elif time_s - since_s > STALL_TIME_S:
                raise UserError(f"No block came to every node for {STALL_TIME_S:.0f} s, after block {start + reached}.")
            await asyncio.sleep(LOOK_INTERVAL_S)
        self._progress(phase, blocks, blocks)

    async def _agree(self) -> None:
        """Until no node sees a rival of a measured block as canonical any more. Raises UserError where that stays."""
        nodes = self._loaded.nodes
        async with asyncio.timeout(STALL_TIME_S):
            while max(settled_chain([node.arrivals for node in nodes]), default=0) < self._start + self._plan.blocks:
                await asyncio.sleep(LOOK_INTERVAL_S)
                self._loaded.network.read_logs()


def mean_transfers(stored: StoredChain, measured: MeasuredChain) -> float:
    """In a measured block."""
    counts = Counter(number for _, number in stored.transactions)
    return fmean([counts[block.number] for block in measured.blocks])


def delays_to_nodes_s(arrivals: Sequence[Sequence[Arrival]], chain: MeasuredChain) -> list[float]:
    """From a block's first import anywhere to that at each other node."""
    began_s = {block.block_hash: block.time_s for block in chain.blocks}
    return [
        arrival.time_s - began_s[arrival.block_hash]
        for one in arrivals
        for arrival in one
        if arrival.block_hash in began_s and arrival.time_s > began_s[arrival.block_hash]
    ]


def count_ways(lines: Iterable[str], chain: MeasuredChain) -> Counter[str]:
    """How the measured blocks came to the nodes, from the lines of all logs."""
    measured = {block.block_hash for block in chain.blocks}
    received = filter(None, map(parse_received, lines))
    return Counter(one.way for one in received if one.block_hash in measured)


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)
