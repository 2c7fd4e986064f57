"""Precompiled contracts 0x01 to 0x05 and 0x09: answers, gas, short, long and hostile input."""

import hashlib
from contextlib import suppress

import pytest
from Crypto.Hash import RIPEMD160
from hypothesis import given
from hypothesis import strategies as st

from primitives import secp256k1
from vm.errors import PrecompileFailure
from vm.precompiles import PRECOMPILES, blake2, modexp

KEY = bytes(31) + b"\x07"


def precompile(number: int) -> tuple[object, object]:
    return PRECOMPILES[number.to_bytes(20, "big")]


def test_there_are_ten() -> None:
    assert list(PRECOMPILES) == [number.to_bytes(20, "big") for number in range(1, 11)]


@given(st.integers(1, 10), st.binary(max_size=300))
def test_garbage_is_answered_or_refused(number: int, data: bytes) -> None:
    contract = PRECOMPILES[number.to_bytes(20, "big")]
    if contract.gas(data) > 100_000:
        return
    with suppress(PrecompileFailure):
        assert isinstance(contract.run(data), bytes)


# 0x01


def _recovery_input() -> bytes:
    message_hash = hashlib.sha256(b"a reading").digest()
    y_parity, r, s = secp256k1.sign(message_hash, KEY)
    return message_hash + (27 + y_parity).to_bytes(32, "big") + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_recovery_gives_the_signer_and_ignores_what_follows() -> None:
    gas, run = precompile(1)
    expected = bytes(12) + secp256k1.address_of(KEY)
    assert run(_recovery_input()) == expected
    assert run(_recovery_input() + b"more") == expected
    assert gas(b"") == 3_000


def test_recovery_accepts_the_upper_half_of_s() -> None:
    data = bytearray(_recovery_input())
    data[63] ^= 27 ^ 28
    data[96:] = (secp256k1.ORDER - int.from_bytes(data[96:], "big")).to_bytes(32, "big")
    assert precompile(1)[1](bytes(data)) == bytes(12) + secp256k1.address_of(KEY)


@pytest.mark.parametrize(("position", "value"), [(63, 29), (63, 26), (32, 1)])
def test_recovery_with_a_wrong_v_gives_nothing(position: int, value: int) -> None:
    data = bytearray(_recovery_input())
    data[position] = value
    assert precompile(1)[1](bytes(data)) == b""


@pytest.mark.parametrize("start", [64, 96])
@pytest.mark.parametrize("value", [0, secp256k1.ORDER, 2**256 - 1])
def test_recovery_with_r_or_s_out_of_range_gives_nothing(start: int, value: int) -> None:
    data = bytearray(_recovery_input())
    data[start : start + 32] = value.to_bytes(32, "big")
    assert precompile(1)[1](bytes(data)) == b""


# 0x02 to 0x04


@pytest.mark.parametrize(("length", "words"), [(0, 0), (1, 1), (32, 1), (33, 2)])
def test_hashes_and_identity(length: int, words: int) -> None:
    data = bytes(range(length))
    for number, base, word, expected in (
        (2, 60, 12, hashlib.sha256(data).digest()),
        (3, 600, 120, bytes(12) + RIPEMD160.new(data).digest()),
        (4, 15, 3, data),
    ):
        gas, run = precompile(number)
        assert gas(data) == base + word * words
        assert run(data) == expected


# 0x05


def modexp_input(base: bytes, exponent: bytes, modulus: bytes) -> bytes:
    lengths = [len(part).to_bytes(32, "big") for part in (base, exponent, modulus)]
    return b"".join(lengths) + base + exponent + modulus


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_modexp_is_pow(base: bytes, exponent: bytes, modulus: bytes) -> None:
    number = int.from_bytes(modulus, "big")
    value = pow(int.from_bytes(base, "big"), int.from_bytes(exponent, "big"), number) if number else 0
    assert modexp.run(modexp_input(base, exponent, modulus)) == value.to_bytes(len(modulus), "big")


def test_modexp_of_input_cut_short_reads_zeros() -> None:
    data = modexp_input(b"\x03", b"\x02\x00", b"\x00\x07")
    # 3^512 mod 0x0000, then mod 0x0700 once the last byte is cut
    assert modexp.run(data[:-2] + b"\x07") == (pow(3, 512, 0x700)).to_bytes(2, "big")
    assert modexp.run(data[:-2]) == bytes(2)


@pytest.mark.parametrize(
    ("base", "exponent", "modulus", "gas"),
    [
        (b"", b"", b"", 200),
        (b"\x03", b"\xff" * 32, b"\xff" * 32, 1_360),  # 4 words squared * 255 / 3
        (b"\x03", b"\x01" + bytes(32), b"\xff" * 32, 1_365),  # 16 * (8 * 1 + 248) / 3, of EIP-2565
        (b"\xff" * 64, b"\x03", b"\xff" * 64, 200),
        (b"\xff" * 256, b"\x01\x00\x01", b"\xff" * 256, 5_461),  # as in EIP-2565's table, nagydani-4-pow0x10001
    ],
)
def test_modexp_gas(base: bytes, exponent: bytes, modulus: bytes, gas: int) -> None:
    assert modexp.gas(modexp_input(base, exponent, modulus)) == gas


@pytest.mark.parametrize("huge", [0, 1, 2])
def test_lengths_beyond_all_memory_are_priced_before_anything_is_built(huge: int) -> None:
    lengths = [1, 1, 1]
    lengths[huge] = 2**256 - 1
    data = b"".join(length.to_bytes(32, "big") for length in lengths) + b"\x02\x02\x02"
    assert modexp.gas(data) > 2**200


def test_a_huge_exponent_of_nothing_costs_the_least() -> None:
    data = bytes(32) + (2**256 - 1).to_bytes(32, "big") + bytes(32)
    assert modexp.gas(data) == 200
    assert modexp.run(data) == b""


# 0x09


def blake2_input(rounds: int = 12, final: int = 1) -> bytes:
    """F on the only block of BLAKE2b("abc")."""
    state = list(blake2._INITIAL)
    state[0] ^= 0x01010040
    words = b"".join(word.to_bytes(8, "little") for word in state)
    counter = (3).to_bytes(8, "little") + bytes(8)
    return rounds.to_bytes(4, "big") + words + b"abc".ljust(128, b"\0") + counter + bytes((final,))


@pytest.mark.parametrize("run", [blake2.run, blake2.compress])
def test_blake2(run: object) -> None:
    assert run(blake2_input()) == hashlib.blake2b(b"abc").digest()


def test_blake2_vectors_of_the_eip() -> None:
    """EIP-152, vectors 4 (no rounds), 6 (not final) and 7 (one round)."""
    for data, start in (
        (blake2_input(0), "08c9bcf367e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5"),
        (blake2_input(12, 0), "75ab69d3190a562c51aef8d88f1c2775876944407270c42c9844252c26d28752"),
        (blake2_input(1), "b63a380cb2897d521994a85234ee2c181b5f844d2c624c002677e9703449d2fb"),
    ):
        assert blake2.compress(data).hex().startswith(start)
        assert blake2.run(data) == blake2.compress(data)


def test_blake2_gas_is_the_rounds() -> None:
    assert blake2.gas(blake2_input(2**32 - 1)) == 2**32 - 1
    assert blake2.gas(blake2_input(2**32 - 1) + b"\0") == 0


@pytest.mark.parametrize("data", [b"", blake2_input()[:-1], blake2_input() + b"\0", blake2_input(final=2)])
def test_blake2_refuses_other_forms(data: bytes) -> None:
    with pytest.raises(PrecompileFailure):
        blake2.run(data)
