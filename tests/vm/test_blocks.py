"""Three ways to run code, one outcome: blocks at once, one instruction at a time under a tracer, translated to Python.

The programs are run with many amounts of gas from none to enough, so that they end at one instruction after another;
what a host could see and what is left must be the same. This is what makes charging a whole block at once exact.
"""

from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.programs import CONTRACTS, World, make_world
from tests.fuzz.programs import SENDER as FUZZ_SENDER
from tests.vm.assembly import BLOCK, CONTRACT, OTHER, SENDER, TRANSACTION, address_word, new_state
from vm import interpreter
from vm.code import ProgramCache
from vm.message import Message, Outcome
from vm.tracer import StructLogTracer, Tracer
from vm.translation.translator import Translator

PROGRAMS = {
    "gas seen in the middle": "PUSH 1 GAS PUSH0 MSTORE GAS PUSH 32 MSTORE PUSH 64 PUSH0 RETURN",
    "a store after a read": "PUSH 1 SLOAD PUSH 1 ADD PUSH 2 SSTORE GAS PUSH0 MSTORE PUSH 32 PUSH0 RETURN",
    "a loop": "PUSH 5 again: PUSH 1 SWAP1 SUB DUP1 @again JUMPI GAS PUSH0 MSTORE PUSH 32 PUSH0 RETURN",
    "a loop that ends in a store": "PUSH 3 again: DUP1 DUP1 SSTORE PUSH 1 SWAP1 SUB DUP1 @again JUMPI STOP",
    "memory that grows": "PUSH 7 PUSH 2000 MSTORE PUSH 32 PUSH 2000 KECCAK256 PUSH0 MSTORE PUSH 64 PUSH0 RETURN",
    "calls": f"PUSH 32 PUSH0 PUSH0 PUSH0 PUSH 1 PUSH {address_word(OTHER)} GAS CALL "
    "PUSH 32 MSTORE PUSH 64 PUSH0 RETURN",
    "a create": "PUSH 0x5f5ff3 PUSH0 MSTORE PUSH 3 PUSH 29 PUSH0 CREATE PUSH0 MSTORE PUSH 32 PUSH0 RETURN",
    "logs and a revert": "PUSH 1 PUSH 32 PUSH0 LOG1 PUSH 9 PUSH0 SSTORE PUSH 3 PUSH0 REVERT",
    "dynamic costs": "PUSH 1 PUSH0 MSTORE PUSH0 MLOAD PUSH 0xffff MUL PUSH 2 EXP PUSH0 TSTORE GAS PUSH0 MSTORE "
    "PUSH 40 PUSH0 PUSH 5 MCOPY PUSH 32 PUSH0 RETURN",
}
CALLED = "PUSH0 SLOAD PUSH 1 ADD PUSH0 SSTORE GAS PUSH0 MSTORE PUSH 32 PUSH0 RETURN"


def run_state(code: str, gas: int, tracer: Tracer | None = None) -> tuple[Outcome, object]:
    state = new_state({CONTRACT: code, OTHER: CALLED}, {1: 5, 3: 1})
    message = Message(SENDER, CONTRACT, 0, b"", gas)
    outcome = interpreter.run(state, BLOCK, TRANSACTION, message, tracer)
    refund = state.refund
    logs = state.end_transaction()
    # Which exception ends a frame can differ: a block is refused as a whole before its first instruction.
    seen = (outcome.success, outcome.output, outcome.gas_left, outcome.halt is None)
    return outcome, (seen, refund, logs, state.changes())


@pytest.mark.parametrize("intent", PROGRAMS)
def test_every_amount_of_gas_ends_alike(intent: str) -> None:
    code = PROGRAMS[intent]
    rough = next(gas for gas in range(0, 200_000, 500) if run_state(code, gas)[0].halt is None)
    enough = next(gas for gas in range(rough - 500, rough + 1) if run_state(code, gas)[0].halt is None)
    amounts = [*range(60), *range(60, enough, enough // 100 + 1), *range(enough - 60, enough + 20)]
    plain = {gas: run_state(code, gas)[1] for gas in amounts}
    assert len({repr(seen) for seen in plain.values()}) > 1
    for gas in amounts:
        assert run_state(code, gas, StructLogTracer())[1] == plain[gas], gas
    programs = ProgramCache()
    with patch.object(interpreter, "PROGRAMS", programs), patch.object(interpreter, "TRANSLATOR", Translator()):
        run_state(code, enough + 100)
        for program in programs.programs():
            for block in program.blocks.values():
                block.countdown = 0
        run_state(code, enough + 100)
        assert any(block.trace for program in programs.programs() for block in program.blocks.values())
        for gas in amounts:
            assert run_state(code, gas)[1] == plain[gas], gas


@given(st.binary(min_size=300, max_size=900))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_tracer_changes_nothing(data: bytes) -> None:
    world = make_world(data)
    assert run_world(world, StructLogTracer()) == run_world(world, None)


def run_world(world: World, tracer: Tracer | None) -> object:
    state = new_state(dict(world.codes))
    state.set_balance(FUZZ_SENDER, 10**18)
    state.begin_transaction([FUZZ_SENDER, CONTRACTS[0]])
    message = Message(FUZZ_SENDER, CONTRACTS[0], world.value, world.data, world.gas)
    outcome = interpreter.run(state, BLOCK, TRANSACTION, message, tracer)
    seen = (outcome.success, outcome.output, outcome.gas_left, outcome.halt is None)
    return seen, state.refund, state.end_transaction(), state.changes()
