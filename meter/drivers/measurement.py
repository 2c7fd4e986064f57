"""What a measuring device tells: one `Measurement` at a time, as it is, with its failures and its gaps.

A `Device` knows its wire and its fields, nothing of readings, keys, clocks that are set, or restarts. What real meters
do (roll over, go back, freeze, vanish) is judged in one place for all of them, meter/measuring.py, which makes of a
Device the Driver that the daemon reads. All values are whole numbers with their unit in the name.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from contracts.reading_format import StatusFlag

NO_FLAGS = StatusFlag(0)


class Source(Enum):
    """Where a device's energy comes from, in order of how well it bills."""

    REGISTER = "register"
    """A register of the device's own, which goes on while nobody looks: no energy is lost."""
    COUNTER = "counter"
    """Counted by this program, from 0 at each start of it: what comes while it is off is lost."""
    POWER = "power"
    """Power only, to be integrated over the time between two measurements."""


class DeviceTrouble(Exception):
    """The device cannot be read now (unplugged, silent, in another language); says what to do. It may come back."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a device said at one moment. None stands for what it does not tell, or not this time (`nan`)."""

    elapsed_ms: int
    """When it was taken: `elapsed_ms` of the clock that the device was opened with."""
    power_mw: int | None = None
    """Active power of all phases together, in mW; negative while more is given to the grid than taken."""
    import_mwh: int | None = None
    """Cumulative energy taken from the grid, in thousandths of a Wh, by the device's register or counter."""
    export_mwh: int | None = None
    flags: StatusFlag = NO_FLAGS
    values: tuple[tuple[str, int], ...] = ()
    """What else it tells, for people and policies: (name with its unit, value), such as ("voltage_1_mv", 231870)."""
    device_id: str = ""
    """Serial number of the device where it tells one: another one is another device."""


class Device(Protocol):
    """A measuring device behind a wire. Called by one task only."""

    source: Source
    interval_s: float
    """How often it is expected to tell something; three times as long without is a gap."""

    async def read(self) -> Measurement | None:
        """The next measurement as soon as it is there; None when the source has come to its end.

        Raises DeviceTrouble; the next call tries to open the device again.
        """

    async def close(self) -> None:
        """Release the device."""
