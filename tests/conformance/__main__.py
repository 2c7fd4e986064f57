"""python -m tests.conformance KIND [DIR] [--workers N]: official vectors against our code.

Prints each failure's file and case and, last, "N passed, M failed". Exit status: 0 all passed, 1 some failed, 2 nothing
to run.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.conformance.vectors import KINDS, WHERE_TO_GET_THEM, Outcome, files_of, run_file, vectors_root


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, "all"])
    parser.add_argument("directory", metavar="DIR", nargs="?", type=Path, default=vectors_root())
    parser.add_argument("--workers", metavar="N", type=_positive, default=1, help="processes that share the files")
    chosen = parser.parse_args(arguments)
    kinds = KINDS if chosen.kind == "all" else (chosen.kind,)
    work = [(kind, file) for kind in kinds for file in files_of(kind, chosen.directory)]
    if not work:
        print(f"no vectors under {chosen.directory}: {WHERE_TO_GET_THEM}", file=sys.stderr)
        print("0 passed, 0 failed")
        return 2
    passed, failed = _run(work, chosen.workers)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _run(work: list[tuple[str, Path]], workers: int) -> tuple[int, int]:
    passed = failed = 0
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The bar shares the terminal with the failures; a pipe or a file gets the failures alone.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("files", total=len(work))
        for outcomes in _outcomes(work, workers):
            for outcome in outcomes:
                if outcome.failure is None:
                    passed += 1
                else:
                    failed += 1
                    console.out(f"FAILED {outcome.file} {outcome.name}: {outcome.failure}", highlight=False)
            progress.update(bar, advance=1, description=f"{passed} passed, {failed} failed; files")
    return passed, failed


def _outcomes(work: list[tuple[str, Path]], workers: int) -> Iterator[Iterable[Outcome]]:
    if workers == 1:
        for kind, file in work:
            yield run_file(kind, file)
        return
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(run_file, kind, file) for kind, file in work]
        for future in as_completed(futures):
            yield future.result()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
