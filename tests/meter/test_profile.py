"""Generated load profiles: the same seed gives the same plausible household, in a file that the replay driver reads."""

from fractions import Fraction
from pathlib import Path

import pytest

from meter.drivers.measured_csv import Column, CsvFormat, read_rows
from meter.profile import MAX_DAYS, generate_profile, write_profile
from primitives.errors import UserError


def test_a_year_is_plausible_and_repeatable() -> None:
    rows = list(generate_profile(365, 7))
    assert rows == list(generate_profile(365, 7))
    assert rows != list(generate_profile(365, 8))
    assert len(rows) == 8760
    assert 4_000_000 < sum(row.load_wh for row in rows) < 14_000_000
    assert all(100 < row.load_wh < 12_000 for row in rows)
    assert 700_000 < sum(row.generation_w_per_kw for row in rows) < 2_000_000
    assert all(row.generation_w_per_kw == 0 for row in rows if row.hour in (1, 2, 3, 23, 24))
    assert (rows[0].month, rows[0].hour, rows[0].day_type) == (1, 1, 1)
    assert (rows[-1].month, rows[-1].hour) == (12, 24)


def test_the_file_reads_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    assert write_profile(path, 3, 1) == 72
    form = CsvFormat(Column("non_shiftable_load", "kWh"), Column("solar_generation", "W", Fraction(3)))
    expected = [row.load_wh - 3 * row.generation_w_per_kw for row in generate_profile(3, 1)]
    assert [row.net_wh for row in read_rows(path, form)] == expected


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    for days in (0, MAX_DAYS + 1):
        with pytest.raises(UserError, match=f"1 to {MAX_DAYS} days"):
            write_profile(tmp_path / "p.csv", days, 1)
    with pytest.raises(UserError, match="cannot write the profile"):
        write_profile(tmp_path / "absent" / "p.csv", 1, 1)
