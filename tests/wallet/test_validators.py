"""The answers of the Validators contract as values: every refusal has its sentence, and garbage has none."""

import pytest

from primitives.hexadecimal import to_checksum_address, to_data
from tests.contracts.council import VALIDATORS, person
from wallet.client import RpcError
from wallet.validators import REVERTED, Proposal, Validators, refusal_of

NOT_VALIDATOR = next(error for error in VALIDATORS.abi.errors.values() if error.name == "NotValidator")


def reverted_with(data: object, code: int = REVERTED) -> RpcError:
    return RpcError("eth_estimateGas", code, "execution reverted", data)


@pytest.mark.parametrize("name", sorted(error.name for error in VALIDATORS.abi.errors.values()))
def test_each_error_of_the_contract_is_said_in_words(name: str) -> None:
    (error,) = [error for error in VALIDATORS.abi.errors.values() if error.name == name]
    values = [person(7) if member.canonical == "address" else 41 for member in error.inputs.members]
    refusal = refusal_of(reverted_with(to_data(error.selector + error.inputs.encode(tuple(values)))))
    assert refusal is not None
    assert str(refusal).endswith(".")
    assert name not in str(refusal)
    assert not values or any(text in str(refusal) for text in (to_checksum_address(person(7)), "41"))


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
    assert refusal_of(reverted_with(data)) is None


def test_an_error_of_the_node_is_no_refusal_of_the_contract() -> None:
    data = to_data(NOT_VALIDATOR.selector + person(1).rjust(32, b"\0"))
    assert refusal_of(reverted_with(data)) is not None
    assert refusal_of(reverted_with(data, code=-32000)) is None


def test_what_nobody_voted_about_needs_all_votes() -> None:
    voted = Proposal(person(9), False, (person(1),), 2)
    council = Validators(5, (person(1), person(2)), 2, (voted,))
    assert council.proposal(person(9)) is voted
    assert council.proposal(person(2)) == Proposal(person(2), True, (), 2)
    assert council.proposal(person(3)).missing == 2
    assert Proposal(person(9), False, (person(1), person(2)), 1).missing == 0
