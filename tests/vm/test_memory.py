"""Memory in two layers behaves as one row of bytes, whatever the order of words, bytes and ranges."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.memory import Memory

SIZE = 1_024
_OFFSET = st.integers(0, SIZE - 600)
_STEP = st.one_of(
    st.tuples(st.just("store_word"), _OFFSET, st.integers(0, 2**256 - 1)),
    st.tuples(st.just("store_word"), _OFFSET.map(lambda offset: offset & ~31), st.integers(0, 2**256 - 1)),
    st.tuples(st.just("store_byte"), _OFFSET, st.integers(0, 255)),
    st.tuples(st.just("write"), _OFFSET, st.binary(max_size=600)),
    st.tuples(st.just("read"), _OFFSET, st.integers(0, 600)),
    st.tuples(st.just("read"), _OFFSET.map(lambda offset: offset & ~31), st.just(64)),
    st.tuples(st.just("load_word"), _OFFSET, st.none()),
)


@given(st.lists(_STEP, max_size=40))
def test_memory_is_a_row_of_bytes(steps: list[tuple[str, int, object]]) -> None:
    memory, model = Memory(), bytearray(SIZE)
    memory.size = SIZE
    for name, offset, argument in steps:
        if name == "store_word":
            assert isinstance(argument, int)
            memory.store_word(offset, argument)
            model[offset : offset + 32] = argument.to_bytes(32, "big")
        elif name == "store_byte":
            assert isinstance(argument, int)
            memory.store_byte(offset, argument)
            model[offset] = argument
        elif name == "write":
            assert isinstance(argument, bytes)
            memory.write(offset, argument)
            model[offset : offset + len(argument)] = argument
        elif name == "read":
            assert isinstance(argument, int)
            assert memory.read(offset, argument) == model[offset : offset + argument]
        else:
            assert memory.load_word(offset) == int.from_bytes(model[offset : offset + 32], "big")
    assert memory.read(0, SIZE) == model


def test_a_long_range_is_made_of_bytes_once() -> None:
    # Else a cheap call could be made to look through all words again and again.
    memory = Memory()
    memory.size = 64_000
    for offset in range(0, 32_000, 32):
        memory.store_word(offset, offset)
    memory.read(32_000, 32_000)
    assert not memory.words


@pytest.mark.parametrize("written", [0, 500_000, 1_000_000])
def test_a_long_range_is_copied_once(written: int) -> None:
    # A call that costs 100 gas may hand over megabytes.
    memory = Memory()
    memory.size = length = 1_000_000
    memory.write(0, b"\x01" * written)
    tracemalloc.start()
    try:
        data = memory.read(0, length)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data == b"\x01" * written + bytes(length - written)
    assert peak < 1.6 * length
