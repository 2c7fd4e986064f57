"""Energy, prices, times and durations, as written and as counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.quantities import (
    MAX_WH,
    InvalidQuantity,
    format_day,
    format_duration,
    format_energy,
    format_price,
    format_time,
    parse_duration_s,
    parse_energy_wh,
    parse_price_wei_per_wh,
    parse_time_s,
    price_number,
)


@pytest.mark.parametrize(
    ("text", "energy_wh"),
    [
        ("12", 12_000),
        ("12.5 kWh", 12_500),
        ("300Wh", 300),
        ("1.2 MWh", 1_200_000),
        ("0", 0),
        ("0.001", 1),
        ("2.50", 2_500),
    ],
)
def test_energy_is_read_exactly(text: str, energy_wh: int) -> None:
    assert parse_energy_wh(text) == energy_wh


@given(st.integers(0, MAX_WH))
def test_energy_that_is_shown_is_read_back(energy_wh: int) -> None:
    assert parse_energy_wh(format_energy(energy_wh)) == energy_wh


@pytest.mark.parametrize("text", ["", "-1", "1e3", "0.0001", "0.5Wh", "1 J", "٣", "1" * 31, str(MAX_WH // 1000 + 1)])
def test_what_is_no_energy_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity):
        parse_energy_wh(text)


def test_prices_are_watt_a_kwh_and_wei_a_wh() -> None:
    assert parse_price_wei_per_wh("2.96") == 2_960_000_000_000_000
    assert format_price(2_960_000_000_000_000) == "2.96 WATT a kWh"
    assert price_number(2_960_000_000_000_000) == "2.96"
    with pytest.raises(InvalidQuantity, match="whole number"):
        parse_price_wei_per_wh("1 wei")


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("2026-12-01", 1_796_083_200),
        ("2026-12-01 18:30", 1_796_149_800),
        ("2026-12-02T00:00:00+05:30", 1_796_149_800),
        ("@1796083200", 1_796_083_200),
        ("1796083200", 1_796_083_200),
    ],
)
def test_times_are_read_with_or_without_a_zone(text: str, time_s: int) -> None:
    assert parse_time_s(text) == time_s


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "1969-01-01", "2026-12-01T00:00:00.5", "12"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity):
        parse_time_s(text)


def test_times_are_shown_by_the_clock_of_a_zone() -> None:
    assert format_time(1_796_149_800) == "2026-12-01 18:30:00 UTC"
    assert format_time(1_796_149_800, 19_800) == "2026-12-02 00:00:00 +05:30"
    assert format_time(10**30) == f"second {10**30}"


def test_durations_are_read_and_shown() -> None:
    assert [parse_duration_s(text) for text in ("90", "90s", "15min", "3 h", "2d")] == [90, 90, 900, 10_800, 172_800]
    assert [format_duration(one) for one in (0, 1, 90, 60, 7_200, 86_400)] == [
        "0 seconds",
        "1 second",
        "90 seconds",
        "1 minute",
        "2 hours",
        "1 day",
    ]
    with pytest.raises(InvalidQuantity):
        parse_duration_s("soon")


def test_days_are_shown_as_dates() -> None:
    assert [format_day(day) for day in (0, 20_783, 10**8)] == ["1970-01-01", "2026-11-26", "day 100000000"]
