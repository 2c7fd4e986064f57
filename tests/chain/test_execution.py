"""Transactions and calls: what is refused, what is paid, what comes back, and that refusals change nothing."""

from dataclasses import replace

import pytest

from chain.account import Account
from chain.execution import TransactionOutcome, call, execute_transaction
from chain.state import EmptyState, State
from chain.transaction import Transaction
from chain.validity import (
    FeeBelowBaseFee,
    FeeOverflow,
    GasLimitExceeded,
    InitCodeTooLong,
    InsufficientFunds,
    IntrinsicGasTooLow,
    InvalidBlobs,
    NonceIsMax,
    NonceTooHigh,
    NonceTooLow,
    PriorityFeeAboveMaxFee,
    SenderHasCode,
    check_by_itself,
    intrinsic_gas,
    most_it_can_cost,
)
from primitives.errors import InvalidTransaction
from vm.addresses import create_address
from vm.host import BlockContext
from vm.tracer import StructLogTracer

SENDER, RECIPIENT, CONTRACT, COINBASE, TREASURY = (bytes(19) + bytes((number,)) for number in range(0xA0, 0xA5))
ETHER = 10**18
BLOCK = BlockContext(
    number=5,
    timestamp_s=1_700_000_000,
    coinbase=COINBASE,
    gas_limit=30_000_000,
    prev_randao=0,
    base_fee=7,
    blob_base_fee=2,
    chain_id=1,
    block_hash=lambda number: bytes(32),
)
TRANSFER = Transaction(
    type=2,
    chain_id=1,
    nonce=3,
    max_priority_fee_per_gas=2,
    max_fee_per_gas=20,
    gas_limit=21_000,
    to=RECIPIENT,
    value=1_000,
    data=b"",
)
BLOB_HASH = b"\x01" + bytes(31)
BLOB_TRANSFER = replace(TRANSFER, type=3, max_fee_per_blob_gas=2, blob_hashes=(BLOB_HASH, BLOB_HASH))


def state_with(code: bytes = b"", balance: int = ETHER, nonce: int = 3) -> State:
    state = State(EmptyState())
    state.set_balance(SENDER, balance)
    state.set_nonce(SENDER, nonce)
    if code:
        state.set_code(CONTRACT, code)
    state.end_transaction()
    return state


def execute(state: State, transaction: Transaction, **options: object) -> TransactionOutcome:
    return execute_transaction(state, BLOCK, transaction, SENDER, **options)


# Refusals


@pytest.mark.parametrize(
    ("changed", "reason", "told"),
    [
        ({"nonce": 2}, NonceTooLow, "the nonce is 2, the sender's next is 3"),
        ({"nonce": 4}, NonceTooHigh, "the nonce is 4, the sender's next is 3"),
        ({"nonce": 2**64 - 1}, NonceIsMax, "18446744073709551615"),
        ({"gas_limit": 20_999}, IntrinsicGasTooLow, "the gas limit is 20999, the transaction needs at least 21000"),
        ({"gas_limit": 30_000_001}, GasLimitExceeded, "the gas limit is 30000001, the block has 30000000 left"),
        ({"max_fee_per_gas": 6}, FeeBelowBaseFee, "6 wei per gas, the block's base fee is 7"),
        ({"max_priority_fee_per_gas": 21}, PriorityFeeAboveMaxFee, "21 wei per gas is above"),
        ({"value": ETHER}, InsufficientFunds, f"may cost {ETHER + 420_000} wei, the sender has {ETHER}"),
        ({"max_fee_per_gas": 2**255}, FeeOverflow, "costs more than 256 bits of wei"),
        ({"to": None, "data": bytes(49_153), "gas_limit": 1_000_000}, InitCodeTooLong, "49153 bytes of init code"),
        ({"type": 3}, InvalidBlobs, "0 blobs"),
        ({"type": 3, "blob_hashes": (BLOB_HASH,) * 7}, InvalidBlobs, "7 blobs"),
        ({"type": 3, "blob_hashes": (bytes(32),)}, InvalidBlobs, "version 0"),
        ({"type": 3, "blob_hashes": (BLOB_HASH,), "max_fee_per_blob_gas": 1}, InvalidBlobs, "the block's is 2"),
        ({"type": 3, "blob_hashes": (BLOB_HASH,), "to": None, "gas_limit": 60_000}, InvalidBlobs, "cannot create"),
    ],
)
def test_refused_with_the_reason_and_without_a_trace(
    changed: dict[str, object], reason: type[InvalidTransaction], told: str
) -> None:
    state = state_with()
    before = state.changes()
    with pytest.raises(reason, match=told):
        execute(state, replace(TRANSFER, **changed))
    assert state.changes() == before


def test_a_contract_cannot_send() -> None:
    state = state_with(b"\x00")
    state.set_nonce(CONTRACT, 3)
    state.set_balance(CONTRACT, ETHER)
    with pytest.raises(SenderHasCode, match=CONTRACT.hex()):
        execute_transaction(state, BLOCK, TRANSFER, CONTRACT)


def test_the_sender_can_spend_its_last_wei() -> None:
    cost = most_it_can_cost(TRANSFER)
    assert cost == 21_000 * 20 + 1_000
    execute(state_with(balance=cost), TRANSFER)
    with pytest.raises(InsufficientFunds):
        execute(state_with(balance=cost - 1), TRANSFER)


def test_the_gas_that_the_block_has_left_is_what_counts() -> None:
    execute(state_with(), TRANSFER, gas_available=21_000)
    with pytest.raises(GasLimitExceeded):
        execute(state_with(), TRANSFER, gas_available=20_999)


# Intrinsic gas


@pytest.mark.parametrize(
    ("changed", "gas"),
    [
        ({}, 21_000),
        ({"data": b"\x00\x00\x01"}, 21_000 + 2 * 4 + 16),
        ({"to": None}, 53_000),
        ({"to": None, "data": bytes(33)}, 53_000 + 33 * 4 + 2 * 2),
        ({"access_list": ((RECIPIENT, ()), (CONTRACT, (1, 1)))}, 21_000 + 2 * 2_400 + 2 * 1_900),
    ],
)
def test_intrinsic_gas(changed: dict[str, object], gas: int) -> None:
    transaction = replace(TRANSFER, gas_limit=100_000, **changed)
    assert intrinsic_gas(transaction) == check_by_itself(transaction) == gas
    with pytest.raises(IntrinsicGasTooLow):
        check_by_itself(replace(transaction, gas_limit=gas - 1))


# Plain transfers


def test_a_transfer_pays_value_tip_and_base_fee() -> None:
    state = state_with()
    outcome = execute(state, TRANSFER)
    assert outcome == TransactionOutcome(True, 21_000, effective_gas_price=9)
    assert state.account(SENDER) == Account(4, ETHER - 1_000 - 21_000 * 9)
    assert state.account(RECIPIENT) == Account(0, 1_000)
    assert state.account(COINBASE) == Account(0, 21_000 * 2)


def test_the_base_fee_can_go_to_an_account() -> None:
    state = state_with()
    execute(state, TRANSFER, base_fee_recipient=TREASURY)
    assert state.balance(TREASURY) == 21_000 * 7


def test_the_price_is_capped_by_the_most_the_sender_allows() -> None:
    outcome = execute(state_with(), replace(TRANSFER, max_fee_per_gas=8))
    assert outcome.effective_gas_price == 8


def test_without_fees_a_poor_account_can_send() -> None:
    state = state_with(balance=1_000)
    free = replace(TRANSFER, max_priority_fee_per_gas=0, max_fee_per_gas=0)
    execute_transaction(state, replace(BLOCK, base_fee=0), free, SENDER)
    assert state.account(SENDER) == Account(4, 0)
    assert state.account(COINBASE) is None


def test_gas_that_is_not_needed_is_not_taken() -> None:
    state = state_with()
    assert execute(state, replace(TRANSFER, gas_limit=90_000)).gas_used == 21_000
    assert state.balance(SENDER) == ETHER - 1_000 - 21_000 * 9


@pytest.mark.parametrize(
    "transaction",
    [
        TRANSFER,
        replace(TRANSFER, to=SENDER),
        replace(TRANSFER, to=COINBASE),
        replace(TRANSFER, value=0),
        replace(TRANSFER, value=0, to=CONTRACT),
        replace(TRANSFER, data=b"\x01\x00 a note", gas_limit=30_000),
        replace(TRANSFER, access_list=((CONTRACT, (1, 2)),), gas_limit=50_000),
    ],
)
@pytest.mark.parametrize("empty_recipient", [False, True])
def test_the_short_way_of_a_transfer_ends_as_the_long_way(transaction: Transaction, empty_recipient: bool) -> None:
    """A tracer makes a transfer take the way that transactions to contracts take."""
    results = []
    for tracer in (None, StructLogTracer()):
        state = state_with()
        if empty_recipient:
            state.set_balance(RECIPIENT, 0)
        state.begin_transaction()
        results.append((execute(state, transaction, tracer=tracer), state.changes()))
    assert results[0] == results[1]


def test_a_transfer_to_a_precompile_runs_it() -> None:
    outcome = execute(state_with(), replace(TRANSFER, to=bytes(19) + b"\x04", data=b"\x01", gas_limit=30_000))
    assert (outcome.gas_used, outcome.output) == (21_000 + 16 + 15 + 3, b"\x01")


def test_transactions_follow_each_other_in_one_state() -> None:
    state = state_with()
    for nonce in (3, 4, 5):
        execute(state, replace(TRANSFER, nonce=nonce))
    assert (state.nonce(SENDER), state.balance(RECIPIENT)) == (6, 3_000)
    with pytest.raises(NonceTooLow):
        execute(state, TRANSFER)


# Code


STOP = bytes.fromhex("00")
RETURN_32 = bytes.fromhex("602a60005260206000f3")  # returns 42 as a word
REVERT_32 = bytes.fromhex("602a60005260206000fd")
CLEAR_SLOT = bytes.fromhex("600060015500")  # slot 1 = 0
LOG = bytes.fromhex("60206000a000")
CALL_ME = replace(TRANSFER, to=CONTRACT, gas_limit=100_000)


def test_a_call_returns_and_logs() -> None:
    outcome = execute(state_with(RETURN_32), CALL_ME)
    assert (outcome.success, outcome.output, outcome.halt) == (True, (42).to_bytes(32, "big"), None)
    outcome = execute(state_with(LOG), CALL_ME)
    assert [log.address for log in outcome.logs] == [CONTRACT]


def test_a_revert_keeps_the_gas_left_and_gives_the_value_back() -> None:
    state = state_with(REVERT_32)
    outcome = execute(state, CALL_ME)
    assert (outcome.success, outcome.output, outcome.halt) == (False, (42).to_bytes(32, "big"), None)
    assert outcome.gas_used < 22_000
    assert state.account(SENDER) == Account(4, ETHER - outcome.gas_used * 9)
    assert state.balance(COINBASE) == outcome.gas_used * 2


def test_a_halt_takes_all_gas() -> None:
    state = state_with(b"\xfe")
    outcome = execute(state, CALL_ME)
    assert (outcome.success, outcome.output, outcome.halt, outcome.gas_used) == (False, b"", "InvalidOpcode", 100_000)
    assert state.account(SENDER) == Account(4, ETHER - 100_000 * 9)


def test_a_refund_is_at_most_a_fifth() -> None:
    """Clearing a slot costs 21,000 + 6 + 5,000 and refunds 4,800, which is below a fifth of it."""
    state = state_with(CLEAR_SLOT)
    state.set_storage(CONTRACT, 1, 1)
    assert execute(state, CALL_ME).gas_used == 26_006 - 4_800
    state = state_with(CLEAR_SLOT[:-1] + bytes.fromhex("600060025500"))
    state.set_storage(CONTRACT, 1, 1)
    state.set_storage(CONTRACT, 2, 1)
    used = 21_000 + 2 * 5_006
    assert execute(state, CALL_ME).gas_used == used - used // 5


def test_an_access_list_warms() -> None:
    code = bytes.fromhex("60015400")  # SLOAD of slot 1
    cold = execute(state_with(code), CALL_ME).gas_used
    warm = execute(state_with(code), replace(CALL_ME, access_list=((CONTRACT, (1,)),))).gas_used
    assert warm - cold == 2_400 + 1_900 - 2_000


@pytest.mark.parametrize(
    ("address", "cost"),
    [(SENDER, 100), (CONTRACT, 100), (COINBASE, 100), (bytes(19) + b"\x0a", 100), (bytes(19) + b"\x0b", 2_600)],
)
def test_who_is_warm_from_the_first(address: bytes, cost: int) -> None:
    code = b"\x73" + address + bytes.fromhex("3100")  # BALANCE
    assert execute(state_with(code), CALL_ME).gas_used == 21_000 + 3 + cost


def test_the_fee_is_gone_while_code_runs() -> None:
    code = bytes.fromhex("323160005260206000f3")  # balance of the origin
    outcome = execute(state_with(code), CALL_ME)
    assert int.from_bytes(outcome.output, "big") == ETHER - 100_000 * 9 - 1_000


def test_a_contract_is_created() -> None:
    state = state_with()
    init_code = bytes.fromhex("6001600c60003960016000f300")  # code of one byte: STOP
    create = replace(TRANSFER, to=None, data=init_code, gas_limit=100_000)
    outcome = execute(state, create)
    address = create_address(SENDER, 3)
    assert (outcome.success, outcome.contract_address, outcome.output) == (True, address, STOP)
    assert state.code(address) == STOP
    assert (state.nonce(address), state.balance(address), state.nonce(SENDER)) == (1, 1_000, 4)


def test_a_create_at_an_occupied_address_takes_all_gas() -> None:
    state = state_with()
    state.set_nonce(create_address(SENDER, 3), 1)
    outcome = execute(state, replace(TRANSFER, to=None, gas_limit=60_000))
    assert (outcome.success, outcome.halt, outcome.gas_used) == (False, "AddressCollision", 60_000)
    assert state.nonce(SENDER) == 4


def test_blob_gas_is_paid_and_burnt() -> None:
    state = state_with()
    outcome = execute(state, BLOB_TRANSFER)
    assert state.balance(SENDER) == ETHER - 1_000 - outcome.gas_used * 9 - 2 * 131_072 * 2
    assert most_it_can_cost(BLOB_TRANSFER) == 21_000 * 20 + 1_000 + 2 * 131_072 * 2


def test_a_tracer_sees_the_code_run() -> None:
    tracer = StructLogTracer()
    execute(state_with(RETURN_32), CALL_ME, tracer=tracer)
    assert [log.name for log in tracer.logs][-1] == "RETURN"


# Calls without a transaction


def test_a_call_answers_and_leaves_no_trace() -> None:
    state = state_with(LOG[:-1] + CLEAR_SLOT[:-1] + RETURN_32)
    state.set_storage(CONTRACT, 1, 1)
    before = state.changes()
    for _ in range(2):
        outcome = call(state, BLOCK, caller=SENDER, to=CONTRACT, value=10, gas=100_000)
        assert (outcome.success, outcome.output) == (True, (42).to_bytes(32, "big"))
        assert len(outcome.logs) == 1
        assert state.changes() == before


def test_a_call_uses_the_gas_that_a_transaction_would() -> None:
    for code in (STOP, RETURN_32, LOG):
        outcome = call(state_with(code), BLOCK, caller=SENDER, to=CONTRACT, value=1_000, gas=100_000)
        assert outcome.gas_used == execute(state_with(code), CALL_ME).gas_used


def test_a_call_asks_neither_nonce_nor_fees_nor_who_calls() -> None:
    state = state_with(RETURN_32, balance=0, nonce=0)
    assert call(state, BLOCK, caller=CONTRACT, to=CONTRACT, gas=100_000).success


def test_a_call_to_nobody_creates() -> None:
    state = state_with()
    outcome = call(state, BLOCK, caller=SENDER, to=None, data=RETURN_32, gas=100_000)
    assert (outcome.success, outcome.contract_address) == (True, create_address(SENDER, 3))
    assert state.account(create_address(SENDER, 3)) is None


def test_a_call_with_a_balance_set_before() -> None:
    state = state_with(balance=0)
    with pytest.raises(InsufficientFunds, match="the value is 5 wei"):
        call(state, BLOCK, caller=SENDER, to=RECIPIENT, value=5, gas=21_000)
    state.set_balance(SENDER, 5)
    assert call(state, BLOCK, caller=SENDER, to=RECIPIENT, value=5, gas=21_000).success
    assert state.balance(SENDER) == 5


def test_a_call_needs_its_intrinsic_gas() -> None:
    with pytest.raises(IntrinsicGasTooLow):
        call(state_with(), BLOCK, caller=SENDER, to=RECIPIENT, gas=20_999)
