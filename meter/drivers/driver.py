"""What the metering daemon needs of a source of measurements: one `read`.

A driver knows its device and nothing of keys, readings or the ledger. Registers are cumulative whole Wh that never
fall. What a driver must remember over a restart (a position, the remainder of a Wh) travels in each sample and is
stored in one transaction with the reading that is made of it, so that energy is neither lost nor counted twice.
"""

from dataclasses import dataclass
from typing import Protocol

from contracts.reading_format import StatusFlag


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


class Driver(Protocol):
    """A source of samples. Called by one task only."""

    def start(self, state: bytes | None, floor: Registers) -> None:
        """Go on behind the sample that carried `state`, or begin anew; never below or before `floor`.

        Raises UserError where the device or the state cannot be used.
        """

    async def read(self) -> Sample | None:
        """The next sample as soon as it is due; None when the source has come to its end."""

    def set_supply(self, is_on: bool) -> None:
        """From now on the household is supplied, or not. A real meter sees that by itself."""

    def close(self) -> None:
        """Release the device."""
