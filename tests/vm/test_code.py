"""Static properties of code: jump destinations, blocks, and the bounds of the cache."""

from hypothesis import given
from hypothesis import strategies as st

from tests.vm.assembly import assemble
from vm.code import MAX_BLOCK_INSTRUCTIONS, Program, ProgramCache, find_jump_destinations, read_instruction
from vm.opcodes import JUMPDEST, NUMBERS, OPCODES, PUSH1, PUSH32

# Bytes weighted towards pushes and JUMPDEST.
_CODE = st.lists(st.one_of(st.just(JUMPDEST), st.integers(0x5F, 0x7F), st.integers(0, 255)), max_size=200).map(bytes)


def naive_jump_destinations(code: bytes) -> set[int]:
    found, at = set(), 0
    while at < len(code):
        if code[at] == JUMPDEST:
            found.add(at)
        at += code[at] - PUSH1 + 2 if PUSH1 <= code[at] <= PUSH32 else 1
    return found


@given(_CODE)
def test_jump_destinations_are_those_of_a_plain_scan(code: bytes) -> None:
    assert find_jump_destinations(code) == naive_jump_destinations(code)


@given(_CODE)
def test_blocks_hold_every_instruction_once_and_in_order(code: bytes) -> None:
    program, pc, seen = Program(code), 0, []
    while pc < len(code):
        block = program.read_block(pc)
        assert block.start == pc
        assert len(block.instructions) <= MAX_BLOCK_INSTRUCTIONS
        seen += [instruction.pc for instruction in block.instructions]
        pc = block.end
    at, expected = 0, []
    while at < len(code):
        expected.append(at)
        at = read_instruction(code, at).next_pc
    assert [pc for pc in seen if pc < len(code)] == expected


def test_a_block_sums_gas_and_demands_on_the_stack() -> None:
    block = Program(assemble("ADD PUSH 1 PUSH 2 PUSH 3 POP POP POP POP STOP")).read_block(0)
    assert block.gas == 3 + 3 * 3 + 4 * 2
    assert block.min_height == 2
    # One word is left of two, then three more: two above the height before.
    assert block.max_height == 1024 - 2


def test_a_block_ends_before_a_jump_destination_and_after_what_sees_gas() -> None:
    program = Program(assemble("PUSH 1 here: PUSH 2 GAS PUSH 3 SSTORE PUSH0 STOP"))
    starts, pc = [], 0
    while pc < len(program.code):
        starts.append(pc)
        pc = program.read_block(pc).end
    names = [OPCODES[program.code[start]].name for start in starts]
    assert names == ["PUSH1", "JUMPDEST", "PUSH1", "PUSH0"]


def test_the_table_is_that_of_cancun() -> None:
    assert len(NUMBERS) == 149
    assert {row.number for row in OPCODES} == set(range(256))
    for row in OPCODES:
        if row.name.startswith("PUSH"):
            assert row.push_bytes == row.number - 0x5F
        assert NUMBERS.get(row.name, row.number) == row.number


def test_the_cache_keeps_what_was_used_last() -> None:
    cache = ProgramCache(max_programs=2)
    first, second = cache.program(b"\x01"), cache.program(b"\x02")
    assert cache.program(b"\x01") is first
    cache.program(b"\x03")
    assert len(cache) == 2
    assert cache.program(b"\x01") is first
    assert cache.program(b"\x02") is not second


def test_the_cache_is_bounded_in_instructions() -> None:
    cache = ProgramCache(max_programs=100, max_instructions=50)
    for number in range(20):
        cache.program(bytes([NUMBERS["PUSH1"], number] * 15)).read_block(0)
    assert len(cache) <= 4
