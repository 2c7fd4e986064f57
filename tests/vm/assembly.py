"""A small assembler and a small world, so that a test can state a program and what it means on one line."""

from collections.abc import Mapping
from dataclasses import dataclass

from chain.state import EmptyState, State
from vm import interpreter
from vm.host import BlockContext, Log, TransactionContext
from vm.message import Message, Outcome
from vm.opcodes import NUMBERS
from vm.tracer import Tracer

SENDER, CONTRACT, OTHER, THIRD, COINBASE = (bytes([number]) * 20 for number in (0xAA, 0xBB, 0xCC, 0xDD, 0xC0))

BLOCK = BlockContext(
    number=1_000,
    timestamp_s=1_700_000_000,
    coinbase=COINBASE,
    gas_limit=30_000_000,
    prev_randao=0x1234,
    base_fee=7,
    blob_base_fee=3,
    chain_id=99,
    block_hash=lambda number: number.to_bytes(32, "big"),
)
TRANSACTION = TransactionContext(SENDER, 11, (b"\x01" + bytes(31), b"\x02" + bytes(31)))

RETURN_TOP = "PUSH0 MSTORE PUSH 32 PUSH0 RETURN"
"""Ends a program with the word on top of the stack as its output."""


def assemble(text: str) -> bytes:
    """Names of instructions; `PUSH n` takes as many bytes as it needs; `name:` is a JUMPDEST and `@name` pushes it."""
    code = bytearray()
    labels: dict[str, int] = {}
    uses: list[tuple[int, str]] = []
    words = iter(text.split())
    for word in words:
        if word.endswith(":"):
            labels[word[:-1]] = len(code)
            code.append(NUMBERS["JUMPDEST"])
        elif word.startswith("@"):
            uses.append((len(code) + 1, word[1:]))
            code += bytes([NUMBERS["PUSH2"], 0, 0])
        elif word == "PUSH":
            code += push(int(next(words), 0))
        elif word.startswith("PUSH") and word != "PUSH0":
            length = int(word[4:])
            code += bytes([NUMBERS[word]]) + int(next(words), 0).to_bytes(length, "big")
        else:
            code.append(NUMBERS[word])
    for at, label in uses:
        code[at : at + 2] = labels[label].to_bytes(2, "big")
    return bytes(code)


def push(value: int) -> bytes:
    value &= 2**256 - 1
    length = (value.bit_length() + 7) // 8
    return bytes([NUMBERS[f"PUSH{length}"]]) + value.to_bytes(length, "big")


def address_word(address: bytes) -> str:
    return hex(int.from_bytes(address, "big"))


@dataclass(frozen=True, slots=True)
class Run:
    """One program run in a small world."""

    outcome: Outcome
    gas_used: int
    state: State
    logs: tuple[Log, ...]

    @property
    def word(self) -> int:
        """The output as one number; the program must have succeeded."""
        assert self.outcome.success, self.outcome
        return int.from_bytes(self.outcome.output, "big")


def new_state(codes: Mapping[bytes, str | bytes], storage: Mapping[int, int] | None = None) -> State:
    """Accounts with code and 1,000 wei each, a rich sender, slots of CONTRACT; a transaction has just begun."""
    state = State(EmptyState())
    state.set_balance(SENDER, 10**18)
    for address, code in codes.items():
        state.set_nonce(address, 1)
        state.set_balance(address, 1_000)
        state.set_code(address, assemble(code) if isinstance(code, str) else code)
    for slot, value in (storage or {}).items():
        state.set_storage(CONTRACT, slot, value)
    state.begin_transaction([SENDER, CONTRACT, COINBASE])
    return state


def run(
    code: str | bytes,
    *,
    data: bytes = b"",
    value: int = 0,
    gas: int = 1_000_000,
    others: Mapping[bytes, str | bytes] | None = None,
    storage: Mapping[int, int] | None = None,
    is_static: bool = False,
    tracer: Tracer | None = None,
) -> Run:
    """Call CONTRACT, whose code is the program."""
    state = new_state({CONTRACT: code, **(others or {})}, storage)
    message = Message(SENDER, CONTRACT, value, data, gas, is_static=is_static)
    outcome = interpreter.run(state, BLOCK, TRANSACTION, message, tracer)
    return Run(outcome, gas - outcome.gas_left, state, tuple(state._logs.values()))


def result(code: str, **options: object) -> int:
    """The word that a program leaves on top of its stack."""
    return run(f"{code} {RETURN_TOP}", **options).word  # type: ignore[arg-type]
