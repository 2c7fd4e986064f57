"""`python -m tests.soak.network [--minutes 30] [--seed N]`: the soak, a progress bar, and what came of it."""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chain.config import POW, QBFT
from tests.functional.running_node import ProcessFailed
from tests.soak.network.memory import MAX_GROWTH_MIB, MAX_RESIDENT_MIB, MIN_JUDGED_S
from tests.soak.network.soak import DEFAULT_RATE_PER_S, FOLLOWERS, MAKERS, Outcome, SoakPlan, soak

DEFAULT_MINUTES = 30.0
LINE_EVERY_S = 60.0
"""Where the output is no terminal, a line now and then instead of the bar."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.network", description=__doc__)
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="how long (%(default)g)")
    parser.add_argument("--seed", type=int, help="draws the same troubles as another run; random if not given")
    parser.add_argument("--consensus", choices=[QBFT, POW], default=QBFT, help="who makes blocks (%(default)s)")
    parser.add_argument("--rate", type=float, default=DEFAULT_RATE_PER_S, help="transfers a second (%(default)g)")
    parser.add_argument("--folder", type=Path, help="new folder for all files, which are then kept")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="wattchain-soak-"))).absolute()
    if arguments.folder is not None:
        if folder.exists():
            parser.error(f"{folder} exists already; name a new folder")
        folder.mkdir(parents=True)
    plan = SoakPlan(arguments.minutes, seed, arguments.consensus, arguments.rate)
    makers = "validators" if plan.consensus == QBFT else "miners"
    print(
        f"{plan.minutes:g} minutes, {MAKERS} {makers} and {FOLLOWERS} followers, "
        f"{plan.rate_per_s:g} transfers a second, seed {seed}, files in {folder}",
        flush=True,
    )
    outcome = None
    try:
        outcome = _run(folder, plan)
    except ProcessFailed as failure:
        print(f"FAILED: {failure}")
    if outcome is not None:
        _report(outcome)
    if outcome is None or outcome.memory_troubles:
        print(f"The files are kept in {folder}.")
        again = f"--minutes {plan.minutes:g} --seed {seed} --consensus {plan.consensus} --rate {plan.rate_per_s:g}"
        print(f"Repeat it with: python -m tests.soak.network {again}", flush=True)
        return 1
    if arguments.folder is None:
        shutil.rmtree(folder)
    return 0


def _run(folder: Path, plan: SoakPlan) -> Outcome:
    console = Console()
    columns = (TextColumn("soaking"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=plan.seconds)
        next_line_s = LINE_EVERY_S

        def on_time(passed_s: float) -> None:
            nonlocal next_line_s
            progress.update(bar, completed=passed_s)
            if not console.is_terminal and passed_s >= next_line_s:
                print(f"{time.strftime('%H:%M:%S')} {passed_s / 60:.0f} minutes", flush=True)
                next_line_s += LINE_EVERY_S

        return asyncio.run(soak(folder, plan, on_time))


def _report(outcome: Outcome) -> None:
    record = outcome.record
    for kind, count in record.troubles.most_common():
        print(f"  {count:>4}  {kind}")
    print(
        f"  {record.kills} kills, {record.starts} starts; at most {record.longest_recovery_s:.1f} s from the end of a "
        f"trouble until all nodes were a block further; at most {outcome.longest_gap_s:.1f} s without a block"
    )
    print(
        f"  one chain of {outcome.blocks} blocks at all {len(outcome.memory)} nodes; {outcome.accepted} accepted "
        f"transfers, each in it once ({outcome.retries} times a node had no room or did not answer)"
    )
    print(f"  certificates: {', '.join(map(str, outcome.certificates))}; states taken over: {outcome.taken_states}")
    for number, memory in enumerate(outcome.memory):
        line = memory.line
        if line is None:
            print(f"  node {number}: at most {memory.most_mib:.1f} MiB (killed now and then)")
            continue
        judged = "flat" if line.is_flat else "NOT FLAT"
        if line.judged_s < MIN_JUDGED_S:
            judged = "too short to judge"
        print(
            f"  node {number}: at most {memory.most_mib:.1f} MiB; from {line.begin_mib:.1f} MiB by "
            f"{line.growth_mib:+.1f} MiB in the last {line.judged_s / 60:.1f} minutes: {judged}"
        )
    print(
        f"  bounds: +{MAX_GROWTH_MIB:g} MiB on the line of a node that is never killed, {MAX_RESIDENT_MIB:g} MiB at all"
    )
    for trouble in outcome.memory_troubles:
        print(f"FAILED: {trouble}")


if __name__ == "__main__":
    sys.exit(main())
