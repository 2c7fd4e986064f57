"""python -m tests.fuzz [--seconds N | --examples N] [--seed N]: random programs against revm until time is up.

Every tenth world is run with all its code translated to Python (vm.translation). Prints the seed of every world on
which the two interpreters differ; `--seed N --examples 1` runs it again. Last line: "N passed, M failed". Exit status:
0 all agreed, 1 some differed, 2 revm is not there.
"""

import argparse
import importlib.util
import random
import sys
import time

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from tests.fuzz.comparison import differences
from tests.fuzz.programs import make_world

_WORLD_BYTES = 900
"""Enough decisions for four contracts; more are never read."""

_TRANSLATE_EVERY = 10
"""Translating takes many times as long as running."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    limit.add_argument("--examples", type=int, help="how many worlds, instead of how long")
    parser.add_argument("--seed", type=int, help="number of the first world; by default one that the time decides")
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("pyrevm") is None:
        print("the fuzzer compares with revm: pip install pyrevm (x86-64 only)", file=sys.stderr)
        return 2
    first = chosen.seed if chosen.seed is not None else time.time_ns() // 1_000_000
    passed, failed = _run(first, chosen.examples, chosen.seconds)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _run(first: int, examples: int | None, seconds: float) -> tuple[int, int]:
    passed = failed = 0
    end = time.monotonic() + seconds
    console = Console()
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("worlds")
        seed = first
        while seed < first + examples if examples is not None else time.monotonic() < end:
            world = make_world(random.Random(seed).randbytes(_WORLD_BYTES))
            found = differences(world, translated=seed % _TRANSLATE_EVERY == 0)
            if found:
                failed += 1
                console.out(f"FAILED seed {seed}: " + "; ".join(found), highlight=False)
            else:
                passed += 1
            seed += 1
            progress.update(bar, description=f"{passed} passed, {failed} failed")
    return passed, failed


if __name__ == "__main__":
    sys.exit(main())
