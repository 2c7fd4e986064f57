"""Static properties of code, worked out once and kept: jump destinations and basic blocks.

A block is a run of instructions that is always run from its first to its last, so its gas and its demands on the stack
are summed once. Blocks are read only when they are reached, since most deployed code never runs whole.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from vm.frame import Frame
from vm.gas import STACK_LIMIT
from vm.instructions import flow
from vm.opcodes import JUMPDEST, OPCODES, PC, PUSH1, PUSH32, STOP, Ending, Opcode, Step

# A block ends after so many instructions at the latest: reading it must not cost much more than running what was paid.
MAX_BLOCK_INSTRUCTIONS = 128

# Programs kept, and instructions in all of them: about 240 bytes each, so some 30 MB at the most.
MAX_PROGRAMS = 512
MAX_CACHED_INSTRUCTIONS = 120_000

# After so many runs a block is worth a thought of translating it, and again after as many more.
HOT_RUNS = 48

# Every PUSH with its data, runs of anything else, and JUMPDEST alone: what finds a JUMPDEST outside push data.
_INSTRUCTIONS = re.compile(
    b"|".join(
        [rb"\x5b", rb"[^\x5b\x60-\x7f]+", *[b"[\\x%02x].{0,%d}" % (0x5F + count, count) for count in range(1, 33)]]
    ),
    re.DOTALL,
)


class Instruction(NamedTuple):
    """One instruction at its place in the code."""

    pc: int
    opcode: Opcode
    operand: int
    """The number in the push data; for PC, its own place."""

    @property
    def next_pc(self) -> int:
        return self.pc + 1 + self.opcode.push_bytes


class Block:
    """A run of instructions without a way in or out in the middle."""

    __slots__ = (
        "countdown",
        "end",
        "gas",
        "instructions",
        "leaves",
        "max_height",
        "min_height",
        "start",
        "steps",
        "trace",
    )

    def __init__(self, instructions: list[Instruction]) -> None:
        last = instructions[-1]
        self.instructions = tuple(instructions)
        self.start = instructions[0].pc
        self.end = last.next_pc
        """The instruction after the block."""
        self.gas = sum(instruction.opcode.gas for instruction in instructions)
        """Static gas of all instructions."""
        self.min_height, growth = _stack_demand(instructions)
        """Words that the stack must hold before."""
        self.max_height = STACK_LIMIT - growth
        """Words that the stack may hold before."""
        self.leaves = last.opcode.ending is Ending.FRAME
        """Whether the frame may have ended, or have a child, afterwards."""
        self.countdown = HOT_RUNS
        """Runs until its translation is considered."""
        self.trace: Callable[[Frame], int] | None = None
        """What runs in the place of its steps once it is translated (vm.translation)."""
        self.steps: tuple[Step, ...] = tuple(
            [_step(instruction) for instruction in instructions if instruction.opcode.number != JUMPDEST]
        )


class Program:
    """What is known of one piece of code."""

    __slots__ = ("blocks", "code", "instruction_count", "jump_destinations", "single_blocks")

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.blocks: dict[int, Block] = {}
        """Those that were reached, by the place of their first instruction."""
        self.single_blocks: dict[int, Block] = {}
        """Blocks of one instruction each, for a tracer."""
        self.jump_destinations = find_jump_destinations(code)
        self.instruction_count = 0

    def read_block(self, pc: int) -> Block:
        """The block that begins at pc, read and kept."""
        instructions: list[Instruction] = []
        while True:
            instruction = read_instruction(self.code, pc)
            instructions.append(instruction)
            pc = instruction.next_pc
            if (
                instruction.opcode.ending is not Ending.NONE
                or len(instructions) == MAX_BLOCK_INSTRUCTIONS
                or pc in self.jump_destinations
            ):
                break
        block = Block(instructions)
        self.blocks[block.start] = block
        self.instruction_count += len(instructions)
        return block

    def read_single(self, pc: int) -> Block:
        """The instruction at pc as a block of its own, read and kept."""
        block = self.single_blocks[pc] = Block([read_instruction(self.code, pc)])
        self.instruction_count += 1
        return block


class ProgramCache:
    """The programs used last, by their code; bounded in number and in instructions."""

    def __init__(self, max_programs: int = MAX_PROGRAMS, max_instructions: int = MAX_CACHED_INSTRUCTIONS) -> None:
        self.max_programs = max_programs
        self.max_instructions = max_instructions
        self._programs: OrderedDict[bytes, Program] = OrderedDict()
        # Calls that answer a question may run in another thread than blocks.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._programs)

    def programs(self) -> list[Program]:
        """All that are kept, the one not used for longest first."""
        with self._lock:
            return list(self._programs.values())

    def program(self, code: bytes) -> Program:
        """What is known of the code. Python hashes a bytes object once, so this costs less than a keccak digest."""
        with self._lock:
            program = self._programs.get(code)
            if program is not None:
                self._programs.move_to_end(code)
                return program
            program = self._programs[code] = Program(code)
            total = sum(kept.instruction_count for kept in self._programs.values())
            while len(self._programs) > self.max_programs or (
                total > self.max_instructions and len(self._programs) > 1
            ):
                _, dropped = self._programs.popitem(last=False)
                total -= dropped.instruction_count
            return program


PROGRAMS = ProgramCache()
"""The cache of this process."""


def find_jump_destinations(code: bytes) -> frozenset[int]:
    """The places of all JUMPDEST instructions outside push data."""
    if JUMPDEST not in code:
        return frozenset()
    return frozenset(
        [match.start() for match in _INSTRUCTIONS.finditer(code) if code[match.start()] == JUMPDEST],
    )


def read_instruction(code: bytes, pc: int) -> Instruction:
    """The instruction at pc. Beyond the end of the code stands STOP; push data beyond it is zero."""
    if pc >= len(code):
        return Instruction(pc, OPCODES[STOP], 0)
    number = code[pc]
    opcode = OPCODES[number]
    if PUSH1 <= number <= PUSH32:
        count = opcode.push_bytes
        data = code[pc + 1 : pc + 1 + count]
        return Instruction(pc, opcode, int.from_bytes(data, "big") << 8 * (count - len(data)))
    return Instruction(pc, opcode, pc if number == PC else 0)


def _step(instruction: Instruction) -> Step:
    number = instruction.opcode.number
    if PUSH1 <= number <= PUSH32 or number == PC:
        return flow.push_of(instruction.operand)
    return instruction.opcode.step


def _stack_demand(instructions: list[Instruction]) -> tuple[int, int]:
    """(words needed before, most words above that height at any time)."""
    height = needed = growth = 0
    for instruction in instructions:
        opcode = instruction.opcode
        needed = max(needed, opcode.takes - height)
        height += opcode.gives - opcode.takes
        growth = max(growth, height)
    return needed, growth
