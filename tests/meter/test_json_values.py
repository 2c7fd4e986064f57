"""Numbers out of JSON: exact, by path, and whatever else stands there is refused without work."""

import json
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.drivers.json_values import InvalidMessage, find_numbers, parse_message, parse_path

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=5,
)


def numbers(text: str, path: str = "") -> list[Fraction]:
    return find_numbers(parse_message(text.encode()), parse_path(path))


@given(st.decimals(-(10**12), 10**12, places=6))
def test_numbers_are_exact(value: Decimal) -> None:
    assert numbers(f'{{"a": {{"b": {value}}}}}', "a.b") == [Fraction(value)]
    assert numbers(f'{{"a": "{value}"}}', "a") == [Fraction(value)]
    assert numbers(f"{value}") == [Fraction(value)]


def test_paths() -> None:
    text = '{"em:0": [1, {"x": 2.5}], "n": null, "phases": [1, 2, 3]}'
    assert numbers(text, "em:0.1.x") == [Fraction(5, 2)]
    assert numbers(text, "em:0.9") == numbers(text, "n") == numbers(text, "n.x") == numbers(text, "absent.y") == []
    assert numbers(text, "phases") == [1, 2, 3]
    for path in ("a..b", ".a", ".".join("a" * 20)):
        with pytest.raises(ValueError, match="a"):
            parse_path(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "NaN",
        "Infinity",
        "true",
        '"true"',
        '"12 kWh"',
        '"1e5"',
        "{}",
        "[[1]]",
        "[" * 60_000,
        "[1" + ",1" * 20 + "]",
        "9" * 5000,
        "9" * 30,
        "1e999999999",
        "1e-999999999",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0." + "1" * 40,
    ],
)
def test_what_is_no_number_of_a_meter(text: str) -> None:
    with pytest.raises(InvalidMessage):
        numbers(text)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidMessage):
        parse_message(b"\xff\xfe\x00")


@settings(max_examples=40)
@given(json_values, st.sampled_from(["", "a", "a.b", "0", "b.0.a"]))
def test_nothing_else_than_refused(value: object, path: str) -> None:
    with suppress(InvalidMessage):
        assert all(isinstance(number, Fraction) for number in numbers(json.dumps(value), path))
