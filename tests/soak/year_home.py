"""The home of a meter's year, the line to it, and the clocks: the right one, and that of the meter's computer."""

import asyncio
import math
import random
from dataclasses import dataclass, replace

from meter.drivers.measurement import DeviceTrouble, Measurement
from meter.drivers.simulated_home import SimulatedHome
from primitives.clock import Clock
from tests.simulation.virtual_time import START_S, VirtualLoop

SAMPLE_S = 5
LOST_LINES = 2_000
"""One line of so many does not arrive."""


class WorldClock:
    """The right time, which nobody sets."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._boot_s = loop.time()
        self.offset_s = 0.0
        """By which the time of day is wrong; the time since the boot never is."""

    def time_s(self) -> int:
        return math.floor(self.precise_time_s() + 1e-6)

    def precise_time_s(self) -> float:
        return START_S + self._loop.time() + self.offset_s

    def elapsed_ms(self) -> int:
        return round((self._loop.time() - self._boot_s) * 1000)

    async def sleep_s(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


@dataclass(slots=True)
class Line:
    """The home at the other end, which lives on whoever listens."""

    home: SimulatedHome
    loop: VirtualLoop
    random: random.Random
    is_unplugged: bool = False
    supply_is_on: bool = True
    switchings: int = 0


class YearDevice:
    """What a life of the daemon measures with: a line to the home, which may be unplugged or lose what it says."""

    def __init__(self, line: "Line", clock: Clock) -> None:
        self.source = line.home.source
        self.interval_s = float(SAMPLE_S)
        self._line = line
        self._clock = clock

    async def read(self) -> Measurement | None:
        while True:
            if self._line.is_unplugged:
                raise DeviceTrouble("the line is unplugged")
            now_s = self._line.loop.time()
            due_s = (math.floor(now_s / SAMPLE_S + 1e-6) + 1) * SAMPLE_S
            await asyncio.sleep(due_s - now_s)
            if self._line.random.randrange(LOST_LINES) and not self._line.is_unplugged:
                return replace(self._line.home.measure(), elapsed_ms=self._clock.elapsed_ms())

    def set_supply(self, is_on: bool) -> None:
        self._line.switchings += is_on != self._line.supply_is_on
        self._line.supply_is_on = is_on
        self._line.home.set_supply(is_on)

    async def close(self) -> None:
        pass
