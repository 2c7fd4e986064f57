"""Arithmetic, comparison and bits on 256-bit words (Yellow Paper appendix H.2, ranges 0x00 to 0x1d)."""

from vm.frame import Frame
from vm.gas import EXPONENT_BYTE

MASK = 2**256 - 1
SIGN_BIT = 2**255
MODULUS = 2**256


def signed(word: int) -> int:
    """The two's-complement number in a word."""
    return word - MODULUS if word & SIGN_BIT else word


def signed_divide(dividend: int, divisor: int) -> int:
    """Quotient rounded towards zero, as a word; 0 for a divisor of 0."""
    if not divisor:
        return 0
    a, b = signed(dividend), signed(divisor)
    quotient = abs(a) // abs(b)
    return (-quotient if (a < 0) != (b < 0) else quotient) & MASK


def signed_modulo(dividend: int, divisor: int) -> int:
    """Remainder with the dividend's sign, as a word; 0 for a divisor of 0."""
    if not divisor:
        return 0
    a = signed(dividend)
    remainder = abs(a) % abs(signed(divisor))
    return (-remainder if a < 0 else remainder) & MASK


def sign_extended(index: int, word: int) -> int:
    """The word with the sign of its byte `index`, counted from the least significant, carried up."""
    if index > 30:
        return word
    bit = 1 << (8 * index + 7)
    return word | (MASK ^ (bit - 1)) if word & bit else word & (bit - 1)


def arithmetic_shift_right(shift: int, word: int) -> int:
    if shift > 255:
        return MASK if word & SIGN_BIT else 0
    return signed(word) >> shift & MASK


def add(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = (stack.pop() + stack[-1]) & MASK


def mul(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = stack.pop() * stack[-1] & MASK


def sub(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = (stack.pop() - stack[-1]) & MASK


def div(frame: Frame) -> None:
    stack = frame.stack
    dividend = stack.pop()
    divisor = stack[-1]
    stack[-1] = dividend // divisor if divisor else 0


def sdiv(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = signed_divide(stack.pop(), stack[-1])


def mod(frame: Frame) -> None:
    stack = frame.stack
    dividend = stack.pop()
    divisor = stack[-1]
    stack[-1] = dividend % divisor if divisor else 0


def smod(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = signed_modulo(stack.pop(), stack[-1])


def addmod(frame: Frame) -> None:
    stack = frame.stack
    total = stack.pop() + stack.pop()
    modulus = stack[-1]
    stack[-1] = total % modulus if modulus else 0


def mulmod(frame: Frame) -> None:
    stack = frame.stack
    product = stack.pop() * stack.pop()
    modulus = stack[-1]
    stack[-1] = product % modulus if modulus else 0


def exp(frame: Frame) -> None:
    stack = frame.stack
    base = stack.pop()
    exponent = stack[-1]
    frame.charge(EXPONENT_BYTE * ((exponent.bit_length() + 7) // 8))
    stack[-1] = pow(base, exponent, MODULUS)


def signextend(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = sign_extended(stack.pop(), stack[-1])


def lt(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = 1 if stack.pop() < stack[-1] else 0


def gt(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = 1 if stack.pop() > stack[-1] else 0


def slt(frame: Frame) -> None:
    # Flipping the sign bit turns the order of signed numbers into that of unsigned ones.
    stack = frame.stack
    stack[-1] = 1 if stack.pop() ^ SIGN_BIT < stack[-1] ^ SIGN_BIT else 0


def sgt(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = 1 if stack.pop() ^ SIGN_BIT > stack[-1] ^ SIGN_BIT else 0


def eq(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = 1 if stack.pop() == stack[-1] else 0


def iszero(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = 0 if stack[-1] else 1


def and_(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = stack.pop() & stack[-1]


def or_(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = stack.pop() | stack[-1]


def xor(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = stack.pop() ^ stack[-1]


def not_(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] ^= MASK


def byte(frame: Frame) -> None:
    stack = frame.stack
    index = stack.pop()
    stack[-1] = stack[-1] >> (8 * (31 - index)) & 0xFF if index < 32 else 0


def shl(frame: Frame) -> None:
    stack = frame.stack
    shift = stack.pop()
    stack[-1] = stack[-1] << shift & MASK if shift < 256 else 0


def shr(frame: Frame) -> None:
    stack = frame.stack
    shift = stack.pop()
    stack[-1] = stack[-1] >> shift if shift < 256 else 0


def sar(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = arithmetic_shift_right(stack.pop(), stack[-1])
