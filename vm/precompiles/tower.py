"""The tower of fields Fp2 < Fp6 < Fp12 on which pairings are computed, over plain Python ints.

Fp2 = Fp[i]/(i^2 + 1), Fp6 = Fp2[v]/(v^3 - xi) with xi = x + i, Fp12 = Fp6[w]/(w^2 - v): the tower of both alt_bn128
(x = 9) and BLS12-381 (x = 1). An Fp2 is a pair of ints, an Fp6 six ints (three Fp2 coefficients in a row), an Fp12 a
pair of Fp6. Sums are left unreduced, products are reduced once a coefficient: Python's ints grow as they need, and a
reduction costs more than an addition. Compare only what `reduce12` has returned.
"""

Fp2 = tuple[int, int]
Fp6 = tuple[int, int, int, int, int, int]
Fp12 = tuple[Fp6, Fp6]

ZERO6: Fp6 = (0, 0, 0, 0, 0, 0)
ONE6: Fp6 = (1, 0, 0, 0, 0, 0)
ONE12: Fp12 = (ONE6, ZERO6)


class Tower:
    """Arithmetic for one prime and one x. All functions are pure."""

    def __init__(self, prime: int, x: int) -> None:
        self.prime = prime
        self.x = x
        # xi^(k (p - 1) / 6): what the Frobenius map multiplies the coefficient of w^k with.
        self.frobenius_factors = [self.power2((x, 1), k * (prime - 1) // 6) for k in range(6)]

    def mul2(self, a: Fp2, b: Fp2) -> Fp2:
        low, high = a[0] * b[0], a[1] * b[1]
        return (low - high) % self.prime, ((a[0] + a[1]) * (b[0] + b[1]) - low - high) % self.prime

    def inverse2(self, a: Fp2) -> Fp2:
        """Raises ValueError for zero."""
        factor = pow(a[0] * a[0] + a[1] * a[1], -1, self.prime)
        return a[0] * factor % self.prime, -a[1] * factor % self.prime

    def power2(self, a: Fp2, exponent: int) -> Fp2:
        result = (1, 0)
        for bit in f"{exponent:b}":
            result = self.mul2(result, result)
            if bit == "1":
                result = self.mul2(result, a)
        return result

    def mul6(self, a: Fp6, b: Fp6) -> Fp6:
        p, x = self.prime, self.x
        a0, a1, a2, a3, a4, a5 = a
        b0, b1, b2, b3, b4, b5 = b
        # Karatsuba twice: the products of like coefficients (l, m, h), then of the sums of two.
        s, t = a0 * b0, a1 * b1
        l0, l1 = s - t, (a0 + a1) * (b0 + b1) - s - t
        s, t = a2 * b2, a3 * b3
        m0, m1 = s - t, (a2 + a3) * (b2 + b3) - s - t
        s, t = a4 * b4, a5 * b5
        h0, h1 = s - t, (a4 + a5) * (b4 + b5) - s - t
        c0, c1, d0, d1 = a2 + a4, a3 + a5, b2 + b4, b3 + b5
        s, t = c0 * d0, c1 * d1
        mh0, mh1 = s - t - m0 - h0, (c0 + c1) * (d0 + d1) - s - t - m1 - h1
        c0, c1, d0, d1 = a0 + a2, a1 + a3, b0 + b2, b1 + b3
        s, t = c0 * d0, c1 * d1
        lm0, lm1 = s - t - l0 - m0, (c0 + c1) * (d0 + d1) - s - t - l1 - m1
        c0, c1, d0, d1 = a0 + a4, a1 + a5, b0 + b4, b1 + b5
        s, t = c0 * d0, c1 * d1
        lh0, lh1 = s - t - l0 - h0, (c0 + c1) * (d0 + d1) - s - t - l1 - h1
        return (
            (l0 + x * mh0 - mh1) % p,
            (l1 + mh0 + x * mh1) % p,
            (lm0 + x * h0 - h1) % p,
            (lm1 + h0 + x * h1) % p,
            (lh0 + m0) % p,
            (lh1 + m1) % p,
        )

    def mul_v(self, a: Fp6) -> Fp6:
        """a * v."""
        a0, a1, a2, a3, a4, a5 = a
        return self.x * a4 - a5, a4 + self.x * a5, a0, a1, a2, a3

    def inverse6(self, a: Fp6) -> Fp6:
        p, x, mul2 = self.prime, self.x, self.mul2
        low, middle, high = a[0:2], a[2:4], a[4:6]
        low2, middle2, high2 = mul2(low, low), mul2(middle, middle), mul2(high, high)
        low_middle, low_high, middle_high = mul2(low, middle), mul2(low, high), mul2(middle, high)
        c0 = (low2[0] - x * middle_high[0] + middle_high[1], low2[1] - middle_high[0] - x * middle_high[1])
        c1 = (x * high2[0] - high2[1] - low_middle[0], high2[0] + x * high2[1] - low_middle[1])
        c2 = (middle2[0] - low_high[0], middle2[1] - low_high[1])
        s, t, u = mul2(high, c1), mul2(middle, c2), mul2(low, c0)
        v0, v1 = s[0] + t[0], s[1] + t[1]
        factor = self.inverse2(((x * v0 - v1 + u[0]) % p, (v0 + x * v1 + u[1]) % p))
        return mul2(c0, factor) + mul2(c1, factor) + mul2(c2, factor)

    def mul12(self, a: Fp12, b: Fp12) -> Fp12:
        (a0, a1), (b0, b1) = a, b
        low, high = self.mul6(a0, b0), self.mul6(a1, b1)
        both = self.mul6(add6(a0, a1), add6(b0, b1))
        return add6(low, self.mul_v(high)), sub6(sub6(both, low), high)

    def square12(self, a: Fp12) -> Fp12:
        a0, a1 = a
        product = self.mul6(a0, a1)
        both = self.mul6(add6(a0, a1), add6(a0, self.mul_v(a1)))
        return sub6(sub6(both, product), self.mul_v(product)), add6(product, product)

    def conjugate12(self, a: Fp12) -> Fp12:
        """a^(p^6); the inverse, where a is in the cyclotomic subgroup."""
        return a[0], sub6(ZERO6, a[1])

    def inverse12(self, a: Fp12) -> Fp12:
        """Raises ValueError for zero."""
        a0, a1 = a
        norm = sub6(self.mul6(a0, a0), self.mul_v(self.mul6(a1, a1)))
        factor = self.inverse6(norm)
        return self.mul6(a0, factor), sub6(ZERO6, self.mul6(a1, factor))

    def frobenius12(self, a: Fp12) -> Fp12:
        """a^p."""
        (a0, a1, a2, a3, a4, a5), (b0, b1, b2, b3, b4, b5) = a
        mul2, factors = self.mul2, self.frobenius_factors
        low = (a0, -a1, *mul2((a2, -a3), factors[2]), *mul2((a4, -a5), factors[4]))
        high = mul2((b0, -b1), factors[1]) + mul2((b2, -b3), factors[3]) + mul2((b4, -b5), factors[5])
        return low, high

    def power12(self, a: Fp12, exponent: int) -> Fp12:
        """a^exponent, for an exponent of 1 or more."""
        result = a
        for bit in f"{exponent:b}"[1:]:
            result = self.square12(result)
            if bit == "1":
                result = self.mul12(result, a)
        return result

    def to_cyclotomic12(self, a: Fp12) -> Fp12:
        """a^((p^6 - 1)(p^2 + 1)), the easy part of both curves' final exponentiation."""
        a = self.mul12(self.conjugate12(a), self.inverse12(a))
        return self.mul12(self.frobenius12(self.frobenius12(a)), a)

    def reduce12(self, a: Fp12) -> Fp12:
        """The one form in which equal values are equal."""
        p = self.prime
        (a0, a1, a2, a3, a4, a5), (b0, b1, b2, b3, b4, b5) = a
        return (a0 % p, a1 % p, a2 % p, a3 % p, a4 % p, a5 % p), (b0 % p, b1 % p, b2 % p, b3 % p, b4 % p, b5 % p)


def add6(a: Fp6, b: Fp6) -> Fp6:
    a0, a1, a2, a3, a4, a5 = a
    b0, b1, b2, b3, b4, b5 = b
    return a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4, a5 + b5


def sub6(a: Fp6, b: Fp6) -> Fp6:
    a0, a1, a2, a3, a4, a5 = a
    b0, b1, b2, b3, b4, b5 = b
    return a0 - b0, a1 - b1, a2 - b2, a3 - b3, a4 - b4, a5 - b5
