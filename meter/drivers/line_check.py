"""Registers that came over a wire without a checksum: one that is out of line is believed when the next one agrees.

A digit that the wire changed makes a register of any size, or the serial number of another device. Two in a row that
agree with each other were not made by chance, so a meter that was swapped or set back is still heard, one telegram
later.
"""

from dataclasses import dataclass

from meter.drivers.measurement import Measurement

# The connection of a home carries 100 kW at most, and a register may have steps of 1 kWh.
MAX_POWER_MW = 100_000_000
STEP_MWH = 1_000_000


@dataclass(frozen=True, slots=True)
class _Seen:
    elapsed_ms: int
    registers_mwh: tuple[int | None, int | None]
    device_id: str


class UncheckedRegisters:
    def __init__(self) -> None:
        self._last: _Seen | None = None

    def is_credible(self, measurement: Measurement) -> bool:
        """Whether the registers follow from those before, of the same device; the next ones are compared with these
        either way."""
        registers_mwh = measurement.import_mwh, measurement.export_mwh
        seen = _Seen(measurement.elapsed_ms, registers_mwh, measurement.device_id)
        last, self._last = self._last, seen
        return (
            last is not None
            and seen.device_id == last.device_id
            and all(
                _follows(now, before, seen.elapsed_ms - last.elapsed_ms)
                for now, before in zip(seen.registers_mwh, last.registers_mwh, strict=True)
            )
        )


def _follows(now: int | None, before: int | None, elapsed_ms: int) -> bool:
    if now is None or before is None:
        return now is before
    return 0 <= now - before <= MAX_POWER_MW * max(elapsed_ms, 0) // 3_600_000 + STEP_MWH
