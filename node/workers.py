"""Where the node's blocking work is done: one thread that writes the chain, several that read snapshots of it.

A simulation hands in workers of its own, which do everything at once and in the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")

READER_THREADS = 4
"""Two may be busy with long calls while two others still answer."""


class Workers(Protocol):
    """Who runs blocking functions for the event loop."""

    async def write(self, function: Callable[[], T]) -> T:
        """Run the function after all that were handed in before, on the one thread that may change the chain."""

    async def read(self, function: Callable[[], T]) -> T:
        """Run the function beside others that only read."""

    async def close(self) -> None:
        """Finish what is running; nothing else starts."""


class ThreadWorkers:
    """Real threads."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="reader")

    async def write(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, function)

    async def read(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function)

    async def close(self) -> None:
        for executor in (self._writer, self._readers):
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)
