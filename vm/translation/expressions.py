"""Pure instructions as Python expressions over ints: what a trace is made of.

A Value is a word as the translator knows it: a constant, or a variable of the function in the making with an upper
bound. Bounds save the reduction modulo 2**256 where nothing can overflow. A comparison stays a bool, which Python adds,
compares and shifts as 0 or 1; `Value.word` turns it into an int wherever it leaves the function.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from vm.instructions.arithmetic import MASK, MODULUS, SIGN_BIT
from vm.opcodes import OPCODES


class Value(NamedTuple):
    """A word during translation."""

    text: str
    """A variable or a literal."""
    bound: int = MASK
    """It is never above this."""
    constant: int | None = None
    is_bool: bool = False

    @property
    def word(self) -> str:
        """An expression that is an int and not a bool."""
        return f"(1 if {self.text} else 0)" if self.is_bool else self.text


class Writer(Protocol):
    """Where the lines of a function go."""

    def line(self, text: str) -> None: ...

    def assign(self, expression: str, bound: int = MASK, is_bool: bool = False) -> Value:
        """A new variable for the expression."""


Expression = Callable[..., Value]
"""Takes a Writer and the operands, the top of the stack first; gives the result."""


def constant(value: int) -> Value:
    return Value(hex(value), value, value)


TRUE, FALSE = constant(1), constant(0)


def folded(number: int, operands: list[Value]) -> Value | None:
    """The result of a pure instruction on constants, computed by the instruction itself; None where one is unknown."""
    known = [operand.constant for operand in operands if operand.constant is not None]
    if len(known) != len(operands):
        return None
    stack = _StackOnly()
    stack.stack = known[::-1]
    OPCODES[number].step(stack)  # type: ignore[arg-type]
    return constant(stack.stack[-1])


class _StackOnly:
    """As much of a frame as pure instructions touch."""

    __slots__ = ("stack",)
    stack: list[int]


def add(writer: Writer, a: Value, b: Value) -> Value:
    if a.constant is not None:
        a, b = b, a
    if b.constant == 0:
        return a
    if a.bound + b.bound <= MASK:
        return writer.assign(f"{a.text} + {b.text}", a.bound + b.bound)
    if b.constant is not None and b.constant & SIGN_BIT:
        return sub(writer, a, constant(MODULUS - b.constant))
    total = writer.assign(f"{a.text} + {b.text}")
    writer.line(f"if {total.text} > {MASK:#x}: {total.text} &= {MASK:#x}")
    return total


def sub(writer: Writer, a: Value, b: Value) -> Value:
    if b.constant == 0:
        return a
    if a.constant is not None and b.bound <= a.constant:
        return writer.assign(f"{a.text} - {b.text}", a.constant)
    difference = writer.assign(f"{a.text} - {b.text}")
    writer.line(f"if {difference.text} < 0: {difference.text} += {MODULUS:#x}")
    return difference


def mul(writer: Writer, a: Value, b: Value) -> Value:
    if a.constant is not None:
        a, b = b, a
    if b.constant == 1:
        return a
    if a.bound * b.bound <= MASK:
        return writer.assign(f"{a.text} * {b.text}", a.bound * b.bound)
    product = writer.assign(f"{a.text} * {b.text}")
    writer.line(f"if {product.text} > {MASK:#x}: {product.text} &= {MASK:#x}")
    return product


def div(writer: Writer, a: Value, b: Value) -> Value:
    if b.constant == 0:
        return FALSE
    if b.constant is not None:
        return writer.assign(f"{a.text} // {b.text}", a.bound // b.constant)
    return writer.assign(f"{a.text} // {b.text} if {b.text} else 0", a.bound)


def mod(writer: Writer, a: Value, b: Value) -> Value:
    if b.constant == 0:
        return FALSE
    if b.constant is not None:
        if b.constant & (b.constant - 1) == 0:
            return and_(writer, a, constant(b.constant - 1))
        return writer.assign(f"{a.text} % {b.text}", b.constant - 1)
    return writer.assign(f"{a.text} % {b.text} if {b.text} else 0", min(a.bound, b.bound))


def sdiv(writer: Writer, a: Value, b: Value) -> Value:
    if a.bound < SIGN_BIT and b.constant is not None and b.bound < SIGN_BIT:
        return div(writer, a, b)
    return writer.assign(f"signed_divide({a.text}, {b.text})")


def smod(writer: Writer, a: Value, b: Value) -> Value:
    return writer.assign(f"signed_modulo({a.text}, {b.text})")


def addmod(writer: Writer, a: Value, b: Value, n: Value) -> Value:
    return writer.assign(f"({a.text} + {b.text}) % {n.text} if {n.text} else 0", n.bound)


def mulmod(writer: Writer, a: Value, b: Value, n: Value) -> Value:
    return writer.assign(f"{a.text} * {b.text} % {n.text} if {n.text} else 0", n.bound)


def signextend(writer: Writer, index: Value, word: Value) -> Value:
    return writer.assign(f"sign_extended({index.text}, {word.word})")


def lt(writer: Writer, a: Value, b: Value) -> Value:
    return writer.assign(f"{a.text} < {b.text}", 1, True)


def gt(writer: Writer, a: Value, b: Value) -> Value:
    return writer.assign(f"{a.text} > {b.text}", 1, True)


def slt(writer: Writer, a: Value, b: Value) -> Value:
    return _signed_comparison(writer, a, "<", b)


def sgt(writer: Writer, a: Value, b: Value) -> Value:
    return _signed_comparison(writer, a, ">", b)


def eq(writer: Writer, a: Value, b: Value) -> Value:
    return writer.assign(f"{a.text} == {b.text}", 1, True)


def iszero(writer: Writer, a: Value) -> Value:
    return writer.assign(f"not {a.text}", 1, True)


def and_(writer: Writer, a: Value, b: Value) -> Value:
    if a.constant is not None:
        a, b = b, a
    if b.constant is not None and b.constant & (b.constant + 1) == 0 and a.bound <= b.constant:
        return a
    return writer.assign(f"{a.text} & {b.text}", min(a.bound, b.bound), a.is_bool and b.is_bool)


def or_(writer: Writer, a: Value, b: Value) -> Value:
    return writer.assign(f"{a.text} | {b.text}", _bits_bound(a, b), a.is_bool and b.is_bool)


def xor(writer: Writer, a: Value, b: Value) -> Value:
    return writer.assign(f"{a.text} ^ {b.text}", _bits_bound(a, b), a.is_bool and b.is_bool)


def not_(writer: Writer, a: Value) -> Value:
    return writer.assign(f"{a.text} ^ {MASK:#x}")


def byte(writer: Writer, index: Value, word: Value) -> Value:
    if index.constant is not None:
        if index.constant > 31:
            return FALSE
        return writer.assign(f"{word.text} >> {8 * (31 - index.constant)} & 0xFF", 0xFF)
    return writer.assign(f"{word.text} >> 8 * (31 - {index.text}) & 0xFF if {index.text} < 32 else 0", 0xFF)


def shl(writer: Writer, shift: Value, word: Value) -> Value:
    if shift.constant is None:
        return writer.assign(f"{word.text} << {shift.text} & {MASK:#x} if {shift.text} < 256 else 0")
    if shift.constant > 255:
        return FALSE
    if shift.constant == 0:
        return word
    if word.bound << shift.constant <= MASK:
        return writer.assign(f"{word.text} << {shift.constant}", word.bound << shift.constant)
    return writer.assign(f"{word.text} << {shift.constant} & {MASK:#x}")


def shr(writer: Writer, shift: Value, word: Value) -> Value:
    if shift.constant is None:
        return writer.assign(f"{word.text} >> {shift.text} if {shift.text} < 256 else 0", word.bound)
    if shift.constant > 255:
        return FALSE
    if shift.constant == 0:
        return word
    return writer.assign(f"{word.text} >> {shift.constant}", word.bound >> shift.constant)


def sar(writer: Writer, shift: Value, word: Value) -> Value:
    if word.bound < SIGN_BIT:
        return shr(writer, shift, word)
    return writer.assign(f"arithmetic_shift_right({shift.text}, {word.text})")


def _signed_comparison(writer: Writer, a: Value, sign: str, b: Value) -> Value:
    if a.bound < SIGN_BIT and b.bound < SIGN_BIT:
        return writer.assign(f"{a.text} {sign} {b.text}", 1, True)
    return writer.assign(f"{_order(a)} {sign} {_order(b)}", 1, True)


def _order(value: Value) -> str:
    """The word with its sign bit flipped, which puts signed numbers into the order of unsigned ones."""
    if value.constant is not None:
        return hex(value.constant ^ SIGN_BIT)
    return f"({value.text} ^ {SIGN_BIT:#x})"


def _bits_bound(a: Value, b: Value) -> int:
    return (1 << max(a.bound.bit_length(), b.bound.bit_length())) - 1


PURE: dict[int, Expression] = {
    0x01: add,
    0x02: mul,
    0x03: sub,
    0x04: div,
    0x05: sdiv,
    0x06: mod,
    0x07: smod,
    0x08: addmod,
    0x09: mulmod,
    0x0B: signextend,
    0x10: lt,
    0x11: gt,
    0x12: slt,
    0x13: sgt,
    0x14: eq,
    0x15: iszero,
    0x16: and_,
    0x17: or_,
    0x18: xor,
    0x19: not_,
    0x1A: byte,
    0x1B: shl,
    0x1C: shr,
    0x1D: sar,
}
"""Instructions that depend on nothing but their operands, by number."""

CONTEXT: dict[int, tuple[str, int]] = {
    0x30: ('from_bytes(frame.address, "big")', 2**160 - 1),
    0x32: ('from_bytes(frame.environment.transaction.origin, "big")', 2**160 - 1),
    0x33: ('from_bytes(frame.caller, "big")', 2**160 - 1),
    0x34: ("frame.value", MASK),
    0x36: ("len(frame.data)", 2**63),
    0x38: ("len(frame.code)", 2**63),
    0x3A: ("frame.environment.transaction.gas_price", MASK),
    0x3D: ("len(frame.return_data)", 2**63),
    0x42: ("frame.environment.block.timestamp_s", MASK),
    0x43: ("frame.environment.block.number", MASK),
    0x46: ("frame.environment.block.chain_id", MASK),
    0x48: ("frame.environment.block.base_fee", MASK),
    0x59: ("memory.size", 2**63),
}
"""Instructions that only look something up: number -> (expression, upper bound)."""
