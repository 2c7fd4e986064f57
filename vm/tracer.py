"""Watching code run, instruction by instruction and frame by frame; costs nothing when nobody watches.

`StructLogTracer` keeps what geth's `debug_traceTransaction` calls struct logs (EIP-3155).
"""

from typing import NamedTuple, Protocol

from vm.frame import Frame
from vm.opcodes import Opcode


class Tracer(Protocol):
    """Is told before and after every instruction. Must change nothing that it is shown."""

    def enter_frame(self, frame: Frame) -> None:
        """A call or create begins to run code."""

    def leave_frame(self, frame: Frame, success: bool, halt: str | None) -> None:
        """It has ended; halt names an exceptional halt."""

    def before_step(self, frame: Frame, pc: int, opcode: Opcode) -> None:
        """The instruction is about to run: frame.gas, stack and memory are as it finds them."""

    def after_step(self, frame: Frame, gas_before: int, halt: str | None) -> None:
        """It has run, and all it costs has been charged, what a call hands over included; its child has not begun."""


class StructLog(NamedTuple):
    """One instruction as it was run."""

    pc: int
    name: str
    gas: int
    """Left before it."""
    gas_cost: int
    depth: int
    """1 for the outermost frame."""
    stack: tuple[int, ...]
    """Before it, the top last."""
    memory: bytes
    """Before it; empty where the tracer does not keep memory."""
    error: str | None


class StructLogTracer:
    """Keeps a StructLog of every instruction, up to a limit."""

    def __init__(self, with_memory: bool = False, max_steps: int = 1_000_000) -> None:
        self.logs: list[StructLog] = []
        self.with_memory = with_memory
        self.max_steps = max_steps
        """A trace is kept in memory whole: about 1 KB a step."""
        self._pending: StructLog | None = None

    def enter_frame(self, frame: Frame) -> None:
        pass

    def leave_frame(self, frame: Frame, success: bool, halt: str | None) -> None:
        pass

    def before_step(self, frame: Frame, pc: int, opcode: Opcode) -> None:
        if len(self.logs) >= self.max_steps:
            self._pending = None
            return
        memory = frame.memory.read(0, frame.memory.size) if self.with_memory else b""
        self._pending = StructLog(pc, opcode.name, frame.gas, 0, frame.depth + 1, tuple(frame.stack), memory, None)

    def after_step(self, frame: Frame, gas_before: int, halt: str | None) -> None:
        if self._pending is not None:
            self.logs.append(self._pending._replace(gas_cost=gas_before - frame.gas, error=halt))
