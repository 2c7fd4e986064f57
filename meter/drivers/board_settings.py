"""What the settings of all boards on a serial line have in common: the line, its fields, and the clamps that count."""

from dataclasses import dataclass
from decimal import Decimal

from meter.drivers.board import BoardDevice, Channel, PowerRule, parse_channels
from meter.drivers.board_line import CSV, FORMATS, LineDecoder
from meter.drivers.field_map import Board, find_board, parse_fields
from meter.serial_line import DEFAULT_PORT, PortSettings, SerialLines, SerialPort
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import check_ranges

OWN_FIELDS = "csv"
"""The board that has no table: `fields` says what its line holds."""
MAX_NODE_ID = 255
MAX_INTERVAL_S = 3600


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """[driver]: a board; each kind has its own `kind` and usual `board`."""

    kind: str
    board: str
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
        """One of the table, or with fields of one's own. Raises UserError."""
        try:
            if self.fields:
                is_signed = self.board.lower() == OWN_FIELDS or find_board(self.board).is_signed
                return Board(self.board, parse_fields(self.fields), is_signed)
            if self.board.lower() == OWN_FIELDS:
                raise UserError("say with driver.fields what a line holds")
            return find_board(self.board)
        except UserError as error:
            raise UserError(f"driver.board is {self.board!r}: {error}") from error

    def port_settings(self) -> PortSettings:
        """A slow board is not silent before it has missed a line."""
        return PortSettings(self.port, self.baud_rate, silence_s=max(self.silence_s, 2 * self.interval_s))

    def check_board(self) -> None:
        """Raises UserError for values that make no sense."""
        if self.format not in FORMATS:
            raise UserError(f"driver.format is {self.format!r}; choose one of {', '.join(FORMATS)}")
        port = self.port_settings()
        port.check()
        check_ranges(
            (
                ("driver.node_id", self.node_id, 0, MAX_NODE_ID),
                ("driver.interval_s", self.interval_s, Decimal("0.01"), MAX_INTERVAL_S),
                *port.ranges(),
            )
        )

    def counted(self, quantity: str) -> tuple[Channel, ...]:
        """The clamps whose power counts; a line has to tell their `quantity`. Raises UserError."""
        return parse_channels(self.channels, self.layout().fields, quantity)


def open_board(
    settings: BoardSettings, clock: Clock, quantity: str, rule: PowerRule, *, is_signed: bool
) -> BoardDevice:
    """The port is opened by the first read. Raises UserError."""
    return BoardDevice(
        SerialLines(SerialPort(settings.port_settings(), clock)),
        LineDecoder(settings.layout().fields, settings.format, settings.node_id, is_signed),
        settings.counted(quantity),
        rule,
        float(settings.interval_s),
    )
