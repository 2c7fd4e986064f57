"""Transactions on their way: sending them, finding them, and what the pool holds."""

from collections.abc import Mapping, Sequence

from chain.transaction import Transaction, decode_transaction
from gateway import parameters
from gateway.backend import ChainView
from gateway.context import Context
from gateway.methods.table import Json, Parameter, Table
from gateway.objects import JsonObject, mined_transaction_object, pending_transaction_object
from primitives.hexadecimal import to_checksum_address, to_data, to_quantity

TABLE = Table()

MAX_POOL_CONTENT = 5_000
"""Transactions that txpool_content lists: about 1 KB each, so that its answer stays well under the response limit."""


@TABLE.answer("eth_sendRawTransaction", Parameter("transaction", parameters.data))
async def send_raw_transaction(context: Context, encoded: bytes) -> Json:
    return to_data(await context.backend.submit(decode_transaction(encoded)))


@TABLE.answer("eth_getTransactionByHash", Parameter("transaction hash", parameters.hash32))
async def get_transaction_by_hash(context: Context, transaction_hash: bytes) -> Json:
    """From the chain, else from the pool; once more from the chain, in case it was mined between the two."""

    def mined(chain: ChainView) -> JsonObject | None:
        found = chain.find_transaction(transaction_hash)
        if found is None:
            return None
        block, index = found
        return mined_transaction_object(block.transactions[index], block.header, index)

    answer = await context.read(mined)
    if answer is not None:
        return answer
    pooled = context.backend.pooled_transaction(transaction_hash)
    if pooled is not None:
        return pending_transaction_object(pooled)
    return await context.read(mined)


@TABLE.answer("txpool_status")
async def pool_status(context: Context) -> Json:
    status = context.backend.pool_status()
    return {"pending": to_quantity(status.pending), "queued": to_quantity(status.queued)}


@TABLE.answer("txpool_content")
async def pool_content(context: Context) -> Json:
    content = context.backend.pool_content()
    pending = _by_sender(content.pending, MAX_POOL_CONTENT)
    return {
        "pending": pending,
        "queued": _by_sender(content.queued, MAX_POOL_CONTENT - sum(map(len, pending.values()))),
    }


@TABLE.answer("txpool_contentFrom", Parameter("address", parameters.address))
async def pool_content_from(context: Context, address: bytes) -> Json:
    content = context.backend.pool_content()
    return {
        "pending": _by_nonce(content.pending.get(address, ()), MAX_POOL_CONTENT),
        "queued": _by_nonce(content.queued.get(address, ()), MAX_POOL_CONTENT),
    }


def _by_sender(transactions: Mapping[bytes, Sequence[Transaction]], limit: int) -> dict[str, JsonObject]:
    answer = {}
    for sender, entries in transactions.items():
        if limit <= 0:
            break
        answer[to_checksum_address(sender)] = _by_nonce(entries, limit)
        limit -= len(entries)
    return answer


def _by_nonce(transactions: Sequence[Transaction], limit: int) -> JsonObject:
    return {str(entry.nonce): pending_transaction_object(entry) for entry in transactions[:limit]}
