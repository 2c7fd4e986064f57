"""How many transfers a second a network of validators makes final, and how soon.

Transfers are handed in at a set rate, at all nodes alike, for a set time. Counted is what was final at every node
within that very time, so that what is merely waiting in the end does not count. Afterwards the nodes are stopped, and
each one's disk must have every accepted transfer exactly once.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.network.delays import Delays
from benchmarks.network.final_chain import StoredChain, agreed_heads, find_losses, read_chain
from benchmarks.network.load_process import LoadProcess
from benchmarks.network.loading import LoadOrder, LoadResult
from benchmarks.network.networks import LoadedNetwork, LoadedPlan, make_loaded_network
from benchmarks.network.running import start_and_connect, unless_a_node_ends, until_settled
from chain.config import QBFT
from node.arrivals import Arrival
from node.bench.run import Progress
from node.bench.usage import Usage, usage_of_groups
from primitives.errors import UserError


@dataclass(frozen=True, slots=True)
class ThroughputPlan:
    """What is measured."""

    validators: int = 4
    rate_per_s: float = 330.0
    seconds: float = 60.0
    block_time_s: int = 1
    senders: int = 400


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was seen."""

    plan: ThroughputPlan
    accepted: int
    final_per_s: float
    """Transfers that were final at every node within the time of the load, a second of it."""
    lost: int
    """Accepted, but not exactly once in the chain of some node."""
    blocks: int
    """With transfers."""
    block_interval_s: float
    """On average."""
    final: Delays
    """From a block's own time to its import, over all blocks and nodes."""
    wait: Delays
    """From when a node accepted a transfer until it was final there."""
    retries: int
    node_cpu_percent: tuple[float, ...]
    """Of one core, while the load lasted."""
    load_cpu_percent: float
    """Of the process that handed the transfers in."""
    node_memory_mib: tuple[float, ...]
    """Resident at the end."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a run leaves behind; of nodes one each."""

    load: LoadResult
    chains: Sequence[StoredChain]
    arrivals: Sequence[Sequence[Arrival]]
    usages: Sequence[tuple[Usage, Usage]]
    """When the load began and when it ended."""
    clock_offset_s: float
    """What to add to monotonic times to get those of blocks."""


async def measure_throughput(plan: ThroughputPlan, folder: Path, progress: Progress) -> Throughput:
    """Run it in a new folder. Raises UserError where the network does not do what it should."""
    loaded = make_loaded_network(
        LoadedPlan(QBFT, plan.validators, plan.validators, plan.block_time_s, plan.senders), folder
    )
    async with loaded.network as network:
        await start_and_connect(network, progress)
        loading = _Loading(plan, loaded, progress)
        await unless_a_node_ends(network, loading.run(folder))
        clock_offset_s = time.time() - time.monotonic()
        await network.stop()
    assert loading.result is not None
    chains = [read_chain(node.folder) for node in loaded.nodes]
    arrivals = [node.arrivals for node in loaded.nodes]
    return summarise(plan, Record(loading.result, chains, arrivals, loading.usages, clock_offset_s))


class _Loading:
    """Load on a network that runs."""

    def __init__(self, plan: ThroughputPlan, loaded: LoadedNetwork, progress: Progress) -> None:
        self.result: LoadResult | None = None
        self.usages: list[tuple[Usage, Usage]] = []
        self._plan = plan
        self._loaded = loaded
        self._progress = progress

    async def run(self, folder: Path) -> None:
        """Until everything that was handed in is in a block."""
        plan, nodes, count = self._plan, self._loaded.nodes, int(self._plan.rate_per_s * self._plan.seconds)
        urls = tuple(node.rpc_url for node in nodes)
        order = LoadOrder(urls, self._loaded.chain_id, plan.senders, count, plan.rate_per_s)
        self._progress("signing transfers", 0, 1)
        async with LoadProcess(order, folder) as load:
            groups = [node.process.process_id for node in nodes]
            began = usage_of_groups(groups)
            load.begin()
            self.result = await load.until_done(lambda done: self._progress("handing in transfers", done, count))
            ended = usage_of_groups(groups)
            self.usages = [(began[group], ended[group]) for group in groups]
        await until_settled(nodes, self._progress)


def summarise(plan: ThroughputPlan, record: Record) -> Throughput:
    """From what was written down on the way. Raises UserError where the nodes do not agree, or refused a transfer."""
    load, chain = record.load, record.chains[0]
    if len(agreed_heads(record.chains)) != 1:
        raise UserError("The nodes stand at different blocks in the end.")
    if load.refusals:
        raise UserError(f"{len(load.refusals)} transfers were refused: {load.refusals[0]}")
    if not chain.transactions:
        raise UserError("No transfer came into a block.")
    seen_s = [{arrival.block_hash: arrival.time_s for arrival in one} for one in record.arrivals]
    headers = [chain.headers[number] for number in sorted({number for _, number in chain.transactions})]
    final_s = [
        times_s[header.hash] + record.clock_offset_s - header.timestamp_s for header in headers for times_s in seen_s
    ]
    everywhere_s = {header.number: max(times_s[header.hash] for times_s in seen_s) for header in headers}
    deadline_s = load.began_s + plan.seconds
    in_time = sum(everywhere_s[number] <= deadline_s for _, number in chain.transactions)
    hashes = [bytes.fromhex(text) for text, _, _ in load.accepted]
    elapsed_s = load.ended_s - load.began_s
    first, last = headers[0], headers[-1]
    return Throughput(
        plan=plan,
        accepted=len(hashes),
        final_per_s=in_time / plan.seconds,
        lost=max(find_losses(hashes, one).count for one in record.chains),
        blocks=len(headers),
        block_interval_s=(last.timestamp_s - first.timestamp_s) / max(last.number - first.number, 1),
        final=Delays.of(final_s),
        wait=Delays.of(_waits_s(load, chain, seen_s)),
        retries=load.retries,
        node_cpu_percent=tuple(100 * (end.cpu_s - begin.cpu_s) / elapsed_s for begin, end in record.usages),
        load_cpu_percent=100 * load.cpu_s / elapsed_s,
        node_memory_mib=tuple(end.memory_mib for _, end in record.usages),
    )


def _waits_s(load: LoadResult, chain: StoredChain, seen_s: Sequence[Mapping[bytes, float]]) -> list[float]:
    number_of = dict(chain.transactions)
    waits_s = []
    for text, node, accepted_s in load.accepted:
        number = number_of.get(bytes.fromhex(text))
        if number is not None:
            waits_s.append(seen_s[node][chain.headers[number].hash] - accepted_s)
    return waits_s
