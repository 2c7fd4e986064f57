"""Running one transaction, or one call without a transaction, over a State: fees, nonce, message, refund.

Whether a transaction may run is decided in chain/validity.py, what code does in vm/. Blocks are the importer's affair.
Follows the Yellow Paper, section 6, and EIP-1559, 2929, 2930, 3529, 3651, 4844.
"""

from typing import NamedTuple

from chain.account import EMPTY_CODE_HASH
from chain.state import State
from chain.transaction import BLOB, AccessList, Transaction
from chain.validity import (
    InsufficientFunds,
    IntrinsicGasTooLow,
    blob_gas,
    check_at_block,
    check_by_itself,
    intrinsic_gas_of,
)
from vm.addresses import create_address
from vm.host import BlockContext, Log, TransactionContext
from vm.interpreter import run
from vm.message import Message, Outcome
from vm.precompiles import PRECOMPILES
from vm.tracer import Tracer

# EIP-3529: at most this part of the gas used comes back.
REFUND_QUOTIENT = 5


class TransactionOutcome(NamedTuple):
    """What a transaction that was valid did. Succeeded or not, its gas is used and paid for."""

    success: bool
    gas_used: int
    """After the refund."""
    logs: tuple[Log, ...] = ()
    output: bytes = b""
    """Return data, the data of a revert, or a new contract's code."""
    contract_address: bytes | None = None
    """Where the transaction creates a contract, whether it succeeded or not."""
    halt: str | None = None
    """Name of the exceptional halt (a class of vm.errors); None after success and after a revert."""
    effective_gas_price: int = 0
    """Wei per gas."""


def execute_transaction(
    state: State,
    block: BlockContext,
    transaction: Transaction,
    sender: bytes,
    gas_available: int | None = None,
    *,
    base_fee_recipient: bytes | None = None,
    tracer: Tracer | None = None,
) -> TransactionOutcome:
    """Check a transaction, run it and make its changes final in the state.

    `gas_available` is what the block has left, all of its limit where not given. The tip goes to the coinbase; the base
    fee is burnt (EIP-1559), or goes to `base_fee_recipient`. Raises one of the InvalidTransaction of chain/validity.py
    before anything has changed.
    """
    intrinsic = check_by_itself(transaction)
    check_at_block(state, block, transaction, sender, block.gas_limit if gas_available is None else gas_available)
    base_fee = block.base_fee
    price = min(transaction.max_fee_per_gas, base_fee + transaction.max_priority_fee_per_gas)
    if tracer is None and _is_plain_transfer(state, transaction):
        state.move_plainly(sender, transaction.to or b"", transaction.value, intrinsic * price)
        outcome = TransactionOutcome(True, intrinsic, effective_gas_price=price)
        _pay_fees(state, block, outcome, base_fee_recipient)
        state.end_transaction()
        return outcome

    _begin(state, block, sender, transaction.to, transaction.nonce, transaction.access_list)
    _buy_gas(state, block, transaction, sender, price)
    message = _message(sender, transaction.to, transaction.nonce, transaction.value, transaction.data,
                       transaction.gas_limit - intrinsic)  # fmt: skip
    context = TransactionContext(sender, price, transaction.blob_hashes)
    ended = run(state, block, context, message, tracer)
    outcome = _outcome(state, ended, message, transaction.gas_limit, price)
    state.add_balance(sender, (transaction.gas_limit - outcome.gas_used) * price)
    _pay_fees(state, block, outcome, base_fee_recipient)
    return outcome._replace(logs=state.end_transaction())


def call(
    state: State,
    block: BlockContext,
    *,
    caller: bytes,
    to: bytes | None,
    value: int = 0,
    data: bytes = b"",
    gas: int,
    gas_price: int = 0,
    access_list: AccessList = (),
    blob_hashes: tuple[bytes, ...] = (),
    tracer: Tracer | None = None,
) -> TransactionOutcome:
    """What a message from `caller` would do, without signature, nonce or fees; the state is left as it was.

    Whatever is to be overridden (balances, codes, slots) is set on the state before. The gas used is what a transaction
    would use. Raises IntrinsicGasTooLow, or InsufficientFunds where the caller does not have the value.
    """
    intrinsic = intrinsic_gas_of(data, to is None, access_list)
    if intrinsic > gas:
        raise IntrinsicGasTooLow(f"the gas is {gas}, the call needs at least {intrinsic}")
    balance = state.balance(caller)
    if value > balance:
        raise InsufficientFunds(f"the value is {value} wei, the caller 0x{caller.hex()} has {balance}")
    nonce = state.nonce(caller)
    _begin(state, block, caller, to, nonce, access_list)
    if to is None:
        state.increment_nonce(caller)
    message = _message(caller, to, nonce, value, data, gas - intrinsic)
    ended = run(state, block, TransactionContext(caller, gas_price, blob_hashes), message, tracer)
    outcome = _outcome(state, ended, message, gas, gas_price)
    return outcome._replace(logs=state.abandon_transaction())


def _is_plain_transfer(state: State, transaction: Transaction) -> bool:
    """Whether a valid transaction runs no code, so that nothing in it can fail."""
    to = transaction.to
    if to is None or to in PRECOMPILES or transaction.type == BLOB:
        return False
    recipient = state.account(to)
    return recipient is None or recipient.code_hash == EMPTY_CODE_HASH


def _begin(
    state: State, block: BlockContext, sender: bytes, to: bytes | None, nonce: int, access_list: AccessList
) -> None:
    target = create_address(sender, nonce) if to is None else to
    addresses = [sender, target, block.coinbase, *PRECOMPILES]
    addresses.extend([address for address, _ in access_list])
    state.begin_transaction(addresses, [(address, slot) for address, slots in access_list for slot in slots])


def _buy_gas(state: State, block: BlockContext, transaction: Transaction, sender: bytes, price: int) -> None:
    cost = transaction.gas_limit * price
    if transaction.type == BLOB:
        cost += blob_gas(transaction) * block.blob_base_fee
    state.increment_nonce(sender)
    state.add_balance(sender, -cost)


def _message(sender: bytes, to: bytes | None, nonce: int, value: int, data: bytes, gas: int) -> Message:
    if to is None:
        return Message(sender, create_address(sender, nonce), value, data, gas, is_create=True)
    return Message(sender, to, value, data, gas)


def _outcome(state: State, ended: Outcome, message: Message, gas_limit: int, price: int) -> TransactionOutcome:
    gas_used = gas_limit - ended.gas_left
    gas_used -= min(state.refund, gas_used // REFUND_QUOTIENT)
    return TransactionOutcome(
        ended.success,
        gas_used,
        output=ended.output,
        contract_address=message.target if message.is_create else None,
        halt=ended.halt,
        effective_gas_price=price,
    )


def _pay_fees(state: State, block: BlockContext, outcome: TransactionOutcome, base_fee_recipient: bytes | None) -> None:
    state.add_balance(block.coinbase, outcome.gas_used * (outcome.effective_gas_price - block.base_fee))
    if base_fee_recipient is not None:
        state.add_balance(base_fee_recipient, outcome.gas_used * block.base_fee)
