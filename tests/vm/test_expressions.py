"""Every expression that translation writes computes what its instruction computes, whatever is known beforehand.

For each instruction: all operands unknown, or one of them a constant; bounds wide, narrow, or those of a bool; over all
combinations of words at which something changes.
"""

from collections.abc import Sequence
from itertools import product

import pytest

from vm.instructions import arithmetic
from vm.opcodes import OPCODES
from vm.translation.expressions import PURE, Value, constant, folded

MASK = 2**256 - 1
WIDE = (0, 1, 2, 3, 31, 32, 255, 256, 2**64, 2**128 - 1, 2**255 - 1, 2**255, 2**255 + 1, MASK - 6, MASK)
NARROW = tuple(word for word in WIDE if word < 2**64)
BOOLS = (False, True)


class Lines:
    """A Writer that keeps the lines of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def assign(self, expression: str, bound: int = MASK, is_bool: bool = False) -> Value:
        name = f"v{len(self.lines)}"
        self.line(f"{name} = {expression}")
        return Value(name, bound, None, is_bool)


def check(number: int, operands: Sequence[Value], words: Sequence[Sequence[int]]) -> None:
    """Compile once for the operands as known, then run on all combinations of words."""
    lines = Lines()
    made = PURE[number](lines, *operands)
    names = [operand.text for operand in operands if operand.constant is None]
    source = "\n ".join([f"def function({', '.join(names)}):", *lines.lines, f"return ({made.text}, {made.word})"])
    namespace = {
        name: getattr(arithmetic, name)
        for name in ("signed_divide", "signed_modulo", "sign_extended", "arithmetic_shift_right")
    }
    exec(source, namespace)
    for combination in product(*words):
        given = [word for word, operand in zip(combination, operands, strict=True) if operand.constant is None]
        expected = folded(number, [constant(int(word)) for word in combination])
        assert expected is not None
        value, word = namespace["function"](*given)  # type: ignore[operator]
        assert value == expected.constant, (source, combination)
        assert type(word) is int, (source, combination)
        assert value <= made.bound, (source, combination)
        assert isinstance(value, bool) <= made.is_bool, (source, combination)


@pytest.mark.parametrize("number", PURE, ids=lambda number: OPCODES[number].name)
def test_expression(number: int) -> None:
    takes = OPCODES[number].takes
    for words, bound, is_bool in ((WIDE, MASK, False), (NARROW, 2**64 - 1, False), (BOOLS, 1, True)):
        unknown = [Value(f"a{position}", bound, None, is_bool) for position in range(takes)]
        check(number, unknown, [words] * takes)
        for position in range(takes):
            for known in WIDE:
                operands: list[Value] = list(unknown)
                operands[position] = constant(known)
                ranges: list[Sequence[int]] = [words] * takes
                ranges[position] = (known,)
                check(number, operands, ranges)
