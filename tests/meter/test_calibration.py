"""The file of calibrations: both signatures, a chain of factors, and what becomes of a file that somebody edited."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meter.calibration as calibration_module
from contracts.calibration_format import MAX_PPM, MIN_PPM, ONE_PPM, Calibration, Quantity
from meter.calibration import (
    CalibrationBook,
    calibration_file,
    new_factor_ppm,
    ppm_text,
)
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.signed_calibration import History, SignedCalibration, Standing, sign_calibration
from meter.signer import KeySigner
from primitives.errors import InvalidSignature, UserError

CHAIN_ID = 4711
METER, PERSON, OTHER = (KeySigner(bytes([number]) * 32) for number in (1, 2, 3))
TIME_S = 1_700_000_000
NOW_S = TIME_S + 60


def signed(
    book: CalibrationBook, quantity: Quantity, channel: int, new_ppm: int, person: KeySigner = PERSON, **changed: object
) -> SignedCalibration:
    """The calibration that the book would take now."""
    sequence = book.last()[0] + 1
    old_ppm = book.factors().ppm(QUANTITIES_WITH_FACTORS[quantity - 1], channel)
    right = Calibration(METER.address, person.address, sequence, TIME_S + sequence, quantity, channel, old_ppm, new_ppm)
    return sign_calibration(replace(right, **changed), CHAIN_ID, METER, person)  # type: ignore[arg-type]


def open_book(folder: Path) -> CalibrationBook:
    return CalibrationBook(calibration_file(folder / "outbox.sqlite"), CHAIN_ID, METER.address)


def test_a_factor_is_old_times_real_by_measured() -> None:
    assert new_factor_ppm(ONE_PPM, Fraction(6600), Fraction(6400)) == 1_031_250
    assert new_factor_ppm(1_031_250, Fraction(6400), Fraction(6600)) == ONE_PPM
    assert new_factor_ppm(ONE_PPM, Fraction(1), Fraction(3_000_000, 999_999)) == 333_333
    with pytest.raises(UserError, match="measures nothing"):
        new_factor_ppm(ONE_PPM, Fraction(6600), Fraction(0))
    for real in (1, 10**9):
        with pytest.raises(UserError, match=r"outside of 0.100000 to 10.000000"):
            new_factor_ppm(ONE_PPM, Fraction(real), Fraction(1000))
    assert (ppm_text(ONE_PPM), ppm_text(31_250)) == ("1.000000", "0.031250")


@given(st.integers(MIN_PPM, MAX_PPM), st.fractions(Fraction(1, 2), 2), st.integers(1, 10**6))
def test_what_is_measured_after_is_what_is_real(old_ppm: int, ratio: Fraction, sensor: int) -> None:
    """To the nearest millionth of what the sensor tells."""
    measured = Fraction(sensor) * old_ppm / ONE_PPM
    try:
        new_ppm = new_factor_ppm(old_ppm, measured * ratio, measured)
    except UserError:
        assert not MIN_PPM <= round(old_ppm * ratio) <= MAX_PPM
        return
    assert abs(Fraction(sensor) * new_ppm / ONE_PPM - measured * ratio) <= Fraction(sensor, 2 * ONE_PPM)


def test_the_last_factor_is_in_force_and_all_are_kept(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        assert (book.factors(), book.last()) == (Factors(), (0, 0))
        book.add(signed(book, Quantity.CURRENT, 1, 1_031_250), NOW_S)
        book.add(signed(book, Quantity.VOLTAGE, 1, 990_000, OTHER), NOW_S)
        book.add(signed(book, Quantity.CURRENT, 1, 1_050_000), NOW_S)
    with open_book(tmp_path) as book:
        assert book.factors() == Factors((Factor("voltage", 1, 990_000), Factor("current", 1, 1_050_000)))
        assert book.factors(1) == Factors((Factor("current", 1, 1_031_250),))
        assert book.last() == (3, TIME_S + 3)
        told = [(one.calibration.person, one.calibration.old_ppm, one.calibration.new_ppm) for one in book.records()]
    assert told == [
        (PERSON.address, ONE_PPM, 1_031_250),
        (OTHER.address, ONE_PPM, 990_000),
        (PERSON.address, 1_031_250, 1_050_000),
    ]


def test_a_reader_sees_what_another_program_wrote(tmp_path: Path) -> None:
    with open_book(tmp_path) as book, open_book(tmp_path) as other:
        before = book.version()
        assert book.version() == before
        other.add(signed(other, Quantity.POWER, 2, 1_000_001), NOW_S)
        assert book.version() != before
        assert book.factors() == Factors((Factor("power", 2, 1_000_001),))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sequence": 3}, "calibrated by somebody else in the meantime"),
        ({"sequence": 1}, "calibrated by somebody else in the meantime"),
        ({"old_ppm": 1_000_002}, "calibrated by somebody else in the meantime"),
        ({"new_ppm": 1_031_250}, "the factor is 1.031250 already"),
        ({"new_ppm": MAX_PPM + 1}, "the factor would be 10.000001"),
        ({"time_s": TIME_S}, "the clock shows a time before"),
        ({"time_s": NOW_S + 61}, "would be dated .* set the clock right"),
        ({"time_s": NOW_S + 31_536_000}, "would be dated .* set the clock right"),
    ],
)
def test_what_does_not_follow(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with open_book(tmp_path) as book:
        book.add(signed(book, Quantity.CURRENT, 1, 1_031_250), NOW_S)
        with pytest.raises(UserError, match=message):
            book.add(signed(book, Quantity.CURRENT, 1, **{"new_ppm": 1_100_000} | changed), NOW_S)  # type: ignore[arg-type]
        assert book.last()[0] == 1


def test_who_did_not_sign(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        right = signed(book, Quantity.CURRENT, 1, 1_031_250)
        for wrong in (
            replace(right, by_meter=right.by_person),
            replace(right, by_person=right.by_meter),
            replace(right, by_meter=(bytes(32), bytes(32))),
            replace(right, by_person=(b"\xff" * 40, b"\xff" * 40)),
        ):
            with pytest.raises(InvalidSignature):
                book.add(wrong, NOW_S)
        with pytest.raises(UserError, match="a person calibrates a meter"):
            book.add(signed(book, Quantity.CURRENT, 1, 1_031_250, METER), NOW_S)


def test_behind_the_ledger(tmp_path: Path) -> None:
    factors = Factors((Factor("current", 2, 1_200_000), Factor("voltage", 1, 980_000)))
    with open_book(tmp_path) as book:
        book.fill(History(Standing(7, TIME_S, factors)))
        assert (book.factors(), book.last()) == (factors, (7, TIME_S))
        book.add(signed(book, Quantity.CURRENT, 2, 1_210_000), NOW_S)
        with pytest.raises(RuntimeError):
            book.fill(History(Standing(9, TIME_S, Factors())))
    with open_book(tmp_path) as book:
        assert book.factors().ppm("current", 2) == 1_210_000
        assert book.factors().ppm("voltage", 1) == 980_000
        assert book.factors(7) == factors


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE calibrations SET new_ppm = 500000 WHERE sequence = 2",
        "UPDATE calibrations SET new_ppm = 500000, old_ppm = 1000000 WHERE sequence = 1",
        "UPDATE calibrations SET person = x'0102'",
        "UPDATE calibrations SET channel = 300",
        "UPDATE calibrations SET channel = -1",
        "UPDATE calibrations SET quantity = 9",
        "UPDATE calibrations SET meter_r = x''",
        "UPDATE calibrations SET meter_vs = randomblob(100)",
        "UPDATE calibrations SET sequence = 5 WHERE sequence = 2",
        "UPDATE calibrations SET time_s = time_s + 1",
        "DELETE FROM calibrations WHERE sequence = 1",
        "INSERT INTO adopted VALUES (1, 1, 0, '[[\"current\", 1, 1000]]')",
        "INSERT INTO adopted VALUES (1, 1, 0, 'nonsense')",
        "INSERT INTO adopted VALUES (1, 1, 0, '[[1]]')",
    ],
)
def test_a_file_that_was_edited_is_refused(tmp_path: Path, statement: str) -> None:
    with open_book(tmp_path) as book:
        book.add(signed(book, Quantity.CURRENT, 1, 1_031_250), NOW_S)
        book.add(signed(book, Quantity.CURRENT, 1, 1_050_000), NOW_S)
        path = book.path
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match=r"was altered .*it puts the file aside"):
        open_book(tmp_path)


@pytest.mark.parametrize(
    "row",
    ['["power", 1, 1]', '["power", 1, 0]', '["power", 1, -1000000]', '["power", 65, 1000000]', '["energy", 1, 1000000]',
     '["power", 1, 1e6]', '["power", 1, 20000000]', '["power", 1, 1000000, 2]', '["power", "1", 1000000]'],
)  # fmt: skip
def test_what_no_ledger_holds_is_not_taken_over_from_one(tmp_path: Path, row: str) -> None:
    with open_book(tmp_path) as book:
        path = book.path
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO adopted VALUES (1, 1, 0, ?)", (f"[{row}]",))
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match=r"was altered .*it puts the file aside"):
        open_book(tmp_path)


def test_a_file_of_another_meter_or_chain_or_program(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        path = book.path
    for chain_id, meter in ((CHAIN_ID + 1, METER.address), (CHAIN_ID, OTHER.address)):
        with pytest.raises(UserError, match="of another meter or chain"):
            CalibrationBook(path, chain_id, meter)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match="cannot be used"):
        open_book(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER more AFTER INSERT ON calibrations BEGIN UPDATE calibrations SET new_ppm = 500000; END",
        "ALTER TABLE adopted RENAME TO gone; CREATE VIEW adopted AS WITH RECURSIVE n(sequence) AS "
        "(SELECT 1 UNION ALL SELECT sequence + 1 FROM n) SELECT sequence, 0 AS time_s, '[]' AS factors FROM n",
        "CREATE TABLE another (a)",
    ],
)
def test_tables_of_somebody_else_are_not_looked_into(tmp_path: Path, statement: str) -> None:
    """A view may go on for ever."""
    with open_book(tmp_path) as book:
        path = book.path
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)
    with pytest.raises(UserError, match="has other tables"):
        open_book(tmp_path)


def test_what_is_no_file_or_too_large_is_not_opened(tmp_path: Path) -> None:
    path = calibration_file(tmp_path / "outbox.sqlite")
    path.mkdir()
    with pytest.raises(UserError, match="is no file"):
        open_book(tmp_path)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="is no file"):
        open_book(tmp_path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(calibration_module.MAX_FILE_BYTES + 1)
    with pytest.raises(UserError, match="bytes, more than"):
        open_book(tmp_path)


def test_a_full_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "MAX_RECORDS", 1)
    with open_book(tmp_path) as book:
        book.add(signed(book, Quantity.CURRENT, 1, 1_031_250), NOW_S)
        with pytest.raises(UserError, match="holds 1 calibrations"):
            book.add(signed(book, Quantity.CURRENT, 1, 1_050_000), NOW_S)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_made_belongs_to_whom_the_folder_belongs_to(tmp_path: Path) -> None:
    os.chown(tmp_path, 65_534, 65_534)
    with open_book(tmp_path) as book:
        book.add(signed(book, Quantity.CURRENT, 1, 1_031_250), NOW_S)
        assert {path.stat().st_uid for path in tmp_path.iterdir()} == {65_534}
