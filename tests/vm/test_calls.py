"""Calls and creates: gas handed over, depth, value, static mode, return data, and what a failure undoes."""

import sys
from collections.abc import Iterator

import pytest

from chain.state import State
from tests.vm.assembly import (
    BLOCK,
    CONTRACT,
    OTHER,
    RETURN_TOP,
    SENDER,
    THIRD,
    TRANSACTION,
    Run,
    address_word,
    assemble,
    new_state,
    push,
    result,
    run,
)
from vm import interpreter
from vm.addresses import create2_address, create_address
from vm.message import Message, Outcome

TO_OTHER = f"PUSH {address_word(OTHER)}"
RETURN_GAS = f"GAS {RETURN_TOP}"
RETURN_RESULT = "PUSH0 MLOAD " + RETURN_TOP


def call(target: str = TO_OTHER, gas: str = "GAS", value: int = 0, output: int = 32) -> str:
    return f"PUSH {output} PUSH0 PUSH0 PUSH0 PUSH {value} {target} {gas} CALL"


def deploy(code: str | bytes) -> bytes:
    """Init code whose contract has the given code."""
    runtime = assemble(code) if isinstance(code, str) else code
    body = assemble(f"PUSH2 {len(runtime)} PUSH1 12 PUSH0 CODECOPY PUSH2 {len(runtime)} PUSH0 RETURN")
    assert len(body) == 12
    return body + runtime


def in_memory(code: bytes) -> str:
    """Instructions that put code at the beginning of memory."""
    chunks = [(at, code[at : at + 32].ljust(32, b"\0")) for at in range(0, len(code), 32)]
    return " ".join(f"PUSH32 {int.from_bytes(chunk, 'big')} PUSH {at} MSTORE" for at, chunk in chunks)


def create(code: bytes, value: int = 0, salt: int | None = None) -> str:
    if salt is not None:
        return f"{in_memory(code)} PUSH {salt} PUSH {len(code)} PUSH0 PUSH {value} CREATE2"
    return f"{in_memory(code)} PUSH {len(code)} PUSH0 PUSH {value} CREATE"


class TestGas:
    def test_all_but_one_64th_is_handed_over(self) -> None:
        program = f"{call()} POP {RETURN_RESULT}"
        inner = result_of(program, {OTHER: RETURN_GAS}, gas=100_000)
        # Before CALL: three pushes of 3, four PUSH0, GAS; CALL: cold access and one word of memory. Inside: GAS.
        before = 100_000 - (3 + 3 * 2 + 2 + 3 + 2)
        left = before - 2600 - 3
        assert inner == left - left // 64 - 2

    def test_a_smaller_wish_is_granted(self) -> None:
        assert result_of(f"{call(gas='PUSH 5000')} POP {RETURN_RESULT}", {OTHER: RETURN_GAS}) == 4_998

    def test_value_adds_the_stipend(self) -> None:
        program = f"{call(gas='PUSH0', value=1)} POP {RETURN_RESULT}"
        assert result_of(program, {OTHER: RETURN_GAS}) == 2_298

    def test_the_stipend_does_not_pay_for_a_store(self) -> None:
        assert result_of(call(gas="PUSH0", value=1), {OTHER: "PUSH 1 PUSH 1 SSTORE"}) == 0

    def test_gas_left_comes_back(self) -> None:
        ran = run(call(gas="PUSH 50000"), others={OTHER: "STOP"})
        assert ran.gas_used == 3 + 3 * 2 + 2 + 3 + 3 + 2600 + 3

    def test_a_halt_takes_only_what_was_handed_over(self) -> None:
        ran = run(call(gas="PUSH 50000"), others={OTHER: "INVALID"})
        assert ran.outcome.success
        assert ran.gas_used == 3 + 3 * 2 + 2 + 3 + 3 + 2600 + 3 + 50_000

    def test_value_to_nobody_makes_an_account(self) -> None:
        ran = run(call(target="PUSH 0x1234", gas="PUSH0", value=1, output=0))
        assert ran.gas_used == 2 * 5 + 3 + 3 + 2600 + 9000 + 25000 - 2300
        assert ran.state.balance((0x1234).to_bytes(20, "big")) == 1

    def test_no_value_to_nobody_makes_none(self) -> None:
        ran = run(call(target="PUSH 0x1234", gas="PUSH0", output=0))
        assert ran.outcome.success
        assert ran.state.account((0x1234).to_bytes(20, "big")) is None


def result_of(program: str, others: dict[bytes, str | bytes], **options: object) -> int:
    if "RETURN" not in program:
        program += " " + RETURN_TOP
    return run(program, others=others, **options).word  # type: ignore[arg-type]


class TestDepth:
    SELF_CALL = "PUSH0 PUSH0 PUSH0 PUSH0 PUSH0 ADDRESS GAS CALL"

    @pytest.fixture
    def default_recursion_limit(self) -> Iterator[None]:
        """What Python starts with; py_ecc, which other tests import, raises it for the whole process."""
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(1_000)
        yield
        sys.setrecursionlimit(limit)

    @pytest.mark.usefixtures("default_recursion_limit")
    def test_depth_1024_works_under_the_default_recursion_limit(self) -> None:
        # Counts its frames in slot 0, then calls itself.
        ran = run(f"PUSH0 SLOAD PUSH 1 ADD PUSH0 SSTORE {self.SELF_CALL}", gas=10**15)
        assert ran.outcome.success
        assert ran.state.storage(CONTRACT, 0) == 1_025

    def test_the_call_beyond_fails_and_costs_nothing_more(self) -> None:
        # Every frame stores the result of its call: the deepest one's failed.
        ran = run(f"{self.SELF_CALL} PUSH0 TLOAD PUSH 1 ADD PUSH0 TSTORE PUSH0 TLOAD SSTORE", gas=10**15)
        assert ran.outcome.success
        assert ran.state.storage(CONTRACT, 1) == 0
        assert ran.state.storage(CONTRACT, 2) == 1

    def test_creates_go_as_deep(self) -> None:
        # Init code that runs itself as init code again, and counts in the storage of CONTRACT by a call.
        program = "CODESIZE PUSH0 PUSH0 CODECOPY CODESIZE PUSH0 PUSH0 CREATE"
        count = "PUSH0 PUSH0 PUSH0 PUSH0 PUSH0 PUSH 0x77 GAS CALL POP"
        assert run(f"{count} {program}", gas=10**15).outcome.success


class TestContext:
    def test_call_has_its_own_context(self) -> None:
        seen = "CALLER PUSH0 SSTORE CALLVALUE PUSH 1 SSTORE ADDRESS PUSH 2 SSTORE"
        ran = run(call(value=5), others={OTHER: seen})
        assert slots(ran, OTHER) == [number(CONTRACT), 5, number(OTHER)]
        assert ran.state.balance(OTHER) == 1_005

    def test_delegatecall_keeps_caller_value_and_storage(self) -> None:
        seen = "CALLER PUSH0 SSTORE CALLVALUE PUSH 1 SSTORE ADDRESS PUSH 2 SSTORE"
        ran = run(f"PUSH0 PUSH0 PUSH0 PUSH0 {TO_OTHER} GAS DELEGATECALL", value=5, others={OTHER: seen})
        assert slots(ran, CONTRACT) == [number(SENDER), 5, number(CONTRACT)]
        assert ran.state.balance(OTHER) == 1_000

    def test_callcode_is_its_own_caller(self) -> None:
        seen = "CALLER PUSH0 SSTORE CALLVALUE PUSH 1 SSTORE ADDRESS PUSH 2 SSTORE"
        ran = run(f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH 5 {TO_OTHER} GAS CALLCODE", others={OTHER: seen})
        assert slots(ran, CONTRACT) == [number(CONTRACT), 5, number(CONTRACT)]

    def test_staticcall_forbids_changes_to_all_below(self) -> None:
        # OTHER calls THIRD plainly; THIRD's store halts there, and OTHER returns the failed call's result.
        others = {OTHER: f"{call(target=f'PUSH {address_word(THIRD)}', output=0)} {RETURN_TOP}",
                  THIRD: "PUSH 1 PUSH0 SSTORE"}  # fmt: skip
        program = f"PUSH 1 PUSH0 MSTORE PUSH 32 PUSH0 PUSH0 PUSH0 {TO_OTHER} GAS STATICCALL POP {RETURN_RESULT}"
        assert result_of(program, others) == 0

    def test_too_poor_to_send(self) -> None:
        assert result_of(call(value=1_001), {OTHER: "STOP"}) == 0

    def test_a_failed_call_undoes_its_value_and_stores(self) -> None:
        ran = run(call(value=5), others={OTHER: "PUSH 1 PUSH0 SSTORE PUSH0 PUSH0 REVERT"})
        assert ran.outcome.success
        assert slots(ran, OTHER) == [0, 0, 0]
        assert ran.state.balance(OTHER) == 1_000


def slots(ran: Run, address: bytes) -> list[int]:
    return [ran.state.storage(address, slot) for slot in range(3)]


def number(address: bytes) -> int:
    return int.from_bytes(address, "big")


ANSWER = {OTHER: "PUSH 0xaa PUSH0 MSTORE PUSH 0xbb PUSH 32 MSTORE PUSH 64 PUSH0 RETURN"}


class TestReturnData:
    def test_size_is_that_of_the_whole_output(self) -> None:
        assert result_of(f"{call(output=1)} POP RETURNDATASIZE {RETURN_TOP}", ANSWER) == 64

    def test_only_the_asked_range_is_written(self) -> None:
        assert result_of(f"{call(output=32)} POP PUSH 32 MLOAD {RETURN_TOP}", ANSWER) == 0

    def test_the_rest_can_be_copied(self) -> None:
        program = f"{call(output=0)} POP PUSH 32 PUSH 32 PUSH0 RETURNDATACOPY {RETURN_RESULT}"
        assert result_of(program, ANSWER) == 0xBB

    def test_a_revert_leaves_its_output(self) -> None:
        others = {OTHER: "PUSH 0xaa PUSH0 MSTORE PUSH 32 PUSH0 REVERT"}
        assert result_of(f"{call(output=32)} POP {RETURN_RESULT}", others) == 0xAA

    def test_a_halt_leaves_none(self) -> None:
        program = f"{call()} POP {call(target=f'PUSH {address_word(THIRD)}')} POP RETURNDATASIZE {RETURN_TOP}"
        assert result_of(program, {**ANSWER, THIRD: "INVALID"}) == 0

    def test_a_shorter_output_leaves_the_rest_of_the_range(self) -> None:
        others = {OTHER: "PUSH 1 PUSH0 RETURN"}
        program = f"PUSH 0x{'11' * 32} PUSH0 MSTORE {call(output=32)} POP {RETURN_RESULT}"
        assert result_of(program, others) == int("00" + "11" * 31, 16)


class TestCreate:
    def test_create_puts_code_at_the_address_of_the_nonce(self) -> None:
        ran = run(f"{create(deploy('PUSH 1 STOP'), value=7)} {RETURN_TOP}")
        address = create_address(CONTRACT, 1)
        assert ran.word == number(address)
        assert ran.state.code(address) == assemble("PUSH 1 STOP")
        assert ran.state.balance(address) == 7
        assert ran.state.nonce(address) == 1
        assert ran.state.nonce(CONTRACT) == 2

    def test_create2_puts_code_at_the_address_of_salt_and_code(self) -> None:
        code = deploy("PUSH 1 STOP")
        ran = run(f"{create(code, salt=9)} {RETURN_TOP}")
        assert ran.word == number(create2_address(CONTRACT, 9, code))

    def test_the_address_of_eip_1014(self) -> None:
        # Its first and its third example.
        assert create2_address(bytes(20), 0, b"\x00").hex() == "4d1a2e2bb4f88f0250f26ffff098b0b30b26bf38"
        creator = bytes.fromhex("deadbeef") + bytes(16)
        assert create2_address(creator, 0, b"\x00").hex() == "b928f69bb1d91cd65274e3c79d8986362984fda3"

    def test_a_revert_keeps_the_nonce_and_its_output(self) -> None:
        init_code = assemble("PUSH 0xaa PUSH0 MSTORE PUSH 32 PUSH0 REVERT")
        ran = run(f"{create(init_code)} RETURNDATASIZE ADD {RETURN_TOP}")
        assert ran.word == 0 + 32
        assert ran.state.nonce(CONTRACT) == 2

    def test_an_occupied_address_takes_the_gas(self) -> None:
        code = deploy("STOP")
        state = new_state({CONTRACT: f"{create(code)} {RETURN_TOP}", create_address(CONTRACT, 1): "STOP"})
        outcome = interpreter.run(state, BLOCK, TRANSACTION, Message(SENDER, CONTRACT, 0, b"", 200_000))
        assert int.from_bytes(outcome.output, "big") == 0
        assert outcome.gas_left < 200_000 // 64

    @pytest.mark.parametrize("runtime", [b"\xef", b"\xef\x00\x01"])
    def test_code_must_not_begin_with_ef(self, runtime: bytes) -> None:
        assert run(f"{create(deploy(runtime))} {RETURN_TOP}").word == 0

    @pytest.mark.parametrize(("length", "works"), [(24_576, True), (24_577, False)])
    def test_limit_of_code(self, length: int, works: bool) -> None:
        init_code = assemble(f"PUSH {length} PUSH0 RETURN")
        assert (run(f"{create(init_code)} {RETURN_TOP}", gas=10_000_000).word != 0) is works

    @pytest.mark.parametrize(("length", "halt"), [(49_152, None), (49_153, "InitCodeTooLarge")])
    def test_limit_of_init_code(self, length: int, halt: str | None) -> None:
        assert run(f"PUSH {length} PUSH0 PUSH0 CREATE", gas=10_000_000).outcome.halt == halt

    def test_the_nonce_cannot_pass_its_limit(self) -> None:
        state = new_state({CONTRACT: f"{create(deploy('STOP'))} {RETURN_TOP}"})
        state.set_nonce(CONTRACT, 2**64 - 1)
        outcome = interpreter.run(state, BLOCK, TRANSACTION, Message(SENDER, CONTRACT, 0, b"", 200_000))
        assert outcome.success
        assert int.from_bytes(outcome.output, "big") == 0
        assert state.nonce(CONTRACT) == 2**64 - 1

    def test_a_contract_destroyed_where_it_was_made_is_gone(self) -> None:
        ran = run(f"{create(assemble('PUSH 0x99 SELFDESTRUCT'), value=7)} {RETURN_TOP}")
        address = ran.word.to_bytes(20, "big")
        ran.state.end_transaction()
        assert ran.state.account(address) is None
        assert ran.state.balance((0x99).to_bytes(20, "big")) == 7

    def test_an_older_contract_only_loses_its_balance(self) -> None:
        ran = run("PUSH 0x99 SELFDESTRUCT")
        ran.state.end_transaction()
        assert ran.state.code(CONTRACT) != b""
        assert ran.state.balance(CONTRACT) == 0


class TestTopLevel:
    ADDRESS = create_address(SENDER, 0)

    def create(self, init_code: bytes, gas: int = 200_000) -> tuple[State, Outcome]:
        state = new_state({})
        message = Message(SENDER, self.ADDRESS, 5, init_code, gas, is_create=True)
        return state, interpreter.run(state, BLOCK, TRANSACTION, message)

    def test_create(self) -> None:
        state, outcome = self.create(deploy("PUSH 1"))
        assert outcome.success
        assert outcome.output == assemble("PUSH 1")
        assert state.code(self.ADDRESS) == assemble("PUSH 1")
        assert state.balance(self.ADDRESS) == 5

    def test_create_that_cannot_pay_for_its_code_leaves_nothing(self) -> None:
        state, outcome = self.create(assemble("PUSH 1000 PUSH0 RETURN"), gas=200_000 - 100)
        assert outcome.halt == "OutOfGas"
        assert state.account(self.ADDRESS) is None

    def test_create_at_an_occupied_address(self) -> None:
        state = new_state({self.ADDRESS: "STOP"})
        message = Message(SENDER, self.ADDRESS, 5, b"", 200_000, is_create=True)
        outcome = interpreter.run(state, BLOCK, TRANSACTION, message)
        assert (outcome.halt, outcome.gas_left) == ("AddressCollision", 0)
        assert state.balance(self.ADDRESS) == 1_000

    def test_a_call_of_an_account_without_code_moves_the_value(self) -> None:
        state = new_state({})
        outcome = interpreter.run(state, BLOCK, TRANSACTION, Message(SENDER, THIRD, 5, b"", 9))
        assert (outcome.success, outcome.gas_left) == (True, 9)
        assert state.balance(THIRD) == 5

    def test_a_precompiled_contract(self) -> None:
        state = new_state({})
        identity = (4).to_bytes(20, "big")
        outcome = interpreter.run(state, BLOCK, TRANSACTION, Message(SENDER, identity, 5, b"abc", 1_000))
        assert (outcome.success, outcome.output, outcome.gas_left) == (True, b"abc", 1_000 - 18)

    def test_a_precompiled_contract_without_the_gas(self) -> None:
        state = new_state({})
        identity = (4).to_bytes(20, "big")
        outcome = interpreter.run(state, BLOCK, TRANSACTION, Message(SENDER, identity, 5, b"abc", 17))
        assert (outcome.success, outcome.gas_left) == (False, 0)
        assert state.balance(identity) == 0


def test_a_precompiled_contract_called_by_code() -> None:
    program = "PUSH 0x1234 PUSH0 MSTORE PUSH 32 PUSH 32 PUSH 32 PUSH0 PUSH0 PUSH 4 GAS CALL PUSH 32 MLOAD ADD"
    assert result(program) == 0x1234 + 1


def test_push_of_the_test_assembler() -> None:
    assert push(0) == b"\x5f"
    assert assemble("PUSH 256 @end JUMP end:") == bytes.fromhex("610100" + "610007" + "56" + "5b")
