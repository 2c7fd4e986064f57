"""0x06, 0x07, 0x08: addition, multiplication and the pairing check on alt_bn128 (EIP-196, 197; gas by EIP-1108).

The pairing is the optimal ate pairing (Vercauteren 2008): all pairs share the squarings of one Miller loop and a final
exponentiation, and the lines through a point of G2, which verifiers use again and again, are remembered.
"""

from functools import lru_cache

from vm.errors import PrecompileFailure
from vm.precompiles.curve import Line, Point, TwistPoint, add, chord, is_on_curve, multiply, tangent
from vm.precompiles.tower import ONE12, Fp2, Fp6, Fp12, Tower, add6

PRIME = 21888242871839275222246405745257275088696311157297823662689037894645226208583
ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617
B = 3
X = 4965661367192848881
"""The parameter of the curve: prime and order are polynomials of it."""
ADD_GAS = 150
MULTIPLY_GAS = 6_000
PAIRING_GAS = 45_000
PAIR_GAS = 34_000
PAIR_BYTES = 192
# The lines of one point of G2 take some 50 KB; a verifier has up to four such points.
REMEMBERED_LINES = 64

TOWER = Tower(PRIME, 9)
_LOOP_BITS = f"{6 * X + 2:b}"[1:]


def add_gas(data: bytes) -> int:
    return ADD_GAS


def add_points(data: bytes) -> bytes:
    """x1 || y1 || x2 || y2, missing bytes being zeros -> x || y."""
    data = data[:128].ljust(128, b"\0")
    return _encode(add(_decode_g1(data, 0), _decode_g1(data, 64), PRIME))


def multiply_gas(data: bytes) -> int:
    return MULTIPLY_GAS


def multiply_point(data: bytes) -> bytes:
    """x || y || scalar, missing bytes being zeros -> x || y."""
    data = data[:96].ljust(96, b"\0")
    return _encode(multiply(_decode_g1(data, 0), int.from_bytes(data[64:], "big") % ORDER, PRIME))


def pairing_gas(data: bytes) -> int:
    return PAIRING_GAS + PAIR_GAS * (len(data) // PAIR_BYTES)


def check_pairing(data: bytes) -> bytes:
    """Pairs of a point of G1 and one of G2 -> 1 as 32 bytes where the product of their pairings is one, else 0."""
    if len(data) % PAIR_BYTES:
        raise PrecompileFailure("the input is not whole pairs")
    pairs = []
    for start in range(0, len(data), PAIR_BYTES):
        first, second = _decode_g1(data, start), _decode_g2(data, start + 64)
        lines = None if second is None else lines_through(second)
        if first is not None and lines is not None:
            pairs.append((first, lines))
    return int(product_of_pairings(pairs) == ONE12).to_bytes(32, "big")


def product_of_pairings(pairs: list[tuple[tuple[int, int], tuple[Line, ...]]]) -> Fp12:
    """Of points of G1 with the lines through points of G2."""
    if not pairs:
        return ONE12
    f = ONE12
    step = 0
    for bit in _LOOP_BITS:
        f = TOWER.square12(f)
        for _ in range(1 + (bit == "1")):
            for point, lines in pairs:
                f = _times_line(f, lines[step], point)
            step += 1
    for _ in range(2):
        for point, lines in pairs:
            f = _times_line(f, lines[step], point)
        step += 1
    return TOWER.reduce12(_final_exponentiation(f))


@lru_cache(REMEMBERED_LINES)
def lines_through(point: TwistPoint) -> tuple[Line, ...]:
    """The lines of the Miller loop, in its order. Raises PrecompileFailure where the point is not in G2."""
    lines = []
    total = point
    try:
        for bit in _LOOP_BITS:
            total, line = tangent(TOWER, total)
            lines.append(line)
            if bit == "1":
                total, line = chord(TOWER, total, point)
                lines.append(line)
        first = _endomorphism(point)
        second = _endomorphism(first)
        total, line = chord(TOWER, total, first)
        lines.append(line)
        total, line = chord(TOWER, total, _negate(second))
        lines.append(line)
    except ValueError as error:
        # A vertical line: some multiple below the order is nought, which happens outside G2 only.
        raise PrecompileFailure("a point of the twist is not in G2") from error
    # Q is in G2 exactly where (6x + 2) Q + psi(Q) - psi^2(Q) + psi^3(Q) is nought. It is for G2, where psi multiplies
    # by the prime. Conversely psi^2 - t psi + p is nought on all of the twist, and the resultant of the two
    # polynomials has no factor in common with the cofactor 2p - n, so that no point outside G2 fulfils both.
    if total != _negate(_endomorphism(second)):
        raise PrecompileFailure("a point of the twist is not in G2")
    return tuple(lines)


def _times_line(f: Fp12, line: Line, point: tuple[int, int]) -> Fp12:
    """f * (y - slope x w + (slope x' - y') w^3), the line at a point of G1 (x, y)."""
    f0, f1 = f
    slope, at_zero = line
    x, y = point
    sparse: Fp6 = (-slope[0] * x % PRIME, -slope[1] * x % PRIME, at_zero[0], at_zero[1], 0, 0)
    scaled0: Fp6 = (f0[0] * y, f0[1] * y, f0[2] * y, f0[3] * y, f0[4] * y, f0[5] * y)
    scaled1: Fp6 = (f1[0] * y, f1[1] * y, f1[2] * y, f1[3] * y, f1[4] * y, f1[5] * y)
    return add6(scaled0, TOWER.mul_v(TOWER.mul6(f1, sparse))), add6(scaled1, TOWER.mul6(f0, sparse))


def _final_exponentiation(f: Fp12) -> Fp12:
    """f^((p^12 - 1) / n) by the addition chain of Devegili, Scott and Dahab (2007)."""
    mul, square, conjugate, frobenius = TOWER.mul12, TOWER.square12, TOWER.conjugate12, TOWER.frobenius12
    f = TOWER.to_cyclotomic12(f)
    fx = TOWER.power12(f, X)
    fx2 = TOWER.power12(fx, X)
    fx3 = TOWER.power12(fx2, X)
    fp = frobenius(f)
    fp2 = frobenius(fp)
    y0 = mul(mul(fp, fp2), frobenius(fp2))
    y1 = conjugate(f)
    y2 = frobenius(frobenius(fx2))
    y3 = conjugate(frobenius(fx))
    y4 = conjugate(mul(fx, frobenius(fx2)))
    y5 = conjugate(fx2)
    y6 = conjugate(mul(fx3, frobenius(fx3)))
    t0 = mul(mul(square(y6), y4), y5)
    t1 = mul(mul(y3, y5), t0)
    t0 = mul(t0, y2)
    t1 = square(mul(square(t1), t0))
    return mul(square(mul(t1, y1)), mul(t1, y0))


def _endomorphism(point: TwistPoint) -> TwistPoint:
    """psi: the Frobenius map of the curve, seen from the twist."""
    (x0, x1), (y0, y1) = point
    factors = TOWER.frobenius_factors
    return TOWER.mul2((x0, -x1), factors[2]), TOWER.mul2((y0, -y1), factors[3])


def _negate(point: TwistPoint) -> TwistPoint:
    x, (y0, y1) = point
    return x, (-y0 % PRIME, -y1 % PRIME)


def _decode_g1(data: bytes, start: int) -> Point:
    x, y = _coordinate(data, start), _coordinate(data, start + 32)
    point = (x, y) if x or y else None
    if not is_on_curve(point, B, PRIME):
        raise PrecompileFailure("a point is not on the curve")
    return point


def _decode_g2(data: bytes, start: int) -> TwistPoint | None:
    """None at infinity. Whether it is in G2 is told by `lines_through`."""
    x: Fp2 = _coordinate(data, start + 32), _coordinate(data, start)
    y: Fp2 = _coordinate(data, start + 96), _coordinate(data, start + 64)
    if x == (0, 0) and y == (0, 0):
        return None
    # y^2 = x^3 + 3 / xi
    left, right = TOWER.mul2(y, y), TOWER.mul2(TOWER.mul2(x, x), x)
    b = TOWER.inverse2((TOWER.x, 1))
    if (left[0] - right[0] - B * b[0]) % PRIME or (left[1] - right[1] - B * b[1]) % PRIME:
        raise PrecompileFailure("a point is not on the twist")
    return x, y


def _coordinate(data: bytes, start: int) -> int:
    value = int.from_bytes(data[start : start + 32], "big")
    if value >= PRIME:
        raise PrecompileFailure("a coordinate is not below the prime")
    return value


def _encode(point: Point) -> bytes:
    x, y = point or (0, 0)
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")
