"""The journaled state: reverting, transactions, removal of accounts, and what differs in the end."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chain.account import EMPTY_CODE_HASH, Account
from chain.state import EmptyState, State
from primitives.keccak import keccak256
from vm.host import Log

ALICE, BOB, CAROL = (bytes(19) + bytes((number,)) for number in (0xA1, 0xB0, 0xCA))
RIPEMD160 = bytes(19) + b"\x03"
CODE = b"\x60\x00"


class GivenState(EmptyState):
    """Alice has 100 wei and nonce 5, Bob is a contract with slot 1 = 7, Carol an empty account left from old times."""

    accounts = {  # noqa: RUF012 - never changed
        ALICE: Account(5, 100),
        BOB: Account(1, 0, keccak256(CODE)),
        CAROL: Account(),
        RIPEMD160: Account(),
    }

    def __init__(self) -> None:
        self.reads: list[tuple[bytes, int]] = []

    def account(self, address: bytes) -> Account | None:
        return self.accounts.get(address)

    def storage(self, address: bytes, slot: int) -> int:
        self.reads.append((address, slot))
        return 7 if (address, slot) == (BOB, 1) else 0

    def code(self, code_hash: bytes) -> bytes:
        return {keccak256(CODE): CODE}[code_hash]

    def has_storage(self, address: bytes) -> bool:
        return address == BOB


@pytest.fixture
def state() -> State:
    return State(GivenState())


NOBODY = b"\x77" * 20


def test_reading_the_absent_gives_zeros_and_changes_nothing(state: State) -> None:
    assert (state.balance(NOBODY), state.nonce(NOBODY), state.code(NOBODY)) == (0, 0, b"")
    assert state.code_hash(NOBODY) == bytes(32)
    assert (state.storage(NOBODY, 1), state.original_storage(NOBODY, 1), state.transient_storage(NOBODY, 1)) == (
        0,
        0,
        0,
    )
    assert state.is_empty(NOBODY)
    assert not state.is_occupied(NOBODY)
    changes = state.changes()
    assert (changes.accounts, changes.storage, changes.codes) == ({}, {}, {})


def test_code_hash_tells_accounts_apart(state: State) -> None:
    assert state.code_hash(ALICE) == EMPTY_CODE_HASH
    assert state.code_hash(BOB) == keccak256(CODE)
    assert state.code_hash(CAROL) == bytes(32)
    assert state.code(BOB) == CODE


def test_slots_are_read_once_and_none_of_absent_accounts() -> None:
    reader = GivenState()
    state = State(reader)
    for _ in range(3):
        assert state.storage(BOB, 1) == 7
        assert state.storage(NOBODY, 1) == 0
    assert reader.reads == [(BOB, 1)]


def test_revert_undoes_everything_since_the_snapshot(state: State) -> None:
    state.begin_transaction([ALICE])
    state.set_storage(BOB, 1, 8)
    state.add_refund(10)
    state.add_log(Log(BOB, (), b"kept"))
    state.set_transient_storage(BOB, 1, 3)
    snapshot = state.snapshot()
    state.transfer(ALICE, BOB, 60)
    state.increment_nonce(ALICE)
    state.create_account(NOBODY)
    state.set_code(NOBODY, b"\x01")
    state.set_storage(BOB, 1, 9)
    state.set_storage(BOB, 2, 9)
    state.set_transient_storage(BOB, 1, 4)
    state.set_transient_storage(BOB, 2, 4)
    state.add_refund(-4)
    state.add_log(Log(BOB, (), b"undone"))
    assert not state.warm_address(BOB)
    assert not state.warm_slot(BOB, 1)
    state.self_destruct(NOBODY, ALICE)
    state.revert(snapshot)
    assert (state.account(ALICE), state.account(BOB), state.account(NOBODY)) == (
        GivenState.accounts[ALICE],
        GivenState.accounts[BOB],
        None,
    )
    assert (state.storage(BOB, 1), state.storage(BOB, 2), state.original_storage(BOB, 1)) == (8, 0, 7)
    assert (state.transient_storage(BOB, 1), state.transient_storage(BOB, 2)) == (3, 0)
    assert state.refund == 10
    assert state.warm_address(ALICE)
    assert not state.warm_address(BOB)
    assert not state.warm_slot(BOB, 1)
    assert state.end_transaction() == (Log(BOB, (), b"kept"),)
    assert state.changes().storage == {BOB: {1: 8}}
    assert state.changes().accounts == {}


def test_a_transaction_forgets_what_is_its_own(state: State) -> None:
    state.begin_transaction([ALICE], [(BOB, 1)])
    assert state.warm_slot(BOB, 1)
    state.set_storage(BOB, 1, 8)
    state.set_transient_storage(BOB, 1, 8)
    state.add_refund(5)
    state.add_log(Log(BOB, (), b""))
    state.end_transaction()
    state.begin_transaction()
    assert state.original_storage(BOB, 1) == 8
    assert state.transient_storage(BOB, 1) == 0
    assert state.refund == 0
    assert not state.warm_address(ALICE)
    assert not state.warm_slot(BOB, 1)
    assert state.end_transaction() == ()


def test_an_abandoned_transaction_leaves_the_state_as_it_was(state: State) -> None:
    state.set_balance(NOBODY, 3)
    state.begin_transaction()
    state.transfer(ALICE, BOB, 10)
    state.add_log(Log(BOB, (), b"seen"))
    assert state.abandon_transaction() == (Log(BOB, (), b"seen"),)
    assert state.balance(ALICE) == 100
    assert state.balance(NOBODY) == 3


# Removal of empty accounts (EIP-161)


def test_a_touched_empty_account_goes(state: State) -> None:
    state.begin_transaction()
    state.transfer(ALICE, CAROL, 0)
    state.end_transaction()
    assert state.changes().accounts == {CAROL: None}


def test_an_untouched_one_stays_and_so_does_one_whose_touch_was_reverted(state: State) -> None:
    state.begin_transaction()
    snapshot = state.snapshot()
    state.transfer(ALICE, CAROL, 0)
    state.revert(snapshot)
    state.end_transaction()
    assert state.changes().accounts == {}


def test_the_touch_of_precompile_3_outlives_a_revert(state: State) -> None:
    state.begin_transaction()
    outer = state.snapshot()
    inner = state.snapshot()
    state.transfer(ALICE, RIPEMD160, 0)
    state.revert(inner)
    state.revert(outer)
    state.end_transaction()
    assert state.changes().accounts == {RIPEMD160: None}


def test_an_account_that_gave_all_away_goes_unless_it_has_a_nonce(state: State) -> None:
    state.set_balance(NOBODY, 4)
    state.begin_transaction()
    state.transfer(NOBODY, ALICE, 4)
    state.end_transaction()
    state.begin_transaction()
    state.transfer(ALICE, BOB, 104)
    state.end_transaction()
    assert state.changes().accounts == {ALICE: Account(5, 0), BOB: Account(1, 104, keccak256(CODE))}


def test_an_account_touched_while_empty_that_then_got_money_stays(state: State) -> None:
    state.begin_transaction()
    state.add_balance(CAROL, 0)
    state.add_balance(CAROL, 5)
    state.end_transaction()
    assert state.changes().accounts == {CAROL: Account(0, 5)}


def test_slots_of_a_removed_account_are_gone_when_it_comes_back() -> None:
    class EmptyButForStorage(GivenState):
        accounts = {BOB: Account()}  # noqa: RUF012 - never changed

    state = State(EmptyButForStorage())
    assert state.is_occupied(BOB)
    state.begin_transaction()
    state.add_balance(BOB, 0)
    state.end_transaction()
    state.add_balance(BOB, 1)
    assert state.storage(BOB, 1) == 0
    assert not state.is_occupied(BOB)


# Self-destruction (EIP-6780)


def test_an_old_contract_only_gives_its_balance_away(state: State) -> None:
    state.set_balance(BOB, 9)
    state.begin_transaction()
    state.self_destruct(BOB, ALICE)
    state.self_destruct(BOB, BOB)
    state.end_transaction()
    assert state.changes().accounts == {ALICE: Account(5, 109)}
    assert state.code(BOB) == CODE


def test_one_created_in_the_same_transaction_goes_with_what_it_got_later(state: State) -> None:
    state.begin_transaction()
    state.create_account(NOBODY)
    state.set_code(NOBODY, CODE)
    state.set_storage(NOBODY, 1, 1)
    state.transfer(ALICE, NOBODY, 10)
    state.self_destruct(NOBODY, BOB)
    assert (state.balance(BOB), state.balance(NOBODY)) == (10, 0)
    assert state.code(NOBODY) == CODE
    state.transfer(ALICE, NOBODY, 5)
    state.end_transaction()
    assert state.account(NOBODY) is None
    assert state.storage(NOBODY, 1) == 0
    changes = state.changes()
    assert changes.accounts == {ALICE: Account(5, 85), BOB: Account(1, 10, keccak256(CODE))}
    assert (changes.storage, changes.codes) == ({}, {})


def test_one_created_that_destroys_itself_to_itself_burns_its_balance(state: State) -> None:
    state.begin_transaction()
    state.create_account(NOBODY)
    state.transfer(ALICE, NOBODY, 10)
    state.self_destruct(NOBODY, NOBODY)
    state.end_transaction()
    assert state.changes().accounts == {ALICE: Account(5, 90)}


def test_a_destroyed_contract_can_come_back_in_a_later_transaction(state: State) -> None:
    for value in (1, 2):
        state.begin_transaction()
        assert not state.is_occupied(NOBODY)
        state.create_account(NOBODY)
        assert state.storage(NOBODY, 1) == 0
        assert state.original_storage(NOBODY, 1) == 0
        state.set_storage(NOBODY, value, value)
        if value == 1:
            state.self_destruct(NOBODY, ALICE)
        state.end_transaction()
    assert state.changes().accounts == {NOBODY: Account(1, 0)}
    assert state.changes().storage == {NOBODY: {2: 2}}


def test_a_contract_is_new_only_in_its_own_transaction(state: State) -> None:
    state.begin_transaction()
    state.create_account(NOBODY)
    state.end_transaction()
    state.begin_transaction()
    state.self_destruct(NOBODY, ALICE)
    state.end_transaction()
    assert state.account(NOBODY) == Account(1, 0)


# Occupied addresses (EIP-684, EIP-7610)


def test_what_occupies_an_address(state: State) -> None:
    assert state.is_occupied(ALICE)
    assert state.is_occupied(BOB)
    assert not state.is_occupied(CAROL)
    state.set_balance(NOBODY, 1)
    assert not state.is_occupied(NOBODY)


def test_storage_alone_occupies_an_address() -> None:
    class OnlyStorage(GivenState):
        accounts = {BOB: Account(0, 1)}  # noqa: RUF012 - never changed

    assert State(OnlyStorage()).is_occupied(BOB)


# Changes


def test_changes_tell_only_what_differs(state: State) -> None:
    state.begin_transaction()
    state.set_storage(BOB, 1, 0)
    state.set_storage(BOB, 2, 5)
    state.set_storage(BOB, 3, 5)
    state.set_storage(BOB, 3, 0)
    state.transfer(ALICE, BOB, 5)
    state.transfer(BOB, ALICE, 5)
    state.create_account(NOBODY)
    state.set_code(NOBODY, b"\x01\x02")
    state.end_transaction()
    changes = state.changes()
    assert changes.accounts == {NOBODY: Account(1, 0, keccak256(b"\x01\x02"))}
    assert changes.storage == {BOB: {1: 0, 2: 5}}
    assert changes.codes == {keccak256(b"\x01\x02"): b"\x01\x02"}


def test_a_genesis_is_built_by_mutators() -> None:
    state = State(EmptyState())
    state.set_balance(ALICE, 10)
    state.set_nonce(BOB, 1)
    state.set_code(BOB, CODE)
    state.set_storage(BOB, 1, 2)
    changes = state.changes()
    assert changes.accounts == {ALICE: Account(0, 10), BOB: Account(1, 0, keccak256(CODE))}
    assert changes.storage == {BOB: {1: 2}}
    assert changes.codes == {keccak256(CODE): CODE}


# Against a model that copies everything at every snapshot

ADDRESSES = st.sampled_from([ALICE, BOB, CAROL, NOBODY])
SLOTS = st.integers(0, 2)


class JournalMachine(RuleBasedStateMachine):
    """Random writes, snapshots and reverts: after each the state reads as a model of copied dictionaries."""

    @initialize()
    def start(self) -> None:
        self.state = State(GivenState())
        self.state.begin_transaction()
        self.model: dict[Any, Any] = {(BOB, 1): 7, ALICE: 100, "logs": (), "refund": 0}
        self.saved: list[tuple[int, dict[Any, Any]]] = []

    @rule(address=ADDRESSES, slot=SLOTS, value=st.integers(0, 3))
    def write(self, address: bytes, slot: int, value: int) -> None:
        self.state.set_storage(address, slot, value)
        self.model[address, slot] = value

    @rule(address=ADDRESSES, slot=SLOTS, value=st.integers(0, 3))
    def write_transient(self, address: bytes, slot: int, value: int) -> None:
        self.state.set_transient_storage(address, slot, value)
        self.model["transient", address, slot] = value

    @rule(sender=ADDRESSES, recipient=ADDRESSES, amount=st.integers(0, 40))
    def transfer(self, sender: bytes, recipient: bytes, amount: int) -> None:
        if self.model.get(sender, 0) >= amount:
            self.state.transfer(sender, recipient, amount)
            self.model[sender] = self.model.get(sender, 0) - amount
            self.model[recipient] = self.model.get(recipient, 0) + amount

    @rule(address=ADDRESSES)
    def warm(self, address: bytes) -> None:
        assert self.state.warm_address(address) == (("warm", address) in self.model)
        self.model["warm", address] = True

    @rule(address=ADDRESSES, slot=SLOTS)
    def warm_slot(self, address: bytes, slot: int) -> None:
        assert self.state.warm_slot(address, slot) == (("warm", address, slot) in self.model)
        self.model["warm", address, slot] = True

    @rule(data=st.binary(max_size=2))
    def log_and_refund(self, data: bytes) -> None:
        self.state.add_log(Log(BOB, (), data))
        self.state.add_refund(len(data))
        self.model["logs"] += (Log(BOB, (), data),)
        self.model["refund"] += len(data)

    @rule()
    def snapshot(self) -> None:
        self.saved.append((self.state.snapshot(), dict(self.model)))

    @rule(back=st.integers(1, 3))
    def revert(self, back: int) -> None:
        if len(self.saved) >= back:
            snapshot, self.model = self.saved[-back]
            del self.saved[-back:]
            self.state.revert(snapshot)

    @invariant()
    def reads_as_the_model(self) -> None:
        for address in (ALICE, BOB, CAROL, NOBODY):
            assert self.state.balance(address) == self.model.get(address, 0)
            for slot in range(3):
                assert self.state.storage(address, slot) == self.model.get((address, slot), 0)
                transient = self.model.get(("transient", address, slot), 0)
                assert self.state.transient_storage(address, slot) == transient
        assert self.state.refund == self.model["refund"]

    def teardown(self) -> None:
        if hasattr(self, "state"):
            assert self.state.end_transaction() == self.model["logs"]


TestJournal = JournalMachine.TestCase
