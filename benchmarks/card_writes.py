"""python -m benchmarks.card_writes: what a meter writes to its card in a day, at several reading intervals.

A whole meter daemon on a clock moved by hand, with a simulated home at a sample every 5 s, and the real contracts
behind a node in memory that makes a block a minute. Counted is what the kernel accounts to the process as written to
storage (write_bytes of /proc/self/io: whole pages, each time they are written), and the database's commits, each of
which waits for the card. What a file system and the card's own controller make of it comes on top.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from meter.assembly import build_daemon
from meter.settings import MeterSettings, parse_settings
from meter.signer import KeySigner
from primitives.clock import ManualClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, SENDER_KEY, FakeNode

DAY_S, HOUR_S = 86_400, 3600
SAMPLE_INTERVAL_S = 5
BLOCK_TIME_S = 60
TURNS = 40
"""Of the event loop at each step: until all tasks wait for the clock again; the node in memory answers at once."""
# Reading interval -> simulated seconds: enough that the log of the database is written back several times.
RUNS = {3600: DAY_S, 60: 6 * HOUR_S, 5: HOUR_S}
# Bounds that docs/metering.md states.
BOUNDS_MB_A_DAY = {3600: 20, 60: 80, 5: 250}


@dataclass(frozen=True, slots=True)
class CardWrites:
    """What was seen; MB are 10^6 bytes, figures are of a day."""

    reading_interval_s: int
    simulated_s: int
    readings: float
    mb: float
    commits: float

    @property
    def is_reached(self) -> bool:
        return self.mb <= BOUNDS_MB_A_DAY.get(self.reading_interval_s, float("inf"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card_writes", description=__doc__)
    parser.add_argument("--interval", type=int, action="append", metavar="SECONDS", help="only this one")
    parser.add_argument("--offline", action="store_true", help="the node is never in reach")
    parser.add_argument("--folder", type=Path, help="on the storage that is meant; not in memory")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/card_writes.json"))
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    seen = []
    for interval_s in chosen.interval or RUNS:
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="wattchain-card-") as folder:
            simulated_s = RUNS.get(interval_s, 6 * HOUR_S)
            seen.append(asyncio.run(measure(Path(folder), interval_s, simulated_s, is_offline=chosen.offline)))
    Console().print(table(seen))
    chosen.json.write_text(json.dumps([asdict(one) for one in seen], indent=1) + "\n")
    print(f"written to {chosen.json}")
    return 0 if all(one.is_reached for one in seen) else 1


async def measure(folder: Path, interval_s: int, simulated_s: int, *, is_offline: bool = False) -> CardWrites:
    """Run it in a new folder. Raises UserError where the folder is in memory."""
    node = FakeNode(credit_wei=10**30)
    node.block_time_s = BLOCK_TIME_S
    clock = ManualClock(node.blocks[-1].time_s)
    node.clock = clock
    daemon = build_daemon(
        settings(folder, interval_s), node, clock, KeySigner(METER_KEY), KeySigner(SENDER_KEY), random.Random(1)
    )
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    daemon.outbox.database.connection.set_trace_callback(count)
    task = asyncio.ensure_future(daemon.run())
    try:
        await _pass(node, clock, HOUR_S // 4)  # the first readings, and what is written once
        if task.done():
            task.result()
        node.is_down = is_offline
        head = daemon.outbox.head()
        first, commits, before = 0 if head is None else head.sequence, 0, _written()
        await _pass(node, clock, simulated_s)
        written, head = _written() - before, daemon.outbox.head()
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        daemon.outbox.close()
    if written == 0:
        raise UserError(f"{folder} lies in memory: name a folder on a card or disk with --folder")
    a_day = DAY_S / simulated_s
    readings = 0 if head is None else head.sequence - first
    return CardWrites(interval_s, simulated_s, readings * a_day, written / 10**6 * a_day, commits * a_day)


def settings(folder: Path, interval_s: int) -> MeterSettings:
    memory = Path("/dev/shm")
    document: dict[str, object] = {
        "meter": {
            "outbox": "outbox.sqlite",
            "reading_interval_s": interval_s,
            "runtime_folder": str(memory / f"wattchain-card-{os.getpid()}"),
        },
        "pkcs11": {"module": "none", "token": "none", "key_id": "01", "address": to_checksum_address(METER)},
        "ledger": {"chain_id": CHAIN_ID, "confirmations": 1},
        "driver": {
            "kind": "simulated-home",
            "source": "power",
            "interval_s": SAMPLE_INTERVAL_S,
            "begin_s": 1_690_000_000,
        },
    }
    return parse_settings(document, folder / "meter.toml")


async def _pass(node: FakeNode, clock: ManualClock, duration_s: int) -> None:
    for passed_s in range(0, duration_s, SAMPLE_INTERVAL_S):
        clock.advance_s(SAMPLE_INTERVAL_S)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if passed_s % BLOCK_TIME_S == 0:
            node.mine()


def _written() -> int:
    """Bytes that this process has had written to storage."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


def table(seen: Sequence[CardWrites]) -> Table:
    shown = Table(title="written to the card in a day")
    for name in ("a reading every", "readings", "MB", "bound, MB", "commits", "KB a reading"):
        shown.add_column(name, justify="right")
    for one in seen:
        shown.add_row(
            f"{one.reading_interval_s} s",
            f"{one.readings:,.0f}",
            f"{one.mb:.1f}",
            f"{BOUNDS_MB_A_DAY.get(one.reading_interval_s, '')}",
            f"{one.commits:,.0f}",
            f"{one.mb * 1000 / one.readings:.1f}" if one.readings else "",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
