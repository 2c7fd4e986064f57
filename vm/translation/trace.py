"""From hot code to one Python function: a tree of blocks that begins at one of them and follows known jumps.

The stack lives in variables while the function runs and is written back where it is left. Exactness rests on the same
rule as in the interpreter: gas of a segment (instructions that always run to the end of the segment, and none but the
last of which sees the gas left) is taken at its beginning. Demands on the stack are checked for the whole tree at once;
where they are not met, the function declines and the interpreter runs the block step by step.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from primitives.keccak import keccak256
from vm.code import Block, Instruction, Program
from vm.errors import InvalidJump, OutOfGas
from vm.frame import Frame
from vm.gas import COLD_SLOAD_SURCHARGE, EXPONENT_BYTE, KECCAK_WORD, STACK_LIMIT, words
from vm.instructions import arithmetic, data, environment
from vm.opcodes import JUMPDEST, NUMBERS, OPCODES, Ending
from vm.translation.expressions import CONTEXT, PURE, Value, constant, folded

Trace = Callable[[Frame], int]
"""Runs from its block on; tells how it came to its end."""

WENT_ON, LEFT, DECLINED = 0, 1, 2
"""frame.pc is set for the next block; the frame may have ended or have a child; nothing was done."""

MAX_TRACE_INSTRUCTIONS = 300
"""Each takes some 40 us to write and compile: a trace costs 12 ms at the most."""
MAX_NESTING = 16
"""Branches inside branches; Python itself refuses 100 levels of indentation."""

_NAMESPACE = {
    "InvalidJump": InvalidJump,
    "OutOfGas": OutOfGas,
    "arithmetic_shift_right": arithmetic.arithmetic_shift_right,
    "call_data_word": environment.call_data_word,
    "from_bytes": int.from_bytes,
    "keccak256": keccak256,
    "sign_extended": arithmetic.sign_extended,
    "signed_divide": arithmetic.signed_divide,
    "signed_modulo": arithmetic.signed_modulo,
    "store_slot": data.store_slot,
    **{f"step_{number:02x}": OPCODES[number].step for number in range(256)},
}


_PROLOGUE = {
    "": "stack = frame.stack; gas = frame.gas",
    "memory": "memory = frame.memory",
    "words": "words = frame.memory.words",
    "address": "address = frame.address",
    "warm_slot": "warm_slot = frame.host.warm_slot",
    "storage": "storage = frame.host.storage",
}
"""What a trace looks up once, where it uses it."""


def translate(program: Program, start: Block) -> tuple[Trace, int]:
    """The function for what begins at a block, and how many instructions went into it."""
    writer = _TraceWriter(program, start.start)
    source = writer.source()
    namespace = dict(_NAMESPACE, jump_destinations=program.jump_destinations)
    exec(compile(source, f"<trace at {start.start}>", "exec"), namespace)
    trace: Trace = namespace["trace"]  # type: ignore[assignment]
    return trace, writer.instruction_count


@dataclass(slots=True)
class _Path:
    """What is known at one point of the tree."""

    stack: list[Value] = field(default_factory=list)
    """Words above those of the real stack that were not touched yet."""
    inputs: int = 0
    """Words of the real stack that are already represented in `stack`."""
    base: int = 0
    """Height of the real stack, relative to that at the beginning of the trace."""
    origins: dict[str, int] = field(default_factory=dict)
    """Variables that hold a word of the real stack: how deep it lies."""
    visited: set[int] = field(default_factory=set)
    memory_size: int = 0
    """What memory has at least."""
    indent: int = 2
    segment_line: int = 0
    segment_gas: int = 0

    @property
    def height(self) -> int:
        return self.base - self.inputs + len(self.stack)

    def branch(self) -> "_Path":
        """A copy to be followed inside an `if`."""
        return replace(
            self,
            stack=list(self.stack),
            origins=dict(self.origins),
            visited=set(self.visited),
            indent=self.indent + 1,
        )


class _TraceWriter:
    """Writes the function line by line; knows one path of the tree at a time."""

    def __init__(self, program: Program, start: int) -> None:
        self.program = program
        self.start = start
        self.lines: list[str] = []
        self.path = _Path()
        self.variables = 0
        self.instruction_count = 0
        self.min_height = 0
        self.growth = 0

    def source(self) -> str:
        self._open_segment()
        self._walk(self.start, MAX_TRACE_INSTRUCTIONS)
        body = "\n".join(line for line in self.lines if line)
        used = [text for name, text in _PROLOGUE.items() if re.search(rf"\b{name}\b", body)]
        head = [
            "def trace(frame):",
            f"    {'; '.join(used)}",
            "    while True:",
            f"        if not {self.min_height} <= len(stack) <= {STACK_LIMIT - self.growth}:",
            f"            frame.gas = gas; frame.pc = {self.start}; return {DECLINED}",
        ]
        return "\n".join([*head, body])

    # Writing

    def line(self, text: str) -> None:
        self.lines.append("    " * self.path.indent + text)

    def assign(self, expression: str, bound: int = arithmetic.MASK, is_bool: bool = False) -> Value:
        name = f"v{self.variables}"
        self.variables += 1
        self.line(f"{name} = {expression}")
        return Value(name, bound, None, is_bool)

    def _open_segment(self) -> None:
        self.path.segment_line = len(self.lines)
        self.path.segment_gas = 0
        self.lines.append("")

    def _close_segment(self) -> None:
        path = self.path
        if path.segment_gas:
            indent = "    " * path.indent
            self.lines[path.segment_line] = f"{indent}gas -= {path.segment_gas}\n{indent}if gas < 0: raise OutOfGas"
        path.segment_gas = 0

    # The stack

    def _pop(self) -> Value:
        path = self.path
        if not path.stack:
            self._read_inputs(1)
        return path.stack.pop()

    def _read_inputs(self, height: int) -> None:
        """Represent so many words in path.stack."""
        path = self.path
        while len(path.stack) < height:
            path.inputs += 1
            value = self.assign(f"stack[-{path.inputs}]")
            path.origins[value.text] = path.inputs
            path.stack.insert(0, value)

    def _write_back(self) -> None:
        """Make the real stack hold what path.stack says."""
        path = self.path
        kept = 0
        while kept < min(path.inputs, len(path.stack)):
            if path.origins.get(path.stack[kept].text) != path.inputs - kept:
                break
            kept += 1
        replaced = path.inputs - kept
        values = [value.word for value in path.stack[kept:]]
        if replaced == len(values) == 1:
            self.line(f"stack[-1] = {values[0]}")
        elif replaced:
            self.line(f"stack[-{replaced}:] = ({', '.join(values)},)" if values else f"del stack[-{replaced}:]")
        elif len(values) == 1:
            self.line(f"stack.append({values[0]})")
        elif values:
            self.line(f"stack += ({', '.join(values)})")
        path.base = path.height
        path.inputs = 0
        path.stack = []
        path.origins = {}

    # Control

    def _walk(self, pc: int, budget: int) -> None:
        """Write what runs from pc on; every way through what is written returns, raises or begins the trace again."""
        path = self.path
        first = self.instruction_count
        while True:
            block = self.program.blocks.get(pc)
            # A block that was never reached is not worth the translation.
            if block is None or pc in path.visited or self.instruction_count - first >= budget:
                self._exit(pc)
                return
            path.visited.add(pc)
            self.instruction_count += len(block.instructions)
            for instruction in block.instructions[:-1]:
                self._instruction(instruction)
            last = block.instructions[-1]
            name = last.opcode.name
            if name == "JUMP":
                target = self._jump(last)
                if target is None:
                    return
                pc = target
            elif name == "JUMPI":
                self._conditional_jump(last, budget - (self.instruction_count - first))
                pc = block.end
            elif last.opcode.ending is Ending.FRAME:
                self._leave(last)
                return
            else:
                self._instruction(last)
                if last.opcode.ending is Ending.BLOCK:
                    self._open_segment()
                pc = block.end

    def _account(self, instruction: Instruction) -> None:
        """Static gas and demands on the stack."""
        path, opcode = self.path, instruction.opcode
        path.segment_gas += opcode.gas
        self.min_height = max(self.min_height, opcode.takes - path.height)
        self.growth = max(self.growth, path.height + opcode.gives - opcode.takes)

    def _exit(self, pc: int) -> None:
        self._close_segment()
        self._write_back()
        if pc == self.start:
            self.line("continue")
        else:
            self.line(f"frame.gas = gas; frame.pc = {pc}; return {WENT_ON}")

    def _leave(self, instruction: Instruction) -> None:
        self._account(instruction)
        self._close_segment()
        self._write_back()
        self.line(f"frame.gas = gas; frame.pc = {instruction.next_pc}")
        self.line(f"step_{instruction.opcode.number:02x}(frame)")
        self.line(f"return {LEFT}")

    def _jump(self, instruction: Instruction) -> int | None:
        """The target of a jump where it is known and good; otherwise the path has been ended."""
        self._account(instruction)
        target = self._pop()
        if target.constant is not None and target.constant in self.program.jump_destinations:
            return target.constant
        self._close_segment()
        self._jump_to_unknown(target)
        return None

    def _jump_to_unknown(self, target: Value) -> None:
        if target.constant is not None:
            self.line("raise InvalidJump")
            return
        self.line(f"if {target.text} not in jump_destinations: raise InvalidJump")
        self._write_back()
        self.line(f"frame.gas = gas; frame.pc = {target.word}; return {WENT_ON}")

    def _conditional_jump(self, instruction: Instruction, budget: int) -> None:
        """Write the branch that is taken inside an `if`; the path goes on with the other."""
        self._account(instruction)
        target, condition = self._pop(), self._pop()
        self._close_segment()
        path = self.path
        self.line(f"if {condition.text}:")
        self.path = path.branch()
        if target.constant is None or target.constant not in self.program.jump_destinations:
            self._jump_to_unknown(target)
        else:
            self._open_segment()
            self._walk(target.constant, budget // 2 if self.path.indent < MAX_NESTING else 0)
        self.path = path
        self._open_segment()

    # Instructions

    def _instruction(self, instruction: Instruction) -> None:
        number = instruction.opcode.number
        stack = self.path.stack
        if number == JUMPDEST:
            self.path.segment_gas += instruction.opcode.gas
            return
        self._account(instruction)
        if 0x5F <= number <= 0x7F or number == NUMBERS["PC"]:
            stack.append(constant(instruction.operand))
        elif 0x80 <= number <= 0x8F:
            depth = number - 0x7F
            self._read_inputs(depth)
            stack.append(stack[-depth])
        elif 0x90 <= number <= 0x9F:
            depth = number - 0x8F
            self._read_inputs(depth + 1)
            stack[-1], stack[-depth - 1] = stack[-depth - 1], stack[-1]
        elif number in PURE:
            operands = [self._pop() for _ in range(instruction.opcode.takes)]
            self.path.stack.append(folded(number, operands) or PURE[number](self, *operands))
        elif number in CONTEXT:
            expression, bound = CONTEXT[number]
            stack.append(self.assign(expression, bound))
        elif number in _SPECIAL:
            _SPECIAL[number](self)
        else:
            self._step(instruction)

    def _step(self, instruction: Instruction) -> None:
        """Let the instruction's own function do it, on the real stack."""
        opcode = instruction.opcode
        if opcode.ending is not Ending.NONE:
            self._close_segment()
        self._write_back()
        self.line(f"frame.gas = gas; step_{opcode.number:02x}(frame); gas = frame.gas")
        self.path.base += opcode.gives - opcode.takes

    def _pop_top(self) -> None:
        self._pop()

    def _gas(self) -> None:
        self._close_segment()
        self.path.stack.append(self.assign("gas"))

    def _expand(self, offset: Value, length: int) -> None:
        """Have memory reach over a range of known, positive length."""
        if offset.constant is not None:
            if offset.constant + length <= self.path.memory_size:
                return
            self.path.memory_size = offset.constant + length
            end = hex(offset.constant + length)
        else:
            end = f"{offset.text} + {length}"
        self.line(f"if {end} > memory.size:")
        self.line(f"    frame.gas = gas; frame.expand({offset.text}, {length}); gas = frame.gas")

    def _mload(self) -> None:
        offset = self._pop()
        self._expand(offset, 32)
        value = self.assign(f"words.get({offset.text})")
        self.line(f"if {value.text} is None: {value.text} = memory.load_word({offset.text})")
        self.path.stack.append(value)

    def _mstore(self) -> None:
        offset, value = self._pop(), self._pop()
        self._expand(offset, 32)
        if offset.constant is None:
            self.line(f"if {offset.text} & 31: memory.store_word({offset.text}, {value.word})")
            self.line(f"else: words[{offset.word}] = {value.word}")
        elif offset.constant & 31:
            self.line(f"memory.store_word({offset.text}, {value.word})")
        else:
            self.line(f"words[{offset.text}] = {value.word}")

    def _keccak(self) -> None:
        offset, length = self._pop(), self._pop()
        if length.constant:
            self.path.segment_gas += KECCAK_WORD * words(length.constant)
            self._expand(offset, length.constant)
        else:
            self.line(f"frame.gas = gas; frame.charge({KECCAK_WORD} * ({length.text} + 31 >> 5))")
            self.line(f"frame.expand({offset.text}, {length.text}); gas = frame.gas")
        digest = f"keccak256(memory.read({offset.text}, {length.text}))"
        self.path.stack.append(self.assign(f'from_bytes({digest}, "big")'))

    def _calldataload(self) -> None:
        self.path.stack.append(self.assign(f"call_data_word(frame.data, {self._pop().text})"))

    def _sload(self) -> None:
        slot = self._pop().word
        self.line(f"if not warm_slot(address, {slot}):")
        self.line(f"    gas -= {COLD_SLOAD_SURCHARGE}")
        self.line("    if gas < 0: raise OutOfGas")
        self.path.stack.append(self.assign(f"storage(address, {slot})"))

    def _sstore(self) -> None:
        slot, value = self._pop(), self._pop()
        self._close_segment()
        self.line(f"frame.gas = gas; store_slot(frame, {slot.word}, {value.word}); gas = frame.gas")

    def _exp(self) -> None:
        base, exponent = self._pop(), self._pop()
        if exponent.constant is not None:
            self.path.segment_gas += EXPONENT_BYTE * ((exponent.constant.bit_length() + 7) // 8)
        else:
            self.line(f"gas -= {EXPONENT_BYTE} * ({exponent.word}.bit_length() + 7 >> 3)")
            self.line("if gas < 0: raise OutOfGas")
        self.path.stack.append(self.assign(f"pow({base.text}, {exponent.text}, {arithmetic.MODULUS:#x})"))


_SPECIAL: dict[int, Callable[[_TraceWriter], None]] = {
    NUMBERS["EXP"]: _TraceWriter._exp,
    NUMBERS["KECCAK256"]: _TraceWriter._keccak,
    NUMBERS["CALLDATALOAD"]: _TraceWriter._calldataload,
    NUMBERS["POP"]: _TraceWriter._pop_top,
    NUMBERS["MLOAD"]: _TraceWriter._mload,
    NUMBERS["MSTORE"]: _TraceWriter._mstore,
    NUMBERS["SLOAD"]: _TraceWriter._sload,
    NUMBERS["SSTORE"]: _TraceWriter._sstore,
    NUMBERS["GAS"]: _TraceWriter._gas,
}
