"""`wattchain bench`: benchmarks that run whole networks of real nodes on this machine. No logic of its own."""

import contextlib
import tempfile
from pathlib import Path

import click
from rich.console import Console

from chain.config import ASERT, FIXED, POW, QBFT
from node.bench.mining import measure, prepare_output
from node.bench.plan import DEFAULT_HASH_RATE, MAX_BLOCKS, MAX_PEERS, MAX_SCALE, MIN_HASH_RATE, MiningPlan
from node.bench.plot import require_plotting, write_plot
from node.bench.report import block_time_table, cost_table, result_json, write_results
from node.bench.screen import Screen
from node.demo.play import prepare_folder
from node.processes import run_until_told_to_end
from primitives.errors import UserError
from wallet.command_line import NumberInRange, PlainGroup, WholeNumber, json_option, print_json, say

DEFAULT_OUTPUT = Path("results/mining")
MAX_PEERS_CHARACTERS = 100
"""Of --peers; all numbers up to 16 take 38."""


@click.group(cls=PlainGroup)
def bench() -> None:
    """Measure whole networks of nodes on this machine."""


@bench.command()
@click.option(
    "--peers",
    default="2,3,4",
    show_default=True,
    metavar="N,N,...",
    help=f"Numbers of nodes, one network after another; each up to {MAX_PEERS}.",
)
@click.option(
    "--blocks",
    type=WholeNumber(2, MAX_BLOCKS),
    default=100,
    show_default=True,
    help="Blocks to measure in each network; four times as many make a mean twice as exact.",
)
@click.option(
    "--scale",
    type=NumberInRange(0.1, MAX_SCALE),
    default=1.0,
    show_default=True,
    help="How many times as fast blocks come, by a lower difficulty; results are for 1 again.",
)
@click.option(
    "--hash-rate",
    type=WholeNumber(MIN_HASH_RATE, 10**12),
    help=f"Hashes a second of each node's throttled miner; {DEFAULT_HASH_RATE:,} if not given.",
)
@click.option("--unthrottled", is_flag=True, help="Let every node mine as fast as it can.")
@click.option(
    "--consensus", type=click.Choice([POW, QBFT]), default=POW, show_default=True, help="How blocks are made."
)
@click.option(
    "--difficulty",
    "difficulty_rule",
    type=click.Choice([FIXED, ASERT]),
    default=FIXED,
    show_default=True,
    help="Keep the difficulty as in the paper, or let it follow the hash rate.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUTPUT,
    show_default=True,
    metavar="FOLDER",
    help="Where JSON, CSV and the picture go.",
)
@click.option("--plot/--no-plot", default=True, help="Draw the picture (needs matplotlib), or leave it out.")
@click.option("--data-dir", "folder", type=click.Path(path_type=Path), help="Keep the nodes' files in this new folder.")
@json_option
def mining(
    peers: str,
    blocks: int,
    scale: float,
    hash_rate: int | None,
    unthrottled: bool,
    consensus: str,
    difficulty_rule: str,
    output: Path,
    plot: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure how long a block takes with more and more nodes that mine together.

    Repeats the experiment of the El DApp paper (2, 3 and 4 Raspberry Pis: 9, 5 and 3 s a block) with real nodes on this
    machine, each with the hash rate of a small computer, and prints it beside the paper's figures and its formula.
    """
    if unthrottled and hash_rate is not None:
        raise UserError(
            "--unthrottled lets nodes mine as fast as they can, --hash-rate sets how fast: give one of them."
        )
    if consensus == QBFT and (unthrottled or hash_rate is not None or difficulty_rule != FIXED):
        raise UserError("With --consensus qbft nobody mines: it has no hash rate and no difficulty to set.")
    plan = MiningPlan(
        peers=parse_peers(peers),
        blocks=blocks,
        scale=scale,
        hash_rate=0 if unthrottled else hash_rate or DEFAULT_HASH_RATE,
        consensus=consensus,
        difficulty_rule=difficulty_rule,
    )
    if plot:
        require_plotting()
    prepare_output(output)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattchain-bench-")))
        else:
            prepare_folder(folder)
        screen = stack.enter_context(Screen(Console(stderr=True)))
        results = run_until_told_to_end(measure(plan, folder.absolute(), screen))
    written = write_results(results, output)
    if plot:
        written.append(write_plot(results, output))
    if as_json:
        print_json(result_json(results))
    else:
        console = Console()
        for table in (block_time_table(results), cost_table(results)):
            console.print(table)
    say("Written: " + ", ".join(map(str, written)))


def parse_peers(text: str) -> tuple[int, ...]:
    """Numbers of peers with commas between them, each once, in the given order. Raises UserError."""
    words = [word.strip() for word in text[:MAX_PEERS_CHARACTERS].split(",")]
    numbers = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) <= 3]
    if len(numbers) != len(words) or len(text) > MAX_PEERS_CHARACTERS:
        raise UserError(f"--peers takes whole numbers with commas between them, such as 2,3,4; got {text[:40]!r}.")
    if not all(1 <= number <= MAX_PEERS for number in numbers):
        raise UserError(f"--peers takes numbers from 1 to {MAX_PEERS}: more nodes do not fit on one machine.")
    if len(set(numbers)) != len(numbers):
        raise UserError("--peers names a number twice.")
    return tuple(numbers)
