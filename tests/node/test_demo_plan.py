"""What the demo plans with: its hours, its profiles and its own reckoning of the tariff."""

from fractions import Fraction
from pathlib import Path

import pytest

from node.demo.day import DAY_S, HOUR_S, Day
from node.demo.pricing import MILLI, TARIFF, Taken, cost_wei
from node.demo.profiles import MEASURED_FOLDER, Profile, find_profiles
from node.demo.screen import kwh, watt
from primitives.clock import ManualClock
from primitives.errors import UserError


@pytest.mark.parametrize("now_s", [1_700_000_000 + 5_000 * number for number in range(20)])
def test_the_day_begins_at_a_midnight_of_some_zone(now_s: int) -> None:
    clock = ManualClock(now_s)
    day = Day.beginning_after(clock, 1_000)
    assert now_s + 1_000 <= day.begin_s < now_s + 1_900
    assert (day.begin_s + day.zone_s) % DAY_S == 0
    assert day.zone_s % 900 == 0
    assert -12 * HOUR_S <= day.zone_s <= 14 * HOUR_S
    clock.now_s = day.begin_s + 7 * HOUR_S + 15 * 60
    assert day.text() == "07:15"
    clock.now_s += DAY_S
    assert day.text() == "day 2, 07:15"


def test_each_step_and_time_of_the_tariff() -> None:
    TARIFF.check()
    morning = 8 * HOUR_S
    assert cost_wei([Taken(morning, 6_000)]) == 6_000 * 200 * MILLI
    # One reading over all four steps costs as its parts do.
    steps = 6_000 * 200 + 8_000 * 260 + 10_000 * 320 + 1_000 * 400
    assert cost_wei([Taken(morning, 25_000)]) == steps * MILLI
    assert cost_wei([Taken(morning, 5_000), Taken(morning + 900, 20_000)]) == steps * MILLI
    # The reading of 17 h belongs to the hour before it; steps begin anew by day.
    assert cost_wei([Taken(17 * HOUR_S, 100), Taken(17 * HOUR_S + 1, 100)]) == 100 * (200 + 280) * MILLI
    assert cost_wei([Taken(DAY_S, 6_000), Taken(DAY_S + 900, 1)]) == 6_001 * 200 * MILLI


def test_measured_homes_come_with_the_demo(tmp_path: Path) -> None:
    files = find_profiles(None)
    assert [one.name for one in files] == [f"building_{number}.csv" for number in (1, 2, 3, 4)]
    assert "MIT License" in (MEASURED_FOLDER / "LICENSE.txt").read_text()
    options = {"days": 1, "rows_an_hour": 4, "panel_kw": 8}
    first = Profile.cut(files[0], tmp_path / "first.csv", skip_days=0, **options)
    assert (first.hours, first.interval_s, len(first.net_wh)) == (24, 900, 96)
    # 0.85116667 kWh in the first hour, 0.7644333 kWh and 8 kW x 759.825 W in that of noon.
    assert sum(first.net_wh[:4]) == Fraction("851.16667")
    assert sum(first.net_wh[44:48]) == Fraction("764.4333") - 8 * Fraction("759.825")
    assert sum(one.energy_wh for one in first.taken(0, HOUR_S)) == 851
    assert first.given_wh(11 * HOUR_S, 12 * HOUR_S) == 5314
    second = Profile.cut(files[0], tmp_path / "second.csv", skip_days=1, **options)
    assert sum(second.net_wh[:4]) == Fraction("979.41667")


def test_a_profile_without_panels_or_hours_is_played_from_its_first_row(tmp_path: Path) -> None:
    (tmp_path / "home.csv").write_text("# by hand\nnon_shiftable_load\n0.5\n\n1.5\n")
    profile = Profile.cut(tmp_path / "home.csv", tmp_path / "cut.csv", skip_days=3, days=2, rows_an_hour=1, panel_kw=8)
    assert profile.net_wh == (500, 1_500)
    assert profile.generation_column == ""
    assert profile.given_wh(0, DAY_S) == 0


def test_the_days_of_a_profile_begin_at_midnight(tmp_path: Path) -> None:
    (tmp_path / "home.csv").write_text("hour,non_shiftable_load\n24,9\n1,0.5\n2,1.5\n")
    profile = Profile.cut(tmp_path / "home.csv", tmp_path / "cut.csv", skip_days=0, days=1, rows_an_hour=1, panel_kw=0)
    assert profile.net_wh == (500, 1_500)


def test_a_folder_without_profiles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no"):
        find_profiles(tmp_path)


def test_amounts_on_the_screen() -> None:
    assert (watt(-1_234_567 * 10**12), watt(10**18)) == ("-1.2345 WATT", "1.0000 WATT")
    assert (kwh(1_250), kwh(12_000), kwh(7)) == ("1.25 kWh", "12 kWh", "0.007 kWh")
