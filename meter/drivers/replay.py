"""Plays a CSV file of measured energy as if a meter measured it now, on whatever clock it is handed.

Row n stands for the interval that begins n intervals after the origin; its sample is due at the interval's end, or at
once when that has passed (after a restart nothing is skipped). Registers are floors of exact sums. While the supply is
off the household neither imports nor exports: of a row only the seconds with supply count.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.measured_csv import MISSING_VALUES, Column, CsvFormat, Row, count_rows, read_rows
from primitives.clock import Clock
from primitives.errors import NeedsPerson
from wallet.settings_file import DAY_S, check_ranges

# State is written by ourselves; what is longer is not ours, and parsing it should not take long.
MAX_STATE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """[driver]: a CSV file of measured energy."""

    file: Path
    kind: str = "replay"
    load_column: str = "non_shiftable_load"
    load_unit: str = "kWh"
    load_scale: Decimal = Decimal(1)
    generation_column: str = ""
    """Empty for none."""
    generation_unit: str = "W"
    generation_scale: Decimal = Decimal(1)
    """A panel's kW where the column is in W per kW."""
    row_interval_s: int = 3600
    delimiter: str = ","
    missing_values: tuple[str, ...] = MISSING_VALUES
    repeat: bool = False
    begin_s: int = 0
    """Unix time at which the first row begins; 0 for the moment at which the meter first starts."""

    def csv_format(self) -> CsvFormat:
        generation = None
        if self.generation_column:
            generation = Column(self.generation_column, self.generation_unit, Fraction(self.generation_scale))
        load = Column(self.load_column, self.load_unit, Fraction(self.load_scale))
        return CsvFormat(load, generation, self.row_interval_s, self.delimiter, self.missing_values)

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        check_ranges(
            (
                ("driver.row_interval_s", self.row_interval_s, 1, DAY_S),
                ("driver.begin_s", self.begin_s, 0, 2**40),
                ("driver.load_scale", self.load_scale, -(10**9), 10**9),
                ("driver.generation_scale", self.generation_scale, -(10**9), 10**9),
            )
        )
        self.csv_format()


def open_driver(settings: ReplaySettings, clock: Clock) -> "ReplayDriver":
    """Raises UserError where the file cannot be played."""
    begin_s = settings.begin_s or None
    return ReplayDriver(settings.file, settings.csv_format(), clock, repeat=settings.repeat, begin_s=begin_s)


@dataclass(frozen=True, slots=True)
class _Position:
    """What has been played: rows, when the first began, exact energy so far."""

    row: int
    origin_s: int
    import_wh: Fraction
    export_wh: Fraction

    def encode(self) -> bytes:
        fields = [self.row, self.origin_s, str(self.import_wh), str(self.export_wh)]
        return json.dumps(fields, separators=(",", ":")).encode()


class ReplayDriver:
    """A meter made of a file. `repeat` begins again behind the last row; otherwise the source ends there."""

    def __init__(
        self, path: Path, form: CsvFormat, clock: Clock, *, repeat: bool = False, begin_s: int | None = None
    ) -> None:
        """`begin_s` is the Unix time at which the first row begins, instead of the moment of the first start.

        Checks the whole file; raises UserError with the line that is wrong.
        """
        self._path = path
        self._form = form
        self.spacing_s = form.interval_s
        self._clock = clock
        self._repeat = repeat
        self._begin_s = begin_s
        self._row_count = count_rows(path, form)
        self._rows: Iterator[Row] = iter(())
        self._position: _Position | None = None
        self._supply_is_on = True
        # Switchings that are later than what was played, oldest first: (Unix time, supply is on).
        self._switched: list[tuple[int, bool]] = []

    def start(self, state: bytes | None, floor: Registers) -> None:
        if state is None:
            # Where the rows have times of their own, those before the floor are left out below.
            origin_s = max(self._clock.time_s(), floor.time_s) if self._begin_s is None else self._begin_s
            position = _Position(0, origin_s, Fraction(0), Fraction(0))
        else:
            position = _decode_position(state)
        interval_s = self._form.interval_s
        # Rows that end before the floor are on the ledger already (this device's memory was lost or is an old copy).
        row = max(position.row, -((position.origin_s - floor.time_s) // interval_s))
        self._position = replace(
            position,
            row=row,
            import_wh=max(position.import_wh, Fraction(floor.import_wh)),
            export_wh=max(position.export_wh, Fraction(floor.export_wh)),
        )
        self._rows = self._rows_from(row)

    async def read(self) -> Sample | None:
        position = self._position
        if position is None:
            raise RuntimeError("a driver is read before it is started")
        row = next(self._rows, None)
        if row is None:
            return None
        begin_s = position.origin_s + position.row * self._form.interval_s
        end_s = begin_s + self._form.interval_s
        while (wait_s := end_s - self._clock.precise_time_s()) > 0:
            await self._clock.sleep_s(wait_s)
        supplied_s = self._supplied_s(begin_s, end_s)
        flags = StatusFlag(0) if supplied_s == self._form.interval_s else StatusFlag.SUPPLY_OFF
        if row.net_wh is None:
            flags |= StatusFlag.GAP
        net_wh = (row.net_wh or Fraction(0)) * Fraction(supplied_s, self._form.interval_s)
        position = replace(
            position,
            row=position.row + 1,
            import_wh=position.import_wh + max(net_wh, Fraction(0)),
            export_wh=position.export_wh + max(-net_wh, Fraction(0)),
        )
        self._position = position
        registers = Registers(end_s, int(position.import_wh), int(position.export_wh))
        power_w = round(net_wh * 3600 / self._form.interval_s)
        return Sample(registers, power_w, flags, position.encode())

    def set_supply(self, is_on: bool) -> None:
        self._switched.append((self._clock.time_s(), is_on))

    async def close(self) -> None:
        self._rows = iter(())

    def _rows_from(self, row: int) -> Iterator[Row]:
        """The rows from a number on, counted over all repetitions."""
        if not self._repeat:
            return islice(read_rows(self._path, self._form), row, None)
        return self._rows_for_ever(row % self._row_count)

    def _rows_for_ever(self, first: int) -> Iterator[Row]:
        while True:
            yield from islice(read_rows(self._path, self._form), first, None)
            first = 0

    def _supplied_s(self, begin_s: int, end_s: int) -> int:
        """Seconds with supply between two times; forgets the switchings up to the second one."""
        supplied_s, since_s = 0, begin_s
        while self._switched and self._switched[0][0] < end_s:
            at_s, is_on = self._switched.pop(0)
            at_s = max(at_s, since_s)
            if self._supply_is_on:
                supplied_s += at_s - since_s
            since_s, self._supply_is_on = at_s, is_on
        return supplied_s + (end_s - since_s if self._supply_is_on else 0)


def _decode_position(state: bytes) -> _Position:
    try:
        if len(state) > MAX_STATE_BYTES:
            raise ValueError("too long")
        row, origin_s, import_wh, export_wh = json.loads(state)
        position = _Position(int(row), int(origin_s), Fraction(str(import_wh)), Fraction(str(export_wh)))
        if position.row < 0 or position.origin_s < 0 or position.import_wh < 0 or position.export_wh < 0:
            raise ValueError("below 0")
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise NeedsPerson(
            "the outbox was written by another driver than replay: give this meter an outbox file of its own"
        ) from error
    return position
