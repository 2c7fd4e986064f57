"""Transactions as bytes: every official vector runs in tests/conformance; here is each refusal with its reason, which
stays tested where the vectors are absent, and hostile bytes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.transaction import (
    ACCESS_LIST,
    DYNAMIC_FEE,
    LEGACY,
    check_chain,
    decode_transaction,
    decode_transaction_item,
    sender_or_refuse,
)
from primitives import rlp
from primitives.errors import InvalidTransaction
from primitives.secp256k1 import ORDER
from tests.chain.ledger_world import ADDRESSES, CHAIN_ID, KEYS, signed

TYPES = (LEGACY, ACCESS_LIST, DYNAMIC_FEE)
ACCESS = ((ADDRESSES[2], (1, 2**256 - 1)), (ADDRESSES[2], ()), (ADDRESSES[2], (1,)))

# Where the fields stand in the lists of the three types.
FIELDS = {
    LEGACY: ["nonce", "fee", "gas", "to", "value", "data", "v", "r", "s"],
    ACCESS_LIST: ["chain", "nonce", "fee", "gas", "to", "value", "data", "access", "v", "r", "s"],
    DYNAMIC_FEE: ["chain", "nonce", "tip", "fee", "gas", "to", "value", "data", "access", "v", "r", "s"],
}


def items_of(encoded: bytes) -> list[Any]:
    items = rlp.decode(encoded if encoded[0] >= 0xC0 else encoded[1:])
    assert isinstance(items, list)
    return items


def with_item(kind: int, name: str, item: object) -> bytes:
    """A transaction of that type with one field as given."""
    items = items_of(signed(KEYS[0], type=kind).encoded)
    items[FIELDS[kind].index(name)] = item
    return (bytes((kind,)) if kind else b"") + rlp.encode(items)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("to", [ADDRESSES[1], None])
def test_what_is_signed_comes_back(kind: int, to: bytes | None) -> None:
    transaction = signed(KEYS[0], type=kind, to=to, nonce=7, value=9, data=b"\x00\x01", access_list=ACCESS[: kind * 3])
    decoded = decode_transaction(transaction.encoded)
    assert decoded == transaction
    assert replace(decoded, _encoded=None, _hash=None, _sender=None) == transaction
    assert (decoded.sender, decoded.access_list) == (ADDRESSES[0], ACCESS[: kind * 3])


@pytest.mark.parametrize("kind", TYPES)
def test_in_a_block_a_legacy_transaction_is_a_list_and_others_are_strings(kind: int) -> None:
    transaction = signed(KEYS[0], type=kind)
    item = rlp.decode(transaction.encoded) if kind == LEGACY else transaction.encoded
    assert decode_transaction_item(item) == transaction
    other = transaction.encoded if kind == LEGACY else items_of(transaction.encoded)
    with pytest.raises(InvalidTransaction):
        decode_transaction_item(other)


NUMBERS = [(kind, name) for kind in TYPES for name in FIELDS[kind] if name not in ("to", "data", "access")]


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("item", [b"\x00", b"\x00\x01", [], b"\x01" * 33])
def test_a_field_that_is_no_number_is_refused(kind: int, name: str, item: object) -> None:
    with pytest.raises(InvalidTransaction, match="malformed"):
        decode_transaction(with_item(kind, name, item))


@pytest.mark.parametrize(
    ("kind", "name", "item", "reason"),
    [
        (LEGACY, "nonce", b"\x01" * 9, "number of 9 bytes"),
        (DYNAMIC_FEE, "gas", b"\x01" * 9, "number of 9 bytes"),
        (ACCESS_LIST, "chain", b"\x01" * 9, "number of 9 bytes"),
        (LEGACY, "to", bytes(19), "20 bytes"),
        (DYNAMIC_FEE, "to", [], "20 bytes"),
        (DYNAMIC_FEE, "data", [], "data"),
        (LEGACY, "v", b"\x1d", "v is 29"),
        (LEGACY, "v", b"\x01" * 12, "above 64 bits"),
        (DYNAMIC_FEE, "v", b"\x02", "parity is 2"),
        (LEGACY, "r", b"", "out of range"),
        (LEGACY, "s", b"", "out of range"),
        (DYNAMIC_FEE, "r", rlp.encode_int(ORDER), "out of range"),
        (DYNAMIC_FEE, "s", rlp.encode_int(ORDER), "out of range"),
        (DYNAMIC_FEE, "s", rlp.encode_int(ORDER // 2 + 1), "upper half"),
        (LEGACY, "s", rlp.encode_int(ORDER // 2 + 1), "upper half"),
        (ACCESS_LIST, "access", b"", "must be a list"),
        (ACCESS_LIST, "access", [b""], "an address and a list"),
        (ACCESS_LIST, "access", [[bytes(19), []]], "an address and a list"),
        (ACCESS_LIST, "access", [[bytes(20), b""]], "an address and a list"),
        (ACCESS_LIST, "access", [[bytes(20), [bytes(31)]]], "32 bytes"),
        (ACCESS_LIST, "access", [[bytes(20), [[]]]], "32 bytes"),
        (ACCESS_LIST, "access", [[bytes(20), [], []]], "an address and a list"),
        (ACCESS_LIST, "access", [[]] * 200, "more items"),
    ],
)
def test_a_field_out_of_its_bounds_is_refused(kind: int, name: str, item: object, reason: str) -> None:
    with pytest.raises(InvalidTransaction, match=reason):
        decode_transaction(with_item(kind, name, item))


@pytest.mark.parametrize("kind", TYPES)
def test_other_bytes_are_refused(kind: int) -> None:
    encoded = signed(KEYS[0], type=kind).encoded
    fields = items_of(encoded)
    prefix = bytes((kind,)) if kind else b""
    short, long = (prefix + rlp.encode(items) for items in (fields[:-1], [*fields, b""]))
    for data in (b"", encoded[:-1], encoded + b"\x00", short, long, b"\x00" + encoded, b"\x03" + encoded[1:], b"\x7f"):
        with pytest.raises(InvalidTransaction):
            decode_transaction(data)


def test_blobs_are_not_part_of_the_ledger() -> None:
    with pytest.raises(InvalidTransaction, match="type 3 is not accepted"):
        decode_transaction(b"\x03\xc0")


@pytest.mark.parametrize("chain_id", [CHAIN_ID + 1, 0, None])
def test_another_chain_or_none_is_refused(chain_id: int | None) -> None:
    transaction = decode_transaction(signed(KEYS[0], type=LEGACY, chain_id=chain_id).encoded)
    with pytest.raises(InvalidTransaction, match="chain"):
        check_chain(transaction, CHAIN_ID)


def test_a_signature_that_fits_no_key_is_refused() -> None:
    transaction = decode_transaction(with_item(DYNAMIC_FEE, "r", b"\x05"))  # 5 is the x of no point of the curve
    with pytest.raises(InvalidTransaction, match="not valid"):
        sender_or_refuse(transaction)


@given(st.sampled_from(TYPES), st.data())
def test_damaged_bytes_are_refused_or_canonical(kind: int, data: st.DataObject) -> None:
    encoded = bytearray(signed(KEYS[0], type=kind, access_list=ACCESS if kind else ()).encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        transaction = decode_transaction(bytes(encoded))
        sender_or_refuse(transaction)
    except InvalidTransaction:
        return
    assert replace(transaction, _encoded=None).encoded == bytes(encoded)
