"""RPICT boards and others like them: a line of numbers every few seconds, real power among them.

Channels whose power counts are named in the settings, each with its sign. Power that a board computes follows the
calibration of the current and the voltage that it is made of, and has a factor of its own besides.
"""

from dataclasses import dataclass
from fractions import Fraction

from meter.drivers.board import BoardDevice, through_factors
from meter.drivers.board_line import Told
from meter.drivers.board_settings import BoardSettings, open_board
from meter.drivers.factors import Factors
from meter.drivers.field_map import POWER
from primitives.clock import Clock


@dataclass(frozen=True, slots=True)
class RpictSettings(BoardSettings):
    """[driver]: a board that tells power."""

    kind: str = "rpict"
    board: str = "RPICT3V1"

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        self.check_board()
        self.counted(POWER)


def open_device(settings: RpictSettings, clock: Clock) -> BoardDevice:
    """The port is opened by the first read. Raises UserError."""
    return open_board(settings, clock, POWER, ToldPower(), is_signed=settings.layout().is_signed)


class ToldPower:
    """The power that the line tells, calibrated."""

    def power_mw(self, told: Told, channel: int, factors: Factors) -> Fraction | None:
        power_mw = told.get(POWER, channel)
        if power_mw is None:
            return None
        return Fraction(power_mw) * through_factors(told.fields, channel, factors) * factors.of(POWER, channel)
