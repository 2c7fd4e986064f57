"""The QBFT machines in seeded networks with faults of every kind: they agree, and go on when the faults stop.

Thousands of seeds: `python -m tests.chain.qbft --seeds 10000`.
"""

import pytest

from chain.consensus.qbft.events import Settings
from chain.consensus.qbft.validators import ValidatorSet
from tests.chain.qbft.byzantine import Silent
from tests.chain.qbft.model_block import address
from tests.chain.qbft.scenario import BASE_TIMEOUT_MS, GROWTH, REPEAT_MS, Variant, bound_ms, run
from tests.chain.qbft.variants import NO_LOCK, VOLATILE_VOTES
from tests.chain.qbft.world import Participant, Violation, World

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


def test_who_was_alone_for_an_hour_is_met_again_though_one_is_silent() -> None:
    settings = Settings(base_timeout_ms=BASE_TIMEOUT_MS, repeat_ms=REPEAT_MS, block_period_ms=1_000)
    validators = ValidatorSet.of(address(index) for index in range(4))
    world = World(1, validators, settings)
    alone, *others = [Participant(world, address(index)) for index in range(3)]
    Silent(world, address(3)).start()
    alone.start()
    alone.set_pending(True)
    world.run_until(3_600_000)
    for node in others:
        node.start()
        node.set_pending(True)
    bound = bound_ms(settings, validators)
    assert world.run_until(world.now_ms + bound, lambda: all(node.height >= GROWTH for node in (alone, *others)))


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
