"""Making blocks: when to start one, when to begin anew because the head or the pool changed, importing the result."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from chain.block import Block
from chain.header_rules import BlockFromFuture
from chain.importer import ImportResult
from chain.miner import Miner
from chain.transaction import Transaction
from node.mining_total import log_mining_total
from node.service import LedgerService
from node.settings import MiningSettings
from primitives.clock import Clock

REBUILD_INTERVAL_S = 2.0
"""A block that is being sealed is built anew for fresh transactions at most this often: proof of work loses nothing by
it, and building costs CPU that a Pi needs elsewhere."""

FUTURE_PAUSE_S = 1.0
"""Before building anew after the clock was set back: there is nothing to do but wait for it to catch up."""

CATCH_UP_PAUSE_S = 1.0
"""How often a node that is behind looks whether it still is."""

_log = logging.getLogger(__name__)


class MiningLoop:
    """One node's miner. It makes a block when something is pending, or when the empty block's time has come."""

    def __init__(
        self,
        service: LedgerService,
        miner: Miner,
        settings: MiningSettings,
        clock: Clock,
        is_catching_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """While the node catches up with others, blocks on its old head would be thrown away."""
        self._is_catching_up = is_catching_up
        self._service = service
        self._miner = miner
        self._settings = settings
        self._clock = clock
        self._head_moved = asyncio.Event()
        self._pool_grew = asyncio.Event()
        service.on_import(self._on_import)
        service.pool.subscribe(self._on_pending)

    async def run(self) -> None:
        """Make blocks until cancelled."""
        async with self._miner:
            try:
                while True:
                    await self._await_turn()
                    await self._seal_one()
            finally:
                log_mining_total(self._miner.hashes, self._miner.sealing_s)

    def _on_import(self, _: ImportResult) -> None:
        self._head_moved.set()

    def _on_pending(self, _: Sequence[Transaction]) -> None:
        self._pool_grew.set()

    async def _await_turn(self) -> None:
        """Until the time between blocks has passed and there is something to do."""
        while (wait_s := self._time_to_next_block_s()) > 0:
            self._head_moved.clear()
            self._pool_grew.clear()
            await _first(self._clock.sleep_s(wait_s), self._head_moved.wait(), self._pool_grew.wait())

    def _time_to_next_block_s(self) -> float:
        if self._is_catching_up():
            return CATCH_UP_PAUSE_S
        age_s = self._clock.precise_time_s() - self._service.head.timestamp_s
        has_work = self._service.pool.status().pending > 0
        period_s = self._settings.minimum_block_period_s
        if not has_work:
            period_s = max(period_s, self._settings.empty_block_period_s)
        return period_s - age_s

    async def _seal_one(self) -> None:
        """Build, seal and import one block, or return because the head has moved or fresh transactions came."""
        self._head_moved.clear()
        self._pool_grew.clear()
        block = await self._service.build()
        sealing = asyncio.create_task(self._miner.seal(block.header))
        try:
            await _first(_unless_cancelled(sealing), self._head_moved.wait(), self._fresh_transactions())
            if not sealing.done():
                return
            await self._import(replace(block, header=sealing.result()))
        finally:
            sealing.cancel()
            await asyncio.gather(sealing, return_exceptions=True)

    async def _fresh_transactions(self) -> None:
        await asyncio.sleep(REBUILD_INTERVAL_S)
        await self._pool_grew.wait()

    async def _import(self, block: Block) -> None:
        # A block of our own that is refused is a bug, and the exception ends the node, loudly; unless the clock was set
        # back since the block was built.
        try:
            await self._service.import_block(block)
        except BlockFromFuture as error:
            _log.warning("the block made here is not taken: %s; was the clock set back?", error)
            await self._clock.sleep_s(FUTURE_PAUSE_S)
            return
        _log.info(
            "made block %d: %d transactions, %d gas, 0x%s",
            block.number,
            len(block.transactions),
            block.header.gas_used,
            block.hash.hex()[:16],
        )


async def _unless_cancelled(task: "asyncio.Task[object]") -> None:
    await asyncio.wait({task})


async def _first(*waiting: Awaitable[None] | Awaitable[bool]) -> None:
    """Until one of them ends; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
