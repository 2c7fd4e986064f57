"""What the benchmark says before it measures, and that it looks after its folder in time."""

from pathlib import Path

import pytest

from chain.config import QBFT
from node.bench import mining as mining_module
from node.bench.calibration import Calibration, calibrate
from node.bench.mining import announcement, calibration_lines, prepare_output
from node.bench.plan import MiningPlan
from primitives.errors import UserError

PLAN = MiningPlan((2, 3, 4), blocks=100)


def test_the_announcement_says_how_long_and_how_exact() -> None:
    assert announcement(PLAN) == (
        "Measures 100 blocks for each number of peers (2, 3, 4); takes about 33 minutes (a tenth with --scale 10). "
        "Means of 100 blocks are exact to 20%."
    )
    assert "about 20 seconds." in announcement(MiningPlan((2,), 20, scale=10, consensus=QBFT))


def test_a_machine_that_suits_the_plan_is_told_its_calibration_only() -> None:
    (line,) = calibration_lines(PLAN, Calibration(19_800, 2.1), 356_400)
    assert line == (
        "A peer tries 19,800 hashes a second with 2.1 % of a core; with the difficulty 356,400 2 peers make a block "
        "every 9 s."
    )


def test_a_machine_that_does_not_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mining_module.os, "cpu_count", lambda: 2)
    slow = calibration_lines(PLAN, Calibration(12_000, 40.0), 1)
    assert "does not reach the 20,000" in slow[1]
    assert "take most of this machine's 2 cores" in slow[2]
    unthrottled = calibration_lines(MiningPlan((2, 4), 10, hash_rate=0), Calibration(900_000, 100.0), 1)
    assert unthrottled[1:] == ["Unthrottled, 4 peers share 2 cores: more peers do not mean more hashes."]
    (_, disturbed) = calibration_lines(MiningPlan((2,), 10, hash_rate=0), Calibration(100_000, 10.0), 1)
    assert disturbed.startswith("The miners got 10 % of a core each: something else uses this machine")


async def test_calibration_measures_what_a_throttled_miner_tries() -> None:
    found = await calibrate(10_000, duration_s=0.2)
    assert 5_000 < found.hash_rate < 10_500
    assert 0 <= found.cpu_percent < 60


def test_a_folder_for_the_results_that_cannot_be_made(tmp_path: Path) -> None:
    prepare_output(tmp_path / "new" / "results")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        prepare_output(tmp_path / "file" / "results")
