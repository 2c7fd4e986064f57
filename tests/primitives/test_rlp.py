"""RLP: the official vectors run in tests/conformance; here are round trips, hostile bytes and numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives import rlp
from primitives.errors import InvalidRlp

items = st.recursive(st.binary(max_size=70), lambda children: st.lists(children, max_size=5), max_leaves=20)


@given(items)
def test_what_is_encoded_decodes_to_itself(item: rlp.Item) -> None:
    assert rlp.decode(rlp.encode(item)) == item


@given(st.binary(max_size=80))
def test_bytes_either_are_canonical_or_are_refused(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except InvalidRlp:
        return
    assert rlp.encode(item) == data


@pytest.mark.parametrize(("length", "prefix"), [(0, "80"), (55, "b7"), (56, "b838"), (255, "b8ff"), (256, "b90100")])
def test_strings_at_the_borders_of_the_forms(length: int, prefix: str) -> None:
    data = b"\xaa" * length
    assert rlp.encode(data) == bytes.fromhex(prefix) + data
    assert rlp.decode(rlp.encode(data)) == data


@pytest.mark.parametrize("length", [55, 56, 300])
def test_lists_at_the_borders_of_the_forms(length: int) -> None:
    item: rlp.Item = [b"\x01"] * length
    assert rlp.encode(item) == rlp.list_prefix(length) + b"\x01" * length
    assert rlp.decode(rlp.encode(item)) == item


def test_a_bytearray_and_a_tuple_are_encoded_like_bytes_and_a_list() -> None:
    assert rlp.encode((bytearray(b"dog"), bytearray(b"\x05"))) == rlp.encode([b"dog", b"\x05"])


@pytest.mark.parametrize(
    "data",
    ["", "8101", "b8", "b801ff", "b80000", "b90038" + "00" * 56, "c1", "f800", "c28101", "bfffffffffffffffff", "8080"],
)
def test_other_encodings_are_refused(data: str) -> None:
    with pytest.raises(InvalidRlp):
        rlp.decode(bytes.fromhex(data))


def test_an_inner_item_cannot_reach_beyond_its_list() -> None:
    with pytest.raises(InvalidRlp, match="beyond the end of its container"):
        rlp.decode(bytes.fromhex("c383aabbcc"))


def test_deep_nesting_is_refused_instead_of_exhausting_the_stack() -> None:
    data = b""
    for _ in range(10_000):
        data = rlp.list_prefix(len(data)) + data
    with pytest.raises(InvalidRlp, match="nested more than"):
        rlp.decode(data)


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_numbers_are_their_shortest_bytes(value: int) -> None:
    item = rlp.encode_int(value)
    assert not item.startswith(b"\0")
    assert rlp.decode_int(item) == value


@pytest.mark.parametrize("item", [b"\0", b"\0\x01", b"\x01" * 33, []])
def test_other_items_are_no_numbers(item: rlp.Item) -> None:
    with pytest.raises(InvalidRlp):
        rlp.decode_int(item)


def test_the_size_of_a_number_is_bounded_as_asked() -> None:
    assert rlp.decode_int(b"\xff" * 8, 8) == 2**64 - 1
    with pytest.raises(InvalidRlp, match="at most 8"):
        rlp.decode_int(b"\x01" + b"\xff" * 8, 8)


@pytest.mark.parametrize("bomb", [b"\xc0" * 9, b"\xc2\xc0\xc0" * 3, b"\x80" * 9, b"\xc8" + b"\x01" * 8])
def test_the_number_of_items_is_bounded(bomb: bytes) -> None:
    data = rlp.list_prefix(len(bomb)) + bomb
    rlp.decode(data, max_items=9)
    with pytest.raises(InvalidRlp, match="more items"):
        rlp.decode(data, max_items=8)


def test_megabytes_of_empty_lists_are_refused() -> None:
    """Each takes one byte encoded and 64 decoded."""
    length = 2 * rlp.MAX_ITEMS
    with pytest.raises(InvalidRlp, match="more items"):
        rlp.decode(rlp.list_prefix(length) + b"\xc0" * length)
