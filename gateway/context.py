"""What every method works with: the node behind the gateway, the filters, and the limits on work in threads."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.backend import Backend, ChainView
from gateway.errors import LIMIT_EXCEEDED, TIMEOUT, RpcError
from gateway.filters import FilterRegistry
from gateway.methods.table import SimulationFrame
from gateway.stoppable import Stoppable, TimeLimitExceeded

T = TypeVar("T")

CALL_GAS_CAP = 50_000_000
"""Gas of one simulated call: geth's default. Plain code uses it up within some seconds on a Pi."""
CALL_TIME_LIMIT_S = 5.0
"""One simulation's time, as in geth: what takes longer keeps the node from its blocks."""
READ_TIME_LIMIT_S = 10.0
"""One other question's time: a search for logs over the whole allowed range takes a Pi about half of it."""
MAX_SIMULATIONS = 2
"""Running at a time: half of a node's reader threads, so that plain questions always find one free."""
SIMULATION_WAIT_LIMIT_S = 10.0
"""How long a simulation waits for its turn; then the node says that it is busy."""


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """The limits that a node's owner, or a test, may set otherwise."""

    call_gas_cap: int = CALL_GAS_CAP
    call_time_limit_s: float = CALL_TIME_LIMIT_S
    read_time_limit_s: float = READ_TIME_LIMIT_S
    max_simulations: int = MAX_SIMULATIONS
    simulation_wait_limit_s: float = SIMULATION_WAIT_LIMIT_S


class Context:
    """One gateway's. Lives in the event loop's thread."""

    def __init__(self, backend: Backend, limits: WorkLimits | None = None) -> None:
        self.backend = backend
        self.limits = limits or WorkLimits()
        self.filters = FilterRegistry(lambda: asyncio.get_running_loop().time())
        self._end_pending = backend.on_pending(self.filters.transactions_came)
        self._simulations = asyncio.Semaphore(self.limits.max_simulations)

    async def read(self, function: Callable[[ChainView], T]) -> T:
        """A question to the chain. Raises RpcError when it takes too long, and whatever the function raises."""
        return await self._run(function, self.limits.read_time_limit_s)

    async def simulate(self, function: Callable[[ChainView, SimulationFrame], T]) -> T:
        """The same for work that runs contract code: a few at a time, and with gas and time of its own."""
        try:
            async with asyncio.timeout(self.limits.simulation_wait_limit_s):
                await self._simulations.acquire()
        except TimeoutError as error:
            raise RpcError(LIMIT_EXCEEDED, "the node is busy with other calls; try again later") from error
        try:
            frame = SimulationFrame(self.limits.call_gas_cap, self.backend.clock.time_s())
            return await self._run(lambda chain: function(chain, frame), self.limits.call_time_limit_s)
        finally:
            self._simulations.release()

    def close(self) -> None:
        """Take no more news from the node."""
        self._end_pending()

    async def _run(self, function: Callable[[ChainView], T], limit_s: float) -> T:
        work = Stoppable(function)
        timer = asyncio.get_running_loop().call_later(limit_s, work.stop)
        try:
            return await self.backend.read(work.run)
        except TimeLimitExceeded as error:
            raise RpcError(TIMEOUT, f"request timed out: it took longer than {limit_s:g} seconds") from error
        finally:
            timer.cancel()
            # Where this task was cancelled, nobody waits for the answer any more.
            work.stop()
