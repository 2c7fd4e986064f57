"""Makes of a measuring device the driver that the daemon reads: the rules for what real meters do, in one place.

Energy of a device that tells power only is integrated exactly (meter/integration.py); a register or counter of its own
is followed by differences. Whatever happens to device or computer, the meter's registers never fall and nothing that
was not measured is put into them: what is missing is flagged. docs/metering/rules.md describes the rules.
"""

import json
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import NO_FLAGS, Device, DeviceTrouble, Measurement, Source
from meter.integration import EnergySums
from primitives.clock import Clock

logger = logging.getLogger(__name__)

# Longer without a measurement than so many of the device's intervals is a gap: two may be lost on the wire.
GAP_INTERVALS = 3
# Waiting doubles after each failure to open the device, from one interval up to this.
MAX_RETRY_S = 60.0
# State is written by ourselves; what is longer is not ours.
MAX_STATE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class MeasuredState:
    """What has been measured so far, and where the next measurement goes on."""

    import_mwms: int = 0
    export_mwms: int = 0
    time_s: int = 0
    device_id: str = ""
    raw_import_mwh: int | None = None
    raw_export_mwh: int | None = None

    def encode(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()


class MeasuringDriver:
    """One device as a driver."""

    spacing_s = 0

    def __init__(self, device: Device, clock: Clock) -> None:
        self._device = device
        self._clock = clock
        self._state = MeasuredState()
        self._sums = EnergySums()
        self._last_ms: int | None = None
        self._supply_is_on = True
        self._failures = 0
        self._flags = NO_FLAGS
        self._floor = Registers()
        self.on_trouble: Callable[[str], None] = lambda reason: None
        """Told each time that the device cannot be read."""

    @property
    def interval_s(self) -> float:
        """Of the device."""
        return self._device.interval_s

    def start(self, state: bytes | None, floor: Registers) -> None:
        self._state = _decode(state)
        self._sums = EnergySums(self._state.import_mwms, self._state.export_mwms)
        self._sums.raise_to(floor.import_wh, floor.export_wh)
        self._floor = floor
        if self._device.source is Source.COUNTER:
            self._state = replace(self._state, raw_import_mwh=0, raw_export_mwh=0)

    async def read(self) -> Sample | None:
        while True:
            try:
                measurement = await self._device.read()
            except DeviceTrouble as error:
                await self._wait_for_device(error)
                continue
            if measurement is None:
                return None
            if self._failures:
                logger.warning("the measuring device answers again")
                self._failures = 0
            return self._sample(measurement)

    def set_supply(self, is_on: bool) -> None:
        self._supply_is_on = is_on
        follow = getattr(self._device, "set_supply", None)
        if follow is not None:  # a simulated home draws nothing without supply
            follow(is_on)

    async def close(self) -> None:
        await self._device.close()

    async def _wait_for_device(self, error: DeviceTrouble) -> None:
        if not self._failures:
            logger.error("NO MEASUREMENTS: %s. It is tried again until it works; until then energy is missing", error)
        self._failures += 1
        self.on_trouble(str(error))
        self._flags |= StatusFlag.GAP
        longest_s = min(self._device.interval_s * 2.0 ** min(self._failures - 1, 30), MAX_RETRY_S)
        await self._clock.sleep_s(longest_s * random.uniform(0.5, 1.0))

    def _sample(self, measurement: Measurement) -> Sample:
        self._count(measurement)
        flags = self._flags | measurement.flags
        if not self._supply_is_on:
            flags |= StatusFlag.SUPPLY_OFF
        self._flags = NO_FLAGS
        time_s = max(self._clock.time_s(), self._state.time_s, self._floor.time_s)
        self._state = replace(
            self._state, import_mwms=self._sums.import_mwms, export_mwms=self._sums.export_mwms, time_s=time_s
        )
        registers = Registers(time_s, self._sums.import_wh, self._sums.export_wh)
        power_w = round((measurement.power_mw or 0) / 1000)
        return Sample(registers, power_w, flags, self._state.encode(), measurement)

    def _count(self, measurement: Measurement) -> None:
        if self._device.source is Source.POWER:
            self._integrate(measurement)
        else:
            self._follow_registers(measurement)

    def _integrate(self, measurement: Measurement) -> None:
        if measurement.power_mw is None:
            return
        last_ms, self._last_ms = self._last_ms, measurement.elapsed_ms
        if last_ms is None:
            return
        duration_ms = measurement.elapsed_ms - last_ms
        if duration_ms > GAP_INTERVALS * self._device.interval_s * 1000:
            self._flags |= StatusFlag.GAP
        elif duration_ms > 0:
            self._sums.add_power(measurement.power_mw, duration_ms)

    def _follow_registers(self, measurement: Measurement) -> None:
        state = self._state
        if measurement.device_id and state.device_id and measurement.device_id != state.device_id:
            self._flags |= StatusFlag.DEVICE_CHANGED
            state = replace(state, raw_import_mwh=None, raw_export_mwh=None)
        import_mwh = self._difference(state.raw_import_mwh, measurement.import_mwh)
        export_mwh = self._difference(state.raw_export_mwh, measurement.export_mwh)
        self._sums.add_energy(import_mwh, export_mwh)
        self._state = replace(
            state,
            device_id=measurement.device_id or state.device_id,
            raw_import_mwh=state.raw_import_mwh if measurement.import_mwh is None else measurement.import_mwh,
            raw_export_mwh=state.raw_export_mwh if measurement.export_mwh is None else measurement.export_mwh,
        )

    def _difference(self, last_mwh: int | None, now_mwh: int | None) -> int:
        if last_mwh is None or now_mwh is None:
            return 0
        if now_mwh < last_mwh:
            self._flags |= StatusFlag.DEVICE_CHANGED
            return 0
        return now_mwh - last_mwh


def _decode(state: bytes | None) -> MeasuredState:
    """What `encode` made; where it is of another driver, nothing but the registers in the outbox is known."""
    if state is None or len(state) > MAX_STATE_BYTES:
        return MeasuredState()
    try:
        return MeasuredState(**json.loads(state))
    except (ValueError, TypeError):
        return MeasuredState()
