"""Receipts in the form that the receipts root commits to, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.receipt import Receipt, decode_consensus_receipts
from primitives import rlp
from primitives.errors import InvalidBlock, InvalidRlp
from vm.host import Log

LOGS = st.builds(
    Log,
    st.binary(min_size=20, max_size=20),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    st.binary(max_size=70),
)
RECEIPTS = st.builds(
    Receipt,
    st.sampled_from((0, 1, 2)),
    st.booleans(),
    st.integers(0, 2**63),
    st.lists(LOGS, max_size=3).map(tuple),
    st.just(0),
)


@given(st.lists(RECEIPTS, max_size=4))
def test_receipts_come_back_as_they_were(receipts: list[Receipt]) -> None:
    encoded = [receipt.encode() for receipt in receipts]
    decoded = decode_consensus_receipts(encoded)
    assert [receipt.encode() for receipt in decoded] == encoded
    assert [receipt.logs for receipt in decoded] == [receipt.logs for receipt in receipts]


def test_gas_of_each_follows_from_those_before() -> None:
    encoded = [Receipt(2, True, total, (), 0).encode() for total in (21_000, 50_000)]
    assert [receipt.gas_used for receipt in decode_consensus_receipts(encoded)] == [21_000, 29_000]


@given(st.binary(max_size=40))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises((InvalidBlock, InvalidRlp)):
        decode_consensus_receipts([garbage])


def test_a_receipt_has_its_four_fields() -> None:
    bloom = bytes(256)
    for wrong in ([b"", b"", bloom], [b"", b"", bloom, b""], [b"", [], bloom, []], [b"", b"", bloom, [[]]]):
        with pytest.raises((InvalidBlock, InvalidRlp)):
            decode_consensus_receipts([rlp.encode(wrong)])
