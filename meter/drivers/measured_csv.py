"""Measured energy in CSV files: from named columns to exact Wh a row.

Not a general CSV library: one header line, one row an interval, `#` lines and blank lines skipped. Values are exact
fractions, so that sums over years have no drift. The file comes from outside: every row is checked before the first
is used, lines are bounded, and whatever is wrong is said with its line number.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TextIO

from primitives.errors import UserError

# The widest measured files have a few hundred columns of some 20 characters; a line without end must not fill memory.
MAX_LINE_CHARS = 65_536
# A line of energy data has far fewer digits; more would only make the exact arithmetic slow.
MAX_VALUE_CHARS = 40
# No household, street or village draws a gigawatt; above it the unit or the column is mistaken.
MAX_POWER_W = 10**9

MISSING_VALUES = ("", "?", "nan", "NaN", "NA")

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)

# Factor to Wh for energy, to W for power.
_ENERGY_UNITS = {"Wh": Fraction(1), "kWh": Fraction(1000)}
_POWER_UNITS = {"W": Fraction(1), "kW": Fraction(1000)}
UNITS = (*_ENERGY_UNITS, *_POWER_UNITS)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, what it is measured in, and what to multiply it with (a panel's kW for a column in W per kW)."""

    name: str
    unit: str
    """One of UNITS: energy in the row's interval, or mean power over it."""
    scale: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UserError(f"unknown unit {self.unit!r} of column {self.name!r}: use one of {', '.join(UNITS)}")

    def factor_to_wh(self, interval_s: int) -> Fraction:
        if self.unit in _ENERGY_UNITS:
            return _ENERGY_UNITS[self.unit] * self.scale
        return _POWER_UNITS[self.unit] * self.scale * Fraction(interval_s, 3600)


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How to read one file."""

    load: Column
    generation: Column | None = None
    interval_s: int = 3600
    delimiter: str = ","
    missing_values: tuple[str, ...] = MISSING_VALUES

    def __post_init__(self) -> None:
        if self.interval_s < 1:
            raise UserError(f"the interval of a row must be at least 1 second, not {self.interval_s}")
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise UserError(f"the delimiter must be one character, not {self.delimiter!r}")


@dataclass(frozen=True, slots=True)
class Row:
    """Net energy of one interval, exact; above 0 it is imported, below 0 exported. None where a value is missing."""

    net_wh: Fraction | None


def read_rows(path: Path, form: CsvFormat) -> Iterator[Row]:
    """The rows of a file one by one. Raises UserError with the line's number for anything that is not as it should."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file, path)
            try:
                yield from _parse_rows(lines, form)
            except csv.Error as error:
                raise lines.error(str(error)) from error
            except UnicodeDecodeError as error:
                raise lines.error("not UTF-8 text") from error
    except OSError as error:
        raise UserError(f"cannot read the measurements in {path}: {error.strerror}") from error


def count_rows(path: Path, form: CsvFormat) -> int:
    """Check the whole file and count its rows. Raises UserError, also for a file without rows."""
    count = sum(1 for _ in read_rows(path, form))
    if count == 0:
        raise UserError(f"{path} holds no rows below its header line")
    return count


class _Lines:
    """The lines of a file that are not comments, of bounded length, numbered from 1."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(MAX_LINE_CHARS + 1):
            self.number += 1
            if len(line) > MAX_LINE_CHARS:
                raise self.error(f"longer than {MAX_LINE_CHARS} characters")
            if line.strip() and not line.startswith("#"):
                yield line

    def error(self, what: str) -> UserError:
        return UserError(f"{self._path}, line {self.number}: {what}")


def _parse_rows(lines: _Lines, form: CsvFormat) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
    header = next(reader, None)
    if header is None:
        raise lines.error("the header line with the names of the columns is missing")
    names = [name.strip() for name in header]
    columns = [
        (_index(lines, names, column.name), column.name, column.factor_to_wh(form.interval_s), sign)
        for column, sign in ((form.load, 1), (form.generation, -1))
        if column is not None
    ]
    missing = frozenset(form.missing_values)
    bound_wh = Fraction(MAX_POWER_W * form.interval_s, 3600)
    for fields in reader:
        if len(fields) != len(names):
            raise lines.error(f"{len(fields)} values, but the header names {len(names)} columns")
        net_wh: Fraction | None = Fraction(0)
        for index, name, factor, sign in columns:
            text = fields[index].strip()
            if text in missing:
                net_wh = None
            else:
                value_wh = _number(lines, name, text) * factor
                if abs(value_wh) > bound_wh:
                    raise lines.error(f"{text} in column {name!r} is more than {MAX_POWER_W} W: is the unit right?")
                if net_wh is not None:
                    net_wh += sign * value_wh
        yield Row(net_wh)


def _index(lines: _Lines, names: list[str], wanted: str) -> int:
    if names.count(wanted) == 1:
        return names.index(wanted)
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    what = "no column" if wanted not in names else "more than one column"
    raise lines.error(f"{what} named {wanted!r}; the header line names {shown}")


def _number(lines: _Lines, name: str, text: str) -> Fraction:
    if len(text) > MAX_VALUE_CHARS or not _NUMBER.fullmatch(text):
        raise lines.error(f"{text[:MAX_VALUE_CHARS]!r} in column {name!r} is not a number")
    return Fraction(text)
