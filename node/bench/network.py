"""A network of real nodes for a benchmark: folders, genesis, processes, and who knows whom.

All run on this machine and are connected each with each, as the paper's four were by their static-nodes.json. A node
gets a port of its own from the system, and is then told of those before it.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from chain.config import DEVELOPMENT
from node.arrivals import Arrival, parse_arrival
from node.bench.log_follower import LogFollower
from node.bench.plan import MiningPlan
from node.mining_total import MiningTotal, parse_mining_total
from node.new_network import NetworkPlan, make_node, parse_plan, random_chain_id, write_settings
from node.node_key import new_node_key
from node.processes import CommandProcess
from node.settings import ClockSettings, MiningSettings, NodeSettings, P2pSettings, RpcSettings
from p2p.node_url import NodeUrl
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from wallet.client import RpcClient

CONNECT_TIMEOUT_S = 120.0
"""A node calls those it was told of within a second, and one that did not answer again after some seconds."""
POLL_INTERVAL_S = 0.25
LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class BenchNode:
    """One peer: its folder and process, and what its log has told so far."""

    number: int
    folder: Path
    key: bytes
    log_path: Path
    process: CommandProcess
    log: LogFollower
    rpc_url: str = ""
    peer_url: str = ""
    """As other nodes call it; empty until it runs."""
    arrivals: list[Arrival] = field(default_factory=list)
    mining: MiningTotal | None = None
    """Told when it stops."""

    @property
    def node_id(self) -> bytes:
        """Also the coinbase of its blocks."""
        return address_of(self.key)

    @property
    def head_number(self) -> int:
        """Of its canonical chain, as its log tells."""
        return next((one.number for one in reversed(self.arrivals) if one.became_head), 0)

    def read_log(self) -> None:
        for line in self.log.new_lines():
            if (arrival := parse_arrival(line)) is not None:
                self.arrivals.append(arrival)
            elif (total := parse_mining_total(line)) is not None:
                self.mining = total


class BenchNetwork:
    """All nodes of one run, for use by `async with`; no process is left when the block ends."""

    def __init__(self, nodes: Sequence[BenchNode]) -> None:
        """Of nodes whose folders are there."""
        self.nodes = list(nodes)
        self._started: list[BenchNode] = []

    @property
    def makers(self) -> dict[bytes, int]:
        """Whose blocks bear which coinbase."""
        return {node.node_id: node.number for node in self.nodes}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, on_started: Callable[[], None]) -> None:
        """Start all nodes, as many at a time as there are cores, and wait until they answer. Raises UserError."""
        at_once = asyncio.Semaphore(os.cpu_count() or 1)

        async def start_one(node: BenchNode) -> None:
            async with at_once:
                await node.process.__aenter__()
                self._started.append(node)
                node.rpc_url = str((await node.process.first_line())["rpc"])
                on_started()

        await all_or_first_failure([start_one(node) for node in self.nodes])

    async def connect(self, links: Collection[tuple[int, int]] | None = None) -> None:
        """Tell the later node of each pair of the earlier one, and wait until all these are connected; everybody with
        everybody unless told otherwise. Raises UserError."""
        pairs = _everybody(len(self.nodes)) if links is None else {(min(pair), max(pair)) for pair in links}
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(RpcClient(node.rpc_url)) for node in self.nodes]
            for node, client in zip(self.nodes, clients, strict=True):
                for earlier in self.nodes[: node.number]:
                    if (earlier.number, node.number) in pairs:
                        await client.request("admin_addPeer", earlier.peer_url)
                node.peer_url = _peer_url(node, await client.request("admin_nodeInfo"))
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    for node, client in zip(self.nodes, clients, strict=True):
                        await _until_connected(client, sum(node.number in pair for pair in pairs))
            except TimeoutError as error:
                raise UserError(f"The nodes did not connect with each other in {CONNECT_TIMEOUT_S:.0f} s.") from error

    def read_logs(self) -> None:
        """Take in what the nodes have logged since the last time."""
        for node in self.nodes:
            node.read_log()

    async def watch(self) -> NoReturn:
        """Until a node ends, which it should not do by itself: raises UserError."""
        await all_or_first_failure([node.process.watch() for node in self.nodes])
        raise AssertionError("watching a node ends by an exception only")

    async def stop(self) -> None:
        """End all nodes at the same time, each in order, and read the rest of their logs."""
        await asyncio.gather(*[node.process.stop() for node in self._started])
        self.read_logs()


def mining_network(plan: MiningPlan, peers: int, difficulty: int, folder: Path) -> BenchNetwork:
    """The network of the mining benchmark, with the folders of so many nodes below a new folder. Raises UserError."""
    nodes = new_nodes(folder, peers)
    clock = ClockSettings(plan.clock_rate(peers), float(int(time.time())), time.time())
    genesis, _ = parse_plan(_network_plan(plan, nodes, difficulty, int(clock.origin_s)))
    for node in nodes:
        make_node(node.folder, genesis, node.key)
        write_settings(_settings(plan, node, clock))
    return BenchNetwork(nodes)


def new_nodes(folder: Path, count: int, *, log_blocks: bool = True) -> list[BenchNode]:
    """Nodes with keys of their own, of which nothing is on disk yet. What they log of each block costs them time."""
    return [_new_node(folder, number, log_blocks) for number in range(count)]


async def all_or_first_failure(parts: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Until all have ended; raises what the first failing one raised, after cancelling the others."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _everybody(count: int) -> set[tuple[int, int]]:
    return {(one, other) for other in range(count) for one in range(other)}


def _new_node(folder: Path, number: int, log_blocks: bool) -> BenchNode:
    data_directory, log_path = folder / f"node-{number}", folder / f"node-{number}.log"
    arguments = ["node", "--data-dir", str(data_directory), "--json", *(["--log-blocks"] if log_blocks else [])]
    process = CommandProcess(f"Node {number}", arguments, log_path)
    return BenchNode(number, data_directory, new_node_key(), log_path, process, LogFollower(log_path))


def _network_plan(plan: MiningPlan, nodes: Sequence[BenchNode], difficulty: int, timestamp_s: int) -> NetworkPlan:
    return NetworkPlan(
        operator=nodes[0].node_id,
        chain_id=random_chain_id(),
        difficulty=difficulty,
        difficulty_rule=plan.difficulty_rule,
        block_time_s=plan.block_time_ledger_s(len(nodes)),
        consensus=plan.consensus,
        validators=() if plan.is_mined else tuple(node.node_id for node in nodes),
        # No transaction is ever waiting here.
        empty_block_period_s=plan.block_time_ledger_s(len(nodes)),
        network=DEVELOPMENT,
        timestamp_s=timestamp_s,
    )


def _settings(plan: MiningPlan, node: BenchNode, clock: ClockSettings) -> NodeSettings:
    mining = MiningSettings(
        enabled=plan.is_mined,
        coinbase=to_checksum_address(node.node_id),
        cpu_share_percent=100,
        hash_rate=plan.hash_rate,
        minimum_block_period_s=1,
        empty_block_period_s=0,
    )
    return NodeSettings(
        node.folder,
        rpc=RpcSettings(port=0),
        mining=mining,
        clock=clock,
        p2p=P2pSettings(host=LOOPBACK, port=0, discovery=False),
    )


def _peer_url(node: BenchNode, info: object) -> str:
    """How others call a node, from its admin_nodeInfo. Raises UserError."""
    ports = info.get("ports") if isinstance(info, Mapping) else None
    port = ports.get("listener") if isinstance(ports, Mapping) else None
    if not isinstance(port, int) or not 0 < port < 2**16:
        raise UserError(f"Node {node.number} does not listen for other nodes.")
    return str(NodeUrl(node.node_id, LOOPBACK, port))


async def _until_connected(client: RpcClient, peers: int) -> None:
    while int(str(await client.request("net_peerCount")), 16) < peers:  # noqa: ASYNC110 - a question to another process
        await asyncio.sleep(POLL_INTERVAL_S)
