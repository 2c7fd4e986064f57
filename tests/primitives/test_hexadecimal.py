"""Quantities, data and addresses in their text forms, and all that is not one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvalidHex
from primitives.hexadecimal import (
    parse_address,
    parse_data,
    parse_quantity,
    to_checksum_address,
    to_data,
    to_quantity,
)

# The four addresses that EIP-55 itself gives.
EIP_55 = [
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_quantities_come_back(value: int) -> None:
    assert parse_quantity(to_quantity(value)) == value


@given(st.binary(max_size=100))
def test_data_comes_back(value: bytes) -> None:
    assert parse_data(to_data(value)) == value


@pytest.mark.parametrize(
    "text", ["", "0", "0x", "0x00", "0x01", "1f4", "0X1", "0x1g", " 0x1", "0x1\n", "-0x1", "0x١", 5, None, b"0x1"]
)
def test_other_texts_are_no_quantities(text: object) -> None:
    with pytest.raises(InvalidHex):
        parse_quantity(text)


def test_a_quantity_is_bounded_in_bits() -> None:
    assert parse_quantity("0x" + "f" * 64) == 2**256 - 1
    with pytest.raises(InvalidHex, match="256 bits"):
        parse_quantity("0x1" + "0" * 64)
    with pytest.raises(InvalidHex, match="64 bits"):
        parse_quantity("0x1" + "0" * 16, 64)
    with pytest.raises(InvalidHex):
        parse_quantity("0x1" + "0" * 1_000_000)


@pytest.mark.parametrize("text", ["", "00", "0x0", "0x0g", "0x00 ", "0x00\n", 0, None, ["0x"]])
def test_other_texts_are_no_data(text: object) -> None:
    with pytest.raises(InvalidHex):
        parse_data(text)


def test_data_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidHex, match="expected 32 bytes, got 2"):
        parse_data("0x0102", 32)


@pytest.mark.parametrize("text", EIP_55)
def test_addresses_carry_the_check_sum_of_eip_55(text: str) -> None:
    assert to_checksum_address(bytes.fromhex(text[2:])) == text
    assert parse_address(text) == parse_address(text.lower()) == parse_address("0x" + text[2:].upper())


@pytest.mark.parametrize("text", EIP_55)
def test_a_mistyped_address_is_refused(text: str) -> None:
    position = next(i for i, letter in enumerate(text) if letter.isupper())
    with pytest.raises(InvalidHex, match="mistyped"):
        parse_address(text[:position] + text[position].lower() + text[position + 1 :])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0x123", "'0x123' has 3 after 0x"),
        ("0x" + "1" * 42, "has 42 after 0x"),
        ("1" * 40, "does not begin with 0x"),
        ("solar", "'solar' does not begin with 0x"),
        ("0x" + "g" * 40, "has others"),
        ("0x" + "\N{FULLWIDTH DIGIT ONE}" * 40, "has others"),
        (7, "7 does not begin with 0x"),
        (None, "None does not begin with 0x"),
    ],
)
def test_what_is_no_address_hears_what_one_is(text: object, fault: str) -> None:
    with pytest.raises(InvalidHex, match="an address is 0x and 40 digits from 0 to 9 and a to f, and ") as caught:
        parse_address(text)
    assert fault in str(caught.value)


def test_a_long_wrong_text_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidHex) as caught:
        parse_data("z" * 100_000)
    assert len(str(caught.value)) < 200
