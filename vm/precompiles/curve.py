"""Points of the curves y^2 = x^3 + b over a prime field, over Fp2 where a pairing needs it, and the lines of its loop.

A point is affine (x, y), None at infinity. Multiplication runs in Jacobian coordinates, so that it inverts once only.
Formulas: the Explicit-Formulas Database, short Weierstrass curves with a = 0.
"""

from vm.precompiles.tower import Fp2, Tower

Point = tuple[int, int] | None
TwistPoint = tuple[Fp2, Fp2]
Line = tuple[Fp2, Fp2]
"""Slope, and slope * x - y at a point of it: all that the pairing takes of a line through points of the twist."""


def is_on_curve(point: Point, b: int, prime: int) -> bool:
    return point is None or (point[1] * point[1] - point[0] * point[0] * point[0] - b) % prime == 0


def add(first: Point, second: Point, prime: int) -> Point:
    if first is None:
        return second
    if second is None:
        return first
    (x1, y1), (x2, y2) = first, second
    if x1 != x2:
        slope = (y2 - y1) * pow(x2 - x1, -1, prime)
    elif (y1 + y2) % prime == 0:
        return None
    else:
        slope = 3 * x1 * x1 * pow(2 * y1, -1, prime)
    x3 = (slope * slope - x1 - x2) % prime
    return x3, (slope * (x1 - x3) - y1) % prime


def negate(point: Point, prime: int) -> Point:
    return None if point is None else (point[0], -point[1] % prime)


def multiply(point: Point, scalar: int, prime: int) -> Point:
    """scalar * point, for a scalar of 0 or more."""
    if point is None or scalar == 0:
        return None
    px, py = point
    x, y, z = px, py, 1
    for bit in f"{scalar:b}"[1:]:
        x, y, z = _double(x, y, z, prime)
        if bit == "1":
            x, y, z = _add_affine(x, y, z, px, py, prime)
    if z == 0:
        return None
    inverse = pow(z, -1, prime)
    inverse2 = inverse * inverse % prime
    return x * inverse2 % prime, y * inverse2 * inverse % prime


def _double(x: int, y: int, z: int, prime: int) -> tuple[int, int, int]:
    yy = y * y % prime
    s = 4 * x * yy % prime
    m = 3 * x * x % prime
    x3 = (m * m - 2 * s) % prime
    return x3, (m * (s - x3) - 8 * yy * yy) % prime, 2 * y * z % prime


def _add_affine(x: int, y: int, z: int, px: int, py: int, prime: int) -> tuple[int, int, int]:
    if z == 0:
        return px, py, 1
    zz = z * z % prime
    h = (px * zz - x) % prime
    r = (py * zz * z - y) % prime
    if h == 0:
        return _double(x, y, z, prime) if r == 0 else (1, 1, 0)
    hh = h * h % prime
    hhh = h * hh % prime
    v = x * hh % prime
    x3 = (r * r - hhh - 2 * v) % prime
    return x3, (r * (v - x3) - y * hhh) % prime, z * h % prime


def tangent(tower: Tower, point: TwistPoint) -> tuple[TwistPoint, Line]:
    """Twice a point of the twist, and the tangent there. Raises ValueError where it is vertical."""
    x, y = point
    x2 = tower.mul2(x, x)
    slope = tower.mul2((3 * x2[0], 3 * x2[1]), tower.inverse2((2 * y[0], 2 * y[1])))
    return _third(tower, point, x, slope)


def chord(tower: Tower, first: TwistPoint, second: TwistPoint) -> tuple[TwistPoint, Line]:
    """The sum of two points of the twist, and the line through them. Raises ValueError where it is vertical."""
    (x1, y1), (x2, y2) = first, second
    slope = tower.mul2((y2[0] - y1[0], y2[1] - y1[1]), tower.inverse2((x2[0] - x1[0], x2[1] - x1[1])))
    return _third(tower, first, x2, slope)


def _third(tower: Tower, point: TwistPoint, other_x: Fp2, slope: Fp2) -> tuple[TwistPoint, Line]:
    p = tower.prime
    x, y = point
    slope2 = tower.mul2(slope, slope)
    x3 = ((slope2[0] - x[0] - other_x[0]) % p, (slope2[1] - x[1] - other_x[1]) % p)
    # The sum is where the line meets the curve again, mirrored: y3 = slope (x - x3) - y.
    at_zero = tower.mul2(slope, x)
    at_zero = (at_zero[0] - y[0]) % p, (at_zero[1] - y[1]) % p
    rise = tower.mul2(slope, x3)
    return (x3, ((at_zero[0] - rise[0]) % p, (at_zero[1] - rise[1]) % p)), (slope, at_zero)
