"""The QBFT machines in seeded networks with faults of every kind: they agree, and go on when the faults stop.

Thousands of seeds: `python -m tests.chain.qbft --seeds 10000`.
"""

import pytest

from tests.chain.qbft.scenario import Variant, run
from tests.chain.qbft.variants import NO_LOCK, VOLATILE_VOTES
from tests.chain.qbft.world import Violation

SEEDS_A_TEST = 10
SEEDS_TO_CATCH = 100
"""Within so many seeds a protocol without an essential part must have been seen to fork."""


def repeat_with(seed: int, size: int | None = None) -> str:
    return f"python -m tests.chain.qbft --first {seed} --seeds 1" + (f" --size {size}" if size else "")


def run_seeds(variant: Variant) -> None:
    for seed in range(SEEDS_TO_CATCH):
        run(seed, None, variant)


@pytest.mark.parametrize("first", range(0, 60, SEEDS_A_TEST))
def test_all_agree_and_go_on(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        try:
            run(seed)
        except Violation as violation:
            pytest.fail(f"{violation}; repeat with: {repeat_with(seed)}")


@pytest.mark.parametrize("size", range(1, 11))
def test_any_number_of_validators(size: int) -> None:
    try:
        run(1_000 + size, size)
    except Violation as violation:
        pytest.fail(f"{violation}; repeat with: {repeat_with(1_000 + size, size)}")


def test_a_seed_repeats_a_run() -> None:
    assert run(7) == run(7)


@pytest.mark.parametrize("variant", [VOLATILE_VOTES, NO_LOCK], ids=lambda variant: variant.name)
def test_a_missing_part_is_noticed(variant: Variant) -> None:
    with pytest.raises(Violation, match="two final blocks"):
        run_seeds(variant)


def test_a_contradiction_is_noticed_before_it_forks() -> None:
    forgetful = Variant(keeps_votes=False)
    with pytest.raises(Violation, match="an honest node sent two"):
        run_seeds(forgetful)
