"""Thousands of simulated worlds: `python -m tests.simulation --seeds 10000`; a failing seed prints what repeats it."""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.simulation.result import Result
from tests.simulation.scenario import repeating, run
from tests.simulation.variants import VARIANTS, Variant
from tests.simulation.virtual_time import VirtualLoop, current_life

SEEDS_A_TASK = 5
LINE_EVERY_SEEDS = 500
"""Where the output is no terminal, a line now and then instead of the bar."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (%(default)s)")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="whole", help="what is taken away")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    parser.add_argument("--log", action="store_true", help="print the logs of all nodes, with the simulated time")
    arguments = parser.parse_args()
    variant, seeds = VARIANTS[arguments.variant], range(arguments.first, arguments.first + arguments.seeds)
    if arguments.log:
        _print_logs()
    began_s, results, failed = time.monotonic(), list[Result](), 0
    with _progress(len(seeds)) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for done, (seed, outcome) in enumerate(_run_all(seeds, variant, arguments.workers), 1):
            progress.advance(task)
            if isinstance(outcome, Result):
                results.append(outcome)
            else:
                failed += 1
                progress.console.print(
                    f"seed {seed}: {outcome}\n  {repeating(seed, variant)}", markup=False, soft_wrap=True
                )
            if not progress.console.is_terminal and done % LINE_EVERY_SEEDS == 0:
                print(f"{done} seeds", flush=True)
    _report(results, failed, time.monotonic() - began_s)
    return 1 if failed else 0


def _run_all(seeds: range, variant: Variant, workers: int) -> Iterator[tuple[int, Result | str]]:
    """Every seed and what became of it, in order."""
    one = partial(_run_one, variant.name)
    if workers == 1 or len(seeds) == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(one, seeds, chunksize=SEEDS_A_TASK)


def _run_one(variant: str, seed: int) -> tuple[int, Result | str]:
    try:
        return seed, run(seed, VARIANTS[variant])
    except Exception as error:  # noqa: BLE001 - whatever a seed brings to light, the others are run too
        return seed, f"{type(error).__name__}: {error}"


def _progress(total: int) -> Progress:
    console = Console()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("seeds"), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal or total == 1)


def _report(results: list[Result], failed: int, duration_s: float) -> None:
    print(f"{len(results)} seeds passed, {failed} failed, in {duration_s:.1f} s")
    for consensus in sorted({result.consensus for result in results}):
        some = [result for result in results if result.consensus == consensus]
        slowest = max(some, key=lambda result: result.recovery_s / result.bound_s)
        print(
            f"  {consensus}: {len(some)} networks, {sum(one.height for one in some)} blocks, "
            f"{sum(one.messages for one in some)} messages, {sum(one.power_cuts for one in some)} power cuts, "
            f"{sum(one.accepted for one in some)} accepted transactions; "
            f"slowest recovery {slowest.recovery_s:.1f} s of {slowest.bound_s:.0f} s allowed"
        )
    if len(results) == 1:
        print(f"  trace {results[0].trace}")


def _print_logs() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_SimulatedTime("%(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class _SimulatedTime(logging.Formatter):
    """Says when in the simulated world, and which node."""

    def format(self, record: logging.LogRecord) -> str:
        life = current_life()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return super().format(record)
        time_s = loop.time() if isinstance(loop, VirtualLoop) else 0.0
        return f"{time_s:10.3f} {life.name if life is not None else '':12} {super().format(record)}"


if __name__ == "__main__":
    sys.exit(main())
