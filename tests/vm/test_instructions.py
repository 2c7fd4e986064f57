"""What single instructions leave on the stack, in memory and in storage, and what they cost."""

import pytest

from primitives.keccak import keccak256
from tests.vm.assembly import BLOCK, CONTRACT, OTHER, SENDER, TRANSACTION, address_word, result, run
from vm.opcodes import OPCODES

MAX = 2**256 - 1
MIN_SIGNED = 2**255


def minus(number: int) -> int:
    return 2**256 - number


# (program with the first operand pushed last, expected word)
PURE = {
    "ADD wraps around": (f"PUSH 2 PUSH {MAX} ADD", 1),
    "MUL wraps around": (f"PUSH {MAX} PUSH {MAX} MUL", 1),
    "SUB takes the second from the top": ("PUSH 3 PUSH 10 SUB", 7),
    "SUB wraps below zero": ("PUSH 10 PUSH 3 SUB", minus(7)),
    "DIV rounds down": ("PUSH 3 PUSH 11 DIV", 3),
    "DIV by zero is zero": ("PUSH0 PUSH 11 DIV", 0),
    "SDIV rounds towards zero": (f"PUSH 2 PUSH {minus(7)} SDIV", minus(3)),
    "SDIV of two negatives": (f"PUSH {minus(2)} PUSH {minus(7)} SDIV", 3),
    "SDIV of the smallest by -1 overflows to itself": (f"PUSH {MAX} PUSH {MIN_SIGNED} SDIV", MIN_SIGNED),
    "SDIV by zero is zero": (f"PUSH0 PUSH {MAX} SDIV", 0),
    "MOD": ("PUSH 3 PUSH 11 MOD", 2),
    "MOD by zero is zero": ("PUSH0 PUSH 11 MOD", 0),
    "SMOD takes the sign of the dividend": (f"PUSH 3 PUSH {minus(8)} SMOD", minus(2)),
    "SMOD ignores the sign of the divisor": (f"PUSH {minus(3)} PUSH 8 SMOD", 2),
    "SMOD by zero is zero": ("PUSH0 PUSH 8 SMOD", 0),
    "ADDMOD does not wrap before the modulus": (f"PUSH 10 PUSH 2 PUSH {MAX} ADDMOD", (MAX + 2) % 10),
    "ADDMOD modulo zero is zero": ("PUSH0 PUSH 2 PUSH 3 ADDMOD", 0),
    "MULMOD does not wrap before the modulus": (f"PUSH 12 PUSH {MAX} PUSH {MAX} MULMOD", MAX * MAX % 12),
    "MULMOD modulo zero is zero": ("PUSH0 PUSH 2 PUSH 3 MULMOD", 0),
    "EXP": ("PUSH 10 PUSH 2 EXP", 1024),
    "EXP wraps around": ("PUSH 256 PUSH 2 EXP", 0),
    "EXP of zero to the zero is one": ("PUSH0 PUSH0 EXP", 1),
    "SIGNEXTEND of a negative byte": ("PUSH 0xff PUSH 0 SIGNEXTEND", MAX),
    "SIGNEXTEND clears what lies above a positive byte": ("PUSH 0xab7f PUSH 0 SIGNEXTEND", 0x7F),
    "SIGNEXTEND beyond the word changes nothing": ("PUSH 0xff PUSH 31 SIGNEXTEND", 0xFF),
    "LT": ("PUSH 2 PUSH 1 LT", 1),
    "LT is false for equals": ("PUSH 2 PUSH 2 LT", 0),
    "GT": ("PUSH 1 PUSH 2 GT", 1),
    "SLT knows negatives": (f"PUSH 0 PUSH {MAX} SLT", 1),
    "SLT is false for equals": (f"PUSH {MAX} PUSH {MAX} SLT", 0),
    "SGT knows negatives": (f"PUSH {MAX} PUSH 0 SGT", 1),
    "EQ": ("PUSH 5 PUSH 5 EQ", 1),
    "ISZERO": ("PUSH0 ISZERO", 1),
    "ISZERO of anything else": ("PUSH 7 ISZERO", 0),
    "AND": ("PUSH 0b1100 PUSH 0b1010 AND", 0b1000),
    "OR": ("PUSH 0b1100 PUSH 0b1010 OR", 0b1110),
    "XOR": ("PUSH 0b1100 PUSH 0b1010 XOR", 0b0110),
    "NOT": ("PUSH0 NOT", MAX),
    "BYTE counts from the most significant": ("PUSH 0xabcd PUSH 31 BYTE", 0xCD),
    "BYTE beyond the word is zero": (f"PUSH {MAX} PUSH 32 BYTE", 0),
    "SHL": ("PUSH 1 PUSH 255 SHL", MIN_SIGNED),
    "SHL by 256 is zero": ("PUSH 1 PUSH 256 SHL", 0),
    "SHR": (f"PUSH {MIN_SIGNED} PUSH 255 SHR", 1),
    "SHR by a huge amount is zero": (f"PUSH {MAX} PUSH {MAX} SHR", 0),
    "SAR keeps the sign": (f"PUSH {minus(8)} PUSH 1 SAR", minus(4)),
    "SAR of a negative by a huge amount is -1": (f"PUSH {minus(8)} PUSH 1000 SAR", MAX),
    "SAR of a positive by a huge amount is 0": ("PUSH 8 PUSH 1000 SAR", 0),
    "KECCAK256 of nothing": ("PUSH0 PUSH0 KECCAK256", int.from_bytes(keccak256(b""), "big")),
    "KECCAK256 of a word": (
        "PUSH 1 PUSH0 MSTORE PUSH 32 PUSH0 KECCAK256",
        int.from_bytes(keccak256((1).to_bytes(32, "big")), "big"),
    ),
    "POP": ("PUSH 1 PUSH 2 POP", 1),
    "DUP2": ("PUSH 1 PUSH 2 DUP2", 1),
    "DUP16": ("PUSH 9 " + "PUSH0 " * 15 + "DUP16", 9),
    "SWAP1": ("PUSH 1 PUSH 2 SWAP1", 1),
    "SWAP16": ("PUSH 9 " + "PUSH0 " * 16 + "SWAP16", 9),
    "PC is its own place": ("PUSH 1 PC", 2),
    "PUSH32": (f"PUSH32 {MAX}", MAX),
    "MSIZE counts whole words": ("PUSH 1 PUSH 33 MSTORE8 MSIZE", 64),
    "MLOAD grows memory too": ("PUSH 64 MLOAD POP MSIZE", 96),
    "MLOAD across two stored words": ("PUSH 0xaa PUSH0 MSTORE PUSH 0xbb PUSH 32 MSTORE PUSH 16 MLOAD", 0xAA << 128),
    "MSTORE at any offset": ("PUSH 0xabcd PUSH 5 MSTORE PUSH 5 MLOAD", 0xABCD),
    "MSTORE8 keeps the lowest byte": ("PUSH 0x1234 PUSH 31 MSTORE8 PUSH0 MLOAD", 0x34),
    "MCOPY with overlap": ("PUSH 0xabcdef PUSH0 MSTORE PUSH 32 PUSH0 PUSH 1 MCOPY PUSH 1 MLOAD", 0xABCDEF),
    "MCOPY grows memory for its source": ("PUSH 1 PUSH 64 PUSH0 MCOPY MSIZE", 96),
    "MCOPY of nothing grows nothing": (f"PUSH0 PUSH {MAX} PUSH {MAX} MCOPY MSIZE", 0),
    "SLOAD of an absent slot": ("PUSH 5 SLOAD", 0),
    "SSTORE": ("PUSH 7 PUSH 5 SSTORE PUSH 5 SLOAD", 7),
    "TLOAD is not SLOAD": ("PUSH 7 PUSH 5 SSTORE PUSH 5 TLOAD", 0),
    "TSTORE": ("PUSH 7 PUSH 5 TSTORE PUSH 5 TLOAD", 7),
    "JUMP": ("@there JUMP INVALID there: PUSH 4", 4),
    "JUMPI with a condition": ("PUSH 2 @there JUMPI INVALID there: PUSH 4", 4),
    "JUMPI without": ("PUSH 0 @there JUMPI PUSH 4 @end JUMP there: INVALID end:", 4),
}


@pytest.mark.parametrize("intent", PURE)
def test_instruction(intent: str) -> None:
    program, expected = PURE[intent]
    assert result(program) == expected


ENVIRONMENT = {
    "ADDRESS": ("ADDRESS", int.from_bytes(CONTRACT, "big")),
    "CALLER": ("CALLER", int.from_bytes(SENDER, "big")),
    "ORIGIN": ("ORIGIN", int.from_bytes(SENDER, "big")),
    "CALLVALUE": ("CALLVALUE", 5),
    "BALANCE": (f"PUSH {address_word(OTHER)} BALANCE", 1_000),
    "SELFBALANCE has the value of the call already": ("SELFBALANCE", 1_005),
    "CALLDATASIZE": ("CALLDATASIZE", 4),
    "CALLDATALOAD is padded": ("PUSH 1 CALLDATALOAD", 0x020304 << 232),
    "CALLDATALOAD far outside": (f"PUSH {MAX} CALLDATALOAD", 0),
    "CALLDATACOPY is padded": ("PUSH 32 PUSH 2 PUSH0 CALLDATACOPY PUSH0 MLOAD", 0x0304 << 240),
    "CODESIZE": ("CODESIZE", 1 + 6),
    "CODECOPY": ("PUSH 1 PUSH 0 PUSH0 CODECOPY PUSH0 MLOAD", 0x60 << 248),
    "EXTCODESIZE": (f"PUSH {address_word(OTHER)} EXTCODESIZE", 3),
    "EXTCODECOPY": (f"PUSH 3 PUSH 1 PUSH0 PUSH {address_word(OTHER)} EXTCODECOPY PUSH0 MLOAD", 0x0100 << 240),
    "EXTCODEHASH": (f"PUSH {address_word(OTHER)} EXTCODEHASH", int.from_bytes(keccak256(b"\x60\x01\x00"), "big")),
    "EXTCODEHASH of an account without code": (
        f"PUSH {address_word(SENDER)} EXTCODEHASH",
        int.from_bytes(keccak256(b""), "big"),
    ),
    "EXTCODEHASH of nobody": ("PUSH 0x1234 EXTCODEHASH", 0),
    "GASPRICE": ("GASPRICE", TRANSACTION.gas_price),
    "BLOCKHASH of the last block": ("PUSH 999 BLOCKHASH", 999),
    "BLOCKHASH of the oldest one known": ("PUSH 744 BLOCKHASH", 744),
    "BLOCKHASH of one too old": ("PUSH 743 BLOCKHASH", 0),
    "BLOCKHASH of this one": ("PUSH 1000 BLOCKHASH", 0),
    "COINBASE": ("COINBASE", int.from_bytes(BLOCK.coinbase, "big")),
    "TIMESTAMP": ("TIMESTAMP", BLOCK.timestamp_s),
    "NUMBER": ("NUMBER", BLOCK.number),
    "PREVRANDAO": ("PREVRANDAO", BLOCK.prev_randao),
    "GASLIMIT": ("GASLIMIT", BLOCK.gas_limit),
    "CHAINID": ("CHAINID", BLOCK.chain_id),
    "BASEFEE": ("BASEFEE", BLOCK.base_fee),
    "BLOBBASEFEE": ("BLOBBASEFEE", BLOCK.blob_base_fee),
    "BLOBHASH": ("PUSH 1 BLOBHASH", 0x02 << 248),
    "BLOBHASH of one that is not there": ("PUSH 2 BLOBHASH", 0),
    "GAS after its own cost": ("GAS", 999_998),
    "RETURNDATASIZE before any call": ("RETURNDATASIZE", 0),
}


@pytest.mark.parametrize("intent", ENVIRONMENT)
def test_environment(intent: str) -> None:
    program, expected = ENVIRONMENT[intent]
    others = {OTHER: b"\x60\x01\x00"}
    assert result(program, data=b"\x01\x02\x03\x04", value=5, others=others) == expected


# (program, gas in all)
COSTS = {
    "EXP pays for each byte of the exponent": ("PUSH 256 PUSH 2 EXP", 3 + 3 + 10 + 100),
    "memory: linear at first": ("PUSH 0 MLOAD", 2 + 3 + 3),
    "memory: quadratic later": (f"PUSH {32 * 1023} MLOAD", 3 + 3 + 3 * 1024 + 1024 * 1024 // 512),
    "memory is paid once": ("PUSH 0 MLOAD PUSH 0 MLOAD", 2 + 3 + 3 + 2 + 3),
    "KECCAK256 pays for each word": ("PUSH 33 PUSH0 KECCAK256", 3 + 2 + 30 + 12 + 6),
    "CODECOPY pays for each word": ("PUSH 33 PUSH0 PUSH0 CODECOPY", 3 + 2 + 2 + 3 + 6 + 6),
    "LOG1 pays for topics and bytes": ("PUSH 1 PUSH 2 PUSH0 LOG1", 3 + 3 + 2 + 750 + 16 + 3),
    "BALANCE of a cold account": ("PUSH 0x99 BALANCE", 3 + 2600),
    "BALANCE of a warm account": (f"PUSH {address_word(SENDER)} BALANCE", 3 + 100),
    "SLOAD cold, then warm": ("PUSH 1 SLOAD PUSH 1 SLOAD", 3 + 2100 + 3 + 100),
    "SSTORE into an empty cold slot": ("PUSH 1 PUSH 9 SSTORE", 6 + 2100 + 20000),
    "SSTORE of what is there": ("PUSH0 PUSH 9 SSTORE", 5 + 2100 + 100),
    "SSTORE over another value": ("PUSH 2 PUSH 1 SSTORE", 6 + 2100 + 2900),
    "TSTORE": ("PUSH 2 PUSH 1 TSTORE", 6 + 100),
    "PUSH0 is cheaper": ("PUSH0", 2),
}


@pytest.mark.parametrize("intent", COSTS)
def test_cost(intent: str) -> None:
    program, gas = COSTS[intent]
    ran = run(program, storage={1: 1})
    assert ran.outcome.success
    assert ran.gas_used == gas


# EIP-3529, "test cases": slot 0 holds `original`; values written in turn; gas used; refund.
STORAGE_CASES = [
    (0, (0, 0), 212, 0),
    (0, (0, 1), 20112, 0),
    (0, (1, 0), 20112, 19900),
    (0, (1, 2), 20112, 0),
    (0, (1, 1), 20112, 0),
    (1, (0, 0), 3012, 4800),
    (1, (0, 1), 3012, 2800),
    (1, (0, 2), 3012, 0),
    (1, (2, 0), 3012, 4800),
    (1, (2, 3), 3012, 0),
    (1, (2, 1), 3012, 2800),
    (1, (2, 2), 3012, 0),
    (1, (1, 0), 3012, 4800),
    (1, (1, 2), 3012, 0),
    (1, (1, 1), 212, 0),
    (0, (1, 0, 1), 40118, 19900),
    (1, (0, 1, 0), 5918, 7600),
]


@pytest.mark.parametrize(("original", "values", "gas", "refund"), STORAGE_CASES)
def test_storage_gas_and_refund_of_eip_3529(original: int, values: tuple[int, ...], gas: int, refund: int) -> None:
    program = " ".join(f"PUSH1 {value} PUSH1 0 SSTORE" for value in values)
    ran = run(program, storage={0: original})
    # The table of the EIP has the slot accessed already.
    assert ran.gas_used - 2100 == gas
    assert ran.state.refund == refund


def test_sstore_needs_more_than_the_stipend() -> None:
    before = 6
    assert run("PUSH 1 PUSH 1 SSTORE", storage={1: 1}, gas=2_300 + before).outcome.halt == "OutOfGas"
    assert run("PUSH 1 PUSH 1 SSTORE", storage={1: 1}, gas=2_301 + before).outcome.success


def test_log_has_topics_in_order_and_data() -> None:
    ran = run("PUSH 0xabcd PUSH0 MSTORE PUSH 4 PUSH 3 PUSH 2 PUSH 1 PUSH 2 PUSH 30 LOG4")
    (log,) = ran.logs
    assert log.address == CONTRACT
    assert [int.from_bytes(topic, "big") for topic in log.topics] == [1, 2, 3, 4]
    assert log.data == b"\xab\xcd"


def test_revert_keeps_gas_and_output_and_undoes_state() -> None:
    ran = run("PUSH 1 PUSH 1 SSTORE PUSH 7 PUSH0 MSTORE PUSH 32 PUSH0 REVERT", value=3)
    assert not ran.outcome.success
    assert ran.outcome.is_revert
    assert int.from_bytes(ran.outcome.output, "big") == 7
    assert ran.outcome.gas_left > 0
    assert ran.state.storage(CONTRACT, 1) == 0
    assert ran.state.balance(CONTRACT) == 1_000


HALTS = {
    "POP": "StackUnderflow",
    "PUSH 1 ADD": "StackUnderflow",
    "PUSH 1 SWAP1": "StackUnderflow",
    "DUP1": "StackUnderflow",
    "INVALID": "InvalidOpcode",
    "PUSH 1 JUMP": "InvalidJump",
    "PUSH 1 PUSH 1 JUMPI": "InvalidJump",
    # The 0x5b is push data.
    "PUSH 4 JUMP PUSH1 0x5b": "InvalidJump",
    f"PUSH {MAX} JUMP": "InvalidJump",
    f"PUSH {MAX} MLOAD": "OutOfGas",
    f"PUSH {MAX} PUSH {MAX} KECCAK256": "OutOfGas",
    "PUSH 1 PUSH0 PUSH0 RETURNDATACOPY": "ReturnDataOutOfBounds",
    "again: PUSH0 @again JUMP": "StackOverflow",
}


@pytest.mark.parametrize("program", HALTS)
def test_halt_takes_all_gas(program: str) -> None:
    ran = run(program)
    assert ran.outcome.halt == HALTS[program]
    assert ran.outcome.gas_left == 0
    assert ran.outcome.output == b""


@pytest.mark.parametrize("number", [row.number for row in OPCODES if row.name.startswith("0x")])
def test_a_byte_without_meaning_halts(number: int) -> None:
    assert run(bytes([number])).outcome.halt == "InvalidOpcode"


CHANGES = ["PUSH 1 PUSH 1 SSTORE", "PUSH 1 PUSH 1 TSTORE", "PUSH0 PUSH0 LOG0", "PUSH 1 SELFDESTRUCT",
           "PUSH0 PUSH0 PUSH0 CREATE", "PUSH0 PUSH0 PUSH0 PUSH0 CREATE2",
           "PUSH0 PUSH0 PUSH0 PUSH0 PUSH 1 PUSH 4 PUSH 5000 CALL"]  # fmt: skip


@pytest.mark.parametrize("program", CHANGES)
def test_a_static_call_changes_nothing(program: str) -> None:
    assert run(program, is_static=True).outcome.halt == "StaticViolation"
    assert run(program).outcome.success


def test_truncated_push_data_is_padded_with_zeros() -> None:
    # PUSH2 with one byte left: the frame then ends as at a STOP; what it pushed can be seen by a tracer.
    from vm.tracer import StructLogTracer

    tracer = StructLogTracer()
    assert run(bytes([0x61, 0xAB]), tracer=tracer).outcome.success
    assert tracer.logs[-1].stack == (0xAB00,)
    assert tracer.logs[-1].name == "STOP"
