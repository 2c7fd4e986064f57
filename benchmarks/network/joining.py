"""How long a new node needs to catch up with a long chain: by executing every block, and by taking over a state.

Some nodes have the chain already; the new one is told of them and is timed from the start of its process until its
head is the chain's. Beside it stands the speed at which one process imports the very same blocks from memory to disk,
without any network, before and after. All share this machine's cores.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.network.final_chain import read_chain
from benchmarks.network.running import start_and_connect, unless_a_node_ends
from benchmarks.network.sealed_chain import (
    LEDGER_FILE,
    ChainPlan,
    PlainImport,
    chain_folder,
    import_plainly,
    read_sealed,
)
from node.bench.network import LOOPBACK, BenchNetwork, BenchNode, new_nodes
from node.bench.run import Progress
from node.bench.usage import Usage, usage_of_groups
from node.new_network import copy_genesis, write_settings
from node.node_key import NODE_KEY_FILE, write_node_key
from node.settings import GENESIS_FILE, ConsensusSettings, NodeSettings, P2pSettings, RpcSettings, SyncSettings
from primitives.errors import UserError
from wallet.client import RpcClient

LOOK_INTERVAL_S = 0.1
"""Asking for the newest block takes a node a percent of its time."""
STALL_TIME_S = 120.0
"""Without a new block for so long the run is given up."""


@dataclass(frozen=True, slots=True)
class JoiningPlan:
    """What is measured."""

    blocks: int = 10_000
    transfers: int = 20
    """In a block."""
    validators: int = 4
    """That sealed the blocks; none of them runs."""
    senders: int = 1_000
    recipients: int = 10_000
    servers: int = 3
    """Nodes that have the chain."""

    @property
    def chain(self) -> ChainPlan:
        return ChainPlan(self.blocks, self.transfers, self.validators, self.senders, self.recipients)


@dataclass(frozen=True, slots=True)
class Joined:
    """One new node."""

    seconds: float
    """From the start of its process until it stood at the chain's head."""
    executed: int
    """Blocks that it executed."""
    joiner_cpu_s: float
    server_cpu_s: tuple[float, ...]
    joiner_memory_mib: float
    """Resident in the end."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What was seen."""

    plan: JoiningPlan
    plain: tuple[PlainImport, PlainImport]
    """By one process without a network, before and after."""
    replay: Joined
    replay_blocks_per_s: float
    """Over `seconds`, so that starting Python and finding peers count."""
    state: Joined

    @property
    def plain_blocks_per_s(self) -> float:
        return fmean([one.blocks_per_s for one in self.plain])

    @property
    def replay_share(self) -> float:
        """Of the plain import's speed."""
        return self.replay_blocks_per_s / self.plain_blocks_per_s


async def measure_joining(plan: JoiningPlan, folder: Path, cache: Path, progress: Progress) -> Joining:
    """Run it in a new folder. Raises UserError where the node does not catch up."""
    source = chain_folder(plan.chain, cache, progress)
    sealed = list(read_sealed(source))
    before = import_plainly(sealed, folder / "before", source / GENESIS_FILE, progress)
    servers = new_nodes(folder, plan.servers, log_blocks=False)
    for server in servers:
        _prepare(server, source, P2pSettings(host=LOOPBACK, port=0, discovery=False))
        shutil.copyfile(source / LEDGER_FILE, server.folder / LEDGER_FILE)
    async with BenchNetwork(servers) as network:
        await start_and_connect(network, progress)
        urls = tuple(server.peer_url for server in servers)
        joined = []
        for is_full in (True, False):
            joiner = new_nodes(folder / ("replay" if is_full else "state"), 1, log_blocks=False)[0]
            p2p = P2pSettings(host=LOOPBACK, port=0, discovery=False, peers=urls)
            _prepare(joiner, source, p2p, SyncSettings(full=is_full))
            joined.append(await _join(joiner, servers, plan.blocks, progress))
    after = import_plainly(sealed, folder / "after", source / GENESIS_FILE, progress)
    return Joining(plan, (before, after), joined[0], plan.blocks / joined[0].seconds, joined[1])


async def _join(joiner: BenchNode, servers: Sequence[BenchNode], blocks: int, progress: Progress) -> Joined:
    """Start the node and wait until its head is the last block. Raises UserError."""
    name = joiner.folder.parent.name
    groups = [server.process.process_id for server in servers]
    served = usage_of_groups(groups)
    began_s = time.monotonic()
    async with BenchNetwork([joiner]) as network:
        await network.start(lambda: None)
        follower = _Follower(joiner, groups, lambda reached: progress(f"joining by {name}", reached, blocks))
        await unless_a_node_ends(network, follower.until_block(blocks))
    chain = read_chain(joiner.folder)
    own = follower.usages[joiner.process.process_id]
    return Joined(
        seconds=follower.reached_s - began_s,
        executed=blocks - chain.missing_bodies,
        joiner_cpu_s=own.cpu_s,
        server_cpu_s=tuple(follower.usages[group].cpu_s - served[group].cpu_s for group in groups),
        joiner_memory_mib=own.memory_mib,
    )


class _Follower:
    """Watches a new node until it has caught up."""

    def __init__(self, joiner: BenchNode, groups: Sequence[int], on_block: Callable[[int], None]) -> None:
        self.reached_s = 0.0
        """Monotonic."""
        self.usages: dict[int, Usage] = {}
        """Of the joiner and the others, when it had caught up."""
        self._joiner = joiner
        self._groups = [joiner.process.process_id, *groups]
        self._on_block = on_block

    async def until_block(self, number: int) -> None:
        """Raises UserError where it does not get there."""
        head, since_s = 0, time.monotonic()
        async with RpcClient(self._joiner.rpc_url) as client:
            while head < number:
                await asyncio.sleep(LOOK_INTERVAL_S)
                if (now := await client.block_number()) > head:
                    head, since_s = now, time.monotonic()
                    self._on_block(head)
                elif time.monotonic() - since_s > STALL_TIME_S:
                    raise UserError(f"The new node came no further than block {head} for {STALL_TIME_S:.0f} s.")
        self.reached_s, self.usages = time.monotonic(), usage_of_groups(self._groups)


def _prepare(node: BenchNode, source: Path, p2p: P2pSettings, sync: SyncSettings | None = None) -> None:
    """The folder of a node that only follows."""
    copy_genesis(node.folder, source / GENESIS_FILE)
    write_node_key(node.folder / NODE_KEY_FILE, node.key)
    settings = NodeSettings(
        node.folder,
        rpc=RpcSettings(port=0),
        p2p=p2p,
        sync=sync or SyncSettings(),
        consensus=ConsensusSettings(validate=False),
    )
    write_settings(settings)
