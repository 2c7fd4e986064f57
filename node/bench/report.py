"""What the mining benchmark says: the tables beside the paper's, JSON with everything, CSV for spreadsheets."""

import csv
import io
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.table import Table

from node.bench.calibration import Calibration
from node.bench.intervals import MeanInterval
from node.bench.plan import PAPER, MiningPlan, formula_s, paper_difficulty
from node.bench.run import PeerRun
from primitives.errors import UserError

JSON_FILE, CSV_FILE, BLOCKS_FILE, PLOT_FILE = "mining.json", "mining.csv", "blocks.csv", "mining.png"
NOTHING = "-"
MEDIAN, NEARLY_ALL = 50.0, 99.0


@dataclass(frozen=True, slots=True)
class Row:
    """One number of peers, as the tables and files show it. Times a block are paper seconds: machine times scale."""

    peers: int
    blocks: int
    block_time: MeanInterval
    formula_s: float | None
    """The paper's equation with the hash rate that was measured; None where it does not apply."""
    paper_s: float | None
    cpu_percent: tuple[float, ...]
    """Of each node, of one core, in the machine's time."""
    paper_cpu_percent: float | None
    memory_mib: float
    """Of the largest node."""
    stale: int
    spread_median_ms: float | None
    """Machine milliseconds until a block had reached every node."""
    spread_99_ms: float | None
    hash_rate: float
    difficulty: int

    @property
    def mean_cpu_percent(self) -> float:
        return sum(self.cpu_percent) / len(self.cpu_percent)

    @property
    def stale_percent(self) -> float:
        return 100 * self.stale / (self.blocks + self.stale)


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured, in the order in which it was asked for."""

    plan: MiningPlan
    calibration: Calibration | None
    """None where nothing is mined."""
    runs: tuple[PeerRun, ...]

    @property
    def rows(self) -> list[Row]:
        return [_row(self.plan, run) for run in self.runs]


def _row(plan: MiningPlan, run: PeerRun) -> Row:
    paper = PAPER.get(run.peers)
    median_s, nearly_all_s = run.chain.spread_percentile_s(MEDIAN), run.chain.spread_percentile_s(NEARLY_ALL)
    expected_s = None
    if plan.follows_formula and run.hash_rate:
        expected_s = formula_s(paper_difficulty(run.difficulty), run.hash_rate) * plan.scale
    return Row(
        peers=run.peers,
        blocks=len(run.chain.blocks),
        block_time=run.chain.block_time(plan.is_mined).scaled(plan.scale),
        formula_s=expected_s,
        paper_s=paper.block_time_s if paper else None,
        cpu_percent=tuple(node.cpu_percent for node in run.nodes),
        paper_cpu_percent=paper.cpu_percent if paper else None,
        memory_mib=max(node.memory_mib for node in run.nodes),
        stale=run.chain.stale,
        spread_median_ms=None if median_s is None else 1000 * median_s,
        spread_99_ms=None if nearly_all_s is None else 1000 * nearly_all_s,
        hash_rate=run.hash_rate,
        difficulty=run.difficulty,
    )


def block_time_table(results: Results) -> Table:
    """Seconds a block beside the formula's and the paper's, and each as a share of its first row's."""
    title = "Time a block, in seconds"
    if results.plan.scale != 1:
        title += f" (measured {results.plan.scale:g} times as fast, and multiplied by {results.plan.scale:g})"
    names = ("peers", "here", "95 %", "formula", "paper", "ratio:\nhere", "formula", "paper")
    table = _table(title, names)
    rows = results.rows
    first = rows[0]
    for row in rows:
        table.add_row(
            f"{row.peers}",
            f"{row.block_time.mean:.2f}",
            f"{row.block_time.low:.2f} - {row.block_time.high:.2f}",
            _number(row.formula_s, ".2f"),
            _number(row.paper_s, ".0f"),
            f"{row.block_time.mean / first.block_time.mean:.2f}",
            _share(row.formula_s, first.formula_s),
            _share(row.paper_s, first.paper_s),
        )
    return table


def cost_table(results: Results) -> Table:
    """What it took: CPU, memory, stale blocks, how long a block travelled."""
    title = "CPU and memory of a node, stale blocks, time for a block to reach every peer"
    names = ("peers", "CPU\n%", "of each\n%", "paper\n%", "memory\nMiB", "blocks", "stale", "median\nms", "99 %\nms")
    table = _table(title, names)
    for row in results.rows:
        table.add_row(
            f"{row.peers}",
            f"{row.mean_cpu_percent:.1f}",
            f"{min(row.cpu_percent):.1f} - {max(row.cpu_percent):.1f}",
            _number(row.paper_cpu_percent, "g"),
            f"{row.memory_mib:.0f}",
            f"{row.blocks}",
            f"{row.stale}",
            _number(row.spread_median_ms, ".1f"),
            _number(row.spread_99_ms, ".1f"),
        )
    return table


def result_json(results: Results) -> dict[str, object]:
    """Everything, with names that say their units."""
    return {
        "plan": asdict(results.plan),
        "machine": machine_facts(),
        "calibration": None if results.calibration is None else asdict(results.calibration),
        "runs": [
            {
                **asdict(row),
                "mean_cpu_percent": row.mean_cpu_percent,
                "stale_percent": row.stale_percent,
                "paper_difficulty": paper_difficulty(row.difficulty),
                "nodes": [asdict(node) for node in run.nodes],
                "interval_s": run.chain.intervals_s,
                "spread_s": run.chain.spreads_s,
            }
            for row, run in zip(results.rows, results.runs, strict=True)
        ],
    }


def summary_csv(results: Results) -> str:
    """A line a number of peers."""
    lines: list[dict[str, object]] = []
    for row in results.rows:
        lines.append(
            {
                "peers": row.peers,
                "blocks": row.blocks,
                "block_time_s": row.block_time.mean,
                "block_time_low_s": row.block_time.low,
                "block_time_high_s": row.block_time.high,
                "formula_s": row.formula_s,
                "paper_s": row.paper_s,
                "cpu_percent": row.mean_cpu_percent,
                "cpu_percent_least": min(row.cpu_percent),
                "cpu_percent_most": max(row.cpu_percent),
                "paper_cpu_percent": row.paper_cpu_percent,
                "memory_mib": row.memory_mib,
                "stale": row.stale,
                "spread_median_ms": row.spread_median_ms,
                "spread_99_ms": row.spread_99_ms,
                "hash_rate": row.hash_rate,
                "difficulty": row.difficulty,
                "scale": results.plan.scale,
            }
        )
    return _csv(lines)


def blocks_csv(results: Results) -> str:
    """A line a measured block, in machine seconds."""
    return _csv(
        [
            {
                "peers": run.peers,
                "number": block.number,
                "hash": "0x" + block.block_hash.hex(),
                "made_by": block.maker,
                "interval_s": f"{block.interval_s:.6f}",
                "spread_s": "" if block.spread_s is None else f"{block.spread_s:.6f}",
            }
            for run in results.runs
            for block in run.chain.blocks
        ]
    )


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write JSON and CSV into the folder; their paths. Raises UserError."""
    texts = {
        JSON_FILE: json.dumps(result_json(results), indent=2) + "\n",
        CSV_FILE: summary_csv(results),
        BLOCKS_FILE: blocks_csv(results),
    }
    for name, text in texts.items():
        try:
            (folder / name).write_text(text, "utf-8")
        except OSError as error:
            raise UserError(f"The file {folder / name} cannot be written: {error.strerror}.") from error
    return [folder / name for name in texts]


def machine_facts() -> dict[str, object]:
    """What the figures belong to."""
    return {
        "wattchain": version("wattchain"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def _table(title: str, names: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    return table


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _share(value: float | None, whole: float | None) -> str:
    return NOTHING if value is None or whole is None else f"{value / whole:.2f}"


def _csv(lines: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
