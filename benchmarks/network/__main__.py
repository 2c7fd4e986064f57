"""`python -m benchmarks.network`: how networks of real nodes on this machine do; --help lists the parts.

All nodes are processes of their own and talk over loopback. Nothing is left running, and no files are left behind
unless --keep names a folder for them.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.network.joining import JoiningPlan, measure_joining
from benchmarks.network.propagation import PropagationPlan, measure_propagation
from benchmarks.network.report import joining_table, propagation_table, throughput_table
from benchmarks.network.throughput import ThroughputPlan, measure_throughput
from chain.config import POW, QBFT
from node.bench.run import Progress
from node.bench.screen import Screen
from primitives.errors import UserError

DEFAULT_JSON = Path("results/network.json")
CHAINS = Path("results/chains")
"""Where chains that were made for joining are kept for the next time."""

Part = tuple[str, Callable[[Path, Progress], Coroutine[Any, Any, Any]], Callable[[Any], Table]]
"""Name, what measures it in a new folder, what shows it."""


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    folder = (chosen.keep or Path(tempfile.mkdtemp(prefix="wattchain-network-"))).absolute()
    console = Console()
    report: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    try:
        for name, measure, table in _parts(chosen):
            report |= {f"{name}_load_average_before": os.getloadavg()[0]}
            (folder / name).mkdir(parents=True)
            with Screen(Console(stderr=True)) as screen:
                result = asyncio.run(measure(folder / name, _progress(screen, name)))
            console.print(table(result))
            report[name] = asdict(result)
            # After every part: one that fails takes nothing with it.
            chosen.json.parent.mkdir(parents=True, exist_ok=True)
            chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    except UserError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        if chosen.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"written to {chosen.json}")
    return 0


def _progress(screen: Screen, name: str) -> Progress:
    return lambda phase, done, total: screen.show(f"{name}: {phase}", done, total)


def _parts(chosen: argparse.Namespace) -> list[Part]:
    """What was asked for; everything where nothing was named."""
    throughput = ThroughputPlan(rate_per_s=chosen.rate, seconds=chosen.seconds)
    propagation = PropagationPlan(chosen.consensus, blocks=chosen.blocks, degree=chosen.degree, seed=chosen.seed)
    joining = JoiningPlan(blocks=chosen.chain_blocks, servers=chosen.servers)
    parts: list[Part] = [
        ("throughput", lambda folder, show: measure_throughput(throughput, folder, show), throughput_table),
        ("propagation", lambda folder, show: measure_propagation(propagation, folder, show), propagation_table),
        ("joining", lambda folder, show: measure_joining(joining, folder, CHAINS, show), joining_table),
    ]
    asked = [part for part in parts if getattr(chosen, part[0])]
    return asked or parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    throughput, propagation, joining = ThroughputPlan(), PropagationPlan(), JoiningPlan()
    parser.add_argument("--throughput", action="store_true", help="transfers a second of four validators")
    parser.add_argument("--rate", metavar="N", type=float, default=throughput.rate_per_s, help="transfers a second")
    parser.add_argument("--seconds", metavar="N", type=float, default=throughput.seconds, help="how long")
    parser.add_argument("--propagation", action="store_true", help="how fast blocks reach all of sixteen nodes")
    parser.add_argument("--blocks", metavar="N", type=int, default=propagation.blocks, help="blocks to measure")
    parser.add_argument("--consensus", choices=[POW, QBFT], default=propagation.consensus, help="who makes them")
    parser.add_argument("--degree", metavar="N", type=int, default=0, help="peers of a node; 0: all others")
    parser.add_argument("--seed", metavar="N", type=int, default=propagation.seed, help="of the network's links")
    parser.add_argument("--joining", action="store_true", help="how long a new node needs to catch up")
    parser.add_argument("--chain-blocks", metavar="N", type=int, default=joining.blocks, help="of the chain it joins")
    parser.add_argument("--servers", metavar="N", type=int, default=joining.servers, help="nodes that have the chain")
    parser.add_argument("--json", metavar="FILE", type=Path, default=DEFAULT_JSON)
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="new folder for the nodes' files and logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
