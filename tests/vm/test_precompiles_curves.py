"""Precompiled contracts 0x06, 0x07, 0x08 and 0x0a against py_ecc and c-kzg, which know nothing of our arithmetic."""

import hashlib
import random
import sys
from functools import cache
from importlib.resources import files

import ckzg
import pytest

from vm.errors import PrecompileFailure
from vm.precompiles import PRECOMPILES, bls12_381, bn128, point_evaluation
from vm.precompiles.curve import Point, multiply, negate
from vm.precompiles.tower import ONE12

# py_ecc raises Python's recursion limit when it is loaded; other tests count on the default.
_LIMIT = sys.getrecursionlimit()
from py_ecc import optimized_bls12_381, optimized_bn128  # noqa: E402

sys.setrecursionlimit(_LIMIT)

G1 = (1, 2)
ONE, ZERO = (1).to_bytes(32, "big"), bytes(32)


def encode_g1(point: Point) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in point or (0, 0))


def encode_g2(point: object) -> bytes:
    """A py_ecc point of the twist as the precompile reads it: imaginary parts first."""
    if optimized_bn128.is_inf(point):
        return bytes(128)
    x, y = optimized_bn128.normalize(point)
    return b"".join(int(part).to_bytes(32, "big") for value in (x, y) for part in reversed(value.coeffs))


def their_g1(scalar: int) -> Point:
    point = optimized_bn128.multiply(optimized_bn128.G1, scalar)
    return None if optimized_bn128.is_inf(point) else tuple(int(value) for value in optimized_bn128.normalize(point))


def g2(scalar: int) -> bytes:
    return encode_g2(optimized_bn128.multiply(optimized_bn128.G2, scalar))


def run(number: int, data: bytes) -> bytes:
    return PRECOMPILES[number.to_bytes(20, "big")].run(data)


def test_gas() -> None:
    gas = {number: PRECOMPILES[number.to_bytes(20, "big")].gas(bytes(384)) for number in (6, 7, 8, 10)}
    assert gas == {6: 150, 7: 6_000, 8: 45_000 + 2 * 34_000, 10: 50_000}


def test_addition_and_multiplication_agree_with_py_ecc() -> None:
    source = random.Random(1)
    for _ in range(20):
        a, b = source.randrange(bn128.ORDER), source.randrange(bn128.ORDER)
        left, right = encode_g1(their_g1(a)), encode_g1(their_g1(b))
        assert run(6, left + right) == encode_g1(their_g1((a + b) % bn128.ORDER))
        assert run(7, left + b.to_bytes(32, "big")) == encode_g1(their_g1(a * b % bn128.ORDER))


@pytest.mark.parametrize("scalar", [0, 1, 2, 3, bn128.ORDER - 1, bn128.ORDER, bn128.ORDER + 1, 2**256 - 1])
def test_multiplication_at_the_edges(scalar: int) -> None:
    expected = encode_g1(their_g1(scalar % bn128.ORDER))
    assert run(7, encode_g1(G1) + scalar.to_bytes(32, "big")) == expected


def test_addition_at_the_edges() -> None:
    point, opposite = encode_g1(G1), encode_g1(negate(G1, bn128.PRIME))
    assert run(6, b"") == bytes(64)
    assert run(6, point) == point
    assert run(6, bytes(64) + point) == point
    assert run(6, point + opposite) == bytes(64)
    assert run(6, point + point + b"ignored") == encode_g1(their_g1(2))


@pytest.mark.parametrize("bad", [(1, 3), (bn128.PRIME, 0), (1, 2 + bn128.PRIME), (0, 1)])
def test_points_off_the_curve_are_refused(bad: tuple[int, int]) -> None:
    for number, data in ((6, encode_g1(bad)), (7, encode_g1(bad)), (8, encode_g1(bad) + g2(1))):
        with pytest.raises(PrecompileFailure):
            run(number, data)


def test_pairing_is_bilinear() -> None:
    source = random.Random(2)
    a, b, c = (source.randrange(1, bn128.ORDER) for _ in range(3))
    opposite = encode_g1(negate(their_g1(a * b % bn128.ORDER), bn128.PRIME))
    assert run(8, b"") == ONE
    assert run(8, encode_g1(their_g1(a)) + g2(b) + opposite + g2(1)) == ONE
    assert run(8, encode_g1(their_g1(a)) + g2(b) + opposite + g2(c)) == ZERO
    assert run(8, encode_g1(G1) + g2(1)) == ZERO


def test_pairing_of_infinity_is_one() -> None:
    assert run(8, bytes(192)) == ONE
    assert run(8, encode_g1(G1) + bytes(128)) == ONE
    assert run(8, bytes(64) + g2(5)) == ONE


def test_pairing_is_that_of_py_ecc() -> None:
    ours = bn128.product_of_pairings([(G1, bn128.lines_through(_twist_point(optimized_bn128.G2)))])
    assert ours != ONE12
    theirs = optimized_bn128.pairing(optimized_bn128.G2, optimized_bn128.G1)
    # In py_ecc's basis 1, w, ..., w^11 with w^6 = 9 + i, our coefficient (a + b i) w^k is (a - 9 b) w^k + b w^(k + 6).
    low, high = ours
    flat = [0] * 12
    for k in range(6):
        a, b = (low, high)[k % 2][2 * (k // 2) : 2 * (k // 2) + 2]
        flat[k], flat[k + 6] = (a - 9 * b) % bn128.PRIME, b
    assert flat == [int(value) for value in theirs.coeffs]


def _twist_point(point: object) -> tuple[tuple[int, int], tuple[int, int]]:
    x, y = optimized_bn128.normalize(point)
    return tuple(int(part) for part in x.coeffs), tuple(int(part) for part in y.coeffs)


def _outside_g2() -> bytes:
    """A point of the twist whose order is not the curve's: of random ones nearly all are."""
    field = optimized_bn128.FQ2
    prime = bn128.PRIME
    for candidate in range(1, 100):
        x = field([candidate, 1])
        square = x * x * x + optimized_bn128.b2
        # Square root in Fp2 (p = 3 mod 4), by the norm.
        a, b = (int(part) for part in square.coeffs)
        norm = pow(a * a + b * b, (prime + 1) // 4, prime)
        for sign in (norm, -norm):
            half = (a + sign) * pow(2, -1, prime) % prime
            real = pow(half, (prime + 1) // 4, prime)
            if real == 0 or real * real % prime != half:
                continue
            y = field([real, b * pow(2 * real, -1, prime) % prime])
            if y * y == square:
                return encode_g2((x, y, field.one()))
    raise AssertionError("no point found")


def test_points_of_the_twist_outside_g2_are_refused() -> None:
    bad = _outside_g2()
    for first in (encode_g1(G1), bytes(64)):
        with pytest.raises(PrecompileFailure, match="not in G2"):
            run(8, first + bad)


def test_pairing_refuses_what_is_not_whole_points() -> None:
    off_twist = bytearray(g2(1))
    off_twist[-1] ^= 1
    for data in (bytes(191), bytes(193), encode_g1(G1) + bytes(off_twist), encode_g1(G1) + b"\xff" * 128):
        with pytest.raises(PrecompileFailure):
            run(8, data)


# 0x0a


@cache
def trusted_setup() -> object:
    path = files("eth_account") / "typed_transactions/blob_transactions/kzg_trusted_setup.txt"
    return ckzg.load_trusted_setup(str(path), 0)


@cache
def proof_input(z: int, blob_seed: int = 7) -> bytes:
    """What the precompile is asked to verify, for a random blob, made by c-kzg."""
    source = random.Random(blob_seed)
    blob = b"".join(source.randrange(bls12_381.ORDER).to_bytes(32, "big") for _ in range(4096))
    commitment = ckzg.blob_to_kzg_commitment(blob, trusted_setup())
    z_bytes = z.to_bytes(32, "big")
    proof, y = ckzg.compute_kzg_proof(blob, z_bytes, trusted_setup())
    return b"\x01" + hashlib.sha256(commitment).digest()[1:] + z_bytes + y + commitment + proof


ANSWER = (4096).to_bytes(32, "big") + bls12_381.ORDER.to_bytes(32, "big")


@pytest.mark.parametrize("z", [0, 1, 2**200 + 3, bls12_381.ORDER - 1])
def test_proofs_of_c_kzg_hold(z: int) -> None:
    assert run(10, proof_input(z)) == ANSWER


def test_a_constant_polynomial_has_a_proof_at_infinity() -> None:
    blob = (5).to_bytes(32, "big") * 4096
    commitment = ckzg.blob_to_kzg_commitment(blob, trusted_setup())
    proof, y = ckzg.compute_kzg_proof(blob, bytes(32), trusted_setup())
    assert proof[0] == 0xC0
    assert run(10, b"\x01" + hashlib.sha256(commitment).digest()[1:] + bytes(32) + y + commitment + proof) == ANSWER


def _with_commitment(data: bytes, commitment: bytes) -> bytes:
    return b"\x01" + hashlib.sha256(commitment).digest()[1:] + data[32:96] + commitment + data[144:]


@cache
def _forged() -> dict[str, bytes]:
    good, at_zero = proof_input(3), proof_input(0)
    y = int.from_bytes(good[64:96], "big")
    outside_g1 = _outside_g1()
    return {
        "short": good[:-1],
        "long": good + b"\0",
        "version": b"\x02" + good[1:],
        "hash": good[:31] + bytes((good[31] ^ 1,)) + good[32:],
        "z not reduced": good[:32] + (3 + bls12_381.ORDER).to_bytes(32, "big") + good[64:],
        "z is the order": at_zero[:32] + bls12_381.ORDER.to_bytes(32, "big") + at_zero[64:],
        "y not reduced": good[:64] + (y + bls12_381.ORDER).to_bytes(32, "big") + good[96:],
        "another z": good[:63] + b"\x04" + good[64:],
        "another y": good[:95] + bytes((good[95] ^ 1,)) + good[96:],
        "proof mirrored": good[:144] + bytes((good[144] ^ 0x20,)) + good[145:],
        "proof at infinity": good[:144] + b"\xc0" + bytes(47),
        "infinity with a sign": good[:144] + b"\xe0" + bytes(47),
        "infinity with an x": good[:144] + b"\xc0" + bytes(46) + b"\x01",
        "proof not compressed": good[:144] + bytes((good[144] & 0x7F,)) + good[145:],
        "proof x not reduced": good[:144] + b"\x9f" + b"\xff" * 47,
        "proof outside G1": good[:144] + outside_g1,
        "commitment outside G1": _with_commitment(good, outside_g1),
        "commitment not on the curve": _with_commitment(good, b"\x80" + bytes(46) + b"\x01"),
    }


def _outside_g1() -> bytes:
    """A point of the curve that is not in G1, compressed."""
    prime = bls12_381.PRIME
    for x in range(1, 100):
        square = (x**3 + 4) % prime
        y = pow(square, (prime + 1) // 4, prime)
        if y * y % prime == square and multiply((x, y), bls12_381.ORDER, prime) is not None:
            return bytes((0x80 | (0x20 if y > prime // 2 else 0),)) + x.to_bytes(47, "big")
    raise AssertionError("no point found")


FORGERIES = ("short", "long", "version", "hash", "z not reduced", "z is the order", "y not reduced",
             "another z", "another y",
             "proof mirrored", "proof at infinity", "infinity with a sign", "infinity with an x",
             "proof not compressed", "proof x not reduced", "proof outside G1", "commitment outside G1",
             "commitment not on the curve")  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_proofs_are_refused(forgery: str) -> None:
    with pytest.raises(PrecompileFailure):
        run(10, _forged()[forgery])


def test_every_forgery_is_tried() -> None:
    assert set(FORGERIES) == set(_forged())


def test_points_outside_g1_are_told_from_wrong_proofs() -> None:
    with pytest.raises(ValueError, match="not in G1"):
        bls12_381.decode_g1(_outside_g1())


def test_the_constants_are_those_of_the_trusted_setup() -> None:
    path = files("eth_account") / "typed_transactions/blob_transactions/kzg_trusted_setup.txt"
    tau_g2 = bytes.fromhex(path.read_text().split()[2 + 4096 + 1])
    (x, y) = point_evaluation._TAU_G2
    sign = 0x20 if (y[1], y[0]) > (-y[1] % bls12_381.PRIME, -y[0] % bls12_381.PRIME) else 0
    assert tau_g2 == bytes((x[1] >> 376 | 0x80 | sign,)) + (x[1] % 2**376).to_bytes(47, "big") + x[0].to_bytes(
        48, "big"
    )
    generator = optimized_bls12_381.normalize(optimized_bls12_381.G2)
    assert tuple(tuple(int(part) for part in value.coeffs) for value in generator) == point_evaluation._G2
