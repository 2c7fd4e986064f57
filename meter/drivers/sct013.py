"""SCT-013-000 clamps on a board that tells currents: power is P = V * I with a voltage that is measured or assumed.

This is apparent power times an assumed power factor, not real power: a clamp alone knows neither the phase nor the
direction. docs/metering/drivers.md says what that means for a bill. Below 0.2 A a clamp of 100 A tells noise.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from meter.drivers.board import BoardDevice, parse_channels, voltage_channel
from meter.drivers.board_line import CSV, LineDecoder, Told
from meter.drivers.factors import Factors
from meter.drivers.field_map import CURRENT, POWER, VOLTAGE, Board
from meter.drivers.rpict import board_layout, check_board
from meter.serial_line import DEFAULT_PORT, PortSettings, SerialLines, SerialPort
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import check_ranges


@dataclass(frozen=True, slots=True)
class Sct013Settings:
    """[driver]: clamps on a board that tells currents."""

    kind: str = "sct013"
    board: str = "RPICT8-currents"
    fields: tuple[str, ...] = ()
    format: str = CSV
    node_id: int = 11
    channels: tuple[str, ...] = ("1", "2", "3")
    voltage_v: Decimal = Decimal(230)
    """Assumed, for clamps whose line has no voltage."""
    power_factor: Decimal = Decimal(1)
    """Assumed: 1 for a kettle, 0.8 to 0.95 for an air conditioner."""
    min_current_a: Decimal = Decimal("0.2")
    """A smaller current counts as none."""
    interval_s: Decimal = Decimal(5)
    port: str = DEFAULT_PORT
    baud_rate: int = 38_400
    silence_s: Decimal = Decimal(30)

    def layout(self) -> Board:
        """Raises UserError."""
        return board_layout(self.board, self.fields)

    def port_settings(self) -> PortSettings:
        """A slow board is not silent before it has missed a line."""
        return PortSettings(self.port, self.baud_rate, silence_s=max(self.silence_s, 2 * self.interval_s))

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        check_board(self.format, self.node_id, self.interval_s, self.port_settings())
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
        parse_channels(self.channels, board.fields, CURRENT)


def open_device(settings: Sct013Settings, clock: Clock) -> BoardDevice:
    """The port is opened by the first read. Raises UserError."""
    board = settings.layout()
    rule = PowerOfCurrent(
        Fraction(settings.voltage_v) * 1000, Fraction(settings.power_factor), Fraction(settings.min_current_a) * 1000
    )
    return BoardDevice(
        SerialLines(SerialPort(settings.port_settings(), clock)),
        LineDecoder(board.fields, settings.format, settings.node_id, is_signed=False),
        parse_channels(settings.channels, board.fields, CURRENT),
        rule,
        float(settings.interval_s),
    )


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
