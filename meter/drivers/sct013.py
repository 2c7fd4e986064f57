"""SCT-013-000 clamps on a board that tells currents: power is P = V * I with a voltage that is measured or assumed.

This is apparent power times an assumed power factor, not real power: a clamp alone knows neither the phase nor the
direction. docs/metering/drivers.md says what that means for a bill. Below 0.2 A a clamp of 100 A tells noise.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from meter.drivers.board import BoardDevice, voltage_channel
from meter.drivers.board_line import Told
from meter.drivers.board_settings import BoardSettings, open_board
from meter.drivers.factors import Factors
from meter.drivers.field_map import CURRENT, POWER, VOLTAGE
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import check_ranges


@dataclass(frozen=True, slots=True)
class Sct013Settings(BoardSettings):
    """[driver]: clamps on a board that tells currents."""

    kind: str = "sct013"
    board: str = "RPICT8-currents"
    voltage_v: Decimal = Decimal(230)
    """Assumed, for clamps whose line has no voltage."""
    power_factor: Decimal = Decimal(1)
    """Assumed: 1 for a kettle, 0.8 to 0.95 for an air conditioner."""
    min_current_a: Decimal = Decimal("0.2")
    """A smaller current counts as none."""

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        self.check_board()
        check_ranges(
            (
                ("driver.voltage_v", self.voltage_v, 1, 1000),
                ("driver.power_factor", self.power_factor, Decimal("0.01"), 1),
                ("driver.min_current_a", self.min_current_a, 0, 100),
            )
        )
        board = self.layout()
        if any(field.quantity == POWER for field in board.fields):
            raise UserError(
                f"driver.board {board.name} tells power itself, better than a current and a voltage do: "
                'use driver.kind = "rpict"'
            )
        self.counted(CURRENT)


def open_device(settings: Sct013Settings, clock: Clock) -> BoardDevice:
    """The port is opened by the first read. Raises UserError."""
    rule = PowerOfCurrent(
        Fraction(settings.voltage_v) * 1000, Fraction(settings.power_factor), Fraction(settings.min_current_a) * 1000
    )
    return open_board(settings, clock, CURRENT, rule, is_signed=False)


@dataclass(frozen=True, slots=True)
class PowerOfCurrent:
    """P = V * I * power factor, of calibrated values."""

    assumed_mv: Fraction
    power_factor: Fraction
    min_current_ma: Fraction

    def power_mw(self, told: Told, channel: int, factors: Factors) -> Fraction | None:
        told_ma = told.get(CURRENT, channel)
        voltage_mv = self._voltage_mv(told, channel, factors)
        if told_ma is None or voltage_mv is None:
            return None
        current_ma = Fraction(told_ma) * factors.of(CURRENT, channel)
        if current_ma < self.min_current_ma:
            return Fraction(0)
        return current_ma * voltage_mv / 1000 * self.power_factor * factors.of(POWER, channel)

    def _voltage_mv(self, told: Told, channel: int, factors: Factors) -> Fraction | None:
        """The measured one where the line has it. A measured one that is `nan` is not replaced by an assumption."""
        number = voltage_channel(told.fields, channel)
        if number is None:
            return self.assumed_mv
        told_mv = told.get(VOLTAGE, number)
        return None if told_mv is None else Fraction(told_mv) * factors.of(VOLTAGE, number)
