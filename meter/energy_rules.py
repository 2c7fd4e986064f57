"""What a measurement adds to a meter's registers, and what is to be flagged: the rules for all kinds of devices.

Values in, values out: devices, clocks and disks are elsewhere (meter/measuring.py). The registers told never fall, and
nothing that was not measured gets into them.
"""

from dataclasses import dataclass

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers
from meter.drivers.measurement import NO_FLAGS, Measurement, Source
from meter.integration import MWMS_PER_MWH, EnergySums
from meter.measured_state import MAX_ID_CHARS, MeasuredState, decode_state
from meter.register_rules import COARSE_STEP_MWH, MAX_REGISTER_MWH, RegisterPosition, follow
from wallet.settings_file import DAY_S, Range

# Longer without a measurement than so many of the device's intervals is a gap: two may be lost on the wire.
GAP_INTERVALS = 3
# Of a flood of measurements this many a second count: more tell nothing new, and cost time.
MIN_SPACING_MS = 100
MAX_POWER_MW = 10**12
"""10^9 W: above it a unit is mistaken, or the line is noisy, and the value is none."""
# A sensor that tells the same values by chance does not do it so often.
MIN_STUCK_COUNT = 10
# A register that stands still while its device tells power: by then even a coarse one has moved.
MAX_UNMOVED_MWMS = 2 * COARSE_STEP_MWH * MWMS_PER_MWH
# Power of a device that tells energy alone is the mean over this time.
MEAN_POWER_MS = 60_000
# How long a time is taken to have been that nobody knows; only a bound for what the connection can have carried.
UNKNOWN_TIME_S = 10 * 365 * DAY_S
# For so long a register waits after a boot until the clock is set, which tells how far it can have gone: time servers
# and the ledger set it within four minutes, where there are any.
MAX_HELD_MS = 600_000


@dataclass(frozen=True, slots=True)
class RulesSettings:
    """[rules]: what is plausible at this connection."""

    connection_w: int = 44_000
    """The most that the connection carries, in W: 3 phases of 63 A by default. More is flagged as a jump."""
    register_kwh: int = 0
    """The device's own register begins again at 0 after so many kWh (100000 where it has five digits); 0: it never
    does, so that one that falls was reset."""
    stuck_after_s: int = 3600
    """The very same values, other than 0 W, for so long are those of a sensor that is stuck; 0: never."""

    def ranges(self) -> tuple[Range, ...]:
        return (
            ("rules.connection_w", self.connection_w, 100, 10**9),
            ("rules.register_kwh", self.register_kwh, 0, MAX_REGISTER_MWH // 10**6),
            ("rules.stuck_after_s", self.stuck_after_s, 0, 365 * DAY_S),
        )


class EnergyRules:
    """The registers of one meter, and how the next measurement changes them."""

    def __init__(self, source: Source, interval_s: float, settings: RulesSettings, boot_id: str) -> None:
        self._source = source
        self._settings = settings
        self._boot_id = boot_id
        self.gap_ms = int(GAP_INTERVALS * interval_s * 1000)
        self._sums = EnergySums()
        self._floor = Registers()
        self._device_id = ""
        self._positions: list[RegisterPosition | None] = [None, None]
        self.measured_s = 0
        """Unix time of the last measurement that told energy, as far as it is known."""
        self._boot_measured: str | None = None
        self._measured_ms = 0
        self._has_measured = False
        self._pending = NO_FLAGS
        self.power_w = 0
        self._stuck_key: object = None
        self._stuck_since_ms = 0
        self._stuck_count = 0
        self._unmoved_mwms = 0
        self._mean_since: tuple[int, int] | None = None
        self._held_since_ms: int | None = None

    def resume(self, encoded: bytes | None, floor: Registers) -> None:
        """Go on behind a state; never below the floor's registers."""
        state = None if encoded is None else decode_state(encoded)
        self._floor = floor
        self._has_measured = floor.time_s > 0
        self.measured_s = floor.time_s
        is_foreign = encoded is not None and (state is None or state.source != self._source.value)
        if is_foreign:
            self._pending |= StatusFlag.DEVICE_CHANGED
        if state is not None:
            self._sums = EnergySums(state.import_mwms, state.export_mwms)
            self._device_id = state.device_id
            self._has_measured = True
            self.measured_s = state.measured_s
            if not is_foreign:  # else nobody knows what flowed until the new device told something
                self._positions = [state.import_position, state.export_position]
                if state.boot_id and state.boot_id == self._boot_id:  # else the monotonic clock began anew
                    self._boot_measured, self._measured_ms = state.boot_id, state.elapsed_ms
        if self._source is Source.COUNTER:
            self._positions = [RegisterPosition(0), RegisterPosition(0)]
            self._boot_measured = None  # what came while the program was off is lost, however short that was
        if self._source is not Source.REGISTER or self._positions[0] is None:
            self._raise_to_floor()

    @property
    def registers_wh(self) -> tuple[int, int]:
        """Import and export. A device's register may still have to catch up with what the ledger knows already."""
        return max(self._sums.import_wh, self._floor.import_wh), max(self._sums.export_wh, self._floor.export_wh)

    def state(self) -> bytes:
        return MeasuredState(
            self._source.value,
            self._device_id,
            self._sums.import_mwms,
            self._sums.export_mwms,
            self.measured_s,
            self._boot_measured or "",
            self._measured_ms,
            *self._positions,
        ).encode()

    def is_flood(self, measurement: Measurement) -> bool:
        """Whether a measurement comes so soon that it may be left out; its energy comes with the next."""
        since_ms = self._since_ms(measurement.elapsed_ms)
        return since_ms is not None and since_ms < MIN_SPACING_MS

    def is_silent(self, now_ms: int) -> bool:
        """Whether nothing has told energy for so long that it is a gap."""
        since_ms = self._since_ms(now_ms)
        return since_ms is None or since_ms > self.gap_ms

    def apply(self, measurement: Measurement, time_s: int | None) -> StatusFlag:
        """Count a measurement; the flags that it gives. GAP among them says that something before it is missing."""
        flags, self._pending = measurement.flags | self._pending, NO_FLAGS
        if not self._tells_energy(measurement):
            return flags
        since_ms = self._since_ms(measurement.elapsed_ms)
        is_gap = self._has_measured and (since_ms is None or since_ms > self.gap_ms)
        if is_gap:
            flags |= StatusFlag.GAP
        flags |= self._identify(measurement.device_id)
        if self._is_held(measurement.elapsed_ms, since_ms, time_s):
            self._tell_power(measurement, None, has_moved=False)
            return flags
        if self._source is Source.POWER:
            flags |= self._integrate(measurement, None if is_gap else since_ms)
        else:
            flags |= self._follow_registers(measurement, since_ms, time_s, is_gap)
        if flags & StatusFlag.DEVICE_CHANGED:
            self._raise_to_floor()
        flags |= self._watch_sensor(measurement)
        self._has_measured = True
        self._boot_measured, self._measured_ms = self._boot_id, measurement.elapsed_ms
        self.measured_s = self.measured_s if time_s is None else time_s
        return flags

    def _raise_to_floor(self) -> None:
        self._sums.raise_to(self._floor.import_wh, self._floor.export_wh)

    def _since_ms(self, elapsed_ms: int) -> int | None:
        """Time since the last measurement that told energy; None where the monotonic clock cannot tell."""
        since_ms = elapsed_ms - self._measured_ms
        return since_ms if self._boot_measured == self._boot_id and since_ms >= 0 else None

    def _tells_energy(self, measurement: Measurement) -> bool:
        if self._source is Source.POWER:
            return measurement.power_mw is not None and abs(measurement.power_mw) <= MAX_POWER_MW
        return _is_register(measurement.import_mwh) or _is_register(measurement.export_mwh)

    def _identify(self, device_id: str) -> StatusFlag:
        """Another serial number is another device, whose registers have nothing to do with those before."""
        device_id = device_id[:MAX_ID_CHARS]
        if not device_id or device_id == self._device_id:
            return NO_FLAGS
        is_other, self._device_id = self._device_id != "", device_id
        if not is_other:
            return NO_FLAGS
        if self._source is Source.REGISTER:
            self._positions = [None, None]
            return StatusFlag.DEVICE_CHANGED | StatusFlag.GAP
        return StatusFlag.DEVICE_CHANGED

    def _integrate(self, measurement: Measurement, since_ms: int | None) -> StatusFlag:
        power_mw = measurement.power_mw or 0
        self.power_w = _watts(power_mw)
        if since_ms is not None:
            self._sums.add_power(power_mw, since_ms)
        return self._jump(power_mw)

    def _jump(self, power_mw: int) -> StatusFlag:
        return StatusFlag.JUMP if abs(power_mw) > self._settings.connection_w * 1000 else NO_FLAGS

    def _follow_registers(
        self, measurement: Measurement, since_ms: int | None, time_s: int | None, is_gap: bool
    ) -> StatusFlag:
        flags = NO_FLAGS
        most_mwh = self._settings.connection_w * 1000 * self._longest_ms(since_ms, time_s) // MWMS_PER_MWH
        energies_mwh = [0, 0]
        for index, now_mwh in enumerate((measurement.import_mwh, measurement.export_mwh)):
            position = self._positions[index]
            if now_mwh is None or not _is_register(now_mwh):
                continue
            if self._source is Source.COUNTER and (position is None or now_mwh < position.last_mwh):
                position = RegisterPosition(0)  # the counter was opened anew: it counts from 0
                flags |= StatusFlag.GAP
            step = follow(
                position,
                now_mwh,
                most_mwh,
                rolls_over_at_mwh=self._settings.register_kwh * 10**6,
                is_after_gap=is_gap,
            )
            self._positions[index] = step.position
            energies_mwh[index] = step.energy_mwh
            flags |= step.flags
        self._sums.add_energy(*energies_mwh)
        self._tell_power(measurement, since_ms, has_moved=any(energies_mwh))
        return flags

    def _is_held(self, elapsed_ms: int, since_ms: int | None, time_s: int | None) -> bool:
        """Whether a register had better wait for the clock: it loses nothing, and any jump would pass meanwhile."""
        is_known = since_ms is not None or time_s is not None or not self.measured_s
        if self._source is not Source.REGISTER or is_known or self._positions == [None, None]:
            return False
        if self._held_since_ms is None:
            self._held_since_ms = elapsed_ms
        return elapsed_ms - self._held_since_ms < MAX_HELD_MS

    def _longest_ms(self, since_ms: int | None, time_s: int | None) -> int:
        """How long it may have been since the last measurement."""
        if since_ms is not None:
            return since_ms
        if time_s is None or not self.measured_s:
            return UNKNOWN_TIME_S * 1000
        return max(time_s - self.measured_s + 1, 0) * 1000

    def _tell_power(self, measurement: Measurement, since_ms: int | None, *, has_moved: bool) -> None:
        power_mw = measurement.power_mw
        if power_mw is not None and abs(power_mw) <= MAX_POWER_MW:
            self.power_w = _watts(power_mw)
            self._unmoved_mwms = 0 if has_moved else self._unmoved_mwms + abs(power_mw) * (since_ms or 0)
            return
        net_mwms = self._sums.import_mwms - self._sums.export_mwms
        if self._mean_since is None or since_ms is None or since_ms > self.gap_ms:
            self._mean_since = (measurement.elapsed_ms, net_mwms)
            return
        began_ms, began_mwms = self._mean_since
        if (duration_ms := measurement.elapsed_ms - began_ms) >= MEAN_POWER_MS:
            self.power_w = _watts((net_mwms - began_mwms) // duration_ms)
            self._mean_since = (measurement.elapsed_ms, net_mwms)

    def _watch_sensor(self, measurement: Measurement) -> StatusFlag:
        """STUCK while the sensor has told the very same for too long, or power without energy."""
        key = (measurement.power_mw, measurement.import_mwh, measurement.export_mwh, measurement.values)
        if key != self._stuck_key or not measurement.power_mw:
            self._stuck_key, self._stuck_since_ms, self._stuck_count = key, measurement.elapsed_ms, 0
        self._stuck_count += 1
        stuck_after_s = self._settings.stuck_after_s
        if not stuck_after_s:
            return NO_FLAGS
        lasted_ms = measurement.elapsed_ms - self._stuck_since_ms
        is_frozen = lasted_ms >= stuck_after_s * 1000 and self._stuck_count >= MIN_STUCK_COUNT
        return StatusFlag.STUCK if is_frozen or self._unmoved_mwms > MAX_UNMOVED_MWMS else NO_FLAGS


def _is_register(value_mwh: int | None) -> bool:
    return value_mwh is not None and 0 <= value_mwh <= MAX_REGISTER_MWH


def _watts(power_mw: int) -> int:
    return (power_mw + 500) // 1000
