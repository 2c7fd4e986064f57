"""Once an interval, for devices that have to be asked."""

import asyncio

from primitives.clock import Clock


class Turns:
    """The first at once, the others an interval apart; those that were missed are not made up for."""

    def __init__(self, interval_s: float, clock: Clock) -> None:
        self._interval_ms = round(interval_s * 1000)
        self._clock = clock
        self._next_ms: int | None = None

    async def next(self) -> None:
        """Wait until the next turn has come."""
        now_ms = self._clock.elapsed_ms()
        if self._next_ms is None:
            self._next_ms = now_ms
        if self._next_ms > now_ms:
            await self._clock.sleep_s((self._next_ms - now_ms) / 1000)
            now_ms = self._clock.elapsed_ms()
        else:
            await asyncio.sleep(0)
        self._next_ms += self._interval_ms
        if self._next_ms <= now_ms:
            self._next_ms = now_ms + self._interval_ms
