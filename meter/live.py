"""What the parts of a running meter tell each other, so that none of them has to know another.

The daemon tells observers of every sample; any part may ask the daemon to note something in the next reading, or to
sign one at once; what runs beside the measuring is a service.
"""

from dataclasses import dataclass
from typing import Protocol

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Sample
from meter.drivers.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Observation:
    """A sample, and the measurement that it was made of where a device made one."""

    sample: Sample
    measurement: Measurement | None = None

    @property
    def power_w(self) -> int | None:
        """What flows just now, for people and limits; None where nobody knows, because the device is silent."""
        is_silent = self.measurement is None and self.sample.flags & StatusFlag.GAP
        return None if is_silent else self.sample.power_w


class Observer(Protocol):
    """Told of every sample, in the daemon's own task: it must neither wait nor raise."""

    def observe(self, observation: Observation) -> None: ...


class Noting(Protocol):
    """Takes notes for the next reading."""

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        """Set flags in the next reading; with `at_once` sign that reading with the next sample, not when it is due.

        Readings out of turn are limited in number, so a caller may ask as often as it likes.
        """


class Service(Protocol):
    """Runs beside the measuring until it is cancelled; a service that raises takes the daemon down loudly."""

    async def run(self) -> None: ...
