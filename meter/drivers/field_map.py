"""Which number in a board's line means what: the tables of boards, and field maps of one's own.

A field is written "quantity_channel" or "quantity_channel:unit": "power_1", "current_2:A", "voltage_1". "node" is the
board's number, "-" a number that is of no use. Layouts: the maker's public pages, and public programs that read them.
"""

import re
from dataclasses import dataclass

from primitives.errors import UserError

MAX_FIELDS = 64
"""Four boards of eight clamps stacked on one another tell less."""
MAX_CHANNEL = 64

NODE = "node"
IGNORED = "-"

POWER = "power"
APPARENT = "apparent"
CURRENT = "current"
VOLTAGE = "voltage"
FACTOR = "factor"
TEMPERATURE = "temperature"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is measured. Values are kept in thousandths of the unit; what lies outside of the limits is noise."""

    name: str
    suffix: str
    """The unit of a kept value, in its name: power_1_mw."""
    units: tuple[tuple[str, int], ...]
    """(unit on the wire, how many thousandths it has), the usual one first."""
    least: int
    greatest: int

    def thousandths(self, unit: str) -> int:
        """Raises UserError for a unit that is not this quantity's."""
        for name, thousandths in self.units:
            if unit in ("", name):
                return thousandths
        known = ", ".join(name for name, _ in self.units)
        raise UserError(f"{self.name} is told in {known}, not in {unit!r}")


# A house connection carries 100 A a phase; ten times that is no measurement any more.
QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity(POWER, "mw", (("W", 1000), ("kW", 1_000_000), ("mW", 1)), -(10**9), 10**9),
        Quantity(APPARENT, "mva", (("VA", 1000), ("kVA", 1_000_000)), -(10**9), 10**9),
        Quantity(CURRENT, "ma", (("mA", 1), ("A", 1000)), 0, 10**6),
        Quantity(VOLTAGE, "mv", (("V", 1000), ("mV", 1)), 0, 10**6),
        Quantity(FACTOR, "thousandths", (("1", 1000),), -2000, 2000),
        Quantity(TEMPERATURE, "mc", (("C", 1000),), -273_150, 2_000_000),
    )
}


@dataclass(frozen=True, slots=True)
class Field:
    """One number of a line."""

    quantity: str
    """A name in QUANTITIES, NODE or IGNORED."""
    channel: int = 0
    thousandths: int = 1
    """Of the kept unit in one of the wire's."""

    @property
    def is_measured(self) -> bool:
        return self.quantity in QUANTITIES

    @property
    def name(self) -> str:
        """Of the kept value, with its unit: "voltage_1_mv"."""
        return f"{self.quantity}_{self.channel}_{QUANTITIES[self.quantity].suffix}"


@dataclass(frozen=True, slots=True)
class Board:
    """A board as it comes from its maker."""

    name: str
    fields: tuple[Field, ...]
    is_signed: bool
    """Whether power is negative while energy goes out. Where it is not, energy given counts as energy taken."""


_FIELD = re.compile(r"([a-z]+)_([1-9][0-9]?)(?::([A-Za-z0-9]+))?")


def parse_field(text: str) -> Field:
    """Raises UserError naming what is wrong."""
    if text in (NODE, IGNORED):
        return Field(text)
    found = _FIELD.fullmatch(text)
    if found is None or found[1] not in QUANTITIES or int(found[2]) > MAX_CHANNEL:
        raise UserError(
            f'{text[:40]!r} is no field: write "{NODE}", "{IGNORED}", or one of {", ".join(QUANTITIES)} with its '
            f'channel, such as "power_1" or "current_2:A"'
        )
    return Field(found[1], int(found[2]), QUANTITIES[found[1]].thousandths(found[3] or ""))


def parse_fields(texts: tuple[str, ...]) -> tuple[Field, ...]:
    """A field map. Raises UserError."""
    if not 1 <= len(texts) <= MAX_FIELDS:
        raise UserError(f"a field map has 1 to {MAX_FIELDS} fields, not {len(texts)}")
    fields = tuple([parse_field(text) for text in texts])
    named = [field.name for field in fields if field.is_measured] + [NODE] * fields.count(Field(NODE))
    for name in named:
        if named.count(name) > 1:
            raise UserError(f"{name} stands twice in the field map")
    return fields


def find_board(name: str) -> Board:
    """Raises UserError."""
    for board in BOARDS:
        if board.name.lower() == name.lower():
            return board
    raise UserError(f"there is no board {name!r}; known are {', '.join(board.name for board in BOARDS)}")


def _line(*texts: str) -> tuple[Field, ...]:
    """A field map in which "power_1..3" stands for three fields."""
    fields: list[Field] = [Field(NODE)]
    for text in texts:
        name, _, last = text.partition("_1..")
        if last:
            fields += [parse_field(f"{name}_{channel}") for channel in range(1, int(last) + 1)]
        else:
            fields.append(parse_field(text))
    return tuple(fields)


_FULL_PHASES = tuple([f"{name}_{phase}" for phase in (1, 2, 3) for name in (POWER, APPARENT, CURRENT, VOLTAGE, FACTOR)])

BOARDS = (
    Board("RPICT3T1", _line("power_1..3", "temperature_1"), is_signed=False),
    Board("RPICT3V1", _line("power_1..3", "current_1..3", "voltage_1"), is_signed=True),
    Board("RPICT3V1-full", _line(*_FULL_PHASES), is_signed=True),
    Board("RPICT7V1", _line("power_1..7", "current_1..7", "voltage_1"), is_signed=True),
    Board("RPICT4V3", _line("voltage_1..4", "power_1..4", "current_1..4", "factor_1..4"), is_signed=True),
    Board("RPICT8", _line("power_1..8"), is_signed=False),
    Board("RPICT8-currents", _line("current_1..8"), is_signed=False),
)
