"""Calibration factors as drivers apply them: whole parts per million, so that nothing is lost on the way.

How they come to be, and who signed for them: meter/calibration.py.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

from meter.drivers.field_map import CURRENT, POWER, VOLTAGE

ONE_PPM = 1_000_000
"""Of a factor that changes nothing."""
QUANTITIES_WITH_FACTORS = (CURRENT, VOLTAGE, POWER)
"""In the order of the ledger's numbers for them, which begin with 1."""


@dataclass(frozen=True, slots=True)
class Factor:
    """What the values of one channel are multiplied with."""

    quantity: str
    channel: int
    ppm: int


@dataclass(frozen=True, slots=True)
class Factors:
    """All that are not 1."""

    rows: tuple[Factor, ...] = ()

    def ppm(self, quantity: str, channel: int) -> int:
        for row in self.rows:
            if (row.quantity, row.channel) == (quantity, channel):
                return row.ppm
        return ONE_PPM

    def of(self, quantity: str, channel: int) -> Fraction:
        return Fraction(self.ppm(quantity, channel), ONE_PPM)

    def with_ppm(self, quantity: str, channel: int, ppm: int) -> "Factors":
        others = [row for row in self.rows if (row.quantity, row.channel) != (quantity, channel)]
        return Factors((*others, Factor(quantity, channel, ppm)))


@runtime_checkable
class Calibrated(Protocol):
    """A device whose values are multiplied by factors; one with a register of its own was calibrated by its maker."""

    factors: Factors
    """Those in force."""

    def calibrate(self, factors: Factors) -> None:
        """From the next measurement on."""
