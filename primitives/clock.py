"""The one clock that every part of a node is handed; nothing else asks the system for the time.

Ledger time is Unix time in whole seconds. An accelerated clock runs faster than the wall clock by a fixed rate from a
fixed origin, so that several processes given the same three numbers agree on the time.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the time is, and waiting for it to pass."""

    def time_s(self) -> int:
        """Unix time in whole seconds."""

    def precise_time_s(self) -> float:
        """Unix time with its fraction, for waiting and measuring; never for anything that the ledger computes."""

    def elapsed_ms(self) -> int:
        """Milliseconds since an arbitrary moment; never set, never falls, means nothing to another process."""

    async def sleep_s(self, duration_s: float) -> None:
        """Wait until duration_s seconds of this clock have passed."""


class SystemClock:
    """The machine's own clock."""

    def time_s(self) -> int:
        return int(time.time())

    def precise_time_s(self) -> float:
        return time.time()

    def elapsed_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep_s(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


class AcceleratedClock:
    """A clock that showed `origin_s` when the machine's showed `wall_origin_s` and runs `rate` times as fast."""

    def __init__(self, rate: float, origin_s: float, wall_origin_s: float) -> None:
        if rate <= 0:
            raise ValueError(f"the rate of a clock must be above 0, not {rate}")
        self.rate = rate
        self.origin_s = origin_s
        self.wall_origin_s = wall_origin_s

    def time_s(self) -> int:
        return int(self.precise_time_s())

    def precise_time_s(self) -> float:
        return self.origin_s + (time.time() - self.wall_origin_s) * self.rate

    def elapsed_ms(self) -> int:
        return int(time.monotonic() * 1000 * self.rate)

    async def sleep_s(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s / self.rate)


class ManualClock:
    """A clock that stands still until it is moved; sleepers wake in order of their time. For simulation and tests."""

    def __init__(self, now_s: float = 1_700_000_000) -> None:
        self.now_s = now_s
        self._stepped_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def time_s(self) -> int:
        return int(self.now_s)

    def precise_time_s(self) -> float:
        return self.now_s

    def elapsed_ms(self) -> int:
        return round((self.now_s - self._stepped_s) * 1000)

    async def sleep_s(self, duration_s: float) -> None:
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + duration_s, wake))
        await wake

    def advance_s(self, duration_s: float) -> None:
        """Move the time on and wake those whose time has come."""
        self.now_s += duration_s
        due = sorted((entry for entry in self._sleepers if entry[0] <= self.now_s), key=lambda entry: entry[0])
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self.now_s]
        for _, wake in due:
            if not wake.done():
                wake.set_result(None)

    def step_s(self, difference_s: float) -> None:
        """Set the time of day, as a person or a time server does: no time passes, and nobody wakes."""
        self.now_s += difference_s
        self._stepped_s += difference_s
        self._sleepers = [(due_s + difference_s, wake) for due_s, wake in self._sleepers]
