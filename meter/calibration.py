"""A meter's calibrations: who changed which factor, when, from what to what, signed by the meter and by the person.

They lie in a small SQLite file beside the outbox, which `wattchain meter calibrate` writes and the running meter reads.
Every signature is checked when the file is opened. Nobody has signed what a new file took over from the ledger, and a
file can be deleted; so any change of factors is told by the next reading, however it came about. That, and how
calibrations get to the ledger, is in meter/calibration_carrier.py.
"""

import contextlib
import json
import os
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from contracts.calibration_format import MAX_CHANNEL, MAX_PPM, MIN_PPM, ONE_PPM, Calibration, Quantity
from contracts.reading_format import compact_signature
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.signer import Signer
from primitives import secp256k1
from primitives.errors import Invalid, InvalidSignature, UserError
from primitives.hexadecimal import to_checksum_address
from wallet.durable_file import DurableFile, FileKind

MAX_RECORDS = 10_000
"""A calibration every day for 27 years."""

Signature = tuple[bytes, bytes]
"""(r, vs) of ERC-2098."""

_HIGH_BIT = 1 << 255
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


@dataclass(frozen=True, slots=True)
class SignedCalibration:
    """A calibration with both signatures: what the ledger takes."""

    calibration: Calibration
    by_meter: Signature
    by_person: Signature

    def check(self, chain_id: int) -> None:
        """Raises InvalidSignature unless both have signed."""
        digest = self.calibration.signing_hash(chain_id)
        for what, address, (r, vs) in (
            ("meter", self.calibration.meter, self.by_meter),
            ("person", self.calibration.person, self.by_person),
        ):
            word = int.from_bytes(vs, "big")
            signer = secp256k1.recover_address(digest, word >> 255, int.from_bytes(r, "big"), word & ~_HIGH_BIT)
            if signer != address:
                raise InvalidSignature(f"it was not signed by the {what} {to_checksum_address(address)}")


def sign_calibration(calibration: Calibration, chain_id: int, meter: Signer, person: Signer) -> SignedCalibration:
    """Both signatures. Raises UserError where a key cannot sign."""
    digest = calibration.signing_hash(chain_id)
    by_meter, by_person = (compact_signature(*signer.sign(digest)) for signer in (meter, person))
    return SignedCalibration(calibration, by_meter, by_person)


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


class CalibrationBook(DurableFile):
    """The open file of one meter on one chain. Raises UserError where it is damaged, foreign, or was altered."""

    def __init__(self, path: Path, chain_id: int, meter: bytes) -> None:
        super().__init__(path, FILE)
        self.chain_id = chain_id
        self.meter = meter
        try:
            _share_with_folder(path)
            self._check_identity()
            self._check_records()
        except BaseException:
            self.close()
            raise

    def records(self) -> list[SignedCalibration]:
        """All that were made on this computer, oldest first."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM calibrations ORDER BY sequence")
        try:
            return [
                SignedCalibration(
                    Calibration(self.meter, row[0], row[1], row[2], Quantity(row[3]), row[4], row[5], row[6]),
                    (row[7], row[8]),
                    (row[9], row[10]),
                )
                for row in rows
            ]
        except ValueError as error:
            raise self._altered(str(error)) from error

    def last(self) -> tuple[int, int]:
        """(sequence, time_s) of the last calibration; zeros where there is none."""
        found = [(one.calibration.sequence, one.calibration.time_s) for one in self.records()]
        sequence, time_s, _ = self._adopted()
        return found[-1] if found else (sequence, time_s)

    def factors(self, up_to: int | None = None) -> Factors:
        """In force behind a calibration, the last one unless said otherwise."""
        factors = self._adopted()[2]
        for one in self.records():
            calibration = one.calibration
            if up_to is None or calibration.sequence <= up_to:
                quantity = QUANTITIES_WITH_FACTORS[calibration.quantity - 1]
                factors = factors.with_ppm(quantity, calibration.channel, calibration.new_ppm)
        return factors

    def add(self, signed: SignedCalibration) -> None:
        """On the disk when this returns. Raises UserError where it does not follow on the last one."""
        calibration = signed.calibration
        signed.check(self.chain_id)
        with self.transaction() as connection:
            if connection.execute("SELECT count(*) FROM calibrations").fetchone()[0] >= MAX_RECORDS:
                raise UserError(f"{self.path} holds {MAX_RECORDS} calibrations: move it away, and keep it")
            if calibration.person == calibration.meter:
                raise UserError("a person calibrates a meter, not the meter itself: sign with an account of your own")
            check_ppm(calibration.new_ppm)
            sequence, time_s = self.last()
            in_force = self.factors().ppm(QUANTITIES_WITH_FACTORS[calibration.quantity - 1], calibration.channel)
            if (calibration.sequence, calibration.old_ppm) != (sequence + 1, in_force):
                raise UserError("the meter was calibrated by somebody else in the meantime: begin again")
            if calibration.new_ppm == in_force:
                raise UserError(f"the factor is {ppm_text(in_force)} already; nothing was changed")
            if calibration.time_s < time_s:
                raise UserError(
                    "the clock shows a time before that of the last calibration: set the clock, then begin again"
                )
            connection.execute(
                f"INSERT INTO calibrations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*astuple(calibration)[1:], *signed.by_meter, *signed.by_person),
            )

    def adopt(self, sequence: int, time_s: int, factors: Factors) -> None:
        """Go on behind what the ledger holds. For a file that is empty: what two have signed is never replaced."""
        text = json.dumps([[row.quantity, row.channel, row.ppm] for row in factors.rows])
        with self.transaction() as connection:
            if self.last()[0]:
                raise RuntimeError("a file with calibrations takes none from the ledger")
            connection.execute("INSERT INTO adopted VALUES (1, ?, ?, ?)", (sequence, time_s, text))

    def version(self) -> int:
        """Another number when somebody else has written to the file since."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def _adopted(self) -> tuple[int, int, Factors]:
        rows = self._rows("SELECT sequence, time_s, factors FROM adopted")
        if not rows:
            return 0, 0, Factors()
        try:
            factors = Factors(tuple([_adopted_factor(*row) for row in json.loads(rows[0][2])]))
        except (ValueError, TypeError, IndexError) as error:
            raise self._altered(str(error)) from error
        return rows[0][0], rows[0][1], factors

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self.reading() as connection:
            return connection.execute(query, values).fetchall()

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

    def _check_records(self) -> None:
        sequence, _, factors = self._adopted()
        for one in self.records():
            calibration = one.calibration
            quantity = QUANTITIES_WITH_FACTORS[calibration.quantity - 1]
            try:
                one.check(self.chain_id)
            except Invalid as error:
                raise self._altered(f"calibration {calibration.sequence}: {error}") from error
            sequence += 1
            if (calibration.sequence, calibration.old_ppm) != (sequence, factors.ppm(quantity, calibration.channel)):
                raise self._altered(f"calibration {calibration.sequence} does not follow on the one before")
            factors = factors.with_ppm(quantity, calibration.channel, calibration.new_ppm)

    def _altered(self, what: str) -> UserError:
        return UserError(
            f"{self.path} was altered ({what}): move it away and keep it. The meter takes its factors from the ledger "
            "then, as far as they got there"
        )


def _adopted_factor(quantity: object, channel: object, ppm: object) -> Factor:
    """Raises ValueError for what no ledger holds."""
    if quantity not in QUANTITIES_WITH_FACTORS or not isinstance(channel, int) or not isinstance(ppm, int):
        raise ValueError(f"{quantity!r} {channel!r} has no factor {ppm!r}")
    if not (1 <= channel <= MAX_CHANNEL and MIN_PPM <= ppm <= MAX_PPM):
        raise ValueError(f"the factor {ppm} of {quantity} {channel} is out of bounds")
    return Factor(str(quantity), channel, ppm)


def _share_with_folder(path: Path) -> None:
    """What root has made belongs to whom the meter's folder belongs to: the service must be able to read it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        for part in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            with contextlib.suppress(FileNotFoundError):
                os.chown(part, owner.st_uid, owner.st_gid)
