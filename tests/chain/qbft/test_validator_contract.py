"""The list of validators: where it is in storage, what is refused, how an override writes it, what an event says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.consensus.qbft.validator_contract import (
    FIRST_ELEMENT_SLOT,
    KNOWN_HASH_SLOT,
    LENGTH_SLOT,
    VALIDATORS_CHANGED,
    InvalidValidators,
    changed_validators,
    may_change_validators,
    read_validators,
    validators_in_slots,
    write_validators,
)
from chain.consensus.qbft.validators import MAX_VALIDATORS, ValidatorSet
from chain.receipt import EMPTY_BLOOM, Receipt, logs_bloom, merge_blooms
from chain.state import EmptyState, State
from contracts.binding import load_artifact
from primitives import abi
from tests.chain.qbft.authority_world import CONTRACT, validator_storage
from vm.host import Log


def addresses(count: int) -> list[bytes]:
    return [(index * 7 + 1).to_bytes(20, "big") for index in range(count)]


def state_with(slots: dict[int, int]) -> State:
    state = State(EmptyState())
    state.set_nonce(CONTRACT, 1)
    for slot, value in slots.items():
        state.set_storage(CONTRACT, slot, value)
    state.end_transaction()
    return state


def announced(*lists: list[bytes], address: bytes = CONTRACT, topic: bytes = VALIDATORS_CHANGED) -> Receipt:
    logs = tuple(Log(address, (topic,), abi.encode(["address[]"], [one])) for one in lists)
    return Receipt(2, True, 21_000, logs, 21_000)


@pytest.mark.parametrize("count", [1, 4, MAX_VALIDATORS])
def test_the_list_is_read_in_whatever_order_it_stands(count: int) -> None:
    listed = addresses(count)
    state = state_with(validator_storage(listed[::-1]))
    assert read_validators(state, CONTRACT) == ValidatorSet.of(listed)


@pytest.mark.parametrize(
    "slots",
    [
        {},
        validator_storage(addresses(MAX_VALIDATORS + 1)),
        {**validator_storage(addresses(4)), LENGTH_SLOT: 2**256 - 1},
        validator_storage([*addresses(2), addresses(1)[0]]),
        {**validator_storage(addresses(3)), FIRST_ELEMENT_SLOT + 1: 2**160},
    ],
    ids=["nobody", "too many", "a length beyond all bounds", "one twice", "no address"],
)
def test_a_list_that_cannot_be_used_is_refused(slots: dict[int, int]) -> None:
    with pytest.raises(InvalidValidators, match="validator"):
        validators_in_slots(lambda slot: slots.get(slot, 0))


@given(st.dictionaries(st.sampled_from([0, 1, *range(FIRST_ELEMENT_SLOT, FIRST_ELEMENT_SLOT + 5)]),
                       st.integers(0, 2**256 - 1) | st.integers(0, 6)))  # fmt: skip
def test_any_storage_is_a_list_or_refused(slots: dict[int, int]) -> None:
    try:
        found = validators_in_slots(lambda slot: slots.get(slot, 0))
    except InvalidValidators:
        return
    assert len(found) == slots[LENGTH_SLOT]


def test_the_slots_are_those_of_the_compiled_contract() -> None:
    layout = load_artifact("Validators").storage_layout
    listed = addresses(3)
    assert layout.assign_list("_validators", listed) == validator_storage(listed)
    assert layout.assign("_knownHash", value=5) == {KNOWN_HASH_SLOT: 5}
    assert load_artifact("Validators").abi.events["ValidatorsChanged"].topic == VALIDATORS_CHANGED


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4), (3, 3), (MAX_VALIDATORS, 1)])
def test_writing_replaces_the_whole_list_and_voids_votes(before: int, after: int) -> None:
    state = state_with({**validator_storage(addresses(before)), KNOWN_HASH_SLOT: 77, 2: 9})
    wanted = ValidatorSet.of(addresses(after + 1)[1:])
    write_validators(state, CONTRACT, wanted)
    assert read_validators(state, CONTRACT) == wanted
    assert state.original_storage(CONTRACT, LENGTH_SLOT) == after, "a change of the block, of no transaction"
    assert state.changes().storage[CONTRACT] == {**validator_storage(wanted.addresses), 2: 9}


def test_writing_mends_a_list_that_cannot_be_used() -> None:
    state = state_with({LENGTH_SLOT: 2**256 - 1})
    write_validators(state, CONTRACT, ValidatorSet.of(addresses(2)))
    assert read_validators(state, CONTRACT) == ValidatorSet.of(addresses(2))


def test_a_contract_that_does_not_exist_is_not_written() -> None:
    with pytest.raises(InvalidValidators, match="no validator contract"):
        write_validators(State(EmptyState()), CONTRACT, ValidatorSet.of(addresses(2)))


def test_the_last_event_counts() -> None:
    receipts = [announced(addresses(2)), announced(addresses(5), addresses(3)), announced()]
    assert changed_validators(receipts, CONTRACT) == ValidatorSet.of(addresses(3))
    assert may_change_validators(merge_blooms(receipts), CONTRACT)


def test_other_events_and_other_contracts_do_not_count() -> None:
    strangers = [announced(addresses(2), address=b"\x09" * 20), announced(addresses(2), topic=bytes(32))]
    assert changed_validators([*strangers, Receipt(2, True, 1, (Log(CONTRACT, (), b""),), 1)], CONTRACT) is None
    for receipt in strangers:
        assert not may_change_validators(logs_bloom(receipt.logs), CONTRACT)
    assert not may_change_validators(EMPTY_BLOOM, CONTRACT)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 64, abi.encode(["address[]"], [[]]), abi.encode(["address[]"], [[addresses(1)[0]] * 2]),
     abi.encode(["address[]"], [addresses(MAX_VALIDATORS + 1)])],
    ids=["nothing", "garbage", "nobody", "one twice", "too many"],
)  # fmt: skip
def test_an_announced_list_that_cannot_be_used_is_refused(data: bytes) -> None:
    receipt = Receipt(2, True, 1, (Log(CONTRACT, (VALIDATORS_CHANGED,), data),), 1)
    with pytest.raises(InvalidValidators):
        changed_validators([receipt], CONTRACT)
