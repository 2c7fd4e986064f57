"""A meter's calibrations: who changed which factor, when, from what to what, signed by the meter and by the person.

They lie in a small SQLite file beside the outbox, which `wattchain meter calibrate` writes and the running meter reads.
Every signature is checked whenever the file is read. What a running meter does with a file that somebody edited is in
meter/calibration_shelf.py, how calibrations are told and get to the ledger in meter/calibration_carrier.py.
"""

import contextlib
import os
import sqlite3
import stat
from fractions import Fraction
from pathlib import Path
from typing import Any

from contracts.calibration_format import MAX_AHEAD_S, MAX_PPM, MIN_PPM, ONE_PPM
from meter.database import companions
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factors
from meter.signed_calibration import (
    History,
    SignedCalibration,
    Standing,
    base_of,
    factors_text,
    record_of,
    record_row,
)
from primitives.errors import Invalid, UserError
from wallet.durable_file import BUSY_TIMEOUT_S, DurableFile, FileKind
from wallet.quantities import format_time

MAX_RECORDS = 10_000
"""A calibration every day for 27 years."""

MAX_FILE_BYTES = 16 * 1024 * 1024
"""MAX_RECORDS of 300 bytes, and as much again; what is larger is not looked into."""

_COLUMNS = "person, sequence, time_s, quantity, channel, old_ppm, new_ppm, meter_r, meter_vs, person_r, person_vs"
FILE = FileKind(
    "the file of the meter's calibrations",
    0x77636C62,
    1,
    (
        "CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), chain_id INTEGER NOT NULL, meter BLOB NOT NULL) "
        "STRICT",
        # What the ledger held when this file was new.
        "CREATE TABLE adopted (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, "
        "time_s INTEGER NOT NULL, factors TEXT NOT NULL) STRICT",
        "CREATE TABLE calibrations (person BLOB NOT NULL, sequence INTEGER PRIMARY KEY, "
        "time_s INTEGER NOT NULL, quantity INTEGER NOT NULL, channel INTEGER NOT NULL, old_ppm INTEGER NOT NULL, "
        "new_ppm INTEGER NOT NULL, meter_r BLOB NOT NULL, meter_vs BLOB NOT NULL, person_r BLOB NOT NULL, "
        "person_vs BLOB NOT NULL) STRICT",
    ),
)


def new_factor_ppm(old_ppm: int, real: Fraction, measured: Fraction) -> int:
    """old * real / measured, to the nearest part per million. Raises UserError for what no sensor can be off by."""
    if measured <= 0:
        raise UserError("the meter measures nothing there: switch a load on whose value you know, and try again")
    ppm = round(old_ppm * real / measured)
    check_ppm(ppm)
    return ppm


def check_ppm(ppm: int) -> None:
    """Raises UserError outside of the ledger's bounds."""
    if not MIN_PPM <= ppm <= MAX_PPM:
        raise UserError(
            f"the factor would be {ppm_text(ppm)}, outside of {ppm_text(MIN_PPM)} to {ppm_text(MAX_PPM)}: look at the "
            "unit of the value, at the clamp, and at the board's own settings"
        )


def ppm_text(ppm: int) -> str:
    return f"{ppm // ONE_PPM}.{ppm % ONE_PPM:06d}"


def calibration_file(outbox: Path) -> Path:
    """Beside the outbox, one for each meter."""
    return outbox.with_name(outbox.name + ".calibrations")


class AlteredBook(UserError):
    """The file holds what meter and person did not sign; `reason` says what, without what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} was altered ({reason}). Start the meter: it puts the file aside, keeps it, and goes on with what "
            "is known to be genuine"
        )
        self.reason = reason


class CalibrationBook(DurableFile):
    """The open file of one meter on one chain. Raises UserError where it is damaged, foreign, or was altered."""

    def __init__(self, path: Path, chain_id: int, meter: bytes, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        _check_kind(path)
        super().__init__(path, FILE, busy_timeout_s)
        self.chain_id = chain_id
        self.meter = meter
        try:
            _share_with_folder(path)
            self._check_tables()
            self._check_identity()
            self.history()
            self._place = _place_of(path)
        except BaseException:
            self.close()
            raise

    def history(self) -> History:
        """All that is in the file, each signature checked. Raises UserError where it was altered."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM calibrations ORDER BY sequence LIMIT {MAX_RECORDS + 1}")
        adopted = self._rows("SELECT sequence, time_s, factors FROM adopted")
        try:
            base = base_of(*adopted[0]) if adopted else Standing()
            history = History(base, tuple([record_of(self.meter, row) for row in rows]))
            history.check(self.chain_id, self.meter)
        except Invalid as error:
            raise AlteredBook(self.path, str(error)) from error
        return history

    def records(self) -> list[SignedCalibration]:
        """All that are signed, oldest first."""
        return list(self.history().records)

    def last(self) -> tuple[int, int]:
        """(sequence, time_s) of the last calibration; zeros where there is none."""
        return self.history().last()

    def factors(self, up_to: int | None = None) -> Factors:
        """Behind a calibration, the last one unless said otherwise."""
        return self.history().factors(up_to)

    def add(self, signed: SignedCalibration, now_s: float) -> None:
        """On the disk when this returns; `now_s` is by the meter's clock.

        Raises UserError where it does not follow on the last one, or is dated ahead of the clock.
        """
        calibration = signed.calibration
        signed.check(self.chain_id)
        with self.transaction() as connection:
            history = self.history()
            if len(history.records) >= MAX_RECORDS:
                raise UserError(f"{self.path} holds {MAX_RECORDS} calibrations: move it away, and keep it")
            if calibration.person == calibration.meter:
                raise UserError("a person calibrates a meter, not the meter itself: sign with an account of your own")
            check_ppm(calibration.new_ppm)
            sequence, time_s = history.last()
            in_force = history.factors().ppm(QUANTITIES_WITH_FACTORS[calibration.quantity - 1], calibration.channel)
            if (calibration.sequence, calibration.old_ppm) != (sequence + 1, in_force):
                raise UserError("the meter was calibrated by somebody else in the meantime: begin again")
            if calibration.new_ppm == in_force:
                raise UserError(f"the factor is {ppm_text(in_force)} already; nothing was changed")
            check_time(calibration.time_s, time_s, now_s)
            _insert(connection, history.base.sequence, signed)

    def fill(self, history: History) -> None:
        """Begin with calibrations that are known to be genuine: for a file that is empty."""
        with self.transaction() as connection:
            if self.history() != History():
                raise RuntimeError("a file with calibrations is not filled with others")
            base = history.base
            if not history.is_signed:
                row = (base.sequence, base.time_s, factors_text(base.factors))
                connection.execute("INSERT INTO adopted VALUES (1, ?, ?, ?)", row)
            for signed in history.records:
                _insert(connection, base.sequence, signed)

    def version(self) -> int:
        """Another number when somebody else has written to the file since."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def is_in_place(self) -> bool:
        """Whether the file under this name is still the one that was opened."""
        return _place_of(self.path) == self._place

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self.reading() as connection:
            return connection.execute(query, values).fetchall()

    def _check_tables(self) -> None:
        """A view or a trigger in the place of a table could do anything, and go on for ever."""
        rows = self._rows("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT 100")
        if sorted(row[0] for row in rows) != sorted(FILE.tables):
            raise UserError(f"{self.path} has other tables than this program makes")

    def _check_identity(self) -> None:
        rows = self._rows("SELECT chain_id, meter FROM identity")
        if not rows:
            with self.transaction() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO identity (id, chain_id, meter) VALUES (1, ?, ?)", (self.chain_id, self.meter)
                )
        elif rows[0] != (self.chain_id, self.meter):
            raise UserError(
                f"{self.path} has the calibrations of another meter or chain: move it away, and calibrate this one"
            )


def check_time(time_s: int, last_s: int, now_s: float) -> None:
    """Raises UserError for a calibration that is dated ahead of the meter's clock, or before the last one."""
    if time_s > now_s + MAX_AHEAD_S:
        raise UserError(
            f"the calibration would be dated {format_time(time_s)}, and the meter's clock shows "
            f"{format_time(int(now_s))}: set the clock right, then begin again"
        )
    if time_s < last_s:
        raise UserError(
            f"the clock shows a time before that of the last calibration, {format_time(last_s)}: set the clock, then "
            "begin again. Where the clock is right and the last calibration was dated ahead, stop the meter, move the "
            "file of calibrations away and keep it; the meter takes those on the ledger"
        )


def _insert(connection: sqlite3.Connection, base_sequence: int, signed: SignedCalibration) -> None:
    if signed.calibration.sequence <= base_sequence:
        raise RuntimeError("a calibration lies before what was taken over from the ledger")
    connection.execute(
        f"INSERT INTO calibrations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", record_row(signed)
    )


def _check_kind(path: Path) -> None:
    """Raises UserError for what is no file, or none of ours by its size alone: before anything of it is read."""
    for part in companions(path):
        try:
            found = part.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{part} cannot be looked at: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{part} is no file")
        if found.st_size > MAX_FILE_BYTES:
            raise UserError(f"{part} has {found.st_size} bytes, more than {MAX_FILE_BYTES} that this file ever has")


def _place_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _share_with_folder(path: Path) -> None:
    """What root has made belongs to whom the meter's folder belongs to: the service must be able to read it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        for part in companions(path):
            with contextlib.suppress(FileNotFoundError):
                os.chown(part, owner.st_uid, owner.st_gid)
