"""Register tables: exact values for any type and scale, questions that a meter can answer, mistakes in plain words."""

import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pymodbus", reason='needs pymodbus: pip install "wattchain[modbus]"')

from meter.drivers.modbus_registers import (
    MAX_REGISTERS_ASKED,
    METERS,
    RegisterRow,
    plan_questions,
    value_of,
)
from meter.drivers.quantities import MAX_THOUSANDTHS
from primitives.errors import UserError

ROW = RegisterRow("import", 0x48, "kWh")
_FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float64": "d"}


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2)]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_a_fraction_and_rounded_once(value: float) -> None:
    exact = Fraction(value) * 10**6
    expected = round(exact) if 0 <= exact <= MAX_THOUSANDTHS else None
    assert value_of(ROW, words(struct.pack(">f", value))) == expected


def test_half_a_thousandth_goes_to_the_even_one() -> None:
    row = RegisterRow("import", 0, "mWh")
    assert [value_of(row, words(struct.pack(">f", value))) for value in (0.5, 1.5, 2.5)] == [0, 2, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_what_is_no_number_of_a_meter(value: float) -> None:
    assert value_of(ROW, words(struct.pack(">f", value))) is None
    assert value_of(RegisterRow("import", 0, "kWh", "float64"), words(struct.pack(">d", value))) is None


@given(st.sampled_from(sorted(_FORMATS)), st.sampled_from(["big", "little"]), st.data())
def test_all_types_and_word_orders(kind: str, order: str, data: st.DataObject) -> None:
    form = _FORMATS[kind]
    size = struct.calcsize(f">{form}")
    raw = data.draw(st.binary(min_size=size, max_size=size))
    (value,) = struct.unpack(f">{form}", raw)
    row = RegisterRow("power", 0, "W", kind, "input", order, Decimal("0.01"))
    asked = words(raw) if order == "big" else words(raw)[::-1]
    if value != value or value in (float("inf"), float("-inf")):
        assert value_of(row, asked) is None
    else:
        exact = Fraction(value) * 10
        assert value_of(row, asked) == (round(exact) if abs(exact) <= MAX_THOUSANDTHS else None)


def test_values_of_one_moment_are_asked_for_at_once() -> None:
    asked = [(one.function, one.address, one.count) for one in plan_questions(METERS["SDM630"])]
    assert asked == [("holding", 0xFC00, 2), ("input", 0, 12), ("input", 0x34, 2), ("input", 0x48, 4)]


def test_no_question_is_longer_than_a_meter_takes() -> None:
    rows = [RegisterRow("power", 2 * number, "W") for number in range(40)]
    questions = plan_questions(rows)
    assert sum(len(one.rows) for one in questions) == 40
    assert all(one.count <= MAX_REGISTERS_ASKED for one in questions)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (RegisterRow("gas", 0), r"driver.registers\[1\].what is 'gas'; choose one of import, export"),
        (RegisterRow("import", 0, "V"), "unit is 'V'; for import choose one of Wh, kWh, MWh, mWh"),
        (RegisterRow("import", 0), "unit is ''"),
        (RegisterRow("import", 0, "kWh", "bcd"), "type is 'bcd'"),
        (RegisterRow("import", 0, "kWh", function="coil"), "function is 'coil'"),
        (RegisterRow("import", 0, "kWh", word_order="up"), "word_order is 'up'"),
        (RegisterRow("import", 65_535, "kWh"), "address must be from 0 to 65534"),
        (RegisterRow("import", 0, "kWh", scale=Decimal(10**10)), "scale must be from"),
    ],
)
def test_mistakes_are_named(row: RegisterRow, message: str) -> None:
    with pytest.raises(UserError, match=message):
        row.check("driver.registers[1]")
