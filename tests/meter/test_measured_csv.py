"""CSV files of measurements: exact energy from the measured households, and plain words for everything else."""

from fractions import Fraction
from pathlib import Path

import pytest

from meter.drivers.measured_csv import MAX_LINE_CHARS, Column, CsvFormat, count_rows, read_rows
from primitives.errors import UserError

HOUSEHOLDS = Path(__file__).parents[3] / "shared" / "data" / "households"
needs_households = pytest.mark.skipif(not HOUSEHOLDS.exists(), reason=f"no measured households at {HOUSEHOLDS}")
LOAD = Column("load", "kWh")


def energies(path: Path, form: CsvFormat) -> list[Fraction | None]:
    return [row.net_wh for row in read_rows(path, form)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "measured.csv"


@needs_households
def test_citylearn_year() -> None:
    path = HOUSEHOLDS / "citylearn2022_building_1.csv"
    form = CsvFormat(Column("non_shiftable_load", "kWh"))
    assert count_rows(path, form) == 8760
    lines = path.read_text().splitlines()[1:]
    exact = sum(Fraction(line.split(",")[3]) for line in lines) * 1000
    assert sum(energies(path, form)) == exact  # type: ignore[arg-type]
    assert 7_000_000 < exact < 11_000_000


@needs_households
def test_citylearn_with_a_solar_panel() -> None:
    path = HOUSEHOLDS / "citylearn2022_building_1.csv"
    form = CsvFormat(Column("non_shiftable_load", "kWh"), Column("solar_generation", "W", Fraction(4)))
    cells = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert energies(path, form) == [Fraction(row[3]) * 1000 - Fraction(row[4]) * 4 for row in cells]


@needs_households
def test_uci_minutes() -> None:
    form = CsvFormat(Column("Global_active_power", "kW"), interval_s=60, delimiter=";")
    path = HOUSEHOLDS / "uci_household_one_minute.txt"
    found = energies(path, form)
    assert len(found) == 2880
    assert found[0] == Fraction("2.744") * 1000 / 60


def test_units_comments_blank_lines_and_missing_values(file: Path) -> None:
    file.write_text("# note\nload;sun\n\n1.5;250\n?;3\n# more\n+2e-3;-1\n1;\n", "utf-8-sig")
    form = CsvFormat(LOAD, Column("sun", "Wh", Fraction(2)), delimiter=";")
    assert energies(file, form) == [1000, None, 4, None]
    power = CsvFormat(Column("load", "W"), interval_s=900, delimiter=";")
    assert energies(file, power) == [Fraction(3, 8), None, Fraction(1, 2000), Fraction(1, 4)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 0: the header line"),
        (b"other\n1\n", "line 1: no column named 'load'; the header line names 'other'"),
        (b"load,load\n1,1\n", "line 1: more than one column named 'load'"),
        (b"load,b\n1,2\n1\n", "line 3: 1 values, but the header names 2 columns"),
        (b"load\n1\nabc\n", "line 3: 'abc' in column 'load' is not a number"),
        (b"load\n1e999\n", "line 2: '1e999' in column 'load' is not a number"),
        (b"load\ninf\n", "is not a number"),
        (b"load\n0x10\n", "is not a number"),
        (b"load\n1_000\n", "is not a number"),
        ("load\n١\n".encode(), "is not a number"),
        (b"load\n" + b"9" * 50 + b"\n", "is not a number"),
        (b"load\n9999999\n", "line 2: 9999999 in column 'load' is more than 1000000000 W: is the unit right"),
        (b"load\n1\n\xff\xfe\n", "not UTF-8"),
        (b"load\n1" + b" " * MAX_LINE_CHARS + b"\n", "line 2: longer than"),
        (b'load\n"1\n', "unexpected end of data"),
        (b"load\n", "holds no rows"),
    ],
)
def test_hostile_files_are_refused_with_their_line(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        count_rows(file, CsvFormat(LOAD))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(UserError, match="cannot read the measurements"):
            count_rows(path, CsvFormat(LOAD))


def test_formats_that_make_no_sense() -> None:
    with pytest.raises(UserError, match="unknown unit 'MWh' of column 'load': use one of Wh, kWh, W, kW"):
        Column("load", "MWh")
    with pytest.raises(UserError, match="at least 1 second"):
        CsvFormat(LOAD, interval_s=0)
    with pytest.raises(UserError, match="one character"):
        CsvFormat(LOAD, delimiter="")
