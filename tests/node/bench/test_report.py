"""Tables, JSON and CSV of a benchmark."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from chain.config import ASERT, QBFT
from node.bench.plan import MiningPlan
from node.bench.report import block_time_table, blocks_csv, cost_table, result_json, summary_csv, write_results
from primitives.errors import UserError
from tests.node.bench.sample_results import DIFFICULTY, sample_results


def printed(table: Table) -> list[list[str]]:
    """The cells of every line of figures."""
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    return [re.split(" {2,}", line.strip()) for line in lines if re.match(r" +\d", line)]


def test_times_stand_beside_the_formula_and_the_paper_at_the_scale_of_the_paper() -> None:
    two, four, sixteen = printed(block_time_table(sample_results()))
    assert two == ["2", "9.00", "5.27 - 18.77", "9.00", "9", "1.00", "1.00", "1.00"]
    assert four == ["4", "4.50", "2.63 - 9.38", "4.50", "3", "0.50", "0.50", "0.33"]
    assert sixteen == ["16", "1.12", "0.66 - 2.35", "1.12", "-", "0.12", "0.12", "-"]


def test_cost_is_the_machine_s_own() -> None:
    two, four, _ = printed(cost_table(sample_results()))
    assert two == ["2", "2.5", "2.0 - 3.0", "12", "61", "10", "1", "7.0", "12.0"]
    assert four[:4] == ["4", "3.5", "2.0 - 5.0", "4.2"]


@pytest.mark.parametrize("plan", [MiningPlan((4,), 10, consensus=QBFT), MiningPlan((4,), 10, difficulty_rule=ASERT)])
def test_the_formula_says_nothing_of_other_rules(plan: MiningPlan) -> None:
    results = sample_results(plan)
    ((_, _, _, formula, paper, *_),) = printed(block_time_table(results))
    assert (formula, paper) == ("-", "3")
    assert results.rows[0].block_time.method == ("exponential" if plan.is_mined else "student")


def test_json_holds_everything() -> None:
    document = json.loads(json.dumps(result_json(sample_results())))
    assert document["plan"]["peers"] == [2, 4, 16]
    assert document["calibration"] == {"hash_rate": 20_000, "cpu_percent": 2.0}
    assert document["machine"]["cores"] >= 1
    run = document["runs"][0]
    assert run["block_time"]["mean"] == pytest.approx(9)
    assert run["paper_difficulty"] == DIFFICULTY / 2**32
    assert run["interval_s"] == [0.9] * 10
    assert len(run["nodes"]) == 2
    assert run["stale_percent"] == pytest.approx(100 / 11)


def test_csv_has_a_line_a_network_and_a_line_a_block() -> None:
    summary = list(csv.DictReader(io.StringIO(summary_csv(sample_results()))))
    assert [line["peers"] for line in summary] == ["2", "4", "16"]
    assert float(summary[1]["block_time_s"]) == pytest.approx(4.5)
    assert summary[2]["paper_s"] == ""
    blocks = list(csv.DictReader(io.StringIO(blocks_csv(sample_results()))))
    assert len(blocks) == 30
    assert (blocks[0]["number"], blocks[0]["made_by"], blocks[0]["spread_s"]) == ("3", "1", "0.003000")


def test_files(tmp_path: Path) -> None:
    written = write_results(sample_results(), tmp_path)
    assert [path.name for path in written] == ["mining.json", "mining.csv", "blocks.csv"]
    assert all(path.read_text().endswith("\n") for path in written)
    with pytest.raises(UserError, match="cannot be written"):
        write_results(sample_results(), tmp_path / "absent")
