"""Tariffs as suppliers write them: files and options say the same, and mistakes are named."""

from pathlib import Path

import pytest

from contracts.tariff_format import OPEN_BOUND_WH, Slab, TariffVersion, TimeOfUse
from primitives.errors import Invalid, UserError
from wallet.quantities import InvalidQuantity
from wallet.tariff_file import TariffDraft, parse_span, read_tariff_file, weekdays_text

WEI = 10**15  # wei a Wh that make 1 WATT a kWh
KWH = 1_000

FILE = """
name = "Household"
rule = "whole"
period = 60
begins = 2026-12-01
standing = 0.25
export = "1.2"
allowance = 30
allowance_price = 0.5
starts = 2027-01-01T00:00:00+05:30

[[step]]
up_to = 100
price = 2.96
[[step]]
price = 5.56

[[window]]
days = "mon-fri"
time = "22:00-06:00"
price = 1.5
[[window]]
days = "sat,sun"
time = "00:00-24:00"
prices = [1, 2.5]
"""


def slabs(*pairs: tuple[int, int]) -> tuple[Slab, ...]:
    return tuple(Slab(price, bound) for price, bound in pairs)


def test_a_file_says_all_of_a_tariff(tmp_path: Path) -> None:
    path = tmp_path / "household.toml"
    path.write_text(FILE)
    draft = read_tariff_file(path)
    assert (draft.name, draft.starts) == ("Household", "2027-01-01T00:00:00+05:30")
    assert draft.version() == TariffVersion(
        slabs=slabs((2_960 * WEI // 1_000, 100 * KWH), (5_560 * WEI // 1_000, OPEN_BOUND_WH)),
        windows=(
            TimeOfUse(0b0011111, 22 * 60, 1_440, (1_500 * WEI // 1_000,) * 2),
            TimeOfUse(0b0111110, 0, 6 * 60, (1_500 * WEI // 1_000,) * 2),
            TimeOfUse(0b1100000, 0, 1_440, (WEI, 2_500 * WEI // 1_000)),
        ),
        whole=True,
        period_days=60,
        anchor_day=20_788,
        export_price_wei_per_wh=1_200 * WEI // 1_000,
        standing_wei_per_day=25 * 10**16,
        allowance_wh=30 * KWH,
        allowance_price_wei_per_wh=WEI // 2,
    )


def test_a_table_of_steps_is_enough_and_options_go_before_a_file(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("\ufeffup_to_kwh,price\n100,2.96\n,5.56\n")
    draft = read_tariff_file(path)
    assert draft.version() == TariffVersion(
        slabs((2_960 * WEI // 1_000, 100 * KWH), (5_560 * WEI // 1_000, OPEN_BOUND_WH))
    )
    over = TariffDraft(steps=("7",), rule="whole").over(draft)
    assert over.version() == TariffVersion(slabs((7 * WEI, OPEN_BOUND_WH)), whole=True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "unknown entry 'colour'"),
        ("[[step]]\nprise = 1", "unknown entry 'prise'"),
        ("step = 3", "section [[step]]"),
        ("[[step]]\nup_to = 3", "no price"),
        ("[[step]]\nprice = true", "price must be a number"),
        ('[[step]]\nprice = "cheap"', "no amount"),
        ("[[step]]\nprice = 1\n[[window]]\ndays = 'mon'", "needs days, time"),
        ("[[step]]\nprice = 1\n[[window]]\ndays = 'mon'\ntime = '1:00-2:00'\nprices = 3", "as a list"),
        ("[[step]]\nprice = 1\n[[window]]\ndays = 'someday'\ntime = '1:00-2:00'\nprice = 3", "no weekday"),
        ("[[step]]\nprice = 1\n[[window]]\ndays = 'mon'\ntime = 'noon'\nprice = 3", "no time of the week"),
        ("period = 60\n[[step]]\nprice = 1", "on which day"),
        ("period = 'week'\n[[step]]\nprice = 1", "month, or a number of days"),
        ("begins = 2026-12-01\n[[step]]\nprice = 1", "begins by itself"),
        ("rule = 'both'\n[[step]]\nprice = 1", "marginal or whole"),
        ("name = 'x'", "needs a price"),
        ("= = =", "not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "tariff.toml"
    path.write_text(text)
    with pytest.raises((UserError, Invalid)) as caught:
        read_tariff_file(path).version()
    assert named in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"price\n1\n", b"\xff\xfe", b"up_to_kwh,price\n" + b"1,1\n" * 30_000])
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "steps.csv"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_tariff_file(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for name in ("none.csv", "none.toml"):
        with pytest.raises(UserError, match="none"):
            read_tariff_file(tmp_path / name)


def test_weekdays_are_words() -> None:
    assert [weekdays_text(bits) for bits in (0b0011111, 0b1100000, 0b1, 0b1111111, 0b0010101)] == [
        "Mon-Fri",
        "Sat, Sun",
        "Mon",
        "Mon-Sun",
        "Mon, Wed, Fri",
    ]
    draft = TariffDraft(steps=("1",), windows=("fri-mon 8:00-9:00 2",))
    assert [window.weekdays for window in draft.version().windows] == [0b1110001]


@pytest.mark.parametrize("span", ["24:01-06:00", "25:00-06:00", "18:75-22:00", "18:00-22:60"])
def test_a_time_that_no_clock_shows_is_refused(span: str) -> None:
    with pytest.raises(InvalidQuantity, match="is no time of the day"):
        parse_span(f"mon-fri {span}")
