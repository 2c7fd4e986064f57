"""`python -m tests.soak [--kills 200] [--seed N] [--folder DIR]`: the kills, a progress bar, and what came of them."""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.functional.running_node import ProcessFailed
from tests.soak.books import BooksDiffer
from tests.soak.run import Outcome, soak

DEFAULT_KILLS = 200
LINE_EVERY_KILLS = 20
"""Where the output is no terminal, a line now and then instead of the bar."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Kill a node and a meter at random.")
    parser.add_argument("--kills", type=int, default=DEFAULT_KILLS, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, help="repeats the kills of another run; random if not given")
    parser.add_argument("--folder", type=Path, help="new folder for all files, which are then kept")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="wattchain-soak-"))).absolute()
    if arguments.folder is not None and folder.exists():
        parser.error(f"{folder} exists already; name a new folder")
    print(f"{arguments.kills} kills, seed {seed}, files in {folder}", flush=True)
    began_s = time.monotonic()
    outcome = None
    try:
        outcome = _run(folder, arguments.kills, seed)
    except (ProcessFailed, BooksDiffer) as failure:
        print(f"FAILED: {failure}")
        return 1
    finally:
        if outcome is None:  # whatever went wrong
            print(f"The files are kept in {folder}.")
            print(f"Repeat it with: python -m tests.soak --kills {arguments.kills} --seed {seed}", flush=True)
    _report(outcome, time.monotonic() - began_s)
    if arguments.folder is None:
        shutil.rmtree(folder)
    return 0


def _run(folder: Path, kills: int, seed: int) -> Outcome:
    console = Console()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("kills"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("kills", total=kills)
        done = 0

        def on_kill() -> None:
            nonlocal done
            done += 1
            progress.advance(bar)
            if not console.is_terminal and done % LINE_EVERY_KILLS == 0:
                print(f"{done} kills", flush=True)

        return asyncio.run(soak(folder, kills, seed, on_kill))


def _report(outcome: Outcome, duration_s: float) -> None:
    record = outcome.record
    for (target, moment), count in sorted(record.kills.items()):
        print(f"  {count:>4}  {target}, {moment}")
    print(f"  {record.mining_processes} mining processes were at work when their node was killed; none outlived it")
    print(f"  {record.starts} starts, each by itself; the slowest took {record.longest_start_s:.1f} s")
    print(
        f"{sum(record.kills.values())} kills in {duration_s:.0f} s: {outcome.blocks} blocks, state and tables equal to "
        f"a ledger that was never killed; {outcome.transfers} accepted transfers and {outcome.readings} readings, each "
        f"on the ledger once; {outcome.charged_wh} Wh read and charged"
    )


if __name__ == "__main__":
    sys.exit(main())
