"""One line of a measuring board as exact numbers, or a sentence about what is wrong with it.

Two formats: "csv", which is numbers separated by spaces or commas, and "emoncms", whose whole numbers come as pairs of
bytes in decimal, the low one first. There is no checksum in either: the node's number, the count of fields, their form
and their limits are all that tells a damaged line from a good one.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from meter.drivers.field_map import NODE, QUANTITIES, Field

CSV = "csv"
EMONCMS = "emoncms"
FORMATS = (CSV, EMONCMS)

MAX_SHOWN = 60
"""Characters of a damaged line that a message shows."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,10}(\.[0-9]{0,6})?")
_BYTE = re.compile(r"[0-9]{1,3}")
# What a board writes for a number that it could not compute.
_NOTHING = frozenset({"nan", "-nan", "inf", "-inf", "ovf", "-ovf"})


class BadLine(Exception):
    """Not a line of this board; says why."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a line says, in the order of its fields: exact thousandths of the units; None where it says `nan`."""

    fields: tuple[Field, ...]
    values: tuple[Decimal | None, ...]

    def get(self, quantity: str, channel: int) -> Decimal | None:
        for field, value in zip(self.fields, self.values, strict=True):
            if field.quantity == quantity and field.channel == channel:
                return value
        return None


@dataclass(frozen=True, slots=True)
class LineDecoder:
    """Reads the lines of one board."""

    fields: tuple[Field, ...]
    form: str = CSV
    node_id: int = 0
    """0 for any."""
    is_signed: bool = True
    """Whether pairs of bytes stand for negative numbers too (two's complement)."""

    def decode(self, line: bytes) -> Told:
        """Raises BadLine."""
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError:
            raise BadLine(f"the line {shown(line)} has bytes that are no text") from None
        parts = [part.strip() for part in text.strip(" ,\t").split(",")] if "," in text else text.split()
        words = _joined_bytes(parts, is_signed=self.is_signed) if self.form == EMONCMS else parts
        if len(words) != len(self.fields):
            raise BadLine(f"the line {shown(line)} has {len(words)} numbers, not {len(self.fields)}")
        return Told(
            self.fields, tuple([self._value(field, word) for field, word in zip(self.fields, words, strict=True)])
        )

    def _value(self, field: Field, word: str) -> Decimal | None:
        if word.lower() in _NOTHING and field.quantity != NODE:
            return None
        if _NUMBER.fullmatch(word) is None:
            raise BadLine(f"{shown(word.encode())} is no number")
        number = Decimal(word)
        if field.quantity == NODE:
            if self.node_id and number != self.node_id:
                raise BadLine(f"the line is of node {shown(word.encode())}, not of node {self.node_id}")
            return number
        if not field.is_measured:
            return None
        value = number * field.thousandths
        quantity = QUANTITIES[field.quantity]
        if not quantity.least <= value <= quantity.greatest:
            raise BadLine(f"{shown(word.encode())} is impossible for {field.quantity} {field.channel}")
        return value


def shown(data: bytes) -> str:
    """Bytes from outside, for a message: short, and without what moves a cursor."""
    text = data[:MAX_SHOWN].decode("ascii", "backslashreplace")
    return repr(text + ("..." if len(data) > MAX_SHOWN else ""))


def _joined_bytes(words: list[str], *, is_signed: bool) -> list[str]:
    """The node's number as it is, then each pair of bytes as one number. Raises BadLine."""
    node, *rest = words or [""]
    if len(rest) % 2 or not all(_BYTE.fullmatch(word) and int(word) <= 255 for word in rest):
        raise BadLine("the line is not made of pairs of bytes: is the board's format 1 (Emoncms)?")
    numbers = [int(low) + 256 * int(high) for low, high in zip(rest[::2], rest[1::2], strict=True)]
    return [node, *[str(number - 65_536 if is_signed and number >= 32_768 else number) for number in numbers]]
