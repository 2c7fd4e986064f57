"""All methods that the gateway answers, in one table."""

from gateway.methods import accounts, admin, blocks, calls, debug, fees, headers, logs, node, transactions
from gateway.methods.table import Table

METHODS = Table(
    node.TABLE,
    blocks.TABLE,
    headers.TABLE,
    accounts.TABLE,
    transactions.TABLE,
    calls.TABLE,
    fees.TABLE,
    logs.TABLE,
    debug.TABLE,
    admin.TABLE,
)
