"""What the demo's homes use and what the sun gives them, hour by hour: measured files, cut to the days that are played.

The form is that of the CityLearn data set: `non_shiftable_load` in kWh in each hour, and where there are panels
`solar_generation` in W per kW of panel. A meter replays the cut file; here it is read as a plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

from meter.drivers.measured_csv import Column, CsvFormat, read_rows
from node.demo.pricing import Taken
from primitives.errors import UserError

LOAD, GENERATION, HOUR = "non_shiftable_load", "solar_generation", "hour"
MEASURED_FOLDER = Path(__file__).parent / "measured"
"""Eight days of four measured homes."""
MAX_FILES = 100
HOURS_A_DAY = 24


@dataclass(frozen=True, slots=True)
class Profile:
    """The hours of one home. Times are seconds since the demo's first midnight."""

    path: Path
    """The file that the home's meter replays: each hour as so many equal rows as there are readings in it."""
    rows_an_hour: int
    panel_kw: int
    generation_column: str
    """Empty where the home has no panels, or the file has no column for them."""
    net_wh: tuple[Fraction, ...] = ()
    """Of each row: above 0 taken from the grid, below 0 given."""

    @property
    def interval_s(self) -> int:
        return 3_600 // self.rows_an_hour

    @property
    def load_scale(self) -> str:
        return str(1 / self.rows_an_hour)

    @property
    def hours(self) -> int:
        return len(self.net_wh) // self.rows_an_hour

    @property
    def form(self) -> CsvFormat:
        generation = Column(GENERATION, "W", Fraction(self.panel_kw)) if self.generation_column else None
        return CsvFormat(Column(LOAD, "kWh", Fraction(1, self.rows_an_hour)), generation, self.interval_s)

    @classmethod
    def cut(
        cls, source: Path, target: Path, *, skip_days: int, days: int, rows_an_hour: int, panel_kw: int
    ) -> "Profile":
        """Copy the hours of some days, from the first midnight on. Raises UserError naming what is wrong."""
        lines = _lines(source)
        header = [name.strip() for name in lines[0].split(",")] if lines else []
        has_panels = panel_kw > 0 and GENERATION in header
        whole = cls(source, 1, panel_kw if has_panels else 0, GENERATION if has_panels else "")
        # Checks each row, and names the line that is wrong.
        count = sum(1 for _ in read_rows(source, whole.form))
        if count == 0 or count != len(lines) - 1:
            raise UserError(f"The profile {source} has no rows below its header line, or rows of several lines.")
        first = _first_midnight(header, lines[1:])
        hours = min(days * HOURS_A_DAY, count - first)
        if (later := first + skip_days * HOURS_A_DAY) + hours <= count:
            first = later
        with target.open("w", encoding="utf-8") as copy:
            copy.write(lines[0])
            for line in lines[1 + first : 1 + first + hours]:
                copy.writelines([line] * rows_an_hour)
        profile = replace(whole, path=target, rows_an_hour=rows_an_hour)
        net_wh = tuple([row.net_wh or Fraction(0) for row in read_rows(target, profile.form)])
        if not any(net_wh):
            raise UserError(f"The profile {source} uses no energy in the {hours} hours that are played.")
        return replace(profile, net_wh=net_wh)

    def taken(self, first_s: int, end_s: int | None) -> list[Taken]:
        """Whole Wh that the grid will give, row by row, as a meter's register shows them."""
        found, exact, shown = [], Fraction(0), 0
        for end, net_wh in self._rows(first_s, end_s):
            exact += max(net_wh, Fraction(0))
            found.append(Taken(end, int(exact) - shown))
            shown = int(exact)
        return found

    def given_wh(self, first_s: int, end_s: int | None) -> int:
        return int(sum((max(-net_wh, Fraction(0)) for _, net_wh in self._rows(first_s, end_s)), Fraction(0)))

    def _rows(self, first_s: int, end_s: int | None) -> Iterator[tuple[int, Fraction]]:
        """Rows that begin at or after a time and end at or before another, each with its end."""
        first = -(-max(first_s, 0) // self.interval_s)
        last = len(self.net_wh) if end_s is None else end_s // self.interval_s
        for index, net_wh in enumerate(islice(self.net_wh, first, max(last, first)), start=first + 1):
            yield index * self.interval_s, net_wh


def find_profiles(given: Path | None) -> list[Path]:
    """A file, all *.csv files of a folder, or those that come with the demo. Raises UserError where there are none."""
    place = given or MEASURED_FOLDER
    if not place.is_dir():
        return [place]
    files = sorted(place.glob("*.csv"))[:MAX_FILES]
    if not files:
        raise UserError(f"The folder {place} has no *.csv files with profiles.")
    return files


def _lines(source: Path) -> list[str]:
    """All that are no comments, as the meter counts them, each with its end."""
    try:
        with source.open(encoding="utf-8-sig") as file:
            return [line.rstrip("\r\n") + "\n" for line in file if line.strip() and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"The profile {source} cannot be read: {why}.") from error


def _first_midnight(header: list[str], rows: list[str]) -> int:
    """The first row of hour 1; the first of all where no column tells, or no row is."""
    if HOUR not in header:
        return 0
    column = header.index(HOUR)
    for index, row in enumerate(rows):
        fields = row.split(",")
        if len(fields) > column and fields[column].strip() == "1":
            return index
    return 0
