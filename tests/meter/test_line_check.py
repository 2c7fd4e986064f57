"""Registers without a checksum: what is out of line has to come twice."""

from meter.drivers.line_check import UncheckedRegisters
from meter.drivers.measurement import Measurement

KWH = 10**6


def credible(check: UncheckedRegisters, *rows: tuple[int, int | None, int | None]) -> list[bool]:
    return [check.is_credible(Measurement(ms, None, taken, given)) for ms, taken, given in rows]


def test_what_follows_is_believed() -> None:
    rows = ((0, 5 * KWH, 0), (1000, 5 * KWH + 20, 0), (3_601_000, 105 * KWH, KWH))
    assert credible(UncheckedRegisters(), *rows) == [False, True, True]


def test_a_wrong_digit_is_not_and_costs_one_telegram_more() -> None:
    rows = ((0, 5 * KWH, 0), (1000, 5 * KWH, 0), (2000, 900_005 * KWH, 0), (3000, 5 * KWH, 0), (4000, 5 * KWH, 0))
    assert credible(UncheckedRegisters(), *rows) == [False, True, False, False, True]


def test_another_meter_is_believed_when_it_agrees_with_itself() -> None:
    rows = ((0, 5000 * KWH, 3 * KWH), (1000, 5000 * KWH, 3 * KWH), (2000, KWH, 0), (3000, KWH + 9, 0))
    assert credible(UncheckedRegisters(), *rows) == [False, True, False, True]


def test_a_register_that_is_missing_once() -> None:
    rows = ((0, KWH, KWH), (1000, KWH, None), (2000, KWH, KWH), (3000, KWH, KWH))
    assert credible(UncheckedRegisters(), *rows) == [False, False, False, True]


def test_a_wrong_letter_in_the_serial_number_is_no_other_meter() -> None:
    """It would begin anew with the register of another device: energy lost, and a seal broken that was not."""
    check = UncheckedRegisters()
    names = ["4B384547", "4B384547", "4B3845G7", "4B384547", "4B384547", "5C111111", "5C111111"]
    told = [check.is_credible(Measurement(ms, None, KWH, 0, device_id=name)) for ms, name in enumerate(names)]
    assert told == [False, True, False, False, True, False, True]
