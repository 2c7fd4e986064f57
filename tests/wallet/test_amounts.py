"""Amounts: exact in both directions, and texts that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.amounts import MAX_WEI, UNITS, InvalidAmount, format_amount, parse_amount, to_decimal


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("1", 10**18),
        ("1.5", 15 * 10**17),
        (" 1.50 WATT ", 15 * 10**17),
        ("2watt", 2 * 10**18),
        ("0.000000000000000001", 1),
        ("20mWATT", 2 * 10**16),
        ("0.5 mWATT", 5 * 10**14),
        ("7 gwei", 7 * 10**9),
        ("1.000000001gwei", 10**9 + 1),
        ("100wei", 100),
        ("0", 0),
        # A float would lose the last digits.
        ("123456789.123456789123456789", 123456789123456789123456789),
    ],
)
def test_amounts_are_read_exactly(text: str, wei: int) -> None:
    assert parse_amount(text) == wei


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "+1", "1,5", ".5", "1.", "1e3", "1 2", "1 kWATT", "1MWATT", "0.5wei", "NaN", "inf", "١", "1_000"],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidAmount):
        parse_amount(text)


def test_amounts_too_small_too_large_or_too_long_are_refused() -> None:
    for text in ("0.0000000000000000001", "9" * 78, "9" * 1_000_000, "1." + "0" * 1_000_000):
        with pytest.raises(InvalidAmount) as caught:
            parse_amount(text)
        assert len(str(caught.value)) < 300


@given(st.integers(min_value=0, max_value=MAX_WEI), st.sampled_from(list(UNITS)))
def test_what_is_written_is_read_back(wei: int, unit: str) -> None:
    assert parse_amount(format_amount(wei, unit)) == wei


def test_no_needless_digits_are_written() -> None:
    assert format_amount(15 * 10**17) == "1.5 WATT"
    assert format_amount(10**20) == "100 WATT"
    assert format_amount(1) == "0.000000000000000001 WATT"
    assert format_amount(0) == "0 WATT"
    assert format_amount(1500, "wei") == "1500 wei"
    assert to_decimal(-15 * 10**17) == "-1.5"
