"""The node's ledger and pool as the event loop sees them: one thread that writes, several that read snapshots.

Importing and building happen in one chain thread, one after another. Questions run in reader threads on snapshots of
their own, so that a long call holds up neither blocks nor other questions. The pool belongs to the event loop.
"""

import asyncio
from collections.abc import Callable
from typing import Self, TypeVar

from chain.block import Block
from chain.builder import BlockBuilder
from chain.importer import ImportResult, ImportStatus
from chain.ledger import Ledger
from chain.pool.pool import TransactionPool
from chain.queries import ChainQueries
from chain.transaction import Transaction
from node.arrivals import log_arrival
from node.workers import ThreadWorkers, Workers
from primitives.errors import InvalidBlock

T = TypeVar("T")


class LedgerService:
    """Ledger, pool and builder behind an asynchronous face, for use by `async with`."""

    def __init__(
        self, ledger: Ledger, pool: TransactionPool, builder: BlockBuilder, workers: Workers | None = None
    ) -> None:
        self.pool = pool
        self.head = ledger.head()
        """Of the canonical chain, as of the last import."""
        self.total_difficulty = ledger.total_difficulty()
        """Of the chain up to that head."""
        self._ledger = ledger
        self._builder = builder
        self._workers = workers or ThreadWorkers()
        self._listeners: list[Callable[[ImportResult], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # The block that is being written is finished, nothing new starts.
        await self._workers.close()

    def on_import(self, listener: Callable[[ImportResult], None]) -> Callable[[], None]:
        """Have the listener called, in the event loop, after every change of the canonical chain, until the answer is
        called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def import_block(self, block: Block, certificate: bytes = b"") -> ImportResult:
        """Take a block in, wherever it comes from. Raises InvalidBlock, and then nothing has changed."""
        self.pool.recognise(block.transactions)
        # Shielded: once begun, an import ends, and the pool hears of it even if nobody waits any more.
        outcome = await asyncio.shield(asyncio.ensure_future(self._import(block, certificate)))
        if isinstance(outcome, InvalidBlock):
            raise outcome
        return outcome

    async def build(self) -> Block:
        """An unsealed block on top of the head, of what is pending in the pool."""
        pending = self.pool.pending()
        return await self._workers.write(lambda: self._builder.build(pending))

    async def submit(self, transaction: Transaction) -> bytes:
        """Put a transaction into the pool, on disk before this returns; its hash. Raises InvalidTransaction."""
        return await self.pool.submit(transaction)

    async def read(self, function: Callable[[ChainQueries], T]) -> T:
        """The function's answer on one snapshot of the chain, from a reader thread."""

        def answer() -> T:
            with self._ledger.view() as view:
                return function(view)

        return await self._workers.read(answer)

    async def write(self, function: Callable[[Ledger], T]) -> T:
        """Run the function on the ledger itself, in the chain thread. Whoever changes the head says so by
        `head_replaced`."""
        return await self._workers.write(lambda: function(self._ledger))

    async def work(self, function: Callable[[], T]) -> T:
        """Run what takes long and touches nothing of the node, beside everything else."""
        return await self._workers.read(function)

    async def head_replaced(self) -> None:
        """The ledger has got another head otherwise than by an import (a fetched state): take over where it stands.
        Listeners of imports hear of it as of one that connected no block."""
        self.head, self.total_difficulty = await self._workers.write(
            lambda: (self._ledger.head(), self._ledger.total_difficulty())
        )
        self.pool.head_changed(self._ledger.latest_accounts, self.head, ())
        self._tell(ImportResult(ImportStatus.KNOWN, self.head))

    async def _import(self, block: Block, certificate: bytes) -> ImportResult | InvalidBlock:
        """A refusal is an answer here: as an exception that nobody waits for any more, it would look like a bug."""

        def work() -> tuple[ImportResult, int]:
            return self._ledger.import_block(block, certificate), self._ledger.total_difficulty()

        try:
            result, total_difficulty = await self._workers.write(work)
        except InvalidBlock as refusal:
            return refusal
        log_arrival(block, result.status)
        if result.connected:
            self.head, self.total_difficulty = result.head, total_difficulty
            included = [transaction for one in result.connected for transaction in one.transactions]
            returned = [transaction for one in result.disconnected for transaction in one.transactions]
            self.pool.head_changed(self._ledger.latest_accounts, result.head, included, returned)
            self._tell(result)
        return result

    def _tell(self, result: ImportResult) -> None:
        for listener in list(self._listeners):
            listener(result)
