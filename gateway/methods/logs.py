"""Logs, and filters over logs, blocks and pending transactions."""

from gateway import parameters
from gateway.backend import ChainView
from gateway.context import Context
from gateway.errors import SERVER_ERROR, RpcError
from gateway.filters import Filter, block_changes, log_changes, position_of_head
from gateway.logs import query_logs
from gateway.methods.table import Json, Parameter, Table
from gateway.parameters import LogFilter
from primitives.hexadecimal import to_data

TABLE = Table()

_FILTER = Parameter("filter", parameters.log_filter)
_FILTER_ID = Parameter("filter id", parameters.filter_id)


@TABLE.read("eth_getLogs", _FILTER)
def get_logs(chain: ChainView, wanted: LogFilter) -> Json:
    return list(query_logs(chain, wanted))


@TABLE.answer("eth_newFilter", _FILTER)
async def new_filter(context: Context, wanted: LogFilter) -> Json:
    if wanted.block_hash is not None:
        raise RpcError(SERVER_ERROR, "a filter follows the chain: it has no blockHash; use eth_getLogs")
    position = await context.read(position_of_head)
    return context.filters.install(Filter(position, wanted))


@TABLE.answer("eth_newBlockFilter")
async def new_block_filter(context: Context) -> Json:
    return context.filters.install(Filter(await context.read(position_of_head)))


@TABLE.answer("eth_newPendingTransactionFilter", Parameter("full transactions", parameters.boolean, False))
async def new_pending_transaction_filter(context: Context, hydrated: bool) -> Json:
    if hydrated:
        raise RpcError(SERVER_ERROR, "a filter of pending transactions tells their hashes only")
    return context.filters.install(Filter())


@TABLE.answer("eth_getFilterChanges", _FILTER_ID)
async def get_filter_changes(context: Context, filter_id: str) -> Json:
    found = context.filters.find(filter_id)
    async with found.lock:
        position, wanted = found.position, found.wanted
        if position is None:
            return [to_data(transaction_hash) for transaction_hash in found.take_pending()]
        if wanted is None:
            found.position, changes = await context.read(lambda chain: block_changes(chain, position))
        else:
            found.position, changes = await context.read(lambda chain: log_changes(chain, position, wanted))
        return changes


@TABLE.answer("eth_getFilterLogs", _FILTER_ID)
async def get_filter_logs(context: Context, filter_id: str) -> Json:
    wanted = context.filters.find(filter_id).wanted
    if wanted is None:
        raise RpcError(SERVER_ERROR, "filter not found: this one is not of logs")
    return list(await context.read(lambda chain: query_logs(chain, wanted)))


@TABLE.answer("eth_uninstallFilter", _FILTER_ID)
async def uninstall_filter(context: Context, filter_id: str) -> Json:
    return context.filters.uninstall(filter_id)
