"""Blocks and headers as bytes: what comes back, what is refused, and that hostile bytes cost little."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, Block, decode_block, decode_body, encode_body
from chain.header import EMPTY_OMMERS_HASH, Header, decode_header
from chain.transaction import ACCESS_LIST, LEGACY, encode_transaction_items
from primitives import rlp
from primitives.errors import InvalidBlock, InvalidTransaction
from tests.chain.ledger_world import ADDRESSES, KEYS, signed

HEADER = Header(
    b"\x01" * 32, EMPTY_OMMERS_HASH, b"\x02" * 20, b"\x03" * 32, b"\x04" * 32, b"\x05" * 32, b"\x06" * 256,
    2**256 - 1, 2**64 - 1, 30_000_000, 0, 1_700_000_000, b"extra", b"\x07" * 32, b"\x08" * 8, 10**9,
)  # fmt: skip
NAMES = [field.name for field in fields(Header) if field.name != "_hash"]
TRANSACTIONS = (
    signed(KEYS[0], type=LEGACY),
    signed(KEYS[1], type=ACCESS_LIST, access_list=((ADDRESSES[0], (1, 2)),)),
    signed(KEYS[2], to=None, data=b"\x00" * 300),
)
BLOCK = Block(HEADER, TRANSACTIONS)


def header_items() -> list[object]:
    items = rlp.decode(HEADER.encode())
    assert isinstance(items, list)
    return list(items)


def test_a_header_and_a_block_come_back() -> None:
    header = decode_header(HEADER.encode())
    assert [getattr(header, name) for name in NAMES] == [getattr(HEADER, name) for name in NAMES]
    assert header.hash == HEADER.hash
    assert decode_block(BLOCK.encode()) == BLOCK
    assert decode_body(encode_body(TRANSACTIONS)) == TRANSACTIONS


@pytest.mark.parametrize("name", NAMES)
def test_a_header_with_a_list_or_a_longer_field_is_refused(name: str) -> None:
    for item in ([], b"\x09" * 257):
        items = header_items()
        items[NAMES.index(name)] = item
        with pytest.raises(InvalidBlock):
            decode_header(rlp.encode(items))


@pytest.mark.parametrize("name", ["difficulty", "number", "gas_limit", "gas_used", "timestamp_s", "base_fee_per_gas"])
def test_a_number_of_a_header_is_canonical_and_bounded(name: str) -> None:
    most = 32 if name in ("difficulty", "base_fee_per_gas") else 8
    for item in (b"\x00", b"\x00\x01", b"\x01" * (most + 1)):
        items = header_items()
        items[NAMES.index(name)] = item
        with pytest.raises(InvalidBlock, match="malformed header"):
            decode_header(rlp.encode(items))


def test_a_header_has_sixteen_fields() -> None:
    for items in (header_items()[:-1], [*header_items(), b""]):
        with pytest.raises(InvalidBlock, match="16 fields"):
            decode_header(rlp.encode(items))
    with pytest.raises(InvalidBlock, match="16 fields"):
        decode_header(rlp.encode(b""))


def test_the_seal_is_not_part_of_what_it_seals() -> None:
    other = HEADER.with_seal(bytes(32), bytes(8))
    assert other.seal_hash == HEADER.seal_hash
    assert other.hash != HEADER.hash
    assert replace(HEADER, extra_data=b"", _hash=None).seal_hash != HEADER.seal_hash


def block_of(*parts: bytes) -> bytes:
    payload = b"".join(parts)
    return rlp.list_prefix(len(payload)) + payload


BODY = encode_transaction_items(TRANSACTIONS)
NOTHING = rlp.encode([])


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "malformed"),
        (BLOCK.encode()[:-1], "malformed"),
        (BLOCK.encode() + b"\x00", "malformed"),
        (block_of(HEADER.encode(), BODY), "a list of header"),
        (block_of(HEADER.encode(), BODY, NOTHING, NOTHING), "a list of header"),
        (rlp.encode(b"block"), "a list of header"),
        (block_of(HEADER.encode(), BODY, rlp.encode([HEADER.encode()])), "ommers"),
        (block_of(HEADER.encode(), BODY, rlp.encode(b"")), "ommers"),
        (block_of(HEADER.encode(), rlp.encode(b""), NOTHING), "must be a list"),
        (block_of(HEADER.encode(), rlp.encode([b""]), NOTHING), "empty transaction"),
        (block_of(HEADER.encode(), rlp.encode([TRANSACTIONS[0].encoded]), NOTHING), "as a list"),
        (block_of(HEADER.encode(), rlp.encode([[b"\x00"] * 9]), NOTHING), "malformed transaction"),
    ],
)
def test_other_bytes_are_no_block(encoded: bytes, reason: str) -> None:
    with pytest.raises((InvalidBlock, InvalidTransaction), match=reason):
        decode_block(encoded)


def test_too_many_bytes_or_transactions_are_no_block() -> None:
    with pytest.raises(InvalidBlock, match=f"at most {MAX_BLOCK_BYTES}"):
        decode_block(bytes(MAX_BLOCK_BYTES + 1))
    many = rlp.encode([b""] * (MAX_BLOCK_TRANSACTIONS + 1))
    with pytest.raises(InvalidBlock, match=f"at most {MAX_BLOCK_TRANSACTIONS}"):
        decode_block(block_of(HEADER.encode(), many, NOTHING))


def test_megabytes_of_empty_lists_are_refused_before_they_fill_the_memory() -> None:
    length = MAX_BLOCK_BYTES - 16
    with pytest.raises(InvalidBlock, match="more items"):
        decode_block(rlp.list_prefix(length) + b"\xc0" * length)


def test_the_largest_block_of_the_smallest_transactions_is_read() -> None:
    """The bound on items must not refuse what the rules allow."""
    smallest = rlp.encode([b"", b"", b"", b"", b"", b"", b"\x1b", b"\x01", b"\x01"])
    block = decode_block(block_of(HEADER.encode(), block_of(*[smallest] * MAX_BLOCK_TRANSACTIONS), NOTHING))
    assert len(block.transactions) == MAX_BLOCK_TRANSACTIONS


@given(st.data())
def test_damaged_bytes_are_refused_or_canonical(data: st.DataObject) -> None:
    encoded = bytearray(BLOCK.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        block = decode_block(bytes(encoded))
    except (InvalidBlock, InvalidTransaction):
        return
    assert block.encode() == bytes(encoded)
