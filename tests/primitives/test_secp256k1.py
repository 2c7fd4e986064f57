"""Signatures and addresses: known keys, eth-account's own signatures, and numbers out of range."""

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from primitives import secp256k1
from primitives.errors import InvalidSignature

private_keys = st.integers(min_value=1, max_value=secp256k1.ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def test_the_address_of_a_known_key() -> None:
    # The key of Ethereum's own examples: keccak-256 of "cow".
    private_key = bytes.fromhex("c85ef7d79691fe79573b1a7064c19c1a9819ebdbd1faaab1a8ec92344438aaf4")
    assert secp256k1.address_of(private_key).hex() == "cd2a3d9f938e13cd947ec05abc7fe734df8dd826"


@given(private_keys, st.binary(min_size=32, max_size=32))
def test_a_signature_leads_back_to_its_address(private_key: bytes, message_hash: bytes) -> None:
    y_parity, r, s = secp256k1.sign(message_hash, private_key)
    assert s <= secp256k1.HALF_ORDER
    assert secp256k1.recover_address(message_hash, y_parity, r, s) == secp256k1.address_of(private_key)
    assert secp256k1.recover(message_hash, y_parity, r, s) == secp256k1.public_key(private_key)


@given(private_keys, st.binary(min_size=32, max_size=32))
def test_signatures_are_those_of_eth_account(private_key: bytes, message_hash: bytes) -> None:
    theirs = Account.unsafe_sign_hash(message_hash, private_key)
    assert secp256k1.sign(message_hash, private_key) == (theirs.v - 27, theirs.r, theirs.s)


def test_the_upper_half_of_s_recovers_but_is_no_ledger_signature() -> None:
    y_parity, r, s = secp256k1.sign(b"\x11" * 32, b"\x22" * 32)
    mirrored = (1 - y_parity, r, secp256k1.ORDER - s)
    assert secp256k1.recover(b"\x11" * 32, *mirrored) == secp256k1.public_key(b"\x22" * 32)
    with pytest.raises(InvalidSignature, match="upper half"):
        secp256k1.recover_address(b"\x11" * 32, *mirrored)


@pytest.mark.parametrize(
    ("y_parity", "r", "s"),
    [(0, 0, 1), (0, 1, 0), (2, 1, 1), (-1, 1, 1), (0, secp256k1.ORDER, 1), (0, 1, secp256k1.ORDER), (0, 2**256, 1)],
)
def test_numbers_out_of_range_are_refused(y_parity: int, r: int, s: int) -> None:
    with pytest.raises(InvalidSignature, match="out of range"):
        secp256k1.recover(bytes(32), y_parity, r, s)


def test_an_r_that_is_on_no_point_is_refused() -> None:
    # x = 5 is on no point of the curve.
    with pytest.raises(InvalidSignature, match="no public key fits"):
        secp256k1.recover(b"\x01" * 32, 0, 5, 1)


@pytest.mark.parametrize(
    ("key", "is_valid"),
    [
        (bytes(32), False),
        (b"\x01", False),
        (b"\x01" * 33, False),
        (secp256k1.ORDER.to_bytes(32, "big"), False),
        ((secp256k1.ORDER - 1).to_bytes(32, "big"), True),
        (b"\x01" * 32, True),
    ],
)
def test_which_bytes_are_private_keys(key: bytes, is_valid: bool) -> None:
    assert secp256k1.private_key_is_valid(key) is is_valid
