"""Whether a transaction may run: what can be told from itself, and what from the block and the state it meets.

The pool and execution ask here. Every refusal is an InvalidTransaction of its own kind, with the values that broke
the rule. Follows the Yellow Paper, section 6, and EIP-1559, 2028, 2681, 2930, 3607, 3860, 4844.
"""

from chain.account import EMPTY_ACCOUNT, EMPTY_CODE_HASH
from chain.state import State
from chain.transaction import BLOB, MAX_UINT64, AccessList, Transaction
from primitives.errors import InvalidTransaction
from vm.gas import INIT_CODE_WORD, MAX_INIT_CODE_BYTES, words
from vm.host import BlockContext

TRANSACTION_GAS = 21_000
CREATE_GAS = 32_000
ZERO_BYTE_GAS = 4
NONZERO_BYTE_GAS = 16
ACCESS_LIST_ADDRESS_GAS = 2_400
ACCESS_LIST_SLOT_GAS = 1_900
# EIP-4844; the ledger refuses blob transactions before they come here, the official tests run them.
GAS_PER_BLOB = 131_072
MAX_BLOBS = 6
BLOB_HASH_VERSION = 1


class NonceTooLow(InvalidTransaction):
    """The sender has used this nonce already."""


class NonceTooHigh(InvalidTransaction):
    """Transactions of the sender with lower nonces are missing."""


class NonceIsMax(InvalidTransaction):
    """The nonce could not be raised any more (EIP-2681)."""


class SenderHasCode(InvalidTransaction):
    """The sender is a contract (EIP-3607)."""


class InsufficientFunds(InvalidTransaction):
    """The sender cannot pay for the value and all the gas at the highest price it allows."""


class IntrinsicGasTooLow(InvalidTransaction):
    """The gas limit is below what the transaction costs before any code runs."""


class InitCodeTooLong(InvalidTransaction):
    """More init code than EIP-3860 allows."""


class GasLimitExceeded(InvalidTransaction):
    """The block has not that much gas left."""


class FeeBelowBaseFee(InvalidTransaction):
    """The highest price the sender allows is below the block's base fee."""


class PriorityFeeAboveMaxFee(InvalidTransaction):
    """The tip is more than the whole price may be (EIP-1559)."""


class FeeOverflow(InvalidTransaction):
    """All the gas at the highest price would cost more than 256 bits of wei."""


class InvalidBlobs(InvalidTransaction):
    """A blob transaction without blobs, with too many, of another version, too cheap, or creating a contract."""


def intrinsic_gas(transaction: Transaction) -> int:
    """Gas that a transaction costs before any code runs."""
    return intrinsic_gas_of(transaction.data, transaction.to is None, transaction.access_list)


def intrinsic_gas_of(data: bytes, is_create: bool, access_list: AccessList) -> int:
    gas = TRANSACTION_GAS
    if data:
        zeros = data.count(0)
        gas += zeros * ZERO_BYTE_GAS + (len(data) - zeros) * NONZERO_BYTE_GAS
    if is_create:
        gas += CREATE_GAS + INIT_CODE_WORD * words(len(data))
    for _, slots in access_list:
        gas += ACCESS_LIST_ADDRESS_GAS + len(slots) * ACCESS_LIST_SLOT_GAS
    return gas


def check_by_itself(transaction: Transaction) -> int:
    """Check what holds or fails at any state; the intrinsic gas. Raises a subclass of InvalidTransaction."""
    gas = intrinsic_gas(transaction)
    if gas > transaction.gas_limit:
        raise IntrinsicGasTooLow(f"the gas limit is {transaction.gas_limit}, the transaction needs at least {gas}")
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise PriorityFeeAboveMaxFee(
            f"the priority fee of {transaction.max_priority_fee_per_gas} wei per gas is above the highest fee allowed, "
            f"{transaction.max_fee_per_gas}"
        )
    if (transaction.gas_limit * transaction.max_fee_per_gas).bit_length() > 256:
        raise FeeOverflow(
            f"{transaction.gas_limit} gas at {transaction.max_fee_per_gas} wei per gas costs more than 256 bits of wei"
        )
    if transaction.nonce >= MAX_UINT64:
        raise NonceIsMax(f"the nonce {transaction.nonce} cannot be raised any more (EIP-2681)")
    if transaction.to is None and len(transaction.data) > MAX_INIT_CODE_BYTES:
        raise InitCodeTooLong(f"{len(transaction.data)} bytes of init code; at most {MAX_INIT_CODE_BYTES} are allowed")
    if transaction.type == BLOB:
        _check_blobs(transaction)
    return gas


def check_at_block(
    state: State, block: BlockContext, transaction: Transaction, sender: bytes, gas_available: int
) -> None:
    """Check what depends on the block and on the sender's account. Raises a subclass of InvalidTransaction."""
    nonce, balance, code_hash = state.account(sender) or EMPTY_ACCOUNT
    if transaction.nonce != nonce:
        if transaction.nonce < nonce:
            raise NonceTooLow(f"the nonce is {transaction.nonce}, the sender's next is {nonce}")
        raise NonceTooHigh(f"the nonce is {transaction.nonce}, the sender's next is {nonce}")
    if code_hash != EMPTY_CODE_HASH:
        raise SenderHasCode(f"the sender 0x{sender.hex()} is a contract (EIP-3607)")
    if transaction.max_fee_per_gas < block.base_fee:
        raise FeeBelowBaseFee(
            f"the highest fee allowed is {transaction.max_fee_per_gas} wei per gas, "
            f"the block's base fee is {block.base_fee}"
        )
    if transaction.gas_limit > gas_available:
        raise GasLimitExceeded(f"the gas limit is {transaction.gas_limit}, the block has {gas_available} left")
    if transaction.type == BLOB and transaction.max_fee_per_blob_gas < block.blob_base_fee:
        raise InvalidBlobs(
            f"the highest fee allowed is {transaction.max_fee_per_blob_gas} wei per blob gas, "
            f"the block's is {block.blob_base_fee}"
        )
    cost = most_it_can_cost(transaction)
    if cost > balance:
        raise InsufficientFunds(f"the transaction may cost {cost} wei, the sender has {balance}")


def most_it_can_cost(transaction: Transaction) -> int:
    """Wei that the sender must have: the value, and all gas at the highest price it allows."""
    cost = transaction.gas_limit * transaction.max_fee_per_gas + transaction.value
    if transaction.type == BLOB:
        cost += blob_gas(transaction) * transaction.max_fee_per_blob_gas
    return cost


def blob_gas(transaction: Transaction) -> int:
    return len(transaction.blob_hashes) * GAS_PER_BLOB


def _check_blobs(transaction: Transaction) -> None:
    count = len(transaction.blob_hashes)
    if not 0 < count <= MAX_BLOBS:
        raise InvalidBlobs(f"{count} blobs; a blob transaction has 1 to {MAX_BLOBS}")
    for blob_hash in transaction.blob_hashes:
        if blob_hash[0] != BLOB_HASH_VERSION:
            raise InvalidBlobs(f"the blob hash 0x{blob_hash.hex()} has version {blob_hash[0]}, not {BLOB_HASH_VERSION}")
    if transaction.to is None:
        raise InvalidBlobs("a blob transaction cannot create a contract")
