"""A scripted device, its driver under the rules for real meters, and their clock: the stage of test_measuring.py."""

import asyncio
import random

from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import Source
from meter.energy_rules import RulesSettings
from meter.measuring import MeasuringDriver
from meter.meter_clock import MeterClock
from primitives.clock import ManualClock
from tests.meter.scripted_device import ScriptedDevice

BEGIN_S = 1_750_000_000
FLOOR = Registers()


class GapList:
    """Gaps as they were told: [from, until or None, reason]."""

    def __init__(self) -> None:
        self.gaps: list[list[object]] = []

    def begin(self, from_s: int, reason: str) -> None:
        if not self.gaps or self.gaps[-1][1] is not None:
            self.gaps.append([from_s, None, reason])

    def end(self, until_s: int) -> None:
        if self.gaps and self.gaps[-1][1] is None:
            self.gaps[-1][1] = until_s


class Stage:
    """A device, its driver and their clock."""

    def __init__(
        self,
        source: Source = Source.POWER,
        interval_s: float = 5.0,
        settings: RulesSettings | None = None,
        boot_id: str = "boot 1",
    ) -> None:
        self.clock = ManualClock(BEGIN_S)
        self.gaps = GapList()
        self.source, self.interval_s, self.settings, self.boot_id = source, interval_s, settings, boot_id
        self.samples: list[Sample] = []
        self.open()
        self.driver.start(None, FLOOR)

    def open(self) -> None:
        """The program starts."""
        self.device = ScriptedDevice(self.clock, self.source, self.interval_s)
        self.meter_clock = MeterClock(self.clock)
        self.driver = MeasuringDriver(
            self.device, self.clock, self.meter_clock, self.gaps, self.boot_id, self.settings, random.Random(1)
        )

    def restart(self, *, boot_id: str = "boot 1", floor: Registers = FLOOR, state: bytes | None = None) -> None:
        """Stopped or killed after its last sample, and started again."""
        self.boot_id = boot_id
        kept = self.samples[-1].state if state is None else state
        self.open()
        self.driver.start(kept, floor)

    async def see(self, power_w: int | None = None, *, after_s: float = 5.0, **told: object) -> Sample:
        """The device tells something; the sample made of it."""
        self.clock.advance_s(after_s)
        self.device.tell(power_w, **told)  # type: ignore[arg-type]
        return await self.next()

    async def next(self) -> Sample:
        sample = await asyncio.wait_for(self.driver.read(), 5)
        assert sample is not None
        self.samples.append(sample)
        return sample

    async def wait(self, duration_s: float) -> None:
        """Time goes on without a measurement."""
        reading = asyncio.ensure_future(self.driver.read())
        for _ in range(round(duration_s)):
            await settle()
            self.clock.advance_s(1)
            await settle()
            if reading.done():
                sample = reading.result()
                assert sample is not None
                self.samples.append(sample)
                reading = asyncio.ensure_future(self.driver.read())
        reading.cancel()
        await asyncio.wait((reading,))

    def state(self) -> tuple[int, int]:
        return self.samples[-1].registers.import_wh, self.samples[-1].registers.export_wh


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)
