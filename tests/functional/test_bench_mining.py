"""`wattchain bench mining` from beginning to end with two real nodes: it measures, writes its files, ends its nodes.

How long blocks take is chance, and on a busy machine more than planned; the margin is wide.
"""

import asyncio
import csv
import json
from pathlib import Path

import pytest

from tests.functional.running_node import RunningCommand

BLOCKS = 6


@pytest.mark.slow
@pytest.mark.parametrize("consensus", ["pow", "qbft"])
async def test_two_nodes_are_measured(tmp_path: Path, consensus: str) -> None:
    output = tmp_path / "results"
    options: list[object] = ["--peers", 2, "--blocks", BLOCKS, "--scale", 30, "--consensus", consensus, "--json"]
    options += ["--output", output, "--data-dir", tmp_path / "nodes"]
    if consensus == "qbft":
        options.append("--no-plot")
    async with RunningCommand(tmp_path, tmp_path / "bench.log", "bench", "mining", *options) as bench:
        document = json.loads(await bench.finish())
        await bench.group_ended()
    (run,) = document["runs"]
    assert run["peers"] == 2
    assert len(run["interval_s"]) == BLOCKS
    # The mean of six exponential times is below this once in ten million runs.
    assert 9 / 30 < run["block_time"]["mean"] < 9 * 100
    assert sum(node["blocks"] for node in run["nodes"]) == BLOCKS
    assert all(0 < node["cpu_percent"] <= 200 and node["memory_mib"] > 10 for node in run["nodes"])
    assert 0 < run["spread_median_ms"] <= run["spread_99_ms"]
    if consensus == "pow":
        assert run["formula_s"] == pytest.approx(30 * run["difficulty"] / run["hash_rate"])
        assert 0 < document["calibration"]["hash_rate"] < 21_000
    with (output / "blocks.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == BLOCKS
    assert json.loads((output / "mining.json").read_text()) == document
    if consensus == "pow":
        assert (output / "mining.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert not (output / "mining.png").exists()
    for number in range(2):
        assert "stopped at block" in (tmp_path / "nodes" / "2-peers" / f"node-{number}.log").read_text()
    log = (tmp_path / "bench.log").read_text()
    assert "Traceback" not in log
    assert f"Measures {BLOCKS} blocks" in log


@pytest.mark.slow
async def test_it_ends_its_nodes_when_it_is_told_to_end(tmp_path: Path) -> None:
    log, node_log = tmp_path / "bench.log", tmp_path / "nodes" / "1-peers" / "node-0.log"
    options: list[object] = ["--peers", 1, "--consensus", "qbft", "--no-plot", "--output", tmp_path / "results"]
    options += ["--data-dir", tmp_path / "nodes"]
    async with RunningCommand(tmp_path, log, "bench", "mining", *options) as bench:
        while not (node_log.exists() and "chain" in node_log.read_text()):  # noqa: ASYNC110 - another process' log
            await asyncio.sleep(0.02)
        assert await bench.stop() == 1
    assert "stopped at block" in node_log.read_text()
    assert log.read_text().endswith("Aborted!\n")
