"""The Noise handshake: the cacophony vector byte by byte, altered messages, hostile keys and worn-out ciphers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from p2p.noise import (
    MAX_MESSAGE_BYTES,
    MAX_PLAINTEXT_BYTES,
    PROTOCOL_NAME,
    REKEY_NONCE,
    TAG_BYTES,
    CipherState,
    HandshakeState,
    InvalidNoise,
    NonceExhausted,
    SymmetricState,
)
from tests.conformance.vectors import vectors_root

VECTORS = vectors_root() / "noise" / "cacophony_xx_ik.json"

# All points of order 1, 2, 4 and 8 on the curve and its twist, canonical and not (RFC 7748, section 6.1).
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def key(number: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def party(initiator: bool, prologue: bytes = b"chain") -> HandshakeState:
    """One side with keys that are always the same."""
    static, ephemeral = (key(1), key(2)) if initiator else (key(3), key(4))
    return HandshakeState(initiator, prologue, static, lambda: ephemeral)


def completed(alter_message: int | None = None, position: int = 0, mask: int = 0) -> bool:
    """Whether a handshake ends well at both sides when one byte of one message is changed on the way."""
    parties = (party(True), party(False))
    for index in range(3):
        writer, reader = parties[index % 2], parties[1 - index % 2]
        message = bytearray(writer.write_message(b"payload" if index else b""))
        if index == alter_message:
            message[position] ^= mask
        try:
            reader.read_message(bytes(message))
        except InvalidNoise:
            return False
    return True


def vectors() -> Iterator[dict[str, Any]]:
    if VECTORS.is_file():
        for vector in json.loads(VECTORS.read_text()):
            if vector["protocol_name"].encode() == PROTOCOL_NAME:
                yield vector


@pytest.mark.skipif(not VECTORS.is_file(), reason=f"the Noise vectors are not at {VECTORS} (WATTCHAIN_VECTORS)")
def test_the_official_vector_byte_by_byte() -> None:
    checked = 0
    for vector in vectors():
        sides = []
        for role, initiator in (("init", True), ("resp", False)):
            static, ephemeral = (
                X25519PrivateKey.from_private_bytes(bytes.fromhex(vector[f"{role}_{kind}"]))
                for kind in ("static", "ephemeral")
            )
            prologue = bytes.fromhex(vector[f"{role}_prologue"])
            sides.append(HandshakeState(initiator, prologue, static, lambda chosen=ephemeral: chosen))
        messages = [(bytes.fromhex(row["payload"]), bytes.fromhex(row["ciphertext"])) for row in vector["messages"]]
        for index, (payload, ciphertext) in enumerate(messages[:3]):
            assert sides[index % 2].write_message(payload) == ciphertext
            assert sides[1 - index % 2].read_message(ciphertext) == payload
        for side in sides:
            assert side.handshake_hash == bytes.fromhex(vector["handshake_hash"])
        ciphers = [side.split() for side in sides]
        for index, (payload, ciphertext) in enumerate(messages[3:], start=3):
            assert ciphers[index % 2][0].encrypt_with_ad(b"", payload) == ciphertext
            assert ciphers[1 - index % 2][1].decrypt_with_ad(b"", ciphertext) == payload
        checked += 1
    assert checked == 1


def test_both_sides_learn_each_others_static_key() -> None:
    initiator, responder = party(True), party(False)
    responder.read_message(initiator.write_message(b""))
    initiator.read_message(responder.write_message(b""))
    responder.read_message(initiator.write_message(b""))
    assert initiator.remote_static == key(3).public_key().public_bytes_raw()
    assert responder.remote_static == key(1).public_key().public_bytes_raw()


def test_any_altered_byte_ends_the_handshake() -> None:
    assert completed()
    sizes = [32, 32 + 48 + 7 + 16, 48 + 7 + 16]
    survived = [
        (message, position)
        for message, size in enumerate(sizes)
        for position in range(size)
        for mask in (0x01, 0x80)
        if completed(message, position, mask)
    ]
    assert survived == []


@given(st.integers(0, 2), st.data())
def test_any_truncated_or_extended_message_ends_the_handshake(index: int, data: st.DataObject) -> None:
    parties = (party(True), party(False))
    for earlier in range(index):
        parties[1 - earlier % 2].read_message(parties[earlier % 2].write_message(b""))
    message = parties[index % 2].write_message(b"")
    changed = data.draw(st.integers(0, len(message) - 1).map(lambda end: message[:end]) | st.just(message + b"\0"))
    reader = parties[1 - index % 2]
    if index == 0 and len(changed) > 32:
        # The first payload is not protected yet; that it was altered shows in the next message.
        reader.read_message(changed)
        with pytest.raises(InvalidNoise):
            parties[0].read_message(reader.write_message(b""))
        return
    with pytest.raises(InvalidNoise):
        reader.read_message(changed)


@given(st.binary(max_size=300))
def test_garbage_is_refused_as_the_second_message(garbage: bytes) -> None:
    initiator = party(True)
    initiator.write_message(b"")
    with pytest.raises(InvalidNoise):
        initiator.read_message(garbage)


def test_different_prologues_never_agree() -> None:
    initiator, responder = party(True, b"chain 1"), party(False, b"chain 2")
    responder.read_message(initiator.write_message(b""))
    with pytest.raises(InvalidNoise, match="not authentic"):
        initiator.read_message(responder.write_message(b""))


@pytest.mark.parametrize("point", LOW_ORDER)
@pytest.mark.parametrize("high_bit", [0, 0x80])
def test_keys_of_low_order_are_refused(point: str, high_bit: int) -> None:
    public = bytearray.fromhex(point)
    public[31] |= high_bit
    responder = party(False)
    responder.read_message(bytes(public))
    with pytest.raises(InvalidNoise, match="low order"):
        responder.write_message(b"")


def test_a_refused_handshake_stays_refused() -> None:
    initiator, responder = party(True), party(False)
    responder.read_message(initiator.write_message(b""))
    good = responder.write_message(b"")
    with pytest.raises(InvalidNoise):
        initiator.read_message(good[:-1] + b"\0")
    with pytest.raises(InvalidNoise, match="was refused"):
        initiator.read_message(good)
    assert not initiator.is_my_turn
    assert not initiator.is_finished


def test_messages_out_of_turn_are_mistakes_of_ours() -> None:
    with pytest.raises(RuntimeError, match="turn"):
        party(False).write_message(b"")
    with pytest.raises(RuntimeError, match="turn"):
        party(True).read_message(b"")
    with pytest.raises(RuntimeError, match="not finished"):
        party(True).split()


def test_a_handshake_message_has_at_most_65535_bytes() -> None:
    assert len(party(True).write_message(bytes(MAX_MESSAGE_BYTES - 32))) == MAX_MESSAGE_BYTES
    with pytest.raises(InvalidNoise, match="at most 65535"):
        party(True).write_message(bytes(MAX_MESSAGE_BYTES - 31))
    with pytest.raises(InvalidNoise, match="at most 65535"):
        party(False).read_message(bytes(MAX_MESSAGE_BYTES + 1))
    assert MAX_PLAINTEXT_BYTES + TAG_BYTES == MAX_MESSAGE_BYTES


def cipher_pair() -> tuple[CipherState, CipherState]:
    pair = (CipherState(), CipherState())
    for cipher in pair:
        cipher.initialize_key(bytes(range(32)))
    return pair


def test_the_last_nonce_is_never_used() -> None:
    sender, receiver = cipher_pair()
    sender.nonce = receiver.nonce = REKEY_NONCE - 1
    assert receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", b"the last")) == b"the last"
    with pytest.raises(NonceExhausted):
        sender.encrypt_with_ad(b"", b"one more")
    with pytest.raises(NonceExhausted):
        receiver.decrypt_with_ad(b"", bytes(16))


def test_a_refused_message_does_not_use_up_its_number() -> None:
    sender, receiver = cipher_pair()
    ciphertext = sender.encrypt_with_ad(b"", b"reading")
    with pytest.raises(InvalidNoise):
        receiver.decrypt_with_ad(b"other", ciphertext)
    assert receiver.decrypt_with_ad(b"", ciphertext) == b"reading"
    with pytest.raises(InvalidNoise):
        receiver.decrypt_with_ad(b"", ciphertext)


def test_after_a_rekey_both_sides_go_on_and_the_old_key_is_useless() -> None:
    sender, receiver = cipher_pair()
    stale, _ = cipher_pair()
    sender.rekey()
    receiver.rekey()
    ciphertext = sender.encrypt_with_ad(b"", b"reading")
    with pytest.raises(InvalidNoise):
        stale.decrypt_with_ad(b"", ciphertext)
    assert receiver.decrypt_with_ad(b"", ciphertext) == b"reading"
    assert sender.nonce == 1


def test_without_a_key_bytes_pass_as_they_are() -> None:
    cipher = CipherState()
    assert not cipher.has_key()
    assert cipher.encrypt_with_ad(b"", b"open") == cipher.decrypt_with_ad(b"", b"open") == b"open"
    with pytest.raises(RuntimeError, match="without a key"):
        cipher.rekey()


def test_a_long_protocol_name_is_hashed() -> None:
    assert SymmetricState(b"x" * 32).handshake_hash == b"x" * 32
    assert SymmetricState(b"x" * 31).handshake_hash == b"x" * 31 + b"\0"
    assert SymmetricState(b"x" * 33).handshake_hash != b"x" * 32
