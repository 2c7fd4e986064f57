"""Makes of a measuring device the driver that the daemon reads.

Here are the device with its troubles, the time of day, and silence; what a measurement counts is decided in
meter/energy_rules.py. docs/metering/rules.md describes the rules.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import NO_FLAGS, Device, DeviceTrouble, Measurement
from meter.energy_rules import GAP_INTERVALS, EnergyRules, RulesSettings
from meter.meter_clock import MeterClock
from meter.reading import MAX_ABSOLUTE_POWER_W
from primitives.clock import Clock

logger = logging.getLogger(__name__)

# A little longer than a gap, so that a measurement in time is never taken for a missing one.
SILENT_INTERVALS = GAP_INTERVALS + 0.5
# Waiting doubles after each failure to read the device, up to this; spread at random.
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 60.0
# A trouble that comes and goes is told so often at most, and so many different ones are remembered.
TELL_AGAIN_MS = 3_600_000
MAX_TOLD = 20

_NOT_RUNNING = "the meter's program was not running, or its computer had no power"
_NO_ANSWER = "the device told no energy"
_OTHER_DEVICE = "another device, or its register was reset"


class Gaps(Protocol):
    """Where gaps are listed (meter/gaps.py)."""

    def begin(self, from_s: int, reason: str) -> None: ...

    def end(self, until_s: int) -> None: ...


@runtime_checkable
class SuppliedDevice(Protocol):
    """A device that plays a home, and so has to be told when the home has no supply."""

    def set_supply(self, is_on: bool) -> None: ...


class MeasuringDriver:
    """One device as a driver."""

    spacing_s = 0

    def __init__(
        self,
        device: Device,
        clock: Clock,
        meter_clock: MeterClock,
        gaps: Gaps,
        boot_id: str = "",
        settings: RulesSettings | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        self._device = device
        self._clock = clock
        self._meter_clock = meter_clock
        self._gaps = gaps
        self._rules = EnergyRules(device.source, device.interval_s, settings or RulesSettings(), boot_id)
        self._random = randomness or random.Random()
        self._floor = Registers()
        self._last_time_s = 0
        self._reading: asyncio.Task[Measurement | None] | None = None
        self._trouble = ""
        self._told: dict[str, int] = {}
        self._supply_is_on = True
        self._flags = NO_FLAGS
        self._gap_reason = _NOT_RUNNING
        self._measuring_since_ms: int | None = None
        self.on_trouble: Callable[[str], None] = lambda reason: None
        """Told each time that the device cannot be read."""

    @property
    def device(self) -> Device:
        """What is measured with; some can be calibrated."""
        return self._device

    @property
    def interval_s(self) -> float:
        """Of the device."""
        return self._device.interval_s

    def start(self, state: bytes | None, floor: Registers) -> None:
        self._rules.resume(state, floor)
        self._last_time_s = floor.time_s
        self._meter_clock.start(floor.time_s)

    async def read(self) -> Sample | None:
        while True:
            if self._reading is None:
                self._reading = asyncio.ensure_future(self._measure())
            if not await self._is_there(self._reading):
                return self._silence()
            measurement = self._reading.result()
            self._reading = None
            if measurement is None:
                return None
            if measurement.elapsed_ms > (now_ms := self._clock.elapsed_ms()):
                measurement = replace(measurement, elapsed_ms=now_ms)
            if self._rules.is_flood(measurement):
                self._flags |= measurement.flags
                continue
            return self._sample(measurement)

    def set_supply(self, is_on: bool) -> None:
        if not is_on:
            self._flags |= StatusFlag.SUPPLY_OFF
        self._supply_is_on = is_on
        if isinstance(self._device, SuppliedDevice):
            self._device.set_supply(is_on)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
            self._reading = None
        await self._device.close()

    async def _is_there(self, reading: "asyncio.Task[Measurement | None]") -> bool:
        """Wait for a measurement, but no longer than until its absence is a gap."""
        silence = asyncio.ensure_future(self._clock.sleep_s(SILENT_INTERVALS * self._device.interval_s))
        try:
            await asyncio.wait((reading, silence), return_when=asyncio.FIRST_COMPLETED)
        finally:
            silence.cancel()
        return reading.done()

    async def _measure(self) -> Measurement | None:
        """The device's next measurement, however long it is in trouble."""
        failures = 0
        while True:
            try:
                measurement = await self._device.read()
            except DeviceTrouble as error:
                failures += 1
                self._tell_trouble(str(error))
                self.on_trouble(str(error))
                longest_s = min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 30), MAX_RETRY_S)
                await self._clock.sleep_s(longest_s * self._random.uniform(0.5, 1.0))
                continue
            if failures and self._trouble:
                logger.warning("the measuring device answers again")
            self._trouble = ""
            return measurement

    def _tell_trouble(self, trouble: str) -> None:
        """Log each trouble once; one that stays away for an hour is told again."""
        now_ms = self._clock.elapsed_ms()
        told_ms = self._told.pop(trouble, None)
        self._told[trouble] = now_ms
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        if told_ms is None or now_ms - told_ms >= TELL_AGAIN_MS:
            logger.error("NO MEASUREMENTS: %s. It is tried again until it works; the time without is marked", trouble)
        self._trouble, self._gap_reason = trouble, trouble

    def _sample(self, measurement: Measurement) -> Sample:
        elapsed_ms = measurement.elapsed_ms
        time_s = self._meter_clock.time_s(elapsed_ms)
        before_s = self._rules.measured_s
        flags = self._rules.apply(measurement, time_s)
        if self._rules.is_silent(elapsed_ms):
            flags |= StatusFlag.GAP
        if flags & StatusFlag.GAP:
            self._begin_gap(before_s, _OTHER_DEVICE if flags & StatusFlag.DEVICE_CHANGED else self._gap_reason)
        if not self._rules.is_silent(elapsed_ms):
            self._gap_reason = _NO_ANSWER
            self._end_gap(time_s, elapsed_ms)
        return self._at(time_s, flags, self._rules.power_w, measurement)

    def _silence(self) -> Sample:
        """A sample of nothing: registers as they were, so that readings go on and say that something is missing."""
        time_s = self._meter_clock.time_s(self._clock.elapsed_ms())
        self._begin_gap(self._rules.measured_s or time_s or 0, self._gap_reason)
        return self._at(time_s, StatusFlag.GAP, 0, None)

    def _end_gap(self, time_s: int | None, elapsed_ms: int) -> None:
        """Measurements are there; where the clock is not set the gap is ended later, at the time that this was."""
        if self._measuring_since_ms is None:
            self._measuring_since_ms = elapsed_ms
        if time_s is not None:
            self._gaps.end(time_s - (elapsed_ms - self._measuring_since_ms) // 1000)
            self._measuring_since_ms = None

    def _begin_gap(self, from_s: int, reason: str) -> None:
        self._measuring_since_ms = None
        if known_s := from_s or self._last_time_s:  # else the meter is new, and nobody knows since when
            self._gaps.begin(known_s, reason)

    def _at(self, time_s: int | None, flags: StatusFlag, power_w: int, measurement: Measurement | None) -> Sample:
        self._last_time_s = self._last_time_s if time_s is None else time_s
        flags |= self._flags | self._meter_clock.take_flags()
        self._flags = NO_FLAGS if self._supply_is_on else StatusFlag.SUPPLY_OFF
        registers = Registers(self._last_time_s, *self._rules.registers_wh)
        power_w = max(-MAX_ABSOLUTE_POWER_W, min(power_w, MAX_ABSOLUTE_POWER_W))
        return Sample(registers, power_w, flags, self._rules.state(), measurement, time_s is not None)
