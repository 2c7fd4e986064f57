"""Numbers in JSON messages of meters: by path, exact, and nothing that a stranger's message could make expensive."""

import json
import re
from decimal import Decimal
from fractions import Fraction

# Longer numbers are not a meter's; exact arithmetic with them would take long.
MAX_DIGITS = 25
MAX_EXPONENT = 30
MAX_PATH_PARTS = 16
MAX_PHASES = 16

_NUMBER = re.compile(r"[+-]?[0-9]{1,25}(?:\.[0-9]{1,25})?", re.ASCII)


class InvalidMessage(ValueError):
    """Not JSON, or not of the form that was asked for."""


def parse_message(payload: bytes) -> object:
    """The JSON document in a message, fractions as decimals. Raises InvalidMessage."""
    try:
        return json.loads(payload, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, ArithmeticError, RecursionError) as error:
        # JSON's, Unicode's, numbers of thousands of digits; exponents of twenty digits; deep nesting
        raise InvalidMessage("not JSON") from error


def parse_path(path: str) -> tuple[str, ...]:
    """ "ENERGY.Total" as its parts; a whole number is a place in a list; empty for the whole message.

    Raises ValueError.
    """
    if not path:
        return ()
    parts = tuple(path.split("."))
    if len(parts) > MAX_PATH_PARTS or not all(parts):
        raise ValueError(path)
    return parts


def find_numbers(document: object, parts: tuple[str, ...]) -> list[Fraction]:
    """The number at a path, or the numbers in a list there; none where nothing is there, or null.

    Raises InvalidMessage for anything else.
    """
    for part in parts:
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdecimal() and len(part) < 6:
            place = int(part)
            document = document[place] if place < len(document) else None
        elif document is None:
            return []
        else:
            raise InvalidMessage(f"there is no {part!r} in a value")
    if document is None:
        return []
    if isinstance(document, list):
        if len(document) > MAX_PHASES:
            raise InvalidMessage("a list of more values than a meter has")
        return [_exact(value) for value in document]
    return [_exact(document)]


def _exact(value: object) -> Fraction:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**MAX_DIGITS:
        return Fraction(value)
    if isinstance(value, Decimal) and value.is_finite():
        parts = value.as_tuple()
        if len(parts.digits) <= MAX_DIGITS and isinstance(parts.exponent, int) and abs(parts.exponent) <= MAX_EXPONENT:
            return Fraction(value)
    raise InvalidMessage("not a number of a meter")


def _refuse(name: str) -> object:
    raise ValueError(name)
