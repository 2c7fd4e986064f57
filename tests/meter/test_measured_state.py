"""The state between two starts: read as it was written, or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.measured_state import MAX_STATE_BYTES, MeasuredState, decode_state
from meter.register_rules import RegisterPosition

WHOLE = MeasuredState(
    "register", "E0031005543", 2**80, 5, 1_750_000_000, "39486acd", -7, RegisterPosition(5, 1, 2, 3, 2, 1), None
)
FIELDS: list[object] = json.loads(WHOLE.encode())


def test_it_is_read_as_it_was_written() -> None:
    assert decode_state(WHOLE.encode()) == WHOLE
    assert decode_state(MeasuredState("power").encode()) == MeasuredState("power")


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, 5),
        (1, None),
        (2, -1),
        (2, 2**100),
        (2, 1.5),
        (3, True),
        (4, "0"),
        (5, []),
        (6, 0.5),
        (7, [1, 2]),
        (7, [-1, 0, 0, 0, 0, 0]),
        (8, 7),
    ],
)
def test_what_was_not_written_like_this_is_none(index: int, value: object) -> None:
    fields = list(FIELDS)
    fields[index] = value
    assert decode_state(json.dumps(fields).encode()) is None


def test_more_or_less_fields_and_too_long_ones() -> None:
    assert decode_state(json.dumps(FIELDS[:-1]).encode()) is None
    assert decode_state(json.dumps([*FIELDS, 1]).encode()) is None
    assert decode_state(WHOLE.encode() + b" " * MAX_STATE_BYTES) is None


@given(st.binary(max_size=200))
def test_garbage(content: bytes) -> None:
    assert decode_state(content) is None
