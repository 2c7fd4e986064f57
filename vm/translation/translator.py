"""Which blocks are translated, and how many: a budget, so that hostile code cannot keep the node busy with it.

Translating an instruction takes some 40 us, as long as running 300 of them step by step. It is paid from an allowance
that lasts for the contracts that a chain uses every day. Beyond it, every so many runs of a block earn one instruction:
code made to be translated can slow itself down by a small factor, never by a large one.
"""

from vm import code
from vm.code import Block, Program
from vm.translation.trace import MAX_TRACE_INSTRUCTIONS, translate

ALLOWANCE = 40_000
"""Instructions that may be translated at once: one to two seconds' work, some 130 traces of full length."""

RUNS_AN_INSTRUCTION = 64
"""Runs of a block step by step that earn the translation of one more instruction."""


class Translator:
    """Keeps the allowance of a process."""

    def __init__(self, allowance: int = ALLOWANCE, enabled: bool = True) -> None:
        self.allowance: float = allowance
        self.enabled = enabled

    def consider(self, program: Program, block: Block) -> None:
        """A block has been run HOT_RUNS times more: translate it where the allowance suffices."""
        block.countdown = code.HOT_RUNS
        if not self.enabled:
            return
        self.allowance = min(ALLOWANCE, self.allowance + code.HOT_RUNS / RUNS_AN_INSTRUCTION)
        if self.allowance < MAX_TRACE_INSTRUCTIONS:
            return
        block.trace, count = translate(program, block)
        self.allowance -= count
        # In memory a translated instruction weighs half as much as one that was read; it counts as one.
        program.instruction_count += count


TRANSLATOR = Translator()
"""The translator of this process."""
