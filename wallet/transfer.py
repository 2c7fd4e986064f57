"""Transactions made for a node's chain: nonce, gas and fees asked from the node, signed here, sent as bytes.

The node never sees a key; what it suggests is checked against what the account can pay before anything is signed.
"""

from dataclasses import dataclass
from typing import Protocol

from chain.transaction import DYNAMIC_FEE, LEGACY, Transaction, sign_transaction
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import WEI_PER_WATT, format_amount
from wallet.answers import BlockSummary
from wallet.client import BlockTag, RpcClient

DEFAULT_MAX_FEE_WEI = WEI_PER_WATT
"""What one transaction may cost in fees unless its sender says otherwise: a node that names a price by mistake, or by
malice, must not take the whole account. As much as geth allows, and far above what a batch of readings costs."""


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per gas; a network without base fee has legacy transactions, whose one price stands in both."""

    transaction_type: int
    max_priority_fee_per_gas: int
    max_fee_per_gas: int


class FeeSource(Protocol):
    """What is asked of a node to suggest fees; RpcClient is one."""

    async def block(self, block: BlockTag = "latest") -> BlockSummary | None: ...

    async def gas_price(self) -> int: ...

    async def max_priority_fee(self) -> int: ...


def highest_fee(transaction: Transaction) -> int:
    """Wei that the transaction can cost its sender at most, beside what it pays to somebody."""
    return transaction.gas_limit * transaction.max_fee_per_gas


def highest_cost(transaction: Transaction) -> int:
    """Wei that the transaction can take from its sender at most."""
    return transaction.value + highest_fee(transaction)


async def suggest_fees(client: FeeSource) -> Fees:
    """Fees with which a transaction is mined soon: EIP-1559 where blocks have a base fee, else the node's price."""
    latest = await client.block("latest")
    if latest is None or not latest.base_fee:
        price = await client.gas_price()
        return Fees(LEGACY, price, price)
    priority_fee = await client.max_priority_fee()
    # The base fee rises by an eighth a block at most: twice the present one lasts for five full blocks.
    return Fees(DYNAMIC_FEE, priority_fee, 2 * latest.base_fee + priority_fee)


async def build_transaction(
    client: RpcClient,
    sender: bytes,
    to: bytes | None,
    value: int = 0,
    data: bytes = b"",
    *,
    gas_limit: int | None = None,
    nonce: int | None = None,
    fees: Fees | None = None,
) -> Transaction:
    """An unsigned transaction; what is not given is asked from the node. Raises UserError, RpcError."""
    fees = fees or await suggest_fees(client)
    return Transaction(
        type=fees.transaction_type,
        chain_id=await client.chain_id(),
        nonce=await client.nonce(sender) if nonce is None else nonce,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        max_fee_per_gas=fees.max_fee_per_gas,
        gas_limit=await client.estimate_gas(sender, to, value, data) if gas_limit is None else gas_limit,
        to=to,
        value=value,
        data=data,
    )


async def check_funds(client: RpcClient, sender: bytes, value: int) -> None:
    """Refuse early, and in plain words, what the account cannot pay even without fees. Raises UserError."""
    balance = await client.balance(sender)
    if balance < value:
        raise UserError(
            f"The account {to_checksum_address(sender)} has {format_amount(balance)}, less than {format_amount(value)}."
        )


async def build_transfer(
    client: RpcClient, sender: bytes, to: bytes, value: int, max_fee_wei: int = DEFAULT_MAX_FEE_WEI
) -> Transaction:
    """An unsigned transfer of `value` wei that the sender can pay. Raises UserError where it cannot, or costs more."""
    await check_funds(client, sender, value)
    transaction = await build_transaction(client, sender, to, value)
    await check_cost(client, sender, transaction, max_fee_wei)
    return transaction


async def check_cost(client: RpcClient, sender: bytes, transaction: Transaction, max_fee_wei: int) -> None:
    """Raises UserError where the fee may be more than it should, or the whole more than the sender has."""
    fee = highest_fee(transaction)
    if fee > max_fee_wei:
        raise UserError(
            f"By the node's word the fee could be {format_amount(fee)}, more than {format_amount(max_fee_wei)}: "
            "nothing was sent. If you mean to pay that, allow it with --max-fee."
        )
    balance = await client.balance(sender)
    if highest_cost(transaction) > balance:
        raise UserError(
            f"The account {to_checksum_address(sender)} has {format_amount(balance)}; with the fee of up to "
            f"{format_amount(fee)} this could cost {format_amount(highest_cost(transaction))}."
        )


async def sign_and_send(client: RpcClient, transaction: Transaction, private_key: bytes) -> bytes:
    """Sign and hand in; the transaction's hash, computed here and confirmed by the node. Raises RpcError."""
    signed = sign_transaction(transaction, private_key)
    answered = await client.send_raw(signed.encoded)
    if answered != signed.hash:
        raise UserError(f"The node answered with the hash 0x{answered.hex()}, sent was 0x{signed.hash.hex()}.")
    return signed.hash
