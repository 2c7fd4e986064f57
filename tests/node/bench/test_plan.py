"""What a run is planned to be: the paper's times, whatever the scale, and the formula."""

import pytest

from chain.config import ASERT, QBFT
from node.bench.plan import (
    ASERT_WARM_UP_BLOCKS,
    PAPER,
    MiningPlan,
    calibrated_difficulty,
    formula_s,
    paper_difficulty,
)

PLAN = MiningPlan((2, 3, 4), blocks=100)


def test_the_table_of_the_paper() -> None:
    assert [(row.peers, row.cpu_percent, row.block_time_s) for row in PAPER.values()] == [
        (2, 12.0, 9.0),
        (3, 7.0, 5.0),
        (4, 4.2, 3.0),
    ]


@pytest.mark.parametrize("scale", [1, 10, 100])
def test_two_peers_take_nine_seconds_and_others_in_proportion(scale: float) -> None:
    plan = MiningPlan((2, 3, 4), blocks=100, scale=scale)
    assert [plan.planned_s(peers) * scale for peers in (2, 3, 4, 16)] == pytest.approx([9, 6, 4.5, 1.125])
    difficulty = calibrated_difficulty(plan, 20_000)
    assert difficulty == 360_000 / scale
    assert formula_s(paper_difficulty(difficulty), 2 * 20_000) * scale == pytest.approx(9)


def test_the_paper_counts_difficulty_in_2_to_the_32_hashes() -> None:
    assert paper_difficulty(2**32) == 1
    assert formula_s(1, 2**32) == 1
    assert formula_s(3, 2**31) == 6


def test_a_difficulty_is_at_least_one() -> None:
    assert calibrated_difficulty(MiningPlan((2,), 1, scale=100), 0.001) == 1


@pytest.mark.parametrize("peers", [1, 2, 16])
def test_the_clock_runs_so_fast_that_whole_seconds_do_not_matter(peers: int) -> None:
    for plan in (PLAN, MiningPlan((peers,), 10, scale=100), MiningPlan((peers,), 10, consensus=QBFT)):
        assert plan.planned_s(peers) * plan.clock_rate(peers) == pytest.approx(100)
        assert 0.01 <= plan.clock_rate(peers) <= 100_000  # what settings allow


def test_adaptive_difficulty_and_qbft_aim_at_nine_seconds_for_any_number_of_peers() -> None:
    for plan in (MiningPlan((2, 16), 10, difficulty_rule=ASERT), MiningPlan((2, 16), 10, consensus=QBFT)):
        assert not plan.follows_formula
        for peers in (2, 16):
            assert plan.planned_s(peers) == 9
            assert plan.block_time_ledger_s(peers) / plan.clock_rate(peers) == pytest.approx(9)


def test_the_difficulty_gets_time_to_settle() -> None:
    assert MiningPlan((2,), 10, difficulty_rule=ASERT).warm_up_blocks == ASERT_WARM_UP_BLOCKS
    assert PLAN.warm_up_blocks == MiningPlan((2,), 10, consensus=QBFT).warm_up_blocks == 2


def test_duration_counts_every_network() -> None:
    assert PLAN.duration_s() == pytest.approx(102 * (9 + 6 + 4.5))
