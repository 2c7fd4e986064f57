"""The list of validators as it stands in their contract: read from storage, from events, and written by an override.

A light client has events only, everybody else the state. What the contract decides, and by which votes, is its own
affair (contracts/src/Validators.sol): the consensus knows where its list is, and the event that says how it changed.
"""

from collections.abc import Callable, Iterable

from chain.account import StateReader
from chain.consensus.qbft.validators import ADDRESS_BYTES, MAX_VALIDATORS, ValidatorSet
from chain.receipt import Receipt, bloom_bits
from chain.state import State
from primitives import abi
from primitives.errors import InvalidAbi, InvalidBlock
from primitives.keccak import keccak256

LENGTH_SLOT = 0
"""Of a Solidity array that is the first variable; its elements, an address each, follow from keccak256 of that slot."""
KNOWN_HASH_SLOT = 1
"""What the contract remembers of its list; zero tells it that the list was written from outside, so that votes cast
before are void."""
FIRST_ELEMENT_SLOT = int.from_bytes(keccak256(LENGTH_SLOT.to_bytes(32, "big")), "big")

VALIDATORS_CHANGED = abi.event_topic("ValidatorsChanged(address[])")


class InvalidValidators(InvalidBlock):
    """There is no list of validators that a block could be checked with."""


def read_validators(state: StateReader, contract: bytes) -> ValidatorSet:
    """The list in this state. Raises InvalidValidators where there is none that can be used."""
    return validators_in_slots(lambda slot: state.storage(contract, slot))


def validators_in_slots(slot_value: Callable[[int], int]) -> ValidatorSet:
    """The list in the contract's slots. Raises InvalidValidators where there is none that can be used."""
    count = slot_value(LENGTH_SLOT)
    if not 0 < count <= MAX_VALIDATORS:
        raise InvalidValidators(f"the validator contract names {count} validators; 1 to {MAX_VALIDATORS} are possible")
    values = [slot_value(FIRST_ELEMENT_SLOT + index) for index in range(count)]
    if max(values).bit_length() > ADDRESS_BYTES * 8:
        raise InvalidValidators("the validator contract's list holds something that is no address")
    return _set_of(value.to_bytes(ADDRESS_BYTES, "big") for value in values)


def write_validators(state: State, contract: bytes, validators: ValidatorSet) -> None:
    """Make this the list in the state, whatever it was. Raises InvalidValidators where the contract does not exist."""
    if state.account(contract) is None:
        raise InvalidValidators(f"there is no validator contract at 0x{contract.hex()}")
    old_count = min(state.storage(contract, LENGTH_SLOT), MAX_VALIDATORS)
    state.set_storage(contract, LENGTH_SLOT, len(validators))
    state.set_storage(contract, KNOWN_HASH_SLOT, 0)
    for index, address in enumerate(validators.addresses):
        state.set_storage(contract, FIRST_ELEMENT_SLOT + index, int.from_bytes(address, "big"))
    for index in range(len(validators), old_count):
        state.set_storage(contract, FIRST_ELEMENT_SLOT + index, 0)
    state.end_transaction()


def may_change_validators(logs_bloom: bytes, contract: bytes) -> bool:
    """Whether a block with this bloom may hold the event; without it the list did not change."""
    wanted = bloom_bits(contract) | bloom_bits(VALIDATORS_CHANGED)
    return int.from_bytes(logs_bloom, "big") & wanted == wanted


def changed_validators(receipts: Iterable[Receipt], contract: bytes) -> ValidatorSet | None:
    """The list after a block with these receipts, None where it did not change.

    Raises InvalidValidators where the contract announced a list that cannot be used.
    """
    events = [
        log
        for receipt in receipts
        for log in receipt.logs
        if log.address == contract and log.topics[:1] == (VALIDATORS_CHANGED,)
    ]
    if not events:
        return None
    try:
        (addresses,) = abi.decode(["address[]"], events[-1].data)
    except InvalidAbi as error:
        raise InvalidValidators(f"the validator contract announced a list that is none: {error}") from error
    if not isinstance(addresses, list | tuple):
        raise InvalidValidators("the validator contract announced a list that is none")
    return _set_of(addresses)


def _set_of(addresses: Iterable[bytes]) -> ValidatorSet:
    try:
        return ValidatorSet.of(addresses)
    except ValueError as error:
        raise InvalidValidators(f"the validator contract's list cannot be used: {error}") from error
