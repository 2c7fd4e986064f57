"""What the ABI codec refuses: names that are no types, values that do not fit, and hostile bytes."""

import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives import abi
from primitives.abi_types import MAX_TYPE_LENGTH, parse_type, parse_types
from primitives.errors import InvalidAbi


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("uint", "uint256"),
        ("int", "int256"),
        ("fixed", "fixed128x18"),
        ("ufixed", "ufixed128x18"),
        ("uint8[2][]", "uint8[2][]"),
        ("(uint,(bool,string)[3])[]", "(uint256,(bool,string)[3])[]"),
    ],
)
def test_types_have_one_full_name(name: str, canonical: str) -> None:
    assert parse_type(name).canonical == canonical


@pytest.mark.parametrize(
    "name",
    [
        "",
        "uint7",
        "uint0",
        "uint08",
        "uint264",
        "int256x2",
        "bytes0",
        "bytes33",
        "bytes1x1",
        "byte",
        "fixed128",
        "fixed128x81",
        "fixed7x1",
        "address payable",
        "uint256[0]",
        "uint256[-1]",
        "uint256[01]",
        "uint256[2",
        "uint256]",
        "[2]",
        "uint256[2]x",
        "uint256[][",
        "()",
        "(uint256",
        "uint256)",
        "(uint256))",
        "((uint256)",
        "(uint256,)",
        "(,)",
        "(uint256)(bool)",
        " uint256",
        "Uint256",
        "uint٨",
        "tuple",
        "x" * (MAX_TYPE_LENGTH + 1),
        "uint8" + "[]" * 33,
        "(" * 40 + "bool" + ")" * 40,
    ],
)
def test_other_names_are_no_types(name: str) -> None:
    with pytest.raises(InvalidAbi):
        parse_type(name)


@given(st.text(alphabet="uint8bytesadrfx0123[](),", max_size=30))
def test_drawn_names_are_types_or_refused(name: str) -> None:
    try:
        parsed = parse_type(name)
    except InvalidAbi:
        return
    assert parse_type(parsed.canonical).canonical == parsed.canonical


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("int8", 128),
        ("int8", -129),
        ("uint8", True),
        ("uint8", 1.0),
        ("uint8", "1"),
        ("bool", 1),
        ("address", b"\x01" * 19),
        ("address", "0x01"),
        ("address", 5),
        ("bytes4", b"\x01" * 5),
        ("bytes4", b"\x01" * 3),
        ("bytes4", "0x01020304"),
        ("bytes", "text"),
        ("string", b"bytes"),
        ("string", "\ud800"),
        ("function", b"\x01" * 23),
        ("uint8[2]", [1]),
        ("uint8[]", 5),
        ("uint8[]", "12"),
        ("(uint8,bool)", (1,)),
        ("(uint8,bool)", {"a": 1, "b": True}),
        ("fixed8x1", Decimal("0.12")),
        ("fixed8x1", Decimal("12.8")),
        ("ufixed8x1", Decimal("-0.1")),
        ("fixed128x18", 0.5),
        ("fixed128x18", Decimal("NaN")),
        ("fixed128x18", Decimal("1E+1000000")),
        ("fixed128x18", Decimal("1E-1000000")),
        ("fixed128x18", True),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidAbi):
        abi.encode([name], [value])


def test_too_many_or_too_few_values_are_refused() -> None:
    for values in ([], [1, 2]):
        with pytest.raises(InvalidAbi):
            abi.encode(["uint8"], values)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("uint8", words(256)),
        ("int8", words(255)),
        ("bool", words(2)),
        ("address", words(1 << 160)),
        ("bytes4", b"\x01" * 5 + bytes(27)),
        ("function", b"\x01" * 25 + bytes(7)),
        ("fixed8x1", words(1 << 200)),
        ("uint8", b""),
        ("uint8", bytes(31)),
        ("uint8[2]", words(1)),
        ("bytes", words(32)),
        ("bytes", words(32, 1)),
        ("bytes", words(32, 1) + b"\x01" + bytes(30)),
        ("bytes", words(32, 1) + b"\x01\x01" + bytes(30)),
        ("bytes", words(0, 1)),
        ("bytes", words(2**256 - 1, 1)),
        ("bytes", words(32, 2**256 - 1)),
        ("string", words(32, 1) + b"\xff" + bytes(31)),
        ("uint8[]", words(32, 2, 1)),
        ("uint8[]", words(32, 2**255)),
        ("string[]", words(32, 2**40)),
        ("string[1000000000]", words(32)),
        ("uint8[1000000000]", words(1)),
        ("(string,uint8)", words(32, 31, 1)),
    ],
)
def test_malformed_bytes_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(InvalidAbi):
        abi.decode([name], data)


def test_bytes_behind_the_last_value_are_ignored_as_contracts_do() -> None:
    assert abi.decode(["uint8"], words(7, 8)) == (7,)


def test_a_claimed_length_is_refused_before_the_elements_are_looked_at() -> None:
    with pytest.raises(InvalidAbi, match="claims 3 elements"):
        # The first element is malformed as well, but there are not three of them.
        abi.decode(["uint8[]"], words(32, 3, 256, 1))


def test_nested_arrays_that_share_their_bytes_cannot_multiply() -> None:
    # Each level names the level below a hundred times over: 100**4 numbers from 16 KB, were it followed.
    count, name, tail = 100, "uint8" + "[]" * 4, words(100, *range(100))
    for _ in range(3):
        tail = words(count, *[32 * count] * count) + tail
    tracemalloc.start()
    with pytest.raises(InvalidAbi, match="more than once"):
        abi.decode([name], words(32) + tail)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


HOSTILE_TYPES = ["uint8[][]", "string[]", "(bytes,(string,uint8[2])[])", "bytes[2][]", "bool[3]", "int16[]"]


@given(st.sampled_from(HOSTILE_TYPES), st.lists(st.integers(0, 200) | st.integers(0, 2**256 - 1), max_size=20))
def test_drawn_words_are_decoded_or_refused(name: str, numbers: list[int]) -> None:
    try:
        (value,) = abi.decode([name], words(*numbers))
    except InvalidAbi:
        return
    assert abi.decode([name], abi.encode([name], [value])) == (value,)


def test_a_list_of_types_is_parsed_as_a_whole() -> None:
    assert parse_types("()").members == ()
    assert [member.canonical for member in parse_types("(uint8,string)").members] == ["uint8", "string"]
    for text in ("uint8", "(uint8)[]", ""):
        with pytest.raises(InvalidAbi):
            parse_types(text)
