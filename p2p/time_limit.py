"""A time limit on a Clock, so that sessions can be tested and simulated on a virtual one."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from primitives.clock import Clock

T = TypeVar("T")


async def within(clock: Clock, duration_s: float, operation: Coroutine[Any, Any, T]) -> T:
    """The operation's result. Raises TimeoutError, and the operation is cancelled, where it takes longer."""
    work = asyncio.ensure_future(operation)
    timer = asyncio.ensure_future(clock.sleep_s(duration_s))
    try:
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise TimeoutError(f"not done within {duration_s:g} s")
    finally:
        timer.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # Looked at: whoever was cancelled while it failed has no use for it.
