"""What the metering daemon needs of a source of measurements: one `read`.

A driver knows its device and nothing of keys, readings or the ledger. Registers are cumulative whole Wh that never
fall. What a driver must remember over a restart (a position, the remainder of a Wh) travels in each sample and is
stored in one transaction with the reading that is made of it, so that energy is neither lost nor counted twice.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from contracts.reading_format import StatusFlag
from meter.drivers.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Registers:
    """Where the registers of a meter stood at a Unix time; nothing that follows may be lower or earlier."""

    time_s: int = 0
    import_wh: int = 0
    export_wh: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: registers at a time, mean or instantaneous power (negative: export), status."""

    registers: Registers
    power_w: int
    flags: StatusFlag
    state: bytes
    """Opaque to all but the driver: hand it to `start` to go on exactly behind this sample."""
    measurement: Measurement | None = None
    """What a device said, where the sample was made of it."""
    is_timed: bool = True
    """False while the clock is not set: the sample is for observers, no reading is signed of it."""


@runtime_checkable
class Driver(Protocol):
    """A source of samples. Called by one task only."""

    spacing_s: int
    """Samples come exactly so far apart, so that the last one before a time is known as such; 0 where they do not."""

    def start(self, state: bytes | None, floor: Registers) -> None:
        """Go on behind the sample that carried `state`, or begin anew; never below or before `floor`.

        Raises UserError where the device or the state cannot be used.
        """

    async def read(self) -> Sample | None:
        """The next sample as soon as it is due; None when the source has come to its end."""

    def set_supply(self, is_on: bool) -> None:
        """From now on the household is supplied, or not. A real meter sees that by itself."""

    async def close(self) -> None:
        """Release the device."""
