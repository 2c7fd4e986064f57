"""The node's ledger and pool as the event loop sees them: one thread that writes, several that read snapshots.

Importing and building happen in one chain thread, one after another. Questions run in reader threads on snapshots of
their own, so that a long call holds up neither blocks nor other questions. The pool belongs to the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from chain.block import Block
from chain.builder import BlockBuilder
from chain.importer import ImportResult
from chain.ledger import Ledger
from chain.pool.pool import TransactionPool
from chain.queries import ChainQueries
from chain.transaction import Transaction

T = TypeVar("T")

READER_THREADS = 4
"""Two may be busy with long calls while two others still answer."""


class LedgerService:
    """Ledger, pool and builder behind an asynchronous face, for use by `async with`."""

    def __init__(self, ledger: Ledger, pool: TransactionPool, builder: BlockBuilder) -> None:
        self.pool = pool
        self.head = ledger.head()
        """Of the canonical chain, as of the last import."""
        self._ledger = ledger
        self._builder = builder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="reader")
        self._listeners: list[Callable[[ImportResult], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # The block that is being written is finished, nothing new starts.
        for executor in (self._writer, self._readers):
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)

    def on_import(self, listener: Callable[[ImportResult], None]) -> None:
        """Have the listener called, in the event loop, after every change of the canonical chain."""
        self._listeners.append(listener)

    async def import_block(self, block: Block) -> ImportResult:
        """Take a block in, wherever it comes from. Raises InvalidBlock, and then nothing has changed."""
        # Shielded: once begun, an import ends, and the pool hears of it even if nobody waits any more.
        return await asyncio.shield(asyncio.ensure_future(self._import(block)))

    async def build(self) -> Block:
        """An unsealed block on top of the head, of what is pending in the pool."""
        pending = self.pool.pending()
        return await self._in_chain_thread(lambda: self._builder.build(pending))

    async def submit(self, transaction: Transaction) -> bytes:
        """Put a transaction into the pool, on disk before this returns; its hash. Raises InvalidTransaction."""
        return await self.pool.submit(transaction)

    async def read(self, function: Callable[[ChainQueries], T]) -> T:
        """The function's answer on one snapshot of the chain, from a reader thread."""

        def answer() -> T:
            with self._ledger.view() as view:
                return function(view)

        return await asyncio.get_running_loop().run_in_executor(self._readers, answer)

    async def _import(self, block: Block) -> ImportResult:
        result = await self._in_chain_thread(lambda: self._ledger.import_block(block))
        if result.connected:
            self.head = result.head
            included = [transaction for one in result.connected for transaction in one.transactions]
            returned = [transaction for one in result.disconnected for transaction in one.transactions]
            self.pool.head_changed(self._ledger.latest_accounts, result.head, included, returned)
            for listener in self._listeners:
                listener(result)
        return result

    async def _in_chain_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, function)
