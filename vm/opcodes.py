"""The table of instructions under Cancun rules: one row an opcode.

A row tells everything that can be known without running: number, name, gas that is always paid, words taken from and
given to the stack, and what it does. Costs that depend on operands or state are charged by the function itself.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from vm.frame import Frame
from vm.instructions import arithmetic, calls, data, environment, flow

Step = Callable[[Frame], None]


class Ending(Enum):
    """Whether a block of instructions may go on after this one."""

    NONE = 0
    BLOCK = 1
    """The next instruction begins a block: after jumps, and after all that see the gas left, so that gas charged for
    a block at once is never seen."""
    FRAME = 2
    """Like BLOCK, and the interpreter must look whether the frame has ended or has a child to run."""


class Opcode(NamedTuple):
    """One row of the table."""

    number: int
    name: str
    gas: int
    """What it costs at the least."""
    takes: int
    """Words that the stack must hold."""
    gives: int
    """Words that stand in their place afterwards."""
    step: Step
    ending: Ending = Ending.NONE
    push_bytes: int = 0
    """Bytes of the code that follow and belong to the instruction."""


_BLOCK = Ending.BLOCK
_FRAME = Ending.FRAME

_ROWS = [
    Opcode(0x00, "STOP", 0, 0, 0, flow.stop, _FRAME),
    Opcode(0x01, "ADD", 3, 2, 1, arithmetic.add),
    Opcode(0x02, "MUL", 5, 2, 1, arithmetic.mul),
    Opcode(0x03, "SUB", 3, 2, 1, arithmetic.sub),
    Opcode(0x04, "DIV", 5, 2, 1, arithmetic.div),
    Opcode(0x05, "SDIV", 5, 2, 1, arithmetic.sdiv),
    Opcode(0x06, "MOD", 5, 2, 1, arithmetic.mod),
    Opcode(0x07, "SMOD", 5, 2, 1, arithmetic.smod),
    Opcode(0x08, "ADDMOD", 8, 3, 1, arithmetic.addmod),
    Opcode(0x09, "MULMOD", 8, 3, 1, arithmetic.mulmod),
    Opcode(0x0A, "EXP", 10, 2, 1, arithmetic.exp),
    Opcode(0x0B, "SIGNEXTEND", 5, 2, 1, arithmetic.signextend),
    Opcode(0x10, "LT", 3, 2, 1, arithmetic.lt),
    Opcode(0x11, "GT", 3, 2, 1, arithmetic.gt),
    Opcode(0x12, "SLT", 3, 2, 1, arithmetic.slt),
    Opcode(0x13, "SGT", 3, 2, 1, arithmetic.sgt),
    Opcode(0x14, "EQ", 3, 2, 1, arithmetic.eq),
    Opcode(0x15, "ISZERO", 3, 1, 1, arithmetic.iszero),
    Opcode(0x16, "AND", 3, 2, 1, arithmetic.and_),
    Opcode(0x17, "OR", 3, 2, 1, arithmetic.or_),
    Opcode(0x18, "XOR", 3, 2, 1, arithmetic.xor),
    Opcode(0x19, "NOT", 3, 1, 1, arithmetic.not_),
    Opcode(0x1A, "BYTE", 3, 2, 1, arithmetic.byte),
    Opcode(0x1B, "SHL", 3, 2, 1, arithmetic.shl),
    Opcode(0x1C, "SHR", 3, 2, 1, arithmetic.shr),
    Opcode(0x1D, "SAR", 3, 2, 1, arithmetic.sar),
    Opcode(0x20, "KECCAK256", 30, 2, 1, data.keccak),
    Opcode(0x30, "ADDRESS", 2, 0, 1, environment.address),
    Opcode(0x31, "BALANCE", 100, 1, 1, environment.balance),
    Opcode(0x32, "ORIGIN", 2, 0, 1, environment.origin),
    Opcode(0x33, "CALLER", 2, 0, 1, environment.caller),
    Opcode(0x34, "CALLVALUE", 2, 0, 1, environment.callvalue),
    Opcode(0x35, "CALLDATALOAD", 3, 1, 1, environment.calldataload),
    Opcode(0x36, "CALLDATASIZE", 2, 0, 1, environment.calldatasize),
    Opcode(0x37, "CALLDATACOPY", 3, 3, 0, environment.calldatacopy),
    Opcode(0x38, "CODESIZE", 2, 0, 1, environment.codesize),
    Opcode(0x39, "CODECOPY", 3, 3, 0, environment.codecopy),
    Opcode(0x3A, "GASPRICE", 2, 0, 1, environment.gasprice),
    Opcode(0x3B, "EXTCODESIZE", 100, 1, 1, environment.extcodesize),
    Opcode(0x3C, "EXTCODECOPY", 100, 4, 0, environment.extcodecopy),
    Opcode(0x3D, "RETURNDATASIZE", 2, 0, 1, environment.returndatasize),
    Opcode(0x3E, "RETURNDATACOPY", 3, 3, 0, environment.returndatacopy),
    Opcode(0x3F, "EXTCODEHASH", 100, 1, 1, environment.extcodehash),
    Opcode(0x40, "BLOCKHASH", 20, 1, 1, environment.blockhash),
    Opcode(0x41, "COINBASE", 2, 0, 1, environment.coinbase),
    Opcode(0x42, "TIMESTAMP", 2, 0, 1, environment.timestamp),
    Opcode(0x43, "NUMBER", 2, 0, 1, environment.number),
    Opcode(0x44, "PREVRANDAO", 2, 0, 1, environment.prevrandao),
    Opcode(0x45, "GASLIMIT", 2, 0, 1, environment.gaslimit),
    Opcode(0x46, "CHAINID", 2, 0, 1, environment.chainid),
    Opcode(0x47, "SELFBALANCE", 5, 0, 1, environment.selfbalance),
    Opcode(0x48, "BASEFEE", 2, 0, 1, environment.basefee),
    Opcode(0x49, "BLOBHASH", 3, 1, 1, environment.blobhash),
    Opcode(0x4A, "BLOBBASEFEE", 2, 0, 1, environment.blobbasefee),
    Opcode(0x50, "POP", 2, 1, 0, flow.pop),
    Opcode(0x51, "MLOAD", 3, 1, 1, data.mload),
    Opcode(0x52, "MSTORE", 3, 2, 0, data.mstore),
    Opcode(0x53, "MSTORE8", 3, 2, 0, data.mstore8),
    Opcode(0x54, "SLOAD", 100, 1, 1, data.sload),
    Opcode(0x55, "SSTORE", 0, 2, 0, data.sstore, _BLOCK),
    Opcode(0x56, "JUMP", 8, 1, 0, flow.jump, _BLOCK),
    Opcode(0x57, "JUMPI", 10, 2, 0, flow.jumpi, _BLOCK),
    # PC pushes a constant: its step is made when the code is read.
    Opcode(0x58, "PC", 2, 0, 1, flow.push_of(0)),
    Opcode(0x59, "MSIZE", 2, 0, 1, data.msize),
    Opcode(0x5A, "GAS", 2, 0, 1, flow.gas, _BLOCK),
    Opcode(0x5B, "JUMPDEST", 1, 0, 0, flow.jumpdest),
    Opcode(0x5C, "TLOAD", 100, 1, 1, data.tload),
    Opcode(0x5D, "TSTORE", 100, 2, 0, data.tstore),
    Opcode(0x5E, "MCOPY", 3, 3, 0, data.mcopy),
    Opcode(0x5F, "PUSH0", 2, 0, 1, flow.push_of(0)),
    # Those of PUSH1 to PUSH32 are made when the code is read.
    *[Opcode(0x5F + n, f"PUSH{n}", 3, 0, 1, flow.push_of(0), push_bytes=n) for n in range(1, 33)],
    *[Opcode(0x7F + n, f"DUP{n}", 3, n, n + 1, flow.dup_of(n)) for n in range(1, 17)],
    *[Opcode(0x8F + n, f"SWAP{n}", 3, n + 1, n + 1, flow.swap_of(n)) for n in range(1, 17)],
    *[Opcode(0xA0 + n, f"LOG{n}", 375 + 375 * n, 2 + n, 0, data.log_with(n)) for n in range(5)],
    Opcode(0xF0, "CREATE", 32000, 3, 1, calls.create, _FRAME),
    Opcode(0xF1, "CALL", 100, 7, 1, calls.call, _FRAME),
    Opcode(0xF2, "CALLCODE", 100, 7, 1, calls.callcode, _FRAME),
    Opcode(0xF3, "RETURN", 0, 2, 0, flow.return_, _FRAME),
    Opcode(0xF4, "DELEGATECALL", 100, 6, 1, calls.delegatecall, _FRAME),
    Opcode(0xF5, "CREATE2", 32000, 4, 1, calls.create2, _FRAME),
    Opcode(0xFA, "STATICCALL", 100, 6, 1, calls.staticcall, _FRAME),
    Opcode(0xFD, "REVERT", 0, 2, 0, flow.revert, _FRAME),
    Opcode(0xFE, "INVALID", 0, 0, 0, flow.invalid, _FRAME),
    Opcode(0xFF, "SELFDESTRUCT", 5000, 1, 0, flow.selfdestruct, _FRAME),
]

STOP, PC, JUMPDEST = 0x00, 0x58, 0x5B
PUSH1, PUSH32 = 0x60, 0x7F


def _full_table(rows: list[Opcode]) -> tuple[Opcode, ...]:
    """A row for every byte; those that mean nothing halt."""
    table = [Opcode(number, f"0x{number:02x}", 0, 0, 0, flow.invalid, _FRAME) for number in range(256)]
    for row in rows:
        table[row.number] = row
    return tuple(table)


OPCODES = _full_table(_ROWS)
"""The row of each byte, by its number."""

NUMBERS = {row.name: row.number for row in _ROWS}
"""The byte of each instruction, by its name."""
