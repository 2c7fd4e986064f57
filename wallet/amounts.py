"""Amounts of the ledger's coin as people write them, to and from whole wei; exact, never through a float."""

import re

from primitives.errors import Invalid

WEI_PER_WATT = 10**18

UNITS = {"WATT": 18, "mWATT": 15, "gwei": 9, "wei": 0}
"""Each unit's number of digits behind the point: 1 WATT = 1000 mWATT = 10**9 gwei = 10**18 wei."""

MAX_WEI = 2**256 - 1

# The largest amount has 78 digits; nobody means an amount longer than this.
_AMOUNT = re.compile(r"([0-9]{1,80})(?:\.([0-9]{1,80}))?\s*([A-Za-z]{1,5})?", re.ASCII)


class InvalidAmount(Invalid):
    """Text is no amount of coin, or one that cannot be paid exactly."""


def parse_amount(text: str) -> int:
    """Wei in "1.5", "1.5 WATT", "20 mWATT", "7 gwei" or "100 wei"; WATT is meant where no unit stands."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise InvalidAmount(f"{text[:80]!r} is no amount; write for example 1.5, 20mWATT or 100wei")
    unit = match[3] or "WATT"
    if unit in ("watt", "Watt"):
        unit = "WATT"
    if unit not in UNITS:
        raise InvalidAmount(f"the unit {unit!r} is unknown; use {', '.join(UNITS)}")
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > UNITS[unit]:
        raise InvalidAmount(
            f"{text.strip()} is less than a whole wei: a {unit} has {UNITS[unit]} digits behind the point"
        )
    wei = int(match[1] + fraction.ljust(UNITS[unit], "0"))
    if wei > MAX_WEI:
        raise InvalidAmount(f"{text.strip()} is more than any account can hold")
    return wei


def format_amount(wei: int, unit: str = "WATT") -> str:
    """The amount in a unit, exact and without needless zeros: "1.5 WATT"."""
    return f"{to_decimal(wei, unit)} {unit}"


def to_decimal(wei: int, unit: str = "WATT") -> str:
    """The number alone: "1.5"."""
    digits = UNITS[unit]
    whole, fraction = divmod(abs(wei), 10**digits)
    behind = str(fraction).zfill(digits).rstrip("0") if fraction else ""
    return f"{'-' if wei < 0 else ''}{whole}{'.' + behind if behind else ''}"
