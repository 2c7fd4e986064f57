"""Only whom the registry knows, within its allowance: strangers cannot fill the blocks of a network without fees.

The registry here is a few instructions that answer with a slot of the storage, by the address that is asked about.
"""

from collections.abc import Callable
from typing import TypeVar

import pytest

from chain.account import Account, StateReader
from chain.config import EIP1559, QBFT, ZERO, ChainConfig
from chain.consensus.qbft.validator_contract import FIRST_ELEMENT_SLOT, LENGTH_SLOT
from chain.header import Header
from chain.pool.membership import (
    MAX_BLOCKS_AHEAD,
    QUESTION_GAS,
    VALIDATOR_GAS_ALLOWANCE,
    AllowanceExceeded,
    Membership,
    NotAdmitted,
)
from chain.pool.pool import TransactionPool
from contracts.addresses import REGISTRY_ADDRESS, VALIDATORS_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import GenesisMeter, genesis_alloc
from primitives.clock import ManualClock
from primitives.hexadecimal import to_checksum_address
from primitives.keccak import keccak256
from tests.chain.pool_world import ADDRESSES, CHAIN_ID, RICH, child, header, transaction
from tests.gateway.memory_ledger import MemoryState

T = TypeVar("T")

# PUSH1 4 CALLDATALOAD SLOAD PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
ANSWERING = bytes.fromhex("600435545f5260205ff3")
ENDLESS = bytes.fromhex("5b5f56")  # JUMPDEST PUSH0 JUMP
MUTE = bytes.fromhex("00")
ALLOWANCE = 50_000  # two transfers
A, B = ADDRESSES[0], ADDRESSES[1]


class World:
    """A state that changes from head to head; counts the questions to it."""

    def __init__(self, code: bytes = ANSWERING) -> None:
        self.state = MemoryState({address: Account(0, RICH) for address in ADDRESSES})
        self.questions = 0
        if code:
            self.state.accounts[REGISTRY_ADDRESS] = Account(1, 0, keccak256(code))
            self.state.codes[keccak256(code)] = code

    def read(self, question: Callable[[StateReader], T]) -> T:
        self.questions += 1
        return question(self.state)

    def storage_root(self, address: bytes) -> bytes:
        return keccak256(repr(sorted(self.state.slots.get(address, {}).items())).encode())

    def account(self, address: bytes) -> Account | None:
        return self.state.account(address)

    def allow(self, address: bytes, gas: int = ALLOWANCE) -> None:
        self.state.slots.setdefault(REGISTRY_ADDRESS, {})[int.from_bytes(address, "big")] = gas

    def use_nonces(self, address: bytes, nonce: int) -> None:
        self.state.accounts[address] = Account(nonce, RICH)


class Place:
    """A pool on a world."""

    def __init__(self, world: World, config: ChainConfig) -> None:
        self.world = world
        self.head: Header = header()
        self.members = Membership(config, world, self.head)
        self.pool = TransactionPool(config, world, self.head, ManualClock(), membership=self.members)

    def next_head(self, *, extends: bool = True) -> None:
        self.head = child(self.head) if extends else header(self.head.number + 1, b"\x05" * 32)
        self.pool.head_changed(self.world, self.head, ())

    def refusal(self, *sent: tuple[int, int], **changes: object) -> Exception | None:
        return self.pool.add([transaction(sender, nonce, **changes) for sender, nonce in sent])[-1]

    def next_block(self) -> list[tuple[bytes, int]]:
        return [(one.sender, one.nonce) for one in self.pool.pending()]


def place(code: bytes = ANSWERING, fees: str = ZERO, **config: object) -> Place:
    return Place(World(code), ChainConfig(CHAIN_ID, fee_rule=fees, **config))  # type: ignore[arg-type]


def test_a_stranger_is_refused_with_what_to_do_and_a_member_is_taken() -> None:
    here = place()
    here.world.allow(A)
    assert here.refusal((0, 0)) is None
    refusal = here.refusal((1, 0))
    assert isinstance(refusal, NotAdmitted)
    assert str(refusal).startswith(f"sender not admitted: {to_checksum_address(B)} has no role in the registry")
    assert "wattchain registry add" in str(refusal)
    assert len(here.pool) == 1


@pytest.mark.parametrize(("code", "fees"), [(b"", ZERO), (ANSWERING, EIP1559)])
def test_without_a_registry_or_with_fees_everybody_is_taken(code: bytes, fees: str) -> None:
    here = place(code, fees)
    before = here.world.questions
    assert here.refusal((0, 0), (1, 0), (2, 0)) is None
    here.next_head()
    assert len(here.next_block()) == 3
    assert here.world.questions == before


@pytest.mark.parametrize("code", [ENDLESS, MUTE])
def test_a_registry_that_does_not_answer_admits_nobody(code: bytes) -> None:
    here = place(code)
    here.world.allow(A)
    assert isinstance(here.refusal((0, 0)), NotAdmitted)
    assert QUESTION_GAS < 10**6


def test_a_block_takes_no_more_of_a_sender_than_its_allowance() -> None:
    here = place()
    here.world.allow(A)
    here.world.allow(B, 10**6)
    assert here.refusal(*[(0, nonce) for nonce in range(5)], *[(1, nonce) for nonce in range(4)]) is None
    assert sorted(here.next_block()) == sorted([(A, 0), (A, 1), *[(B, nonce) for nonce in range(4)]])
    here.world.use_nonces(A, 2)
    here.pool.head_changed(here.world, child(here.head), [transaction(0, 0), transaction(0, 1)])
    assert [nonce for sender, nonce in here.next_block() if sender == A] == [2, 3]


def test_a_transaction_above_the_allowance_is_refused_with_both_numbers() -> None:
    here = place()
    here.world.allow(A)
    refusal = here.refusal((0, 0), gas_limit=ALLOWANCE + 1)
    assert isinstance(refusal, AllowanceExceeded)
    assert "gas limit is 50001" in str(refusal)
    assert here.refusal((0, 0), gas_limit=ALLOWANCE) is None


def test_what_waits_of_one_sender_is_bounded_and_a_replacement_counts_once() -> None:
    here = place()
    here.world.allow(A)
    full = [(0, nonce) for nonce in range(MAX_BLOCKS_AHEAD)]
    assert here.refusal(*full, gas_limit=ALLOWANCE) is None
    refusal = here.refusal((0, MAX_BLOCKS_AHEAD))
    assert isinstance(refusal, AllowanceExceeded)
    assert "wait already" in str(refusal)
    assert here.refusal((0, 3), gas_limit=ALLOWANCE, tip=100, max_fee_per_gas=2_000) is None


@pytest.mark.parametrize("extends", [True, False])
def test_who_loses_its_role_loses_its_place_in_the_next_block(extends: bool) -> None:
    here = place()
    here.world.allow(A)
    here.world.allow(B)
    assert here.refusal((0, 0), (1, 0)) is None
    here.world.allow(A, 0)
    here.next_head(extends=extends)
    assert here.next_block() == [(B, 0)]
    assert here.pool.status().pending == 1
    assert isinstance(here.refusal((0, 1)), NotAdmitted)
    here.world.allow(A)
    here.next_head(extends=extends)
    assert sorted(here.next_block()) == sorted([(A, 0), (B, 0)])


def test_many_senders_are_asked_about_over_several_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.pool.pool.MAX_ASKED_AGAIN", 1)
    here = place()
    for address in (A, B):
        here.world.allow(address)
    assert here.refusal((0, 0), (1, 0)) is None
    for address in (A, B):
        here.world.allow(address, 0)
    for left in (1, 0):
        here.next_head()
        assert len(here.next_block()) == left


def test_a_lower_allowance_holds_from_the_next_head() -> None:
    here = place()
    here.world.allow(A)
    assert here.refusal((0, 0), (0, 1)) is None
    here.world.allow(A, 30_000)
    here.next_head()
    assert here.next_block() == [(A, 0)]


def test_the_registry_is_asked_once_until_it_changes() -> None:
    here = place()
    here.world.allow(A)
    here.next_head()
    before = here.world.questions
    for nonce in range(3):
        assert here.refusal((0, nonce)) is None
        here.next_head()
    assert here.world.questions == before + 1
    here.world.allow(B)
    here.next_head()
    assert here.world.questions == before + 2


def test_validators_may_vote_without_a_role() -> None:
    here = place(consensus=QBFT, validator_contract=VALIDATORS_ADDRESS)
    assert isinstance(here.refusal((0, 0)), NotAdmitted)
    slots = {LENGTH_SLOT: 1, FIRST_ELEMENT_SLOT: int.from_bytes(A, "big")}
    here.world.state.slots[VALIDATORS_ADDRESS] = slots
    here.next_head()
    assert here.members.gas_allowance(A) == VALIDATOR_GAS_ALLOWANCE
    assert here.refusal((0, 0)) is None
    assert isinstance(here.refusal((1, 0)), NotAdmitted)


def test_whom_a_distrusted_supplier_has_brought_is_in_no_block_any_more() -> None:
    """The real registry: A is the invented customer of one supplier, B the customer of another."""
    bad, good = b"\x0a" * 20, b"\x0b" * 20
    meters = [GenesisMeter(b"\x0c" * 20, A, bad), GenesisMeter(b"\x0d" * 20, B, good)]
    registry = genesis_alloc(b"\x0e" * 20, [bad, good], meters=meters)["0x" + REGISTRY_ADDRESS.hex()]
    here = place(bytes.fromhex(str(registry["code"])[2:]))
    storage = registry["storage"]
    assert isinstance(storage, dict)
    slots = {int(slot, 16): int(value, 16) for slot, value in storage.items()}
    here.world.state.slots[REGISTRY_ADDRESS] = slots
    here.next_head()
    assert here.refusal((0, 0), (1, 0)) is None
    assert sorted(here.next_block()) == sorted([(A, 0), (B, 0)])
    # What removeMember and distrust write.
    slots |= load_artifact("Registry").storage_layout.assign("_members", bad, value={"isDistrusted": 1})
    here.next_head()
    assert here.next_block() == [(B, 0)]
    assert isinstance(here.refusal((0, 1)), NotAdmitted)
    assert here.refusal((1, 1)) is None
