"""One line of a measuring board as exact numbers, or a sentence about what is wrong with it.

Two formats: "csv", which is numbers separated by spaces or commas, and "emoncms", whose whole numbers come as pairs of
bytes in decimal, the low one first. There is no checksum in either: the node's number, the count of fields, their form
and their limits are all that tells a damaged line from a good one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest

from meter.drivers.field_map import APPARENT, FACTOR, NODE, POWER, QUANTITIES, TEMPERATURE, Field

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
    """Whether pairs of bytes stand for negative power too (two's complement)."""

    def decode(self, line: bytes) -> Told:
        """Raises BadLine."""
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError:
            raise BadLine(f"the line {shown(line)} has bytes that are no text") from None
        parts = [part.strip() for part in text.strip(" ,\t").split(",")] if "," in text else text.split()
        words = _joined_bytes(parts, self._may_be_negative()) if self.form == EMONCMS else parts
        if len(words) != len(self.fields):
            raise BadLine(f"the line {shown(line)} has {len(words)} numbers, not {len(self.fields)}")
        return Told(
            self.fields, tuple([self._value(field, word) for field, word in zip(self.fields, words, strict=True)])
        )

    def _may_be_negative(self) -> list[bool]:
        """Which fields have a sign where two bytes stand for them: a current of 40 A is no negative one."""
        return [
            field.is_measured
            and QUANTITIES[field.quantity].least < 0
            and (self.is_signed or field.quantity not in (POWER, APPARENT))
            for field in self.fields
        ]

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
            if quantity.name in (FACTOR, TEMPERATURE):
                return None  # a sensor that is not connected costs no power
            raise BadLine(f"{shown(word.encode())} is impossible for {field.quantity} {field.channel}")
        return value


def shown(data: bytes) -> str:
    """Bytes from outside, for a message: short, and without what moves a cursor."""
    text = data[:MAX_SHOWN].decode("ascii", "backslashreplace")
    return repr(text + ("..." if len(data) > MAX_SHOWN else ""))


def _joined_bytes(words: list[str], may_be_negative: Sequence[bool]) -> list[str]:
    """The node's number as it is, then each pair of bytes as one number. Raises BadLine."""
    node, *rest = words or [""]
    if len(rest) % 2 or not all(_BYTE.fullmatch(word) and int(word) <= 255 for word in rest):
        raise BadLine("the line is not made of pairs of bytes: is the board's format 1 (Emoncms)?")
    numbers = [int(low) + 256 * int(high) for low, high in zip(rest[::2], rest[1::2], strict=True)]
    # Where the count of fields is another one than it should be, that is told, and not the signs.
    signs = zip_longest(numbers, may_be_negative[1 : len(numbers) + 1], fillvalue=False)
    return [node, *[str(number - 65_536 if has_sign and number >= 32_768 else number) for number, has_sign in signs]]
