"""python -m benchmarks.ledger: how fast blocks of plain transfers are imported, and where the time goes.

Another process makes the blocks first; this one takes their bytes and does everything a node does with a block from a
peer: decode, check, recover the senders, execute, new state root, write, commit to disk. With --memory it imports while
the blocks are being made, with the gateway running, and reports its own resident memory.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.transfer_blocks import BLOCK_TIME_S, START_S, genesis_of, read_blocks
from chain.block import decode_block
from chain.block_execution import BlockExecution
from chain.builder import BuilderSettings
from chain.importer import DEFAULT_REORGANISATION_CAP
from chain.ledger import Ledger
from chain.miner import Miner
from gateway.server import Gateway, GatewaySettings
from node.backend import NodeBackend
from node.core import CoreSettings, NodeCore, Surroundings
from node.settings import NodeSettings
from p2p.identity import Network, new_local_identity
from p2p.sockets import SocketConnector
from p2p.transport import Endpoint
from primitives.clock import Clock, ManualClock
from primitives.secp256k1 import public_key

WARM_UP_BLOCKS = 10
TURN_BLOCKS = 5
MEBIBYTE = 1024 * 1024
_NODE_KEY = (1).to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class ImportSpeed:
    """One number of accounts; microseconds are means per transaction."""

    accounts: int
    blocks: int
    transfers_per_block: int
    transactions_per_s: float
    decode_us: float
    recover_us: float
    execute_us: float
    trie_us: float
    rows_us: float
    rest_us: float
    """Header rules, transactions and receipts roots, commit to disk."""
    bytes_on_disk: int
    bytes_written_per_block: int


@dataclass(frozen=True, slots=True)
class Memory:
    blocks: int
    transfers_per_block: int
    resident_mebibytes: float
    resident_peak_mebibytes: float
    seconds: float


class Stages:
    """Adds up the time spent in methods that it wraps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, owner: Any, method: str, stage: str) -> None:
        original: Callable[..., Any] = getattr(owner, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return original(*arguments, **named)
            finally:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

        setattr(owner, method, timed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--accounts", metavar="N", nargs="+", type=int, default=[1_000])
    parser.add_argument("--growth", action="store_true", help="compare 1,000 with 1,000,000 accounts")
    parser.add_argument("--blocks", metavar="N", type=int, help="default: 200, with --memory 20000")
    parser.add_argument("--transfers", metavar="N", type=int, default=50, help="transactions in a block")
    parser.add_argument("--memory", action="store_true", help="import many blocks and report resident memory")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/ledger.json"))
    chosen = parser.parse_args(arguments)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    Path("results").mkdir(exist_ok=True)
    report: dict[str, Any] = {"python": sys.version.split()[0]}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        if chosen.memory:
            memory = asyncio.run(measure_memory(chosen.blocks or 20_000, chosen.transfers, progress))
            report["memory"] = asdict(memory)
        else:
            accounts = [1_000, 1_000_000] if chosen.growth else chosen.accounts
            speeds = measure_speeds(accounts, chosen.blocks or 200, chosen.transfers, progress)
            report["import"] = [asdict(speed) for speed in speeds]
    if chosen.memory:
        show_memory(memory)
    else:
        show_speed(speeds)
    chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {chosen.json}")
    return 0


def measure_speeds(counts: list[int], blocks: int, transfers: int, progress: Progress) -> list[ImportSpeed]:
    """Import blocks that were made before, with the stages timed; a few for each number of accounts in turn.

    Taking turns, whatever else the machine does slows all of them alike.
    """
    made = [_make_blocks(accounts, WARM_UP_BLOCKS + blocks, transfers, progress) for accounts in counts]
    with ExitStack() as stack:
        runs = []
        for accounts, encoded in zip(counts, made, strict=True):
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir="results"))
            clock = ManualClock(START_S + BLOCK_TIME_S * (len(encoded) + 1))
            ledger = stack.enter_context(Ledger.open(Path(folder), genesis_of(accounts), clock))
            runs.append(ImportRun(accounts, transfers, ledger, encoded))
        importing = progress.add_task("importing", total=blocks * len(runs))
        for first in range(0, blocks, TURN_BLOCKS):
            for run in runs:
                progress.advance(importing, run.import_some(min(TURN_BLOCKS, blocks - first)))
        return [run.result() for run in runs]


class ImportRun:
    """One ledger being imported into, and the time its stages took."""

    def __init__(self, accounts: int, transfers: int, ledger: Ledger, encoded: list[bytes]) -> None:
        self._accounts = accounts
        self._transfers = transfers
        self._ledger = ledger
        self._encoded = encoded
        self._next = 0
        self._stages = Stages()
        self._seconds = 0.0
        self._written = 0
        for owner, method, stage in (
            (ledger.state, "prepare", "trie"),
            (ledger.state, "commit", "rows"),
            (ledger.blocks, "put", "rows"),
            (ledger.blocks, "connect", "rows"),
        ):
            self._stages.wrap(owner, method, stage)
        self.import_some(WARM_UP_BLOCKS)
        self._stages.seconds.clear()
        self._seconds, self._written = 0.0, 0

    def import_some(self, count: int) -> int:
        """Import the next blocks; how many."""
        written, started = _bytes_written(), time.perf_counter()
        apply, finish = BlockExecution.apply, BlockExecution.finish
        self._stages.wrap(BlockExecution, "apply", "execute")
        self._stages.wrap(BlockExecution, "finish", "execute")
        try:
            for encoded in self._encoded[self._next : self._next + count]:
                self._import(encoded)
        finally:
            BlockExecution.apply, BlockExecution.finish = apply, finish  # type: ignore[method-assign]
        self._next += count
        self._seconds += time.perf_counter() - started
        self._written += _bytes_written() - written
        return count

    def result(self) -> ImportSpeed:
        blocks = self._next - WARM_UP_BLOCKS
        count = blocks * self._transfers
        us = {stage: value * 1e6 / count for stage, value in self._stages.seconds.items()}
        named = {f"{stage}_us": round(us[stage], 1) for stage in ("decode", "recover", "execute", "trie", "rows")}
        return ImportSpeed(
            accounts=self._accounts,
            blocks=blocks,
            transfers_per_block=self._transfers,
            transactions_per_s=round(count / self._seconds, 1),
            rest_us=round(self._seconds * 1e6 / count - sum(us.values()), 1),
            bytes_on_disk=sum(file.stat().st_size for file in self._ledger.database.directory.iterdir()),
            bytes_written_per_block=self._written // blocks,
            **named,
        )

    def _import(self, encoded: bytes) -> None:
        seconds = self._stages.seconds
        started = time.perf_counter()
        block = decode_block(encoded)
        decoded = time.perf_counter()
        for transaction in block.transactions:
            _ = transaction.sender
        seconds["decode"] = seconds.get("decode", 0.0) + decoded - started
        seconds["recover"] = seconds.get("recover", 0.0) + time.perf_counter() - decoded
        self._ledger.import_block(block)


async def measure_memory(blocks: int, transfers: int, progress: Progress) -> Memory:
    """Import as a node does, gateway included, and look at the process's own memory."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="results") as folder, _produced(1_000, blocks, transfers) as stream:
        genesis = genesis_of(1_000)
        clock = ManualClock(START_S + BLOCK_TIME_S * (blocks + 1))
        with Ledger.open(Path(folder), genesis, clock) as ledger:
            settings = NodeSettings(Path(folder))
            async with _node_core(ledger, clock) as core:
                backend = NodeBackend(core, clock, settings, Miner(), public_key(_NODE_KEY), "127.0.0.1")
                async with Gateway(backend, GatewaySettings(port=0)):
                    task = progress.add_task("importing", total=blocks)
                    for encoded in read_blocks(stream):
                        await core.service.import_block(decode_block(encoded))
                        progress.advance(task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Memory(blocks, transfers, round(_resident_mebibytes(), 1), round(peak, 1), time.perf_counter() - started)


def _node_core(ledger: Ledger, clock: Clock) -> NodeCore:
    """A node that talks to no others."""
    identity = new_local_identity(Network(ledger.config.chain_id, ledger.genesis_hash), _NODE_KEY)
    surroundings = Surroundings(clock, clock, SocketConnector(Endpoint(identity)), Random(1))
    settings = CoreSettings(BuilderSettings(bytes(20)), "benchmark", DEFAULT_REORGANISATION_CAP, is_networked=False)
    return NodeCore(ledger, None, identity.node_id, surroundings, settings)


def show_speed(speeds: list[ImportSpeed]) -> None:
    table = Table(title="importing blocks of plain transfers")
    table.add_column("")
    for speed in speeds:
        table.add_column(f"{speed.accounts:,} accounts", justify="right")
    rows: list[tuple[str, str, float, str]] = [
        ("transactions a second", "transactions_per_s", 1, ",.0f"),
        ("decode, us a transaction", "decode_us", 1, ".1f"),
        ("recover the sender", "recover_us", 1, ".1f"),
        ("execute", "execute_us", 1, ".1f"),
        ("state root", "trie_us", 1, ".1f"),
        ("rows", "rows_us", 1, ".1f"),
        ("rules, other roots, commit", "rest_us", 1, ".1f"),
        ("KiB written a block", "bytes_written_per_block", 1 / 1024, ",.0f"),
        ("MiB on disk", "bytes_on_disk", 1 / MEBIBYTE, ",.1f"),
    ]
    for name, field, factor, form in rows:
        table.add_row(name, *(format(getattr(speed, field) * factor, form) for speed in speeds))
    Console().print(table)
    if len(speeds) > 1:
        ratio = speeds[-1].transactions_per_s / speeds[0].transactions_per_s
        print(f"speed with {speeds[-1].accounts:,} accounts: {ratio:.0%} of that with {speeds[0].accounts:,}")


def show_memory(memory: Memory) -> None:
    print(
        f"after {memory.blocks:,} blocks of {memory.transfers_per_block} transfers: "
        f"{memory.resident_mebibytes:.1f} MiB resident, {memory.resident_peak_mebibytes:.1f} MiB at most, "
        f"in {memory.seconds:.0f} s"
    )


def _make_blocks(accounts: int, blocks: int, transfers: int, progress: Progress) -> list[bytes]:
    with _produced(accounts, blocks, transfers) as stream:
        making = progress.add_task(f"making blocks over {accounts:,} accounts", total=blocks)
        return list(_counted(read_blocks(stream), progress, making))


def _counted(items: Iterable[bytes], progress: Progress, task: Any) -> Iterator[bytes]:
    for item in items:
        yield item
        progress.advance(task)


@contextmanager
def _produced(accounts: int, blocks: int, transfers: int) -> Iterator[Any]:
    command = [sys.executable, "-m", "benchmarks.transfer_blocks", f"--accounts={accounts}", f"--blocks={blocks}",
               f"--transfers={transfers}"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as producer:
        yield producer.stdout
        if producer.wait() != 0:
            raise RuntimeError("the process that makes the blocks failed")


def _bytes_written() -> int:
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def _resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEBIBYTE


if __name__ == "__main__":
    sys.exit(main())
