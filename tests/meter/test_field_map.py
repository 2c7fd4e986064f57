"""Field maps: the tables of boards, one's own, and a plain sentence for each mistake."""

import pytest

from meter.drivers.field_map import (
    BOARDS,
    CURRENT,
    MAX_FIELDS,
    NODE,
    POWER,
    Field,
    find_board,
    parse_field,
    parse_fields,
)
from primitives.errors import UserError


def test_tables_of_boards() -> None:
    counts = {board.name: len(board.fields) for board in BOARDS}
    assert counts == {
        "RPICT3T1": 5,
        "RPICT3V1": 8,
        "RPICT3V1-full": 16,
        "RPICT7V1": 16,
        "RPICT4V3": 17,
        "RPICT8": 9,
        "RPICT8-currents": 9,
    }
    for board in BOARDS:
        assert board.fields[0] == Field(NODE)
        assert len(set(board.fields)) == len(board.fields)
    full = find_board("rpict3v1-FULL").fields
    assert [field.name for field in full[1:6]] == [
        "power_1_mw",
        "apparent_1_mva",
        "current_1_ma",
        "voltage_1_mv",
        "factor_1_thousandths",
    ]
    # What a board without a measured voltage estimates has no sign.
    assert [board.name for board in BOARDS if not board.is_signed] == ["RPICT3T1", "RPICT8", "RPICT8-currents"]


def test_own_fields() -> None:
    assert parse_fields(("node", "-", "power_12:kW", "current_1:A", "-")) == (
        Field(NODE),
        Field("-"),
        Field(POWER, 12, 1_000_000),
        Field(CURRENT, 1, 1000),
        Field("-"),
    )


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ((), "has 1 to 64 fields, not 0"),
        (("-",) * (MAX_FIELDS + 1), "not 65"),
        (("power_1", "power_1"), "power_1_mw stands twice"),
        (("current_1:A", "current_1"), "current_1_ma stands twice"),
        (("node", "node"), "node stands twice"),
        (("power",), "'power' is no field"),
        (("power_0",), "is no field"),
        (("power_65",), "is no field"),
        (("power_1 ",), "is no field"),
        (("frequency_1",), "is no field"),
        (("power_1:V",), "power is told in W, kW, mW, not in 'V'"),
        (("x" * 1000,), "is no field"),
    ],
)
def test_mistakes(texts: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as failure:
        parse_fields(texts)
    assert len(str(failure.value)) < 300


def test_unknown_board() -> None:
    with pytest.raises(UserError, match="no board 'RPICT9'; known are RPICT3T1, RPICT3V1"):
        find_board("RPICT9")
    assert parse_field("temperature_1").name == "temperature_1_mc"
