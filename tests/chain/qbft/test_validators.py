"""Quorums that must share an honest validator, and turns to propose."""

import pytest

from chain.consensus.qbft.validators import MAX_VALIDATORS, ProposerPolicy, ValidatorSet, quorum, tolerated_faults
from tests.chain.qbft.model_block import address

FOUR = ValidatorSet.of(address(index) for index in (3, 1, 0, 2))


@pytest.mark.parametrize("count", range(1, MAX_VALIDATORS + 1))
def test_quorums_meet_in_an_honest_validator_and_need_no_faulty_one(count: int) -> None:
    f = tolerated_faults(count)
    assert 2 * quorum(count) - count > f
    assert count - f >= quorum(count)
    assert 3 * quorum(count) >= 2 * count > 3 * (quorum(count) - 1)


def test_turns() -> None:
    after = [FOUR.proposer(round_, address(3), ProposerPolicy.ROUND_ROBIN) for round_ in range(5)]
    assert after == [address(0), address(1), address(2), address(3), address(0)]
    after = [FOUR.proposer(round_, address(3), ProposerPolicy.STICKY) for round_ in range(2)]
    assert after == [address(3), address(0)]


@pytest.mark.parametrize("policy", ProposerPolicy)
def test_a_proposer_that_is_no_validator_any_more_is_followed_by_the_next_address(policy: ProposerPolicy) -> None:
    rest = ValidatorSet.of(address(index) for index in (0, 2, 3))
    assert rest.proposer(0, address(1), policy) == address(2)
    assert rest.proposer(0, bytes(20), policy) == address(0)
    assert rest.proposer(0, b"\xff" * 20, policy) == address(0)


@pytest.mark.parametrize("addresses", [[], [address(0), address(0)], [bytes(19)], [address(0), bytes(21)]])
def test_no_set(addresses: list[bytes]) -> None:
    with pytest.raises(ValueError, match="validator"):
        ValidatorSet.of(addresses)
