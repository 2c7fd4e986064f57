"""0x0a: whether a polynomial that a KZG commitment commits to has the value y at z (EIP-4844).

Holds where e(C - y G1 + z W, G2) = e(W, tau G2), for the commitment C and the proof W: one side of both pairings is a
constant, the second power of the trusted setup's secret in G2 (Ethereum's KZG ceremony).
"""

import hashlib
from functools import cache

from vm.errors import PrecompileFailure
from vm.precompiles.bls12_381 import (
    G1,
    G1_BYTES,
    ORDER,
    PRIME,
    decode_g1,
    lines_through,
    product_of_pairings,
)
from vm.precompiles.curve import Line, add, multiply, negate
from vm.precompiles.tower import ONE12

GAS = 50_000
INPUT_BYTES = 192
BLOB_HASH_VERSION = b"\x01"
FIELD_ELEMENTS_PER_BLOB = 4096
_G2 = (
    (
        0x024AA2B2F08F0A91260805272DC51051C6E47AD4FA403B02B4510B647AE3D1770BAC0326A805BBEFD48056C8C121BDB8,
        0x13E02B6052719F607DACD3A088274F65596BD0D09920B61AB5DA61BBDC7F5049334CF11213945D57E5AC7D055D042B7E,
    ),
    (
        0x0CE5D527727D6E118CC9CDC6DA2E351AADFD9BAA8CBDD3A76D429A695160D12C923AC9CC3BACA289E193548608B82801,
        0x0606C4A02EA734CC32ACD2B02BC28B99CB3E287E85A763AF267492AB572E99AB3F370D275CEC1DA1AAA9075FF05F79BE,
    ),
)
_TAU_G2 = (
    (
        0x185CBFEE53492714734429B7B38608E23926C911CCECEAC9A36851477BA4C60B087041DE621000EDC98EDADA20C1DEF2,
        0x15BFD7DD8CDEB128843BC287230AF38926187075CBFBEFA81009A2CE615AC53D2914E5870CB452D2AFAAAB24F3499F72,
    ),
    (
        0x014353BDB96B626DD7D5EE8599D1FCA2131569490E28DE18E82451A496A9C9794CE26D105941F383EE689BFBBB832A99,
        0x1666C54B0A32529503432FCAE0181B4BEF79DE09FC63671FDA5ED1BA9BFA07899495346F3D7AC9CD23048EF30D0A154F,
    ),
)


def gas(data: bytes) -> int:
    return GAS


def run(data: bytes) -> bytes:
    """blob hash (32) || z (32) || y (32) || commitment (48) || proof (48) -> elements a blob || order of the field.

    Raises PrecompileFailure where a part is malformed or the proof does not hold.
    """
    if len(data) != INPUT_BYTES:
        raise PrecompileFailure(f"{len(data)} bytes of input, not {INPUT_BYTES}")
    commitment, proof = data[96 : 96 + G1_BYTES], data[96 + G1_BYTES :]
    if data[:32] != BLOB_HASH_VERSION + hashlib.sha256(commitment).digest()[1:]:
        raise PrecompileFailure("the blob hash is not that of the commitment")
    z, y = int.from_bytes(data[32:64], "big"), int.from_bytes(data[64:96], "big")
    if z >= ORDER or y >= ORDER:
        raise PrecompileFailure("z or y is not below the order of the field")
    if not _holds(commitment, z, y, proof):
        raise PrecompileFailure("the proof does not hold")
    return FIELD_ELEMENTS_PER_BLOB.to_bytes(32, "big") + ORDER.to_bytes(32, "big")


def _holds(commitment: bytes, z: int, y: int, proof: bytes) -> bool:
    try:
        c, w = decode_g1(commitment), decode_g1(proof)
    except ValueError as error:
        raise PrecompileFailure(f"the commitment or the proof is malformed: {error}") from error
    left = add(add(c, negate(multiply(G1, y, PRIME), PRIME), PRIME), multiply(w, z, PRIME), PRIME)
    g2_lines, tau_g2_lines = _lines()
    return product_of_pairings([(left, g2_lines), (negate(w, PRIME), tau_g2_lines)]) == ONE12


@cache
def _lines() -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """Through the generator of G2 and through tau times it; computed at the first use, which few nodes ever see."""
    return lines_through(_G2), lines_through(_TAU_G2)
