"""Recursive Length Prefix, the encoding under everything that is hashed (Yellow Paper, appendix B).

An item is bytes or a list of items. Decoding accepts the one canonical encoding only: no leading zeros in a length, no
long form for what fits the short one, no single byte below 0x80 behind a prefix, nothing left over.
"""

from collections.abc import Sequence

from primitives.errors import InvalidRlp

Item = bytes | list["Item"]

# Nesting of a block (block > transactions > transaction > access list > entry > keys) is 6; hostile bytes can nest
# deeper than Python's stack allows.
MAX_DEPTH = 64

MAX_ITEMS = 1 << 20
"""An empty list takes one byte encoded and 64 decoded: without a bound 8 MB of them would fill half a Pi's memory."""


def encode(item: "bytes | Sequence[object]") -> bytes:
    """One item (bytes, or a list or tuple of items) as RLP."""
    if isinstance(item, (bytes, bytearray)):
        length = len(item)
        if length == 1 and item[0] < 0x80:
            return bytes(item)
        if length < 56:
            return bytes((0x80 + length,)) + item
        return _long_prefix(0xB7, length) + item
    payload = b"".join([encode(child) for child in item])  # type: ignore[arg-type]
    return list_prefix(len(payload)) + payload


def list_prefix(payload_length: int) -> bytes:
    """What stands before a list whose encoded items take payload_length bytes."""
    if payload_length < 56:
        return bytes((0xC0 + payload_length,))
    return _long_prefix(0xF7, payload_length)


def _long_prefix(base: int, length: int) -> bytes:
    length_bytes = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((base + len(length_bytes),)) + length_bytes


def encode_int(value: int) -> bytes:
    """A natural number as the shortest big-endian bytes (0 is empty): an item, not yet RLP."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_int(item: Item, max_bytes: int = 32) -> int:
    """The number in an item. Raises InvalidRlp for a list, a leading zero or more than max_bytes."""
    if not isinstance(item, bytes):
        raise InvalidRlp("expected a number, got a list")
    if len(item) > max_bytes:
        raise InvalidRlp(f"a number of {len(item)} bytes where at most {max_bytes} fit")
    if item[:1] == b"\x00":
        raise InvalidRlp("a number with a leading zero byte")
    return int.from_bytes(item, "big")


def decode(data: bytes, max_items: int = MAX_ITEMS) -> Item:
    """The item that data encodes, canonically and without a byte left over. Raises InvalidRlp.

    `max_items` bounds the items in all lists together, lists included.
    """
    item, end = _decode_at(data, 0, len(data), 0, [max_items])
    if end != len(data):
        raise InvalidRlp(f"{len(data) - end} bytes left over after the item")
    return item


def _decode_at(data: bytes, start: int, limit: int, depth: int, items_left: list[int]) -> tuple[Item, int]:
    if start >= limit:
        raise InvalidRlp("input ends where an item should begin")
    prefix = data[start]
    if prefix < 0x80:
        return data[start : start + 1], start + 1
    if prefix < 0xB8:
        begin, end = start + 1, start + 1 + prefix - 0x80
        if end > limit:
            raise InvalidRlp("a string reaches beyond the end of its container")
        if prefix == 0x81 and data[begin] < 0x80:
            raise InvalidRlp("a single byte below 0x80 must stand for itself")
        return data[begin:end], end
    if prefix < 0xC0:
        begin, end = _long_bounds(data, start, limit, prefix - 0xB7)
        return data[begin:end], end
    if prefix < 0xF8:
        begin, end = start + 1, start + 1 + prefix - 0xC0
        if end > limit:
            raise InvalidRlp("a list reaches beyond the end of its container")
    else:
        begin, end = _long_bounds(data, start, limit, prefix - 0xF7)
    if depth >= MAX_DEPTH:
        raise InvalidRlp(f"lists nested more than {MAX_DEPTH} deep")
    items: list[Item] = []
    while begin < end:
        if not items_left[0]:
            raise InvalidRlp("more items than there may be in these bytes")
        items_left[0] -= 1
        item, begin = _decode_at(data, begin, end, depth + 1, items_left)
        items.append(item)
    return items, end


def _long_bounds(data: bytes, start: int, limit: int, size: int) -> tuple[int, int]:
    begin = start + 1 + size
    if begin > limit:
        raise InvalidRlp("input ends inside a length")
    if data[start + 1] == 0:
        raise InvalidRlp("a length with a leading zero byte")
    length = int.from_bytes(data[start + 1 : begin], "big")
    if length < 56:
        raise InvalidRlp(f"a length of {length} in the long form")
    if begin + length > limit:
        raise InvalidRlp("an item reaches beyond the end of its container")
    return begin, begin + length
