"""The curve BLS12-381 as far as KZG proofs need it: points of G1 from bytes, and a pairing check against fixed points.

The pairing is the optimal ate pairing; the points of G2 are constants of the trusted setup, so lines through them are
computed once. Encodings: the ZCash format, as in the appendix of the BLS signature draft (IETF CFRG).
"""

from vm.precompiles.curve import Line, Point, TwistPoint, chord, multiply, tangent
from vm.precompiles.tower import ONE12, Fp6, Fp12, Tower, add6

PRIME = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
B = 4
X = 0xD201000000010000
"""The parameter of the curve is -X."""
G1 = (
    0x17F1D3A73197D7942695638C4FA9AC0FC3688C4F9774B905A14E3A3F171BAC586C55E83FF97A1AEFFB3AF00ADB22C6BB,
    0x08B3F481E3AAA0F1A09E30ED741D8AE4FCF5E095D5D00AF600DB18CB2C04B3EDD03CC744A2888AE40CAA232946C5E7E1,
)
G1_BYTES = 48
_COMPRESSED, _INFINITY, _GREATER_Y = 0x80, 0x40, 0x20

TOWER = Tower(PRIME, 1)
_LOOP_BITS = f"{X:b}"[1:]


def decode_g1(data: bytes) -> Point:
    """The point of G1 in 48 compressed bytes; None at infinity. Raises ValueError for anything else."""
    if len(data) != G1_BYTES or not data[0] & _COMPRESSED:
        raise ValueError("a compressed point of G1 is 48 bytes and has its first bit set")
    x = int.from_bytes(data, "big") & (1 << 381) - 1
    if data[0] & _INFINITY:
        if x or data[0] & _GREATER_Y:
            raise ValueError("the point at infinity has other bits set")
        return None
    if x >= PRIME:
        raise ValueError("a coordinate is not below the prime")
    square = (x * x * x + B) % PRIME
    # The prime is 3 modulo 4.
    y = pow(square, (PRIME + 1) // 4, PRIME)
    if y * y % PRIME != square:
        raise ValueError("no point of the curve has this x")
    if (y > PRIME // 2) != bool(data[0] & _GREATER_Y):
        y = PRIME - y
    if multiply((x, y), ORDER, PRIME) is not None:
        raise ValueError("a point of the curve is not in G1")
    return x, y


def lines_through(point: TwistPoint) -> tuple[Line, ...]:
    """The lines of the Miller loop, in its order, for a point of G2."""
    lines = []
    total = point
    for bit in _LOOP_BITS:
        total, line = tangent(TOWER, total)
        lines.append(line)
        if bit == "1":
            total, line = chord(TOWER, total, point)
            lines.append(line)
    return tuple(lines)


def product_of_pairings(pairs: list[tuple[Point, tuple[Line, ...]]]) -> Fp12:
    """Of points of G1 with the lines through points of G2, to the third power (see `_final_exponentiation`)."""
    finite = [(point, lines) for point, lines in pairs if point is not None]
    f = ONE12
    step = 0
    for bit in _LOOP_BITS:
        f = TOWER.square12(f)
        for _ in range(1 + (bit == "1")):
            for point, lines in finite:
                f = _times_line(f, lines[step], point)
            step += 1
    # The parameter of the curve is negative.
    return TOWER.reduce12(_final_exponentiation(TOWER.conjugate12(f)))


def _times_line(f: Fp12, line: Line, point: tuple[int, int]) -> Fp12:
    """f * (slope x' - y' - slope x w^2 + y w^3), the line at a point of G1 (x, y) times w^3.

    The final exponentiation takes every factor of a proper subfield, such as w^3, to one.
    """
    f0, f1 = f
    slope, at_zero = line
    x, y = point
    sparse: Fp6 = (at_zero[0], at_zero[1], -slope[0] * x % PRIME, -slope[1] * x % PRIME, 0, 0)
    scaled0: Fp6 = (f0[0] * y, f0[1] * y, f0[2] * y, f0[3] * y, f0[4] * y, f0[5] * y)
    scaled1: Fp6 = (f1[0] * y, f1[1] * y, f1[2] * y, f1[3] * y, f1[4] * y, f1[5] * y)
    low = add6(TOWER.mul6(f0, sparse), TOWER.mul_v(TOWER.mul_v(scaled1)))
    return low, add6(TOWER.mul6(f1, sparse), TOWER.mul_v(scaled0))


def _final_exponentiation(f: Fp12) -> Fp12:
    """f^(3 (p^12 - 1) / n), by 3 (p^4 - p^2 + 1) / n = (x - 1)^2 (x + p) (x^2 + p^2 - 1) + 3.

    Hayashida, Hayasaka, Teruya (2020). The third power is one where the first is, since 3 does not divide n.
    """
    mul, conjugate, frobenius = TOWER.mul12, TOWER.conjugate12, TOWER.frobenius12
    f = TOWER.to_cyclotomic12(f)
    # x - 1 = -(X + 1), and x = -X; an inverse is a conjugate here.
    a = TOWER.power12(TOWER.power12(f, X + 1), X + 1)
    a = mul(conjugate(TOWER.power12(a, X)), frobenius(a))
    b = TOWER.power12(TOWER.power12(a, X), X)
    a = mul(mul(b, frobenius(frobenius(a))), conjugate(a))
    return mul(a, mul(TOWER.square12(f), f))
