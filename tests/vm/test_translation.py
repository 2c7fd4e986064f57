"""Which code is translated to Python, what a translated block may not do, and that translation has a budget."""

from unittest.mock import patch

from tests.vm.assembly import BLOCK, CONTRACT, RETURN_TOP, SENDER, TRANSACTION, assemble, new_state
from vm import interpreter
from vm.code import HOT_RUNS, ProgramCache
from vm.message import Message, Outcome
from vm.translation import translator as translator_module
from vm.translation.trace import MAX_TRACE_INSTRUCTIONS
from vm.translation.translator import ALLOWANCE, RUNS_AN_INSTRUCTION, Translator

LOOP = f"PUSH 0 PUSH2 {{rounds}} again: SWAP1 PUSH 3 ADD SWAP1 PUSH 1 SWAP1 SUB DUP1 @again JUMPI POP {RETURN_TOP}"


def run_with(translator: Translator, code: str, programs: ProgramCache | None = None) -> Outcome:
    with (
        patch.object(interpreter, "PROGRAMS", ProgramCache() if programs is None else programs),
        patch.object(interpreter, "TRANSLATOR", translator),
    ):
        state = new_state({CONTRACT: code})
        return interpreter.run(state, BLOCK, TRANSACTION, Message(SENDER, CONTRACT, 0, b"", 10_000_000))


def traced_starts(programs: ProgramCache) -> list[int]:
    (program,) = programs.programs()
    return [block.start for block in program.blocks.values() if block.trace is not None]


def test_a_loop_is_translated_once_it_is_hot() -> None:
    programs = ProgramCache()
    run_with(Translator(), LOOP.format(rounds=HOT_RUNS // 2), programs)
    assert traced_starts(programs) == []
    outcome = run_with(Translator(), LOOP.format(rounds=HOT_RUNS * 2), programs := ProgramCache())
    assert traced_starts(programs) == [assemble(LOOP.format(rounds=1)).index(0x5B)]
    assert int.from_bytes(outcome.output, "big") == 3 * HOT_RUNS * 2


def test_translated_or_not_the_outcome_is_the_same() -> None:
    code = LOOP.format(rounds=5_000)
    assert run_with(Translator(), code) == run_with(Translator(enabled=False), code)


def test_a_stack_that_overflows_in_a_translated_loop() -> None:
    code = "again: PUSH0 @again JUMP"
    programs = ProgramCache()
    outcome = run_with(Translator(), code, programs)
    assert traced_starts(programs) == [0]
    assert outcome.halt == "StackOverflow"


def test_a_stack_that_underflows_in_a_translated_loop() -> None:
    code = "PUSH0 " * 200 + "again: POP @again JUMP"
    programs = ProgramCache()
    outcome = run_with(Translator(), code, programs)
    assert traced_starts(programs) == [200]
    assert outcome.halt == "StackUnderflow"


def test_translation_stops_when_the_allowance_is_used_up() -> None:
    programs = ProgramCache()
    translator = Translator(allowance=MAX_TRACE_INSTRUCTIONS - 1)
    run_with(translator, LOOP.format(rounds=HOT_RUNS), programs)
    assert traced_starts(programs) == []


def test_work_earns_an_allowance_up_to_a_limit() -> None:
    programs = ProgramCache()
    translator = Translator(allowance=MAX_TRACE_INSTRUCTIONS - 1)
    run_with(translator, LOOP.format(rounds=HOT_RUNS + 4 * RUNS_AN_INSTRUCTION), programs)
    assert traced_starts(programs) != []
    assert translator.allowance < MAX_TRACE_INSTRUCTIONS
    rich = Translator()
    with patch.object(translator_module, "translate", lambda program, block: (None, 0)):
        run_with(rich, LOOP.format(rounds=HOT_RUNS * 2))
    assert rich.allowance == ALLOWANCE


def test_translated_instructions_count_in_the_cache() -> None:
    programs = ProgramCache()
    run_with(Translator(), LOOP.format(rounds=HOT_RUNS * 2), programs)
    (program,) = programs.programs()
    read = sum(len(block.instructions) for block in program.blocks.values())
    assert program.instruction_count > read


def test_code_that_branches_everywhere_stays_within_the_limits() -> None:
    # Every branch of every branch is reached: a tree without limits would have 2**60 leaves.
    branches = " ".join(f"DUP1 PUSH {1 << (bit % 16)} AND @l{bit} JUMPI PUSH0 POP l{bit}:" for bit in range(60))
    code = f"PUSH2 600 again: {branches} PUSH 1 SWAP1 SUB DUP1 @again JUMPI {RETURN_TOP}"
    programs = ProgramCache()
    assert run_with(Translator(), code, programs) == run_with(Translator(enabled=False), code)
    assert traced_starts(programs) != []
