"""Whole networks of real node processes on loopback, made by `wattchain network new` as an operator would.

For use by `async with`; every process is dead when the block ends. With `cuttable` each node calls the others by way of
links that a test can cut.
"""

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from primitives.secp256k1 import address_of
from tests.functional.links import Link
from tests.functional.running_node import ProcessFailed, RunningCommand, free_port, run_command
from wallet.client import NodeUnreachable, RpcClient

RICH_KEY = b"\x42" * 32
RICH = address_of(RICH_KEY)
"""Has a million WATT from the start."""
ROUND_TIMEOUT_MS = 700
POLL_INTERVAL_S = 0.1
REACH_TIMEOUT_S = 60.0
"""For something that takes seconds, on a machine that does ten other things."""


@dataclass(slots=True)
class NetworkNode:
    """One node: its folder, ports and, while it runs, its process."""

    number: int
    folder: Path
    p2p_port: int
    rpc_port: int
    process: RunningCommand
    is_running: bool = False

    @property
    def key(self) -> bytes:
        return bytes.fromhex((self.folder / "node.key").read_text())

    @property
    def node_id(self) -> bytes:
        return address_of(self.key)

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    def set_mining(self, **settings: object) -> None:
        """Lines of the section [mining], in force at the next start."""
        for name, value in settings.items():
            _set(self.folder, name, str(value), section="mining")

    def set_page_cache(self, mib: int) -> None:
        """Of the ledger's file, in force at the next start."""
        _set(self.folder, "page_cache_mib", str(mib), section="chain")

    def client(self) -> RpcClient:
        return RpcClient(self.rpc_url)

    @property
    def log(self) -> str:
        return self.process.log_path.read_text()


class RunningNetwork:
    """`count` nodes, numbered from 0."""

    def __init__(
        self, folder: Path, count: int, consensus: str, *options: object, cuttable: bool = False, mine: bool = True
    ) -> None:
        """`options` go to `network new`. Nodes of a proof-of-work network mine unless told otherwise."""
        self.folder = folder
        self._stack = AsyncExitStack()
        self._links: dict[tuple[int, int], Link] = {}
        self._cuttable = cuttable
        out = folder / "network"
        made = run_command(
            folder,
            *("network", "new", "--nodes", count, "--consensus", consensus, "--out", out, "--json"),
            *("--operator", "0x" + RICH.hex(), "--fund", f"0x{RICH.hex()}=1000000", "--development"),
            *options,
        )
        assert made.returncode == 0, made.stderr
        for folder_of_node in out.glob("node*"):
            _hurry(folder_of_node / "genesis.json")
        self.nodes = [self._prepare(number, out / f"node{number + 1}", consensus, mine) for number in range(count)]

    def add_joiner(self, *options: object) -> NetworkNode:
        """A further node, which is no validator from the start, with the network's genesis file; not started."""
        number = len(self.nodes)
        folder = self.folder / "network" / f"node{number + 1}"
        made = run_command(
            self.folder, "init", "--data-dir", folder, "--genesis", self.nodes[0].folder / "genesis.json"
        )
        assert made.returncode == 0, made.stderr
        node = self._prepare(number, folder, "", False, *options)
        self.nodes.append(node)
        _set(folder, "peers", json.dumps([self._url(other, other.p2p_port) for other in self.nodes[:-1]]))
        return node

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        if self._cuttable:
            for caller in self.nodes:
                for called in self.nodes:
                    if caller is not called:
                        link = await self._stack.enter_async_context(Link(called.p2p_port))
                        self._links[caller.number, called.number] = link
        for node in self.nodes:
            peers = [
                self._url(other, self._links[node.number, other.number].port if self._cuttable else other.p2p_port)
                for other in self.nodes
                if other is not node
            ]
            _set(node.folder, "peers", json.dumps(peers))
        await self.start(*self.nodes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for node in self.nodes:
                error.add_note(f"node {node.number}: {node.process.log_tail()}")
        try:
            await self.kill(*self.nodes)
        finally:
            await self._stack.__aexit__(kind, error, trace)

    # What happens to nodes and links

    async def start(self, *nodes: NetworkNode) -> None:
        """Start them all at once, and wait until each answers."""
        await asyncio.gather(*[node.process.start() for node in nodes])
        for node in nodes:
            node.is_running = True
        await asyncio.gather(*[node.process.ready() for node in nodes])

    async def kill(self, *nodes: NetworkNode) -> None:
        """SIGKILL to all of them in the same moment."""
        for node in nodes:
            node.process.send_kill()
            node.is_running = False
        for node in nodes:
            await node.process.kill()

    async def cut(self, *groups: Collection[NetworkNode]) -> None:
        """Cut every link between nodes of different groups."""
        group_of = {node.number: index for index, group in enumerate(groups) for node in group}
        await asyncio.gather(
            *[link.cut() for (one, other), link in self._links.items() if group_of[one] != group_of[other]]
        )

    def mend(self) -> None:
        for link in self._links.values():
            link.mend()

    # What can be seen

    async def until_block(self, number: int, *nodes: NetworkNode) -> None:
        """Wait until each of these nodes, or of all that run, has this block. Raises ProcessFailed."""
        for node in nodes or [node for node in self.nodes if node.is_running]:
            await until(f"node {node.number} has block {number}", lambda node=node: _has_block(node, number))

    async def until_connected(self, *nodes: NetworkNode, peers: int) -> None:
        """Wait until each of these has at least so many peers."""
        for node in nodes or self.nodes:
            await until(f"node {node.number} has {peers} peers", lambda node=node: _has_peers(node, peers))

    async def agreed_block(self, number: int) -> str:
        """The hash of a block that must be the same at all running nodes."""
        hashes = {await block_hash(node, number) for node in self.nodes if node.is_running}
        assert len(hashes) == 1, f"block {number} differs between nodes: {hashes}"
        (found,) = hashes
        return found

    def _prepare(self, number: int, folder: Path, consensus: str, mine: bool, *options: object) -> NetworkNode:
        p2p_port, rpc_port = free_port(), free_port()
        _set(folder, "port", str(p2p_port), section="p2p")
        _set(folder, "port", str(rpc_port), section="rpc")
        for name, value in {"host": '"127.0.0.1"', "discovery": "false", "max_outbound": "0"}.items():
            _set(folder, name, value, section="p2p")
        arguments = ("node", "--data-dir", folder, "--json", *options)
        process = RunningCommand(self.folder, self.folder / f"node-{number}.log", *arguments)
        node = NetworkNode(number, folder, p2p_port, rpc_port, process)
        if consensus == "pow":
            node.set_mining(
                enabled="true" if mine else "false", coinbase=f'"0x{node.node_id.hex()}"', empty_block_period_s=0
            )
        return node

    def _url(self, node: NetworkNode, port: int) -> str:
        return f"wattchain://0x{node.node_id.hex()}@127.0.0.1:{port}"


async def until(what: str, condition: Callable[[], Any], timeout_s: float = REACH_TIMEOUT_S) -> None:
    """Ask again and again until the (asynchronous) condition holds. Raises ProcessFailed."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - other processes' doings, which no event tells
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise ProcessFailed(f"not within {timeout_s:.0f} s: {what}") from None


async def happens_within(duration_s: float, condition: Callable[[], Any]) -> bool:
    """Whether the (asynchronous) condition comes to hold: for what must not happen, which no event tells."""
    try:
        await until("it happens", condition, duration_s)
    except ProcessFailed:
        return False
    return True


async def block_number(node: NetworkNode) -> int:
    async with node.client() as client:
        return await client.block_number()


async def block_hash(node: NetworkNode, number: int) -> str:
    async with node.client() as client:
        block = await client.block(number)
    assert block is not None, f"node {node.number} has no block {number}"
    return block.hash.hex()


async def heads(nodes: Iterable[NetworkNode]) -> list[int]:
    return [await block_number(node) for node in nodes]


async def _has_block(node: NetworkNode, number: int) -> bool:
    try:
        return await block_number(node) >= number
    except NodeUnreachable:
        return False


async def _has_peers(node: NetworkNode, peers: int) -> bool:
    async with node.client() as client:
        return int(str(await client.request("net_peerCount")), 16) >= peers


def _hurry(genesis_path: Path) -> None:
    """Have validators try again sooner than a real network should."""
    genesis = json.loads(genesis_path.read_text())
    if genesis["config"]["wattchain"]["consensus"] == "qbft":
        genesis["config"]["wattchain"]["requestTimeoutMilliseconds"] = ROUND_TIMEOUT_MS
        genesis_path.write_text(json.dumps(genesis))


def _set(folder: Path, name: str, value: str, section: str = "p2p") -> None:
    """Change one line in a section of a node's settings."""
    path = folder / "wattchain.toml"
    before, header, after = path.read_text().partition(f"[{section}]\n")
    assert header, f"no section {section}"
    changed, count = re.subn(
        rf"^{name} = .*?(?=  #|$)", lambda _: f"{name} = {value}", after, count=1, flags=re.MULTILINE
    )
    assert count == 1, f"no line {name} in section {section}"
    path.write_text(before + header + changed)
