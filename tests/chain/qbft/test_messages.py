"""The messages' one encoding, and what their signatures bind."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.consensus.qbft.messages import (
    MAX_BLOCK_BYTES,
    MAX_MESSAGE_BYTES,
    Commit,
    InvalidConsensusMessage,
    Message,
    Prepare,
    Prepared,
    Proposal,
    RoundChange,
    decode_message,
    encode_message,
)
from chain.consensus.qbft.signing import PREFIX, Authenticator, Domain, KeySigner, recover_signer
from chain.consensus.qbft.validators import MAX_VALIDATORS, ValidatorSet
from primitives import rlp
from primitives.errors import InvalidSignature
from primitives.keccak import keccak256

hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=65, max_size=65)
rounds = st.integers(0, 2**32 - 1)
heights = st.integers(0, 2**64 - 1)
prepared = st.none() | st.builds(Prepared, rounds, hashes)
several = st.lists(signatures, max_size=4).map(tuple)


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    height, round_ = draw(heights), draw(rounds)
    changes = draw(st.lists(st.builds(RoundChange, st.just(height), st.just(round_), prepared, signatures), max_size=3))
    return Proposal(height, round_, draw(hashes), draw(signatures), draw(st.binary()), tuple(changes), draw(several))


messages = st.one_of(
    st.builds(Prepare, heights, rounds, hashes, signatures),
    st.builds(Commit, heights, rounds, hashes, signatures),
    st.builds(RoundChange, heights, rounds, prepared, signatures, several, st.binary()),
    proposals(),
)

SIGNATURE = bytes(65)
BLOCK_HASH = bytes(32)
PREPARE_ITEMS: list[object] = [b"\x02", b"\x05", b"\x01", BLOCK_HASH, SIGNATURE]


@given(messages)
def test_a_message_survives_its_encoding(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(messages, st.data())
def test_a_changed_message_is_refused_or_encodes_as_it_came(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_message(bytes(encoded))
    except InvalidConsensusMessage:
        return
    assert encode_message(decoded) == bytes(encoded)


@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    try:
        decoded = decode_message(garbage)
    except InvalidConsensusMessage:
        return
    assert encode_message(decoded) == garbage


@pytest.mark.parametrize(
    "items",
    [
        PREPARE_ITEMS[:4],
        [*PREPARE_ITEMS, b""],
        [b"\x05", *PREPARE_ITEMS[1:]],
        [b"", *PREPARE_ITEMS[1:]],
        [b"\x02", bytes(9), *PREPARE_ITEMS[2:]],
        [b"\x02", b"\x05", b"\x01" * 5, *PREPARE_ITEMS[3:]],
        [b"\x02", b"\x05", b"\x00", *PREPARE_ITEMS[3:]],
        [*PREPARE_ITEMS[:3], bytes(31), SIGNATURE],
        [*PREPARE_ITEMS[:3], [], SIGNATURE],
        [*PREPARE_ITEMS[:4], bytes(64)],
        [b"\x04", b"\x05", b"\x01", [b"\x01"], SIGNATURE, b"", []],
        [b"\x04", b"\x05", b"\x01", [], SIGNATURE, [], []],
        [b"\x04", b"\x05", b"\x01", [], SIGNATURE, b"", [SIGNATURE] * (MAX_VALIDATORS + 1)],
        [b"\x01", b"\x05", b"\x01", BLOCK_HASH, SIGNATURE, b"", [[[], SIGNATURE, b""]], []],
        [b"\x01", b"\x05", b"\x01", BLOCK_HASH, SIGNATURE, b"", [[[], SIGNATURE]] * (MAX_VALIDATORS + 1), []],
        [b"\x01", b"\x05", b"\x01", BLOCK_HASH, SIGNATURE, bytes(MAX_BLOCK_BYTES + 1), [], []],
    ],
)
def test_a_wrong_form_is_refused(items: list[object]) -> None:
    with pytest.raises(InvalidConsensusMessage):
        decode_message(rlp.encode(items))


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(InvalidConsensusMessage, match="at most"):
        decode_message(bytes(MAX_MESSAGE_BYTES + 1))


def test_the_largest_message_fits() -> None:
    change = RoundChange(2**64 - 1, 2**32 - 1, Prepared(2**32 - 2, BLOCK_HASH), SIGNATURE)
    proposal = Proposal(
        change.height,
        change.round,
        BLOCK_HASH,
        SIGNATURE,
        bytes(MAX_BLOCK_BYTES),
        (change,) * MAX_VALIDATORS,
        (SIGNATURE,) * MAX_VALIDATORS,
    )
    assert decode_message(encode_message(proposal)) == proposal


def test_a_signature_binds_chain_kind_height_round_and_claim() -> None:
    domain = Domain(1, bytes(32))
    claims = [
        domain.digest(Prepare(1, 2, BLOCK_HASH)),
        domain.digest(Commit(1, 2, BLOCK_HASH)),
        domain.digest(Proposal(1, 2, BLOCK_HASH)),
        domain.digest(Prepare(2, 2, BLOCK_HASH)),
        domain.digest(Prepare(1, 3, BLOCK_HASH)),
        domain.digest(Prepare(1, 2, b"\x01" * 32)),
        domain.digest(RoundChange(1, 2, None)),
        domain.digest(RoundChange(1, 2, Prepared(0, BLOCK_HASH))),
        domain.digest(RoundChange(1, 2, Prepared(1, BLOCK_HASH))),
        Domain(2, bytes(32)).digest(Prepare(1, 2, BLOCK_HASH)),
        Domain(1, b"\x01" * 32).digest(Prepare(1, 2, BLOCK_HASH)),
        Domain(1, bytes(32), ((1, ValidatorSet.of([bytes(20)])),)).digest(Prepare(1, 2, BLOCK_HASH)),
        Domain(1, bytes(32), ((1, ValidatorSet.of([b"\x01" * 20])),)).digest(Prepare(1, 2, BLOCK_HASH)),
    ]
    assert len(set(claims)) == len(claims)
    content = rlp.encode([b"\x01", bytes(32), b"\x02", b"\x01", b"\x02", BLOCK_HASH])
    assert claims[0] == keccak256(PREFIX + content)


def test_what_justifies_a_message_is_not_signed() -> None:
    domain = Domain(1, bytes(32))
    change = RoundChange(1, 2, Prepared(1, BLOCK_HASH), b"", (SIGNATURE,), b"block")
    assert domain.digest(change) == domain.digest(change.without_proof())


def test_keys_sign_and_are_recovered() -> None:
    signer = KeySigner(b"\x07" * 32)
    authenticator = Authenticator(Domain(1, bytes(32)))
    message = authenticator.signed(Prepare(1, 0, BLOCK_HASH), signer)
    assert authenticator.sender(message) == signer.address
    assert authenticator.sender(replace(message, round=1)) != signer.address


def test_malformed_signatures_are_refused() -> None:
    for signature in (b"", bytes(64), bytes(65), b"\x01" * 64 + b"\x02", b"\xff" * 65):
        with pytest.raises(InvalidSignature):
            recover_signer(bytes(32), signature)
