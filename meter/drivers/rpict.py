"""RPICT boards and others like them: a line of numbers every few seconds, real power among them.

Channels whose power counts are named in the settings, each with its sign. Power that a board computes follows the
calibration of the current and the voltage that it is made of, and has a factor of its own besides.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from meter.drivers.board import BoardDevice, parse_channels, through_factors
from meter.drivers.board_line import CSV, FORMATS, LineDecoder, Told
from meter.drivers.factors import Factors
from meter.drivers.field_map import POWER, Board, find_board, parse_fields
from meter.serial_line import DEFAULT_PORT, PortSettings, SerialLines, SerialPort
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import check_ranges

OWN_FIELDS = "csv"
"""The board that has no table: `fields` says what its line holds."""
MAX_NODE_ID = 255
MAX_INTERVAL_S = 3600


@dataclass(frozen=True, slots=True)
class RpictSettings:
    """[driver]: a board that tells power."""

    kind: str = "rpict"
    board: str = "RPICT3V1"
    fields: tuple[str, ...] = ()
    """What a line holds, where the board was told to send something else than its maker's order."""
    format: str = CSV
    node_id: int = 11
    """The number at the beginning of each line; 0 for any."""
    channels: tuple[str, ...] = ("1", "2", "3")
    """The clamps whose power is added up; "-4" subtracts that of clamp 4."""
    interval_s: Decimal = Decimal(5)
    """The board's `polling`: how often a line comes."""
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
        parse_channels(self.channels, self.layout().fields, POWER)


def open_device(settings: RpictSettings, clock: Clock) -> BoardDevice:
    """The port is opened by the first read. Raises UserError."""
    board = settings.layout()
    return BoardDevice(
        SerialLines(SerialPort(settings.port_settings(), clock)),
        LineDecoder(board.fields, settings.format, settings.node_id, board.is_signed),
        parse_channels(settings.channels, board.fields, POWER),
        ToldPower(),
        float(settings.interval_s),
    )


class ToldPower:
    """The power that the line tells, calibrated."""

    def power_mw(self, told: Told, channel: int, factors: Factors) -> Fraction | None:
        power_mw = told.get(POWER, channel)
        if power_mw is None:
            return None
        return Fraction(power_mw) * through_factors(told.fields, channel, factors) * factors.of(POWER, channel)


def board_layout(name: str, fields: tuple[str, ...]) -> Board:
    """A board of the table, or one with fields of one's own. Raises UserError."""
    try:
        if fields:
            is_signed = name.lower() == OWN_FIELDS or find_board(name).is_signed
            return Board(name, parse_fields(fields), is_signed)
        if name.lower() == OWN_FIELDS:
            raise UserError("say with driver.fields what a line holds")
        return find_board(name)
    except UserError as error:
        raise UserError(f"driver.board is {name!r}: {error}") from error


def check_board(form: str, node_id: int, interval_s: Decimal, port: PortSettings) -> None:
    """What all boards have in common. Raises UserError."""
    if form not in FORMATS:
        raise UserError(f"driver.format is {form!r}; choose one of {', '.join(FORMATS)}")
    port.check()
    check_ranges(
        (
            ("driver.node_id", node_id, 0, MAX_NODE_ID),
            ("driver.interval_s", interval_s, Decimal("0.01"), MAX_INTERVAL_S),
            *port.ranges(),
        )
    )
