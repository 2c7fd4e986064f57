"""`python -m tests.soak.meter_year [--days 365] [--seed N] [--source power|register|both]`: a meter's year, in minutes.

One home at a sample every five seconds, in one process and in made time, with everything that goes wrong in a year
(year_world.py). Then the books: year_books.py, and the relay at every block.
"""

import argparse
import logging
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from meter.drivers.measurement import Source
from tests.simulation.virtual_time import START_S, VirtualLoop
from tests.soak.year_books import (
    Books,
    BooksDiffer,
    check_energy,
    check_gaps,
    check_relay,
    check_sequences,
    check_times,
)
from tests.soak.year_world import LONGEST_S, Rates, World

SOURCES = {"power": (Source.POWER,), "register": (Source.REGISTER,), "both": (Source.POWER, Source.REGISTER)}

IN_MEMORY = Path("/dev/shm")
"""Nobody pulls this plug: half a million writes to a card would only take their time."""


@dataclass(frozen=True, slots=True)
class Year:
    """What a year that went well has shown."""

    source: Source
    samples: int
    blocks: int
    books: Books
    gaps: int
    checked_gaps: int
    """Found in the meter's list, where its clock was right before and after."""
    relay_looks: int
    relay_alone: int
    """Of them, blocks after which no ledger was in reach."""
    switchings: int
    events: Counter[str]
    cpu_s: float


def run_year(folder: Path, seed: int, days: float, source: Source, rates: Rates | None = None) -> Year:
    """In a new folder. Raises BooksDiffer where a promise was not kept."""
    began_s = time.process_time()
    loop = VirtualLoop()
    world = World(loop, folder, seed, days, source, rates or Rates())
    try:
        task = loop.create_task(world.live())
        if not loop.run_while_pending(task, LONGEST_S):
            raise BooksDiffer("the year does not end")
        task.result()
        accepted = world.node.accepted()
        check_sequences(accepted, world.signed)
        check_times(world.signings)
        books = check_energy(world.log, accepted, has_register=source is Source.REGISTER)
        checked_gaps = check_gaps(world.log, world.gaps, START_S)
        looks = check_relay(world.looks, accepted, world.top_ups)
    finally:
        loop.clear_up(world.lives)
    return Year(
        source,
        len(world.log),
        len(world.node.blocks),
        books,
        len(world.gaps),
        checked_gaps,
        *looks,
        world.line.switchings,
        world.events,
        time.process_time() - began_s,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.meter_year", description="A meter's year, in minutes.")
    parser.add_argument("--days", type=float, default=365, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, help="repeats the year of another run; random if not given")
    parser.add_argument("--source", choices=SOURCES, default="both", help="what the home tells (%(default)s)")
    parser.add_argument("--log", action="store_true", help="show what the daemon logs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO if arguments.log else logging.CRITICAL + 1)
    seed = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    print(f"{arguments.days:g} days, seed {seed}", flush=True)
    for source in SOURCES[arguments.source]:
        folder = Path(tempfile.mkdtemp(prefix="wattchain-year-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        try:
            report(run_year(folder, seed, arguments.days, source))
        except BooksDiffer as failure:
            print(f"FAILED ({source.value}): {failure}")
            print(f"Repeat it with: python -m tests.soak.meter_year --days {arguments.days:g} --seed {seed}")
            return 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def report(year: Year) -> None:
    books = year.books
    print(
        f"a home that tells its {year.source.value}: {year.samples:,} samples in {year.cpu_s:.0f} s of processor time"
    )
    for name, count in sorted(year.events.items()):
        print(f"  {count:>6,}  {name}")
    print(
        f"  {books.readings:,} readings, each on the ledger once; {books.import_wh:,} Wh taken and "
        f"{books.export_wh:,} Wh given, at every reading those of the home to the Wh; "
        f"{books.flagged} mark a gap; {year.gaps} gaps in the meter's list"
    )
    print(
        f"  {year.switchings} switchings; at {year.relay_looks:,} of {year.blocks:,} blocks the relay was looked at, "
        f"{year.relay_alone:,} of them without a ledger in reach: as the rules say",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
