"""What a transaction must fulfil to enter the pool: its limits, its refusals, and the checks themselves.

The rules of the chain are chain/validity.py's; what is added here protects the node. A refusal begins with geth's words
for it ("nonce too low", "already known", ...), because web3 libraries and tools look for them, and goes on with the
values. Nothing here keeps state.
"""

from dataclasses import dataclass
from typing import Protocol

from chain.account import EMPTY_CODE_HASH, Account
from chain.config import ZERO, ChainConfig
from chain.transaction import BLOB, Transaction, check_chain, sender_or_refuse
from chain.validity import (
    GasLimitExceeded,
    InitCodeTooLong,
    InsufficientFunds,
    IntrinsicGasTooLow,
    NonceIsMax,
    NonceTooHigh,
    NonceTooLow,
    PriorityFeeAboveMaxFee,
    SenderHasCode,
    check_by_itself,
)
from primitives.errors import InvalidTransaction

MAX_TRANSACTION_BYTES = 128 * 1024
"""geth's bound: room for the largest init code twice over, and a flood of them is still cheap to refuse."""
REPLACEMENT_PERCENT = 110
"""Both fees of a replacement, in percent of what it replaces: below, replacing would be a free flood of gossip."""

_GETH_WORDS: dict[type[InvalidTransaction], str] = {
    IntrinsicGasTooLow: "intrinsic gas too low",
    PriorityFeeAboveMaxFee: "max priority fee per gas higher than max fee per gas",
    NonceIsMax: "nonce has max value",
    InitCodeTooLong: "max initcode size exceeded",
}


class AlreadyKnown(InvalidTransaction):
    """The very transaction is in the pool already."""


class ReplacementUnderpriced(InvalidTransaction):
    """The pool has a transaction with this sender and nonce, and this one does not pay 10 % more."""


class Underpriced(InvalidTransaction):
    """The tip is below what this node asks for."""


class OversizedTransaction(InvalidTransaction):
    """More bytes than the pool takes for one transaction."""


class PoolFull(InvalidTransaction):
    """The pool is full of transactions that go before this one."""


class AccountReader(Protocol):
    """The state at the head, as far as the pool looks at it."""

    def account(self, address: bytes) -> Account | None: ...


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much the pool holds: with the defaults about 50 MB of a Pi's memory when it is full to the last byte."""

    max_transactions: int = 4096
    """Some twenty full blocks of plain transfers."""
    max_bytes: int = 16 * 1024 * 1024
    """Of encoded transactions, which may be much larger than transfers."""
    max_per_sender: int = 64
    """Nonces from the sender's next one on; more would let one sender fill the pool."""
    max_queued: int = 1024
    """Transactions that cannot run yet: they cost their senders nothing, so fewer of them."""
    queued_lifetime_s: int = 3 * 3600
    """How long a transaction may wait for what it lacks; geth's bound."""
    min_priority_fee_per_gas: int = 1
    """Wei; geth's default. Nothing is asked for on a network without fees."""
    settled_depth_blocks: int = 128
    """How deep a journaled transaction must lie in the chain before it is forgotten: the node's reorganisation cap."""


def check_form(transaction: Transaction, config: ChainConfig, limits: PoolLimits) -> bytes:
    """Check all that holds or fails at any state; the sender. Raises a subclass of InvalidTransaction."""
    size = len(transaction.encoded)
    if size > MAX_TRANSACTION_BYTES:
        raise OversizedTransaction(f"oversized data: {size} bytes, at most {MAX_TRANSACTION_BYTES} are accepted")
    if transaction.type == BLOB:
        raise InvalidTransaction("transaction type not supported: blob transactions are not part of this ledger")
    check_chain(transaction, config.chain_id)
    try:
        check_by_itself(transaction)
    except InvalidTransaction as error:
        words = _GETH_WORDS.get(type(error))
        if words is None:
            raise
        raise type(error)(f"{words}: {error}") from error
    tip = transaction.max_priority_fee_per_gas
    if config.fee_rule != ZERO and tip < limits.min_priority_fee_per_gas:
        raise Underpriced(
            f"transaction underpriced: the tip is {tip} wei per gas, this node asks for "
            f"{limits.min_priority_fee_per_gas}"
        )
    return sender_or_refuse(transaction)


def check_account(transaction: Transaction, account: Account, block_gas_limit: int, limits: PoolLimits) -> None:
    """Check against the sender's account and the head's gas limit. Raises a subclass of InvalidTransaction."""
    if transaction.gas_limit > block_gas_limit:
        raise GasLimitExceeded(
            f"exceeds block gas limit: the gas limit is {transaction.gas_limit}, the block's {block_gas_limit}"
        )
    if account.code_hash != EMPTY_CODE_HASH:
        raise SenderHasCode("sender not an eoa: the sender is a contract (EIP-3607)")
    if transaction.nonce < account.nonce:
        raise NonceTooLow(f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}")
    if transaction.nonce >= account.nonce + limits.max_per_sender:
        raise NonceTooHigh(
            f"nonce too high: next nonce {account.nonce}, tx nonce {transaction.nonce}, "
            f"at most {limits.max_per_sender} are held for a sender"
        )


def check_funds(cost: int, cost_of_earlier: int, balance: int) -> None:
    """Check that the balance covers a transaction and those of the sender before it. Raises InsufficientFunds."""
    overshot = cost_of_earlier + cost - balance
    if overshot > 0:
        raise InsufficientFunds(
            f"insufficient funds for gas * price + value: balance {balance}, queued cost {cost_of_earlier}, "
            f"tx cost {cost}, overshot {overshot}"
        )


def check_replacement(transaction: Transaction, replaced: Transaction) -> None:
    """Raises ReplacementUnderpriced unless both fees are higher, by 10 % at the least."""
    for name, fee, old_fee in (
        ("fee cap", transaction.max_fee_per_gas, replaced.max_fee_per_gas),
        ("tip cap", transaction.max_priority_fee_per_gas, replaced.max_priority_fee_per_gas),
    ):
        if fee <= old_fee or fee * 100 < old_fee * REPLACEMENT_PERCENT:
            raise ReplacementUnderpriced(
                f"replacement transaction underpriced: new {name} {fee}, old {old_fee}, both must rise by 10 %"
            )
