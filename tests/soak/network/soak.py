"""One soak of a network from beginning to end: start, trouble under load, settle, stop, compare what is on disk."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.network.final_chain import StoredChain, find_losses, read_chain
from chain.config import POW, QBFT
from primitives.hexadecimal import to_checksum_address
from tests.functional.running_network import NetworkNode, RunningNetwork, until
from tests.functional.running_node import ProcessFailed
from tests.soak.network.memory import MAX_GROWTH_MIB, MAX_RESIDENT_MIB, MemoryLine, line_through
from tests.soak.network.payers import FUNDS_WATT, Payers, payer_addresses
from tests.soak.network.troubles import Record, Troubles
from tests.soak.network.watching import Watch

MAKERS = 4
"""Validators, or miners: the least with which validators can do without one."""
FOLLOWERS = 2
DEFAULT_RATE_PER_S = 40.0
"""Keeps every block filled, and leaves two cores time for everything else."""
SETTLE_TIMEOUT_S = 180.0
"""Until all that was accepted is in a block: a transaction that got lost on its way to the others is announced again
after a minute."""
MINER_HASHES_PER_S = 2_000
"""One percent of a core each."""
POW_BLOCK_TIME_S = 2
QBFT_RULES = ("--block-time", 1, "--empty-block-period", 5)
POW_RULES = (
    *("--block-time", POW_BLOCK_TIME_S, "--difficulty-rule", "asert"),
    *("--difficulty", MAKERS * MINER_HASHES_PER_S * POW_BLOCK_TIME_S),
)


PAGE_CACHE_MIB = 2
"""Of each node: full before its memory is judged. The usual one grows with the ledger's file for an hour."""


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """What is to be done."""

    minutes: float
    seed: int
    consensus: str
    rate_per_s: float
    """Transfers a second, at all nodes together."""

    @property
    def seconds(self) -> float:
        return self.minutes * 60


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """Of one node over the whole soak."""

    most_mib: float
    line: MemoryLine | None
    """Of a node that was never killed; None of the others."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a soak has shown that kept every promise, memory apart."""

    record: Record
    blocks: int
    accepted: int
    retries: int
    longest_gap_s: float
    certificates: tuple[int, ...]
    """Of each node."""
    taken_states: int
    """Nodes that have not executed every block, since they took over a state."""
    memory: tuple[NodeMemory, ...]

    @property
    def memory_troubles(self) -> list[str]:
        """What is wrong with the memory of which node."""
        found = []
        for number, one in enumerate(self.memory):
            if one.line is not None and not one.line.is_flat:
                found.append(f"node {number} grew by {one.line.growth_mib:.1f} MiB, more than {MAX_GROWTH_MIB:g}")
            if one.most_mib > MAX_RESIDENT_MIB:
                found.append(f"node {number} held {one.most_mib:.0f} MiB, more than {MAX_RESIDENT_MIB:g}")
        return found


async def soak(folder: Path, plan: SoakPlan, on_time: Callable[[float], None]) -> Outcome:
    """In a new folder, which keeps all files. `on_time` hears how many seconds have passed.

    Raises ProcessFailed where a promise was not kept.
    """
    network = make_network(folder, plan)
    chain_id = json.loads((network.nodes[0].folder / "genesis.json").read_text())["config"]["chainId"]
    interval_s = len(network.nodes) / plan.rate_per_s
    payers = [Payers(node, chain_id, interval_s) for node in network.nodes]
    watch = Watch(network.nodes, is_final=plan.consensus == QBFT)
    troubles = Troubles(network, MAKERS, random.Random(f"troubles {plan.seed}"))
    async with network:
        await network.until_block(1)
        await _under_load(plan, payers, watch, troubles, on_time)
        watch.gap_at_end()
        await _settle(network.nodes)
        await _stop_all(network.nodes)
    chains = [read_chain(node.folder) for node in network.nodes]
    accepted = [transfer for one in payers for transfer in one.accepted]
    check_chains(chains, accepted, plan.consensus)
    return Outcome(
        record=troubles.record,
        blocks=len(chains[0].headers) - 1,
        accepted=len(accepted),
        retries=sum(one.retries for one in payers),
        longest_gap_s=watch.longest_gap_s,
        certificates=tuple(chain.certificates for chain in chains),
        taken_states=sum(chain.missing_bodies > 0 for chain in chains),
        memory=tuple(_memory(watch, troubles, node, plan) for node in network.nodes),
    )


def make_network(folder: Path, plan: SoakPlan) -> RunningNetwork:
    """The folders of all nodes, with links between them that can be cut."""
    funds = [
        text
        for address in payer_addresses(MAKERS + FOLLOWERS)
        for name in (to_checksum_address(address),)
        for text in ("--fund", f"{name}={FUNDS_WATT}", "--member", f"{name}=consumer")
    ]
    rules = QBFT_RULES if plan.consensus == QBFT else POW_RULES
    network = RunningNetwork(folder, MAKERS, plan.consensus, *rules, *funds, cuttable=True)
    if plan.consensus == POW:
        for node in network.nodes:
            node.set_mining(hash_rate=MINER_HASHES_PER_S, cpu_share_percent=100)
    for _ in range(FOLLOWERS):
        network.add_joiner()
    for node in network.nodes:
        node.set_page_cache(PAGE_CACHE_MIB)
    return network


def check_chains(chains: Sequence[StoredChain], accepted: Sequence[bytes], consensus: str) -> None:
    """One chain, every accepted transfer in it exactly once, and what proves each block. Raises ProcessFailed."""
    first = chains[0]
    for number, chain in enumerate(chains):
        if [header.hash for header in chain.headers] != [header.hash for header in first.headers]:
            raise ProcessFailed(f"node {number} has another chain than node 0")
        if chain.state_root != first.headers[-1].state_root:
            raise ProcessFailed(f"node {number} has another state than its newest block says")
        if consensus == QBFT and chain.certificates != len(chain.headers) - 1:
            raise ProcessFailed(f"node {number} has {chain.certificates} certificates of {len(chain.headers) - 1}")
        losses = find_losses(accepted, chain)
        # Below a state that was taken over there are no bodies, and the headers say that they would be the same.
        if losses.twice or (losses.missing and not chain.missing_bodies):
            raise ProcessFailed(
                f"node {number}: {len(losses.missing)} accepted transfers are in no block, such as "
                f"{[one.hex() for one in losses.missing[:3]]}; {len(losses.twice)} are there twice"
            )
    if all(chain.missing_bodies for chain in chains):
        raise ProcessFailed("no node has executed every block")


async def _under_load(
    plan: SoakPlan, payers: Sequence[Payers], watch: Watch, troubles: Troubles, on_time: Callable[[float], None]
) -> None:
    """All the trouble, and until the payers have ended."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    paying = [asyncio.create_task(one.run()) for one in payers]
    watching = asyncio.create_task(watch.run())
    striking = asyncio.create_task(troubles.run(began_s + plan.seconds))
    try:
        while not striking.done():
            on_time(min(loop.time() - began_s, plan.seconds))
            await asyncio.wait({striking, watching, *paying}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, *paying):
                if task.done():
                    task.result()
        striking.result()
        for one in payers:
            one.stopping = True
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            await asyncio.gather(*paying)
    except* ProcessFailed as failures:
        raise _first(failures) from None
    finally:
        for task in (*paying, watching, striking):
            task.cancel()
        await asyncio.gather(*paying, watching, striking, return_exceptions=True)


async def _settle(nodes: Sequence[NetworkNode]) -> None:
    """Until nothing waits anywhere and all stand at one block. Raises ProcessFailed."""
    try:
        await until("all that was accepted is in a block that all have", lambda: _is_settled(nodes), SETTLE_TIMEOUT_S)
    except ProcessFailed as failure:
        raise ProcessFailed(f"{failure}: {[await _standing(node) for node in nodes]}") from None


async def _standing(node: NetworkNode) -> str:
    async with node.client() as client:
        return f"block {await client.block_number()}, {await client.request('txpool_status')}"


async def _is_settled(nodes: Sequence[NetworkNode]) -> bool:
    heads = set()
    for node in nodes:
        async with node.client() as client:
            status, block = await client.request("txpool_status"), await client.block()
        if status != {"pending": "0x0", "queued": "0x0"} or block is None:
            return False
        heads.add(block.hash)
    return len(heads) == 1


async def _stop_all(nodes: Sequence[NetworkNode]) -> None:
    """All at once, so that none goes on making blocks. Raises ProcessFailed."""
    for node in nodes:
        node.is_running = False
    for node, status in zip(nodes, await asyncio.gather(*[node.process.stop() for node in nodes]), strict=True):
        if status != 0:
            raise ProcessFailed(f"node {node.number} was asked to stop and ended with status {status}")


def _memory(watch: Watch, troubles: Troubles, node: NetworkNode, plan: SoakPlan) -> NodeMemory:
    samples = watch.samples.get(node.number, [])
    line = line_through(samples, plan.seconds) if troubles.spares(node) else None
    return NodeMemory(max((sample.resident_mib for sample in samples), default=0.0), line)


def _first(failures: BaseExceptionGroup[ProcessFailed]) -> ProcessFailed:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    assert isinstance(failure, ProcessFailed)
    return failure
