"""python -m benchmarks.growth: what trie and store cost a block as the number of accounts grows.

Blocks of 50 transfers between random accounts, without signatures and execution (benchmarks.ledger has those): reading
the accounts, the new state root, the rows, the commit to disk. Prints a table and writes JSON. Bytes written are what
the kernel sent to the disk for this process, log and its checkpoints included; on a memory file system they are 0.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chain.account import Account, StateChanges
from chain.block import Block
from chain.header import EMPTY_OMMERS_HASH, Header
from chain.receipt import EMPTY_BLOOM, Receipt
from chain.store.blocks import BlockStore
from chain.store.database import Database
from chain.store.state import StateStore
from chain.transaction import Transaction
from primitives.keccak import keccak256

DEFAULT_ACCOUNTS = (1_000, 1_000_000)
DEFAULT_BLOCKS = 300
WARM_UP_BLOCKS = 50
TRANSFERS_PER_BLOCK = 50
GENESIS_BALANCE = 10**24
COINBASE = b"\xcc" * 20
SEED = 2026


@dataclass(frozen=True, slots=True)
class Growth:
    """One number of accounts. Times are means over the measured blocks, per transaction."""

    accounts: int
    blocks: int
    load_s: float
    read_us: float
    trie_us: float
    state_rows_us: float
    block_rows_us: float
    commit_us: float
    total_us: float
    processor_us: float
    """The part of the total that needed the processor; the rest is waiting, for the disk or for other programs."""
    bytes_written_per_block: int
    bytes_on_disk: int
    resident_peak_bytes: int


class Stopwatch:
    """Adds up the time of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0

    def start(self) -> None:
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--accounts", metavar="N", nargs="+", type=int, default=DEFAULT_ACCOUNTS)
    parser.add_argument("--blocks", metavar="N", type=int, default=DEFAULT_BLOCKS)
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/growth.json"))
    chosen = parser.parse_args(arguments)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    results = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for accounts in chosen.accounts:
            with tempfile.TemporaryDirectory(dir=chosen.json.parent) as directory:
                results.append(measure(Path(directory), accounts, chosen.blocks, progress))
    show(results)
    chosen.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(f"written to {chosen.json}")
    return 0


def measure(directory: Path, accounts: int, blocks: int, progress: Progress) -> Growth:
    """Load a genesis of that many accounts and import that many blocks."""
    _reset_resident_peak()
    with Database.open(directory) as database:
        store, block_store = StateStore(database), BlockStore(database)
        bar = progress.add_task(f"{accounts:,} accounts", total=accounts)
        started = time.perf_counter()
        with database.transaction():
            store.initialise_from(_genesis(accounts, lambda: progress.advance(bar, 1_000)), {}, {})
        load_s = time.perf_counter() - started
        bar = progress.add_task(f"blocks over {accounts:,} accounts", total=WARM_UP_BLOCKS + blocks)
        generator = random.Random(SEED)
        stopwatch = Stopwatch()
        parent = bytes(32)
        written, processor_s = 0, 0.0
        for number in range(1, WARM_UP_BLOCKS + blocks + 1):
            if number == WARM_UP_BLOCKS + 1:
                stopwatch, written, processor_s = Stopwatch(), _bytes_written(), 0.0
            block, receipts = _block(number, parent, generator, accounts)
            processor_s -= time.thread_time()
            _import(database, store, block_store, block, receipts, stopwatch)
            processor_s += time.thread_time()
            parent = block.hash
            progress.advance(bar)
        written = _bytes_written() - written
        resident_peak_bytes = _resident_peak_bytes()
    bytes_on_disk = sum(file.stat().st_size for file in directory.iterdir())
    microseconds = {stage: s * 1e6 / blocks / TRANSFERS_PER_BLOCK for stage, s in stopwatch.seconds.items()}
    return Growth(
        accounts,
        blocks,
        load_s=round(load_s, 1),
        read_us=round(microseconds["read"], 1),
        trie_us=round(microseconds["trie"], 1),
        state_rows_us=round(microseconds["state rows"], 1),
        block_rows_us=round(microseconds["block rows"], 1),
        commit_us=round(microseconds["commit"], 1),
        total_us=round(sum(microseconds.values()), 1),
        processor_us=round(processor_s * 1e6 / blocks / TRANSFERS_PER_BLOCK, 1),
        bytes_written_per_block=written // blocks,
        bytes_on_disk=bytes_on_disk,
        resident_peak_bytes=resident_peak_bytes,
    )


def show(results: list[Growth]) -> None:
    """The table: a column for each number of accounts."""
    table = Table(title=f"trie and store, blocks of {TRANSFERS_PER_BLOCK} transfers")
    table.add_column("")
    for result in results:
        table.add_column(f"{result.accounts:,} accounts", justify="right")
    rows: tuple[tuple[str, str, float, str], ...] = (
        ("read accounts, us a transaction", "read_us", 1, ",.1f"),
        ("state root, us a transaction", "trie_us", 1, ",.1f"),
        ("state rows, us a transaction", "state_rows_us", 1, ",.1f"),
        ("block rows, us a transaction", "block_rows_us", 1, ",.1f"),
        ("commit, us a transaction", "commit_us", 1, ",.1f"),
        ("all of these, us a transaction", "total_us", 1, ",.1f"),
        ("of which processor, us a transaction", "processor_us", 1, ",.1f"),
        ("KiB written a block", "bytes_written_per_block", 1 / 1024, ",.0f"),
        ("MiB on disk at the end", "bytes_on_disk", 1 / 1024**2, ",.1f"),
        ("MiB of memory at most", "resident_peak_bytes", 1 / 1024**2, ",.0f"),
        ("seconds to load the genesis", "load_s", 1, ",.1f"),
    )
    for name, field, factor, form in rows:
        table.add_row(name, *(format(getattr(result, field) * factor, form) for result in results))
    Console().print(table)


def _import(
    database: Database,
    store: StateStore,
    block_store: BlockStore,
    block: Block,
    receipts: list[Receipt],
    stopwatch: Stopwatch,
) -> None:
    stopwatch.start()
    with database.transaction():
        prepared = store.prepare(_transfers(store, block, stopwatch))
        stopwatch.lap("trie")
        store.commit(block.number, prepared)
        stopwatch.lap("state rows")
        block_store.put(block, block.number)
        block_store.connect(block, receipts)
        stopwatch.lap("block rows")
    stopwatch.lap("commit")


def _transfers(store: StateStore, block: Block, stopwatch: Stopwatch) -> StateChanges:
    changes = StateChanges()
    present = store.reader()
    for transaction in block.transactions:
        for address, amount in ((transaction.data[:20], -1), (transaction.to or b"", 1)):
            account = changes.accounts.get(address) or present.account(address) or Account()
            changes.accounts[address] = Account(account.nonce + 1, account.balance + amount, account.code_hash)
    coinbase = present.account(COINBASE) or Account()
    changes.accounts[COINBASE] = Account(0, coinbase.balance + 1)
    stopwatch.lap("read")
    return changes


def _genesis(accounts: int, report_thousand: Callable[[], None]) -> Iterator[tuple[bytes, Account]]:
    for index in range(accounts):
        if index % 1_000 == 0:
            report_thousand()
        yield _address(index), Account(0, GENESIS_BALANCE)


def _address(index: int) -> bytes:
    return keccak256(index.to_bytes(8, "big"))[:20]


def _block(number: int, parent: bytes, generator: random.Random, accounts: int) -> tuple[Block, list[Receipt]]:
    """A block as large as a real one. The sender stands in the data, since nothing is signed; hashes are made ready."""
    transactions = tuple(
        Transaction(
            2,
            1,
            number,
            10**9,
            10**10,
            21_000,
            _address(generator.randrange(accounts)),
            10**18,
            _address(generator.randrange(accounts)),
            r=generator.getrandbits(255),
            s=generator.getrandbits(254),
        )
        for _ in range(TRANSFERS_PER_BLOCK)
    )
    for transaction in transactions:
        _ = transaction.hash
    receipts = [Receipt(2, True, 21_000 * (i + 1), (), 21_000, None, 10**9) for i in range(TRANSFERS_PER_BLOCK)]
    header = Header(
        parent,
        EMPTY_OMMERS_HASH,
        COINBASE,
        generator.randbytes(32),
        generator.randbytes(32),
        generator.randbytes(32),
        EMPTY_BLOOM,
        1,
        number,
        30_000_000,
        TRANSFERS_PER_BLOCK * 21_000,
        number,
        b"",
        bytes(32),
        bytes(8),
        10**9,
    )
    return Block(header, transactions), receipts


def _bytes_written() -> int:
    """What this process made the kernel write to the disk so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, value = line.split(": ")
        if name == "write_bytes":
            return int(value)
    return 0


def _reset_resident_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _resident_peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())
