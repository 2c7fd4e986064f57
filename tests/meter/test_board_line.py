"""Lines of boards as exact numbers: every table, both separators, both formats, and everything that is no line."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.drivers.board_line import EMONCMS, BadLine, LineDecoder, Told, shown
from meter.drivers.field_map import BOARDS, QUANTITIES, Board, find_board, parse_fields

LINES = {
    "RPICT3T1": "11 1387.42 0.00 0.00 31.2",
    "RPICT3V1": "11 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87",
    "RPICT3V1-full": "11 1402.65 1486.90 6412.5 231.87 0.943 0.0 0.0 38.2 231.87 0.0 0.0 0.0 0.0 231.87 0.0",
    "RPICT7V1": "11 0.0 0.0 0.0 -0.0 0.0 0.0 -12.5 202.1 208.6 235.3 207.2 223.4 3296.3 2310.8 230.9",
    "RPICT4V3": "11 231.1 232.2 233.3 231.1 1000.5 -20.25 0.0 -800.0 4400.1 90.0 0.0 3500.0 0.98 -0.97 nan -0.99",
    "RPICT8": "11 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5",
    "RPICT8-currents": "11 100.1 200.2 300.3 400.4 500.5 600.6 700.7 6230.0",
}


def decoder(name: str, node_id: int = 11) -> LineDecoder:
    board = find_board(name)
    return LineDecoder(board.fields, node_id=node_id, is_signed=board.is_signed)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_board_has_a_line(board: Board) -> None:
    told = decoder(board.name).decode(LINES[board.name].encode())
    assert len(told.values) == len(board.fields) == len(LINES[board.name].split())
    assert told == decoder(board.name).decode(LINES[board.name].replace(" ", ",").encode())
    assert told == decoder(board.name).decode(f" {LINES[board.name].replace(' ', ', ')},".encode())


def test_values_are_exact_thousandths() -> None:
    told = decoder("RPICT3V1").decode(LINES["RPICT3V1"].encode())
    assert [told.get("power", channel) for channel in (1, 2, 3)] == [Decimal(1402650), Decimal(-310), Decimal(0)]
    assert told.get("current", 1) == Decimal("6412.5")
    assert told.get("voltage", 1) == Decimal(231870)
    assert told.get("voltage", 2) is None
    four = decoder("RPICT4V3").decode(LINES["RPICT4V3"].encode())
    assert (four.get("power", 4), four.get("voltage", 4), four.get("factor", 3)) == (-800_000, 231_100, None)


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "inf", "-inf", "ovf", "-ovf"])
def test_what_a_board_could_not_compute(word: str) -> None:
    told = decoder("RPICT3V1").decode(f"11 1402.65 {word} 0.00 6412.5 38.2 0.0 {word}".encode())
    assert told.get("power", 2) is None
    assert told.get("voltage", 1) is None
    assert told.get("power", 1) == 1402650


def test_minus_zero_is_zero() -> None:
    told = decoder("RPICT3V1").decode(b"11 -0.0 -0.00 0 -0.0 0.0 0.0 -0.0")
    assert all(value == 0 for value in told.values[1:])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "has 0 numbers, not 8"),
        (b"11 1402.65 -0.31 0.00 6412.5 38.2 0.0", "has 7 numbers, not 8"),
        (b"11 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87 1", "has 9 numbers, not 8"),
        (b"11 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.8\xff", "bytes that are no text"),
        (b"1 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87", "is of node '1', not of node 11"),
        (b"nan 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87", "'nan' is no number"),
        (b"11 1402.65 -0.31 0.00 6412.5 38.2 0.0 23.1.87", "'23.1.87' is no number"),
        (b"11 14e9 -0.31 0.00 6412.5 38.2 0.0 231.87", "'14e9' is no number"),
        (b"11 0x14 -0.31 0.00 6412.5 38.2 0.0 231.87", "'0x14' is no number"),
        (b"11 1_000 -0.31 0.00 6412.5 38.2 0.0 231.87", "'1_000' is no number"),
        (b"11 99999999999999999999 0 0 6412.5 38.2 0.0 231.87", "is no number"),
        (b"11 0.12345678901 0 0 6412.5 38.2 0.0 231.87", "is no number"),
        (b"11 1000000.1 0 0 6412.5 38.2 0.0 231.87", "'1000000.1' is impossible for power 1"),
        (b"11 1402.65 0 0 6412.5 38.2 0.0 1402.65", "is impossible for voltage 1"),
        (b"11 1402.65 0 0 -6412.5 38.2 0.0 231.87", "is impossible for current 1"),
        (b"11,1402.65,,0,6412.5,38.2,0.0,231.87", "'' is no number"),
    ],
)
def test_what_is_no_line(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=reason):
        decoder("RPICT3V1").decode(line)


def test_a_sensor_that_is_not_connected_costs_no_power() -> None:
    fields = parse_fields(("node", "power_1", "temperature_1", "factor_1"))
    told = LineDecoder(fields, node_id=11).decode(b"11 1402.65 -300 9.9")
    assert told.values == (11, 1_402_650, None, None)


def test_any_node_where_the_settings_say_so() -> None:
    assert decoder("RPICT8", node_id=0).decode(LINES["RPICT8"].replace("11 ", "42 ").encode()).values[0] == 42


def test_pairs_of_bytes() -> None:
    """Low byte first; a board with a sign tells negative numbers too."""
    signed = LineDecoder(find_board("RPICT3V1").fields, EMONCMS, 11)
    told = signed.decode(b"11 123 5 253 255 0 0 14 25 38 0 0 0 231 0")
    assert [told.get("power", 1), told.get("power", 2)] == [1_403_000, -3_000]
    assert (told.get("current", 1), told.get("voltage", 1)) == (6414, 231_000)
    unsigned = LineDecoder(find_board("RPICT3T1").fields, EMONCMS, 11, is_signed=False)
    assert unsigned.decode(b"11 64 156 0 0 0 0 31 0").get("power", 1) == 40_000_000
    for line in (b"11 123 5 253", b"11 123 5 253 255 0 0 14 25 38 0 0 0 231 256", b"11 1.5 0 0 0 0 0 0 0 0 0 0 0 0 0"):
        with pytest.raises(BadLine, match="pairs of bytes"):
            signed.decode(line)
    with pytest.raises(BadLine, match="has 3 numbers, not 8"):
        signed.decode(b"11 1 2 3 4")


def test_of_two_bytes_only_what_can_be_negative_has_a_sign() -> None:
    """More than 32.767 A on a board with a sign, and frost at one without: lines as any other."""
    signed = LineDecoder(find_board("RPICT3V1").fields, EMONCMS, 11)
    told = signed.decode(b"11 240 35 253 255 0 0 64 156 38 0 0 0 231 0")
    assert [told.get("power", 1), told.get("power", 2), told.get("current", 1)] == [9_200_000, -3000, 40_000]
    unsigned = LineDecoder(find_board("RPICT3T1").fields, EMONCMS, 11, is_signed=False)
    assert unsigned.decode(b"11 107 5 0 0 0 0 251 255").get("temperature", 1) == -5000


def test_a_message_shows_a_little_and_no_control_characters() -> None:
    assert shown(b"\x1b[2J\xff" + b"1" * 100) == repr("\x1b[2J\\xff" + "1" * 55 + "...")
    assert "\x1b" not in shown(b"\x1b[2J")


@given(st.sampled_from(BOARDS), st.binary(max_size=400), st.sampled_from(["csv", EMONCMS]))
def test_garbage_is_a_line_within_its_limits_or_none(board: Board, line: bytes, form: str) -> None:
    _check(LineDecoder(board.fields, form, 0), line)


@given(st.sampled_from(BOARDS), st.data())
def test_damaged_lines_are_within_their_limits_or_none(board: Board, data: st.DataObject) -> None:
    line = bytearray(LINES[board.name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line) - 1))
        if data.draw(st.booleans()):
            line[at] = data.draw(st.integers(0, 255))
        else:
            del line[at]
    _check(decoder(board.name), bytes(line))


def _check(reader: LineDecoder, line: bytes) -> None:
    told = _told_or_reason(reader, line)
    if isinstance(told, str):
        assert 0 < len(told) < 500
        assert told.isprintable()
        return
    for field, value in zip(told.fields, told.values, strict=True):
        if value is not None and field.is_measured:
            quantity = QUANTITIES[field.quantity]
            assert quantity.least <= value <= quantity.greatest


def _told_or_reason(reader: LineDecoder, line: bytes) -> Told | str:
    try:
        return reader.decode(line)
    except BadLine as error:
        return str(error)
