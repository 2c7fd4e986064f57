"""The answers of the Validators contract as values: every refusal has its sentence, and garbage has none."""

import pytest

from primitives.hexadecimal import to_data
from tests.contracts.council import VALIDATORS as ARTIFACT
from tests.contracts.council import person
from tests.wallet.refusal_checks import check_refusals, reverted_with
from wallet.client import InvalidAnswer
from wallet.contract_call import ContractEvent, refusal_of
from wallet.validators import VALIDATORS, Proposal, Validators, VoteOutcome, outcome_of

NOT_VALIDATOR = next(error for error in ARTIFACT.abi.errors.values() if error.name == "NotValidator")


def test_each_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(VALIDATORS)


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        "",
        "0x",
        "0xzz",
        "0x12345678",
        to_data(NOT_VALIDATOR.selector),
        to_data(NOT_VALIDATOR.selector + b"\xff" * 32),
        to_data(NOT_VALIDATOR.selector + bytes(31)),
    ],
)
def test_what_the_contract_did_not_say_is_not_put_into_its_mouth(data: object) -> None:
    assert refusal_of(reverted_with(data), VALIDATORS) is None


def test_an_error_of_the_node_is_no_refusal_of_the_contract() -> None:
    data = NOT_VALIDATOR.selector + person(1).rjust(32, b"\0")
    assert refusal_of(reverted_with(data), VALIDATORS) is not None
    assert refusal_of(reverted_with(data, code=-32000), VALIDATORS) is None


def test_an_outcome_is_that_of_the_own_vote() -> None:
    mine, other = ({"voter": person(number), "votes": number, "needed": 3} for number in (1, 2))
    changed = ContractEvent("Validators", "ValidatorsChanged", {"validators": (person(1),)})
    events = [ContractEvent("Validators", "AdditionVoted", values) for values in (mine, other)]
    assert outcome_of(events, person(2)) == VoteOutcome(2, 3, None)
    assert outcome_of([*events, changed], person(1)) == VoteOutcome(1, 3, (person(1),))
    with pytest.raises(InvalidAnswer):
        outcome_of([changed], person(1))


def test_what_nobody_voted_about_needs_all_votes() -> None:
    voted = Proposal(person(9), False, (person(1),), 2)
    council = Validators(5, (person(1), person(2)), 2, (voted,))
    assert council.proposal(person(9)) is voted
    assert council.proposal(person(2)) == Proposal(person(2), True, (), 2)
    assert council.proposal(person(3)).missing == 2
    assert Proposal(person(9), False, (person(1), person(2)), 1).missing == 0
