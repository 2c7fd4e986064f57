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
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.transfer_blocks import BLOCK_TIME_S, START_S, genesis_of, read_blocks
from chain.block import decode_block
from chain.block_execution import BlockExecution
from chain.builder import BlockBuilder, BuilderSettings
from chain.ledger import Ledger
from chain.miner import Miner
from chain.pool.pool import TransactionPool
from gateway.server import Gateway, GatewaySettings
from node.backend import NodeBackend
from node.service import LedgerService
from node.settings import MiningSettings
from primitives.clock import ManualClock

WARM_UP_BLOCKS = 10
MEBIBYTE = 1024 * 1024


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
            speeds = [measure_speed(count, chosen.blocks or 200, chosen.transfers, progress) for count in accounts]
            report["import"] = [asdict(speed) for speed in speeds]
    if chosen.memory:
        show_memory(memory)
    else:
        show_speed(speeds)
    chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {chosen.json}")
    return 0


def measure_speed(accounts: int, blocks: int, transfers: int, progress: Progress) -> ImportSpeed:
    """Import blocks that were made before, with the stages timed."""
    total = WARM_UP_BLOCKS + blocks
    with _produced(accounts, total, transfers) as stream:
        making = progress.add_task(f"making blocks over {accounts:,} accounts", total=total)
        encoded = list(_counted(read_blocks(stream), progress, making))
    with tempfile.TemporaryDirectory(dir="results") as folder:
        clock = ManualClock(START_S + BLOCK_TIME_S * (total + 1))
        with Ledger.open(Path(folder), genesis_of(accounts), clock) as ledger:
            _import_all(ledger, encoded[:WARM_UP_BLOCKS])
            stages = Stages()
            stages.wrap(ledger.state, "prepare", "trie")
            stages.wrap(ledger.state, "commit", "rows")
            stages.wrap(ledger.blocks, "put", "rows")
            stages.wrap(ledger.blocks, "connect", "rows")
            original_apply, original_finish = BlockExecution.apply, BlockExecution.finish
            stages.wrap(BlockExecution, "apply", "execute")
            stages.wrap(BlockExecution, "finish", "execute")
            written = _bytes_written()
            importing = progress.add_task(f"importing over {accounts:,} accounts", total=blocks)
            started = time.perf_counter()
            try:
                _import_all(ledger, _counted(encoded[WARM_UP_BLOCKS:], progress, importing), stages)
            finally:
                BlockExecution.apply, BlockExecution.finish = original_apply, original_finish  # type: ignore[method-assign]
            seconds = time.perf_counter() - started
            written = _bytes_written() - written
            bytes_on_disk = sum(file.stat().st_size for file in Path(folder).iterdir())
    count = blocks * transfers
    us = {stage: value * 1e6 / count for stage, value in stages.seconds.items()}
    named = {f"{stage}_us": round(us[stage], 1) for stage in ("decode", "recover", "execute", "trie", "rows")}
    rest_us = seconds * 1e6 / count - sum(us.values())
    return ImportSpeed(
        accounts=accounts,
        blocks=blocks,
        transfers_per_block=transfers,
        transactions_per_s=round(count / seconds, 1),
        rest_us=round(rest_us, 1),
        bytes_on_disk=bytes_on_disk,
        bytes_written_per_block=written // blocks,
        **named,
    )


async def measure_memory(blocks: int, transfers: int, progress: Progress) -> Memory:
    """Import as a node does, gateway included, and look at the process's own memory."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="results") as folder, _produced(1_000, blocks, transfers) as stream:
        genesis = genesis_of(1_000)
        clock = ManualClock(START_S + BLOCK_TIME_S * (blocks + 1))
        with Ledger.open(Path(folder), genesis, clock) as ledger:
            pool = TransactionPool(genesis.config, ledger.latest_accounts, ledger.head(), clock)
            builder = BlockBuilder(
                ledger.config, ledger.engine, clock, ledger.blocks, ledger.state, BuilderSettings(bytes(20))
            )
            async with LedgerService(ledger, pool, builder) as service:
                backend = NodeBackend(service, clock, MiningSettings(), Miner(), "benchmark")
                async with Gateway(backend, GatewaySettings(port=0)):
                    task = progress.add_task("importing", total=blocks)
                    for encoded in read_blocks(stream):
                        await service.import_block(decode_block(encoded))
                        progress.advance(task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Memory(blocks, transfers, round(_resident_mebibytes(), 1), round(peak, 1), time.perf_counter() - started)


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


def _import_all(ledger: Ledger, encoded: Iterable[bytes], stages: Stages | None = None) -> None:
    seconds = (stages or Stages()).seconds
    for one in encoded:
        started = time.perf_counter()
        block = decode_block(one)
        decoded = time.perf_counter()
        for transaction in block.transactions:
            _ = transaction.sender
        seconds["decode"] = seconds.get("decode", 0.0) + decoded - started
        seconds["recover"] = seconds.get("recover", 0.0) + time.perf_counter() - decoded
        ledger.import_block(block)


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
