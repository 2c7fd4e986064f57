"""Calls, estimates and access lists over a small state, with programs written by hand."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.account import Account
from chain.execution import execute_transaction
from chain.simulation import (
    AccountOverride,
    CallFailed,
    CallRequest,
    OverriddenReader,
    create_access_list,
    estimate_gas,
    simulate_call,
)
from chain.state import EmptyState, State
from chain.transaction import DYNAMIC_FEE, Transaction
from chain.validity import (
    FeeBelowBaseFee,
    InitCodeTooLong,
    InsufficientFunds,
    IntrinsicGasTooLow,
    PriorityFeeAboveMaxFee,
)
from primitives.errors import InvalidTransaction
from primitives.keccak import keccak256
from vm.host import BlockContext

ALICE, CONTRACT, OTHER, COINBASE = (bytes([number]) * 20 for number in (0xA1, 0xC0, 0x0E, 0xCB))
ETHER = 10**18
GAS_CAP = 50_000_000
BLOCK = BlockContext(7, 1_000, COINBASE, 30_000_000, 1, 10**9, 1, 4711, lambda number: bytes(32))

RETURN_BASE_FEE = "485f5260205ff3"
RETURN_BALANCE = "33315f5260205ff3"
"""Of the caller."""
COUNT = "5f546001015f5500"
"""slot[0] += 1"""
CLEAR = "5f5f5500"
"""slot[0] = 0, for a refund"""
REVERT = "60015f5260205ffd"
LOOP = "5b5f56"


@dataclass
class Saved:
    """A state as dictionaries."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    slots: dict[tuple[bytes, int], int] = field(default_factory=dict)
    codes: dict[bytes, bytes] = field(default_factory=dict)

    def account(self, address: bytes) -> Account | None:
        return self.accounts.get(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self.slots.get((address, slot), 0)

    def code(self, code_hash: bytes) -> bytes:
        return self.codes.get(code_hash, b"")

    def has_storage(self, address: bytes) -> bool:
        return any(holder == address for holder, _ in self.slots)


def state_with(code: str = "", other: str = "", **slots: int) -> Saved:
    state = Saved({ALICE: Account(balance=10 * ETHER)})
    for address, program in ((CONTRACT, code), (OTHER, other)):
        encoded = bytes.fromhex(program)
        state.codes[keccak256(encoded)] = encoded
        state.accounts[address] = Account(1, 0, keccak256(encoded))
    state.slots = {(CONTRACT, int(name[1:])): value for name, value in slots.items()}
    return state


def insist_on(address: bytes) -> str:
    """Calls the address with all gas and reverts where that fails."""
    # PUSH0 x5, PUSH20 address, GAS, CALL, PUSH1 0x22 JUMPI, PUSH0 PUSH0 REVERT, JUMPDEST STOP
    program = "5f5f5f5f5f73" + address.hex() + "5af1" + "602257" + "5f5ffd" + "5b00"
    assert bytes.fromhex(program)[0x22] == 0x5B
    return program


CALL = CallRequest(sender=ALICE, to=CONTRACT)


def test_a_call_answers_and_changes_nothing() -> None:
    reader = state_with(COUNT, s0=4)
    outcome = simulate_call(reader, BLOCK, CALL, GAS_CAP)
    assert outcome.success
    assert reader.slots == {(CONTRACT, 0): 4}
    assert outcome.gas_used == 21_000 + 2 + 2_100 + 3 + 3 + 2 + 2_900


def test_the_base_fee_is_zero_where_no_price_is_named() -> None:
    reader = state_with(RETURN_BASE_FEE)
    assert int.from_bytes(simulate_call(reader, BLOCK, CALL, GAS_CAP).output, "big") == 0
    priced = replace(CALL, max_fee_per_gas=2 * 10**9, max_priority_fee_per_gas=0, gas=100_000)
    assert int.from_bytes(simulate_call(reader, BLOCK, priced, GAS_CAP).output, "big") == 10**9


def test_gas_with_a_price_is_paid_for_before_the_call() -> None:
    reader = state_with(RETURN_BALANCE)
    assert int.from_bytes(simulate_call(reader, BLOCK, CALL, GAS_CAP).output, "big") == 10 * ETHER
    priced = replace(CALL, max_fee_per_gas=2 * 10**9, max_priority_fee_per_gas=1, gas=100_000)
    outcome = simulate_call(reader, BLOCK, priced, GAS_CAP)
    assert int.from_bytes(outcome.output, "big") == 10 * ETHER - 100_000 * (10**9 + 1)
    assert outcome.effective_gas_price == 10**9 + 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"max_fee_per_gas": 1}, FeeBelowBaseFee),
        ({"max_fee_per_gas": 2 * 10**9, "max_priority_fee_per_gas": 3 * 10**9}, PriorityFeeAboveMaxFee),
        ({"max_fee_per_gas": ETHER, "gas": 21_000}, InsufficientFunds),
        ({"max_fee_per_gas": ETHER}, InsufficientFunds),
        ({"value": 11 * ETHER}, InsufficientFunds),
        ({"value": 11 * ETHER, "max_fee_per_gas": 10**9}, InsufficientFunds),
        ({"to": None, "data": bytes(49_153)}, InitCodeTooLong),
        ({"chain_id": 1}, InvalidTransaction),
    ],
)
def test_what_may_not_run_is_refused(changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        simulate_call(state_with(), BLOCK, replace(CALL, **changes), GAS_CAP)


def test_the_cap_bounds_every_call() -> None:
    reader = state_with(LOOP)
    for gas in (None, 10**9):
        outcome = simulate_call(reader, BLOCK, replace(CALL, gas=gas), 100_000)
        assert (outcome.halt, outcome.gas_used) == ("OutOfGas", 100_000)


def transact(reader: Saved, gas: int, request: CallRequest = CALL) -> bool:
    """Whether a real transaction with this gas limit is valid and succeeds."""
    transaction = Transaction(
        DYNAMIC_FEE, BLOCK.chain_id, 0, 0, 10**9, gas, request.to, request.value, request.data, request.access_list
    )
    try:
        return execute_transaction(State(reader), BLOCK, transaction, ALICE).success
    except IntrinsicGasTooLow:
        return False


@pytest.mark.parametrize(
    ("code", "other"),
    [
        (COUNT, ""),
        (CLEAR, ""),
        (RETURN_BALANCE, ""),
        (insist_on(OTHER), COUNT),
        (insist_on(OTHER), CLEAR),
        # Clears three slots: the refund is the most that EIP-3529 gives.
        ("5f5f555f6001555f60025500", ""),
        # Wants 500,000 gas left, uses little: PUSH3 500000 GAS GT PUSH1 0x0c JUMPI PUSH0 PUSH0 REVERT JUMPDEST STOP
        ("6207a1205a11600c575f5ffd5b00", ""),
    ],
)
def test_an_estimate_is_enough_and_hardly_more_than_needed(code: str, other: str) -> None:
    reader = state_with(code, other, s0=4, s1=4, s2=4)
    reader.slots[(OTHER, 0)] = 4
    estimate = estimate_gas(reader, BLOCK, CALL, GAS_CAP)
    assert transact(reader, estimate)
    assert not transact(reader, estimate * 98 // 100 - 1)


def test_an_estimate_is_never_sought_below_the_intrinsic_gas() -> None:
    """With slots declared, clearing them gives back more than the code uses."""
    declared = replace(CALL, access_list=((CONTRACT, (0, 1)),), data=b"\x01" * 1_000)
    reader = state_with("5f5f555f60015500", s0=4, s1=4)
    intrinsic = 21_000 + 2_400 + 2 * 1_900 + 16 * 1_000
    assert simulate_call(reader, BLOCK, declared, GAS_CAP).gas_used < intrinsic - 3_000
    estimate = estimate_gas(reader, BLOCK, declared, GAS_CAP)
    assert transact(reader, estimate, declared)
    assert not transact(reader, estimate * 98 // 100 - 1, declared)


def test_a_plain_transfer_is_estimated_exactly() -> None:
    assert estimate_gas(state_with(), BLOCK, CallRequest(ALICE, bytes(19) + b"\xee", value=1), GAS_CAP) == 21_000


def test_what_no_gas_helps_has_no_estimate() -> None:
    with pytest.raises(CallFailed) as caught:
        estimate_gas(state_with(REVERT), BLOCK, CALL, GAS_CAP)
    assert caught.value.outcome.output == (1).to_bytes(32, "big")
    with pytest.raises(CallFailed) as caught:
        estimate_gas(state_with(LOOP), BLOCK, replace(CALL, gas=70_000), GAS_CAP)
    assert caught.value.gas == 70_000
    # Never above the block's limit, nor above what the sender can pay.
    with pytest.raises(CallFailed) as caught:
        estimate_gas(state_with(LOOP), replace(BLOCK, gas_limit=60_000), CALL, GAS_CAP)
    assert caught.value.gas == 60_000
    with pytest.raises(CallFailed) as caught:
        estimate_gas(state_with(LOOP), BLOCK, replace(CALL, max_fee_per_gas=10**14), GAS_CAP)
    assert caught.value.gas == 10 * ETHER // 10**14


def test_an_access_list_names_what_is_worth_naming() -> None:
    reader = state_with(insist_on(OTHER), COUNT)
    found = create_access_list(reader, BLOCK, CALL, GAS_CAP)
    assert found.access_list == ((OTHER, (0,)),)
    assert found.outcome.success
    assert transact(reader, 100_000, replace(CALL, access_list=found.access_list))
    # The recipient appears for its slots; what was declared before stays.
    own = create_access_list(state_with(COUNT), BLOCK, replace(CALL, access_list=((OTHER, (9,)),)), GAS_CAP)
    assert own.access_list == ((OTHER, (9,)), (CONTRACT, (0,)))
    nothing = create_access_list(state_with("00"), BLOCK, CALL, GAS_CAP)
    assert nothing.access_list == ()


def test_an_access_list_of_a_failing_call_is_told_too() -> None:
    found = create_access_list(state_with("5f54" + REVERT), BLOCK, CALL, GAS_CAP)
    assert found.access_list == ((CONTRACT, (0,)),)
    assert not found.outcome.success


def test_new_contracts_are_not_in_an_access_list() -> None:
    # CREATE of nothing.
    assert create_access_list(state_with("5f5f5ff000"), BLOCK, CALL, GAS_CAP).access_list == ()
    init_code = bytes.fromhex("5f5f5ff05f5500")
    created = create_access_list(state_with(), BLOCK, CallRequest(ALICE, None, data=init_code), GAS_CAP)
    assert [slots for _, slots in created.access_list] == [(0,)]


@given(
    override=st.builds(
        AccountOverride,
        balance=st.none() | st.integers(0, 2**128),
        nonce=st.none() | st.integers(0, 2**64 - 1),
        code=st.none() | st.binary(max_size=8),
        slots=st.none() | st.dictionaries(st.integers(0, 3), st.integers(0, 5)),
        replaces_storage=st.booleans(),
    ),
    slot=st.integers(0, 4),
)
def test_an_override_is_all_that_differs(override: AccountOverride, slot: int) -> None:
    below = state_with("00", s0=7, s1=8)
    reader = OverriddenReader(below, {CONTRACT: override})
    account = reader.account(CONTRACT)
    assert account is not None
    assert account.balance == (override.balance or 0)
    assert account.nonce == (1 if override.nonce is None else override.nonce)
    assert reader.code(account.code_hash) == (b"\x00" if override.code is None else override.code)
    slots = override.slots if override.slots is not None else {}
    replaced = override.slots is not None and override.replaces_storage
    assert reader.storage(CONTRACT, slot) == slots.get(slot, 0 if replaced else below.storage(CONTRACT, slot))
    assert reader.has_storage(CONTRACT) == (any(slots.values()) or not replaced)
    assert reader.account(ALICE) == below.account(ALICE)
    assert reader.storage(OTHER, slot) == 0
    assert not reader.has_storage(OTHER)


def test_an_absent_account_can_be_overridden() -> None:
    reader = OverriddenReader(EmptyState(), {ALICE: AccountOverride(balance=5)})
    assert reader.account(ALICE) == Account(balance=5)
    assert simulate_call(reader, BLOCK, CallRequest(ALICE, OTHER, value=5), GAS_CAP).success
