"""Bytes in, a small world of contracts out: every decision of the generator is read from a string of bytes.

So hypothesis can shrink a failing world by shrinking the bytes, and a plain random source can make millions of worlds.
Programs are weighted towards code that does something: operands are pushed before they are used, jumps mostly land,
calls mostly go to contracts of the same world. Nothing is guaranteed to be valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from vm.opcodes import NUMBERS, OPCODES

T = TypeVar("T")

SENDER = b"\xaa" * 20
COINBASE = b"\xc0" * 20
CONTRACTS = tuple(bytes(19) + bytes((0x80 + index,)) for index in range(4))
_STRANGERS = (SENDER, COINBASE, b"\xee" * 20, *(bytes(19) + bytes((number,)) for number in (1, 2, 3, 4, 5, 6, 9)))

_WORDS = (
    0,
    1,
    2,
    3,
    31,
    32,
    33,
    255,
    256,
    2**64 - 1,
    2**64,
    2**128,
    2**255 - 1,
    2**255,
    2**255 + 1,
    2**256 - 2,
    2**256 - 1,
)
# By what they take from the stack; all of them give one word.
_BINARY = tuple(row.name for row in OPCODES if 0x01 <= row.number <= 0x1D and (row.takes, row.gives) == (2, 1))
_UNARY = tuple(row.name for row in OPCODES if (row.takes, row.gives) == (1, 1) and row.push_bytes == 0)
_NULLARY = tuple(row.name for row in OPCODES if (row.takes, row.gives) == (0, 1) and row.push_bytes == 0)
_GAS_GIVEN = (0, 100, 2300, 2301, 5000, 30_000, 100_000, 2**64)
_MAX_NESTING = 3
_MAX_STATEMENTS = 14


@dataclass(frozen=True, slots=True)
class World:
    """Contracts with code and storage, and one call into the first of them."""

    codes: dict[bytes, bytes]
    storage: dict[bytes, dict[int, int]]
    data: bytes
    value: int
    gas: int


def make_world(data: bytes) -> World:
    """The world that a string of bytes decides."""
    choose = Decisions(data)
    value, gas = choose.of((0, 0, 1, 7)), choose.of((3_000_000, 200_000, 60_000, 30_000))
    call_data = choose.take(choose.below(70))
    storage = {address: {slot: choose.below(3) for slot in range(3)} for address in CONTRACTS}
    codes = {}
    for address in CONTRACTS:
        program = Program(choose)
        program.statements(choose.below(_MAX_STATEMENTS) + 2)
        program.epilogue()
        codes[address] = bytes(program.code)
    return World(codes, storage, call_data, value, gas)


class Decisions:
    """Choices read from bytes; zero, the plainest, once they have run out."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found + bytes(count - len(found))

    def below(self, limit: int) -> int:
        return self.take(1)[0] % limit

    def of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def word(self) -> int:
        kind = self.below(8)
        if kind < 4:
            return self.below(256)
        if kind < 7:
            return self.of(_WORDS)
        return int.from_bytes(self.take(32), "big")

    def small(self) -> int:
        """An offset or a length in memory, very rarely one that nobody can pay."""
        if self.below(128) == 127:
            return self.of(_WORDS)
        return self.of((0, 1, 4, 31, 32, 33, 64, 95, 128, 200, 320))


class Program:
    """One piece of code in the making."""

    def __init__(self, choose: Decisions, nesting: int = 0) -> None:
        self.choose = choose
        self.nesting = nesting
        self.code = bytearray()

    def op(self, *names: str) -> None:
        for name in names:
            self.code.append(NUMBERS[name])

    def push(self, value: int) -> None:
        value &= 2**256 - 1
        length = (value.bit_length() + 7) // 8
        self.op(f"PUSH{length}")
        self.code += value.to_bytes(length, "big")

    def statements(self, count: int) -> None:
        for _ in range(count):
            self.choose.of(_STATEMENTS)(self)

    def epilogue(self) -> None:
        """Mostly: show what is left on the stack and in memory."""
        kind = self.choose.below(12)
        if kind == 11:
            self.op("STOP")
            return
        for offset in range(0, 32 * self.choose.below(4), 32):
            self.push(offset)
            self.op("MSTORE")
        self.push(self.choose.of((32, 96, 0, 33)))
        self.push(self.choose.of((0, 1, 32)))
        self.op("REVERT" if kind == 10 else "RETURN")

    # Statements

    def operand(self) -> None:
        """A constant, or a word that no translator can know beforehand."""
        kind = self.choose.below(4)
        if kind == 3:
            self.push(self.choose.below(64))
            self.op("CALLDATALOAD")
            return
        self.push(self.choose.word())
        if kind == 2:
            self.push(0x200)
            self.op("MSTORE")
            self.push(0x200)
            self.op("MLOAD")

    def compute(self) -> None:
        name = self.choose.of(_BINARY)
        self.operand()
        if self.choose.below(3):
            self.operand()
        self.op(name)

    def compute_modular(self) -> None:
        for _ in range(3):
            self.operand()
        self.op(self.choose.of(("ADDMOD", "MULMOD")))

    def read(self) -> None:
        name = self.choose.of(_UNARY)
        if name in ("BALANCE", "EXTCODESIZE", "EXTCODEHASH"):
            self.address()
        elif name in ("SLOAD", "TLOAD", "BLOBHASH"):
            self.push(self.choose.below(4))
        elif name == "BLOCKHASH":
            self.push(self.choose.of((0, 99, 100, 101, 43, 44)) * 3)
        elif name in ("MLOAD", "CALLDATALOAD"):
            self.push(self.choose.small())
        else:
            self.push(self.choose.word())
        self.op(name)

    def inspect(self) -> None:
        self.op(self.choose.of(_NULLARY))

    def shuffle(self) -> None:
        for _ in range(self.choose.below(4) + 1):
            self.push(self.choose.below(256))
        self.op(self.choose.of(("DUP", "SWAP")) + str(self.choose.below(4) + 1))
        if self.choose.below(4) == 0:
            self.op("POP")

    def store(self) -> None:
        """Storage, with values that make all paths of the gas rules meet."""
        if self.choose.below(4) == 0:
            self.op("GAS")
        else:
            self.push(self.choose.below(3))
        self.push(self.choose.below(4))
        self.op(self.choose.of(("SSTORE", "SSTORE", "SSTORE", "TSTORE")))

    def remember(self) -> None:
        self.push(self.choose.word())
        self.push(self.choose.small())
        self.op(self.choose.of(("MSTORE", "MSTORE", "MSTORE8")))

    def copy(self) -> None:
        name = self.choose.of(("CALLDATACOPY", "CODECOPY", "MCOPY", "EXTCODECOPY", "RETURNDATACOPY"))
        if name == "RETURNDATACOPY" and self.choose.below(4):
            self.op("RETURNDATASIZE", "PUSH0", "PUSH0")
        else:
            for _ in range(3):
                self.push(self.choose.small())
        if name == "EXTCODECOPY":
            self.address()
        self.op(name)

    def hash(self) -> None:
        self.push(self.choose.small())
        self.push(self.choose.small())
        self.op("KECCAK256")

    def log(self) -> None:
        topics = self.choose.below(5)
        for _ in range(topics):
            self.push(self.choose.word())
        self.push(self.choose.small())
        self.push(self.choose.small())
        self.op(f"LOG{topics}")

    def address(self) -> None:
        kind = self.choose.below(8)
        if kind == 0:
            self.op("ADDRESS")
        elif kind == 1:
            self.push(int.from_bytes(self.choose.of(_STRANGERS), "big"))
        elif kind == 2:
            # Whatever lies on the stack: now and then the address of a contract just created.
            self.op("DUP1")
        else:
            self.push(int.from_bytes(self.choose.of(CONTRACTS), "big"))

    def call(self) -> None:
        name = self.choose.of(("CALL", "CALL", "DELEGATECALL", "STATICCALL", "CALLCODE"))
        for _ in range(4):
            self.push(self.choose.small())
        if name in ("CALL", "CALLCODE"):
            self.push(self.choose.of((0, 0, 0, 1, 2, 10**30)))
        self.address_below(4 if name in ("DELEGATECALL", "STATICCALL") else 5)
        if self.choose.below(3):
            self.op("GAS")
        else:
            self.push(self.choose.of(_GAS_GIVEN))
        self.op(name)
        if self.choose.below(2):
            self.push(self.choose.below(4))
            self.op("SSTORE")

    def address_below(self, depth: int) -> None:
        """Like address, but what lies on the stack is looked for below the words just pushed."""
        if self.choose.below(8) == 7:
            self.op(f"DUP{depth + 1}")
        else:
            self.address()

    def create(self) -> None:
        if self.nesting >= _MAX_NESTING:
            return
        child = Program(self.choose, self.nesting + 1)
        child.statements(self.choose.below(4))
        if self.choose.below(8):
            runtime = Program(self.choose, _MAX_NESTING)
            runtime.statements(self.choose.below(3))
            runtime.epilogue()
            child.put_in_memory(bytes(runtime.code) if self.choose.below(12) else b"\xef\x00")
            child.push(len(runtime.code))
            child.op("PUSH0", "RETURN")
        self.put_in_memory(bytes(child.code))
        salted = self.choose.below(2)
        if salted:
            self.push(self.choose.below(2))
        self.push(len(child.code))
        self.op("PUSH0")
        self.push(self.choose.of((0, 0, 1)))
        self.op("CREATE2" if salted else "CREATE")
        if self.choose.below(2):
            self.op("DUP1")
            self.push(self.choose.below(4))
            self.op("SSTORE")

    def put_in_memory(self, data: bytes) -> None:
        for offset in range(0, len(data), 32):
            self.push(int.from_bytes(data[offset : offset + 32].ljust(32, b"\0"), "big"))
            self.push(offset)
            self.op("MSTORE")

    def branch(self) -> None:
        """if (...) { ... }"""
        if self.nesting >= _MAX_NESTING:
            return
        body = self._body(3)
        self.choose.of((Program.compute, Program.read, Program.inspect))(self)
        self.op("PUSH2")
        self.code += (len(self.code) + 3 + len(body)).to_bytes(2, "big")
        self.op("JUMPI")
        # The condition jumps over the body.
        self.code += body
        self.op("JUMPDEST")

    def loop(self) -> None:
        """A body that runs a few times, the counter below whatever it leaves on the stack."""
        if self.nesting >= _MAX_NESTING:
            return
        body = self._body(3)
        self.push(self.choose.of((2, 5, 40)))
        start = len(self.code)
        self.op("JUMPDEST")
        self.code += body
        self.push(1)
        self.op("SWAP1", "SUB", "DUP1", "PUSH2")
        self.code += start.to_bytes(2, "big")
        self.op("JUMPI")

    def _body(self, limit: int) -> bytes:
        body = Program(self.choose, self.nesting + 1)
        body.statements(self.choose.below(limit) + 1)
        return bytes(body.code)

    def jump_anywhere(self) -> None:
        if self.choose.below(6) == 0:
            self.push(self.choose.below(256))
            self.op("JUMP")

    def any_byte(self) -> None:
        if self.choose.below(6) == 0:
            self.code += self.choose.take(1)

    def end(self) -> None:
        kind = self.choose.below(30)
        if kind == 0:
            self.address()
            self.op("SELFDESTRUCT")
        elif kind == 1:
            self.epilogue()


_STATEMENTS = (
    Program.compute,
    Program.compute,
    Program.compute,
    Program.compute_modular,
    Program.read,
    Program.read,
    Program.inspect,
    Program.shuffle,
    Program.shuffle,
    Program.store,
    Program.store,
    Program.remember,
    Program.remember,
    Program.copy,
    Program.hash,
    Program.log,
    Program.call,
    Program.call,
    Program.call,
    Program.create,
    Program.branch,
    Program.loop,
    Program.jump_anywhere,
    Program.any_byte,
    Program.end,
)
