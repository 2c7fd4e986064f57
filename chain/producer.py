"""The loop of a mining node: build on the head, seal, hand the block in; begin anew whenever the head changes.

It knows neither the rules of a block (the builder and the importer do) nor how nonces are searched (the miner does).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from chain.block import Block
from chain.header import Header
from primitives.clock import Clock

DEFAULT_REBUILD_INTERVAL_S = 2.0
"""How soon new transactions get into the block that is being sealed. A search has no memory, so starting one on another
header costs only the building."""


class Builder(Protocol):
    def build(self) -> Block: ...


class Sealer(Protocol):
    async def seal(self, header: Header) -> Header: ...


class BlockProducer:
    """Produces blocks until it is cancelled."""

    def __init__(
        self,
        builder: Builder,
        sealer: Sealer,
        clock: Clock,
        submit: Callable[[Block], Awaitable[None]],
        rebuild_interval_s: float = DEFAULT_REBUILD_INTERVAL_S,
    ) -> None:
        """`submit` takes a sealed block to the importer and returns when the head has changed, if it does."""
        self._builder = builder
        self._sealer = sealer
        self._clock = clock
        self._submit = submit
        self._rebuild_interval_s = rebuild_interval_s
        self._head_changed = asyncio.Event()
        self._transactions_came = asyncio.Event()
        self.blocks_produced = 0

    def head_changed(self) -> None:
        """To be called at every new head: what is being sealed is stale."""
        self._head_changed.set()

    def transactions_came(self, _: object = None) -> None:
        """To be called when transactions became pending (fits the pool's `subscribe`)."""
        self._transactions_came.set()

    async def run(self) -> None:
        while True:
            self._head_changed.clear()
            self._transactions_came.clear()
            block = self._builder.build()
            if await self._wait_for_time(block.header.timestamp_s):
                continue
            sealed = await self._seal(block.header)
            if sealed is not None:
                await self._submit(Block(sealed, block.transactions))
                self.blocks_produced += 1

    async def _wait_for_time(self, timestamp_s: int) -> bool:
        """Wait until the clock has reached a block's time; whether the head changed first.

        Times strictly rise, so blocks found faster than one a second would run ahead of everybody's clock and be
        refused.
        """
        ahead_s = timestamp_s - self._clock.precise_time_s()
        if ahead_s <= 0:
            return False
        return not await self._race(self._clock.sleep_s(ahead_s))

    async def _seal(self, header: Header) -> Header | None:
        """The sealed header; None where the head changed first, or it is time to take in new transactions."""
        sealed: list[Header] = []

        async def seal() -> None:
            sealed.append(await self._sealer.seal(header))

        await self._race(seal(), self._rebuild_due())
        return sealed[0] if sealed else None

    async def _race(self, *contestants: Coroutine[Any, Any, None]) -> bool:
        """Run until one is done or the head changes, and end the others; False where nothing but the head did."""
        tasks = [asyncio.ensure_future(contestant) for contestant in contestants]
        stale = asyncio.ensure_future(self._head_changed.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stale], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return done != {stale}
        finally:
            for task in (*tasks, stale):
                task.cancel()
            await asyncio.wait([*tasks, stale])

    async def _rebuild_due(self) -> None:
        # Real time, whatever the ledger's clock does: building costs this machine's effort.
        await asyncio.sleep(self._rebuild_interval_s)
        await self._transactions_came.wait()
