"""The benchmark's picture: time a block, CPU share, and how the times are spread, beside the paper and the theory.

matplotlib draws it. A node needs no matplotlib, so that it comes with the extra `bench` and is loaded here only.
"""

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING

from node.bench.plan import PAPER
from node.bench.report import PLOT_FILE, Results
from primitives.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES = (13.5, 4.2)
_PIXELS_AN_INCH = 110


def require_plotting() -> None:
    """Raises UserError where matplotlib is not installed: before anything is measured, not after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            "The picture of the benchmark needs matplotlib, which a node does without and is not installed. "
            "Install it with: pip install 'wattchain[bench]' (in a clone: .venv/bin/pip install -e '.[bench]'), "
            "or leave the picture out with --no-plot."
        )


def write_plot(results: Results, folder: Path) -> Path:
    """Draw the picture into the folder; its path. Raises UserError."""
    # Not pyplot: it would look for a screen, and keep the figure for the rest of the process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_PIXELS_AN_INCH, layout="constrained")
    FigureCanvasAgg(figure)  # becomes the figure's own
    times, cpu, spread = figure.subplots(1, 3)
    _draw_times(times, results)
    _draw_cpu(cpu, results)
    _draw_spread(spread, results)
    path = folder / PLOT_FILE
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"The picture {path} cannot be written: {error.strerror}.") from error
    return path


def _draw_times(axes: "Axes", results: Results) -> None:
    rows = sorted(results.rows, key=lambda row: row.peers)
    peers = [row.peers for row in rows]
    means = [row.block_time.mean for row in rows]
    below = [row.block_time.mean - row.block_time.low for row in rows]
    above = [row.block_time.high - row.block_time.mean for row in rows]
    axes.errorbar(peers, means, [below, above], fmt="o", capsize=4, color="C0", label="measured, 95 % interval")
    formula = [(row.peers, row.formula_s) for row in rows if row.formula_s is not None]
    if formula:
        axes.plot(*zip(*formula, strict=True), "--", color="C2", label="formula, D * 2^32 / H")
    axes.plot(list(PAPER), [row.block_time_s for row in PAPER.values()], "x", color="C3", label="paper")
    axes.set(title="Time a block", xlabel="peers", ylabel="seconds" + _scaled(results))
    _finish(axes, peers)


def _draw_cpu(axes: "Axes", results: Results) -> None:
    rows = sorted(results.rows, key=lambda row: row.peers)
    for row in rows:
        axes.plot([row.peers] * row.peers, row.cpu_percent, "o", color="C0", alpha=0.4)
    peers = [row.peers for row in rows]
    axes.plot(peers, [row.mean_cpu_percent for row in rows], "-", color="C0", label="measured, each node and mean")
    axes.plot(list(PAPER), [row.cpu_percent for row in PAPER.values()], "x", color="C3", label="paper")
    axes.set(title="CPU of a node", xlabel="peers", ylabel="% of a core")
    _finish(axes, peers)


def _draw_spread(axes: "Axes", results: Results) -> None:
    """Which share of the intervals was longer than so many times their mean: e^-x where blocks are found by chance."""
    for run in results.runs:
        intervals = sorted(run.chain.intervals_s)
        mean = sum(intervals) / len(intervals)
        shares = [1 - rank / len(intervals) for rank in range(len(intervals))]
        axes.step([interval / mean for interval in intervals], shares, where="post", label=f"{run.peers} peers")
    if results.plan.is_mined:
        grid = [step / 20 for step in range(101)]
        axes.plot(grid, [math.exp(-x) for x in grid], "--", color="black", label="exponential")
    axes.set(title="Intervals longer than ...", xlabel="times the mean", ylabel="share of blocks", ylim=(0, 1.02))
    axes.legend()


def _finish(axes: "Axes", peers: list[int]) -> None:
    axes.set_xticks(sorted({*peers, *PAPER}))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _scaled(results: Results) -> str:
    return "" if results.plan.scale == 1 else f" (measured {results.plan.scale:g} times as fast)"
