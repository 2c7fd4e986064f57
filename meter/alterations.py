"""What was noticed of an outbox that somebody else wrote to, or of a second device with the meter's key.

Kept until newer ones need the place, with what stood in the file; told to the operator in the log, and to the supplier
by the flag TAMPER in the next reading, also where the meter is stopped in between.
"""

import json
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from contracts.reading_format import StatusFlag
from meter.database import Database
from meter.live import Noting

logger = logging.getLogger(__name__)

# Each holds the rows of a batch at most, some 30 kB; who alters more than 100,000 readings has been noticed.
MAX_ALTERATIONS = 1000


class Kind(StrEnum):
    READING = "reading"
    """A stored reading is not as it was signed; it was taken out of the outbox."""
    MISSING = "missing"
    """A reading that was signed is not there, nor on the ledger."""
    HEAD = "head"
    """The place where the chain of readings stands is not what this meter wrote."""
    FOREIGN = "foreign"
    """The ledger has a reading of this meter that this outbox did not sign."""
    BELIEVED = "believed"
    """The meter goes on behind a reading that a person vouches for, and nothing proves."""
    DAMAGED = "damaged"
    """The outbox could not be read, and another was begun."""
    CALIBRATIONS = "calibrations"
    """The file of calibrations is not what this meter and a person wrote; of the reading before."""


REPEATED = (Kind.HEAD, Kind.CALIBRATIONS, Kind.DAMAGED)
"""What may be altered again behind the same reading."""


@dataclass(frozen=True, slots=True)
class Alteration:
    kind: Kind
    first_sequence: int
    last_sequence: int
    what: str
    told_sequence: int | None = None
    """The reading whose flag TAMPER told the ledger; None where that is still to come."""


class Alterations:
    """Those of one outbox, on the disk."""

    def __init__(self, database: Database) -> None:
        self.noting: Noting | None = None
        """Who puts the flag into the next reading: the running daemon."""
        self._database = database

    def record(self, alteration: Alteration, content: Sequence[object] = ()) -> None:
        """Keep it and say it, unless it is known."""
        with self._database.transaction() as connection:
            is_new = self.insert(connection, alteration, content)
        if is_new:
            self.tell(alteration)

    def insert(self, connection: sqlite3.Connection, alteration: Alteration, content: Sequence[object] = ()) -> bool:
        """Within a transaction that changes more; call `tell` behind it. False where it is known already."""
        row = (str(alteration.kind), alteration.first_sequence, alteration.last_sequence)
        known = "SELECT 1 FROM alterations WHERE kind = ? AND first_sequence <= ? AND last_sequence >= ? LIMIT 1"
        if alteration.kind not in REPEATED and connection.execute(known, row).fetchone() is not None:
            return False
        connection.execute(
            "INSERT INTO alterations (kind, first_sequence, last_sequence, what, content) VALUES (?, ?, ?, ?, ?)",
            (*row, alteration.what, json.dumps(list(content))),
        )
        connection.execute(
            "DELETE FROM alterations WHERE id <= (SELECT max(id) FROM alterations) - ?", (MAX_ALTERATIONS,)
        )
        return True

    def tell(self, alteration: Alteration) -> None:
        logger.error("TAMPERING: %s. It is kept, and the next reading tells the supplier", alteration.what)
        if self.noting is not None:
            self.noting.note(StatusFlag.TAMPER, alteration.what, at_once=True)

    def note_untold(self, noting: Noting) -> None:
        """From now on tell `noting`, and what was recorded before and no reading has told yet."""
        self.noting = noting
        self.remind()

    def remind(self) -> None:
        """Have the flag set again where the reading that should have told will not reach the ledger."""
        if self.noting is None:
            return
        untold = "SELECT what FROM alterations WHERE told_sequence IS NULL ORDER BY id DESC LIMIT 1"
        with self._database.reading() as connection:
            row = connection.execute(untold).fetchone()
        if row is not None:
            self.noting.note(StatusFlag.TAMPER, row[0], at_once=True)

    def newest(self, limit: int) -> list[Alteration]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT kind, first_sequence, last_sequence, what, told_sequence FROM alterations "
                "ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [Alteration(Kind(row[0]), *row[1:]) for row in rows]

    def count(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM alterations").fetchone()[0])

    def explains(self, sequence: int) -> bool:
        """Whether it is known why the outbox does not hold this reading."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM alterations WHERE kind IN (?, ?) AND first_sequence <= ? AND last_sequence >= ? LIMIT 1",
                (str(Kind.READING), str(Kind.MISSING), sequence, sequence),
            ).fetchone()
        return row is not None


def mark_told(connection: sqlite3.Connection, sequence: int) -> None:
    """A reading with the flag TAMPER was signed: within the transaction that stores it."""
    connection.execute("UPDATE alterations SET told_sequence = ? WHERE told_sequence IS NULL", (sequence,))


def mark_untold(connection: sqlite3.Connection, first_sequence: int, last_sequence: int) -> bool:
    """These readings will not reach the ledger: within the transaction that sets them aside. Call `remind` if so."""
    return (
        connection.execute(
            "UPDATE alterations SET told_sequence = NULL WHERE told_sequence BETWEEN ? AND ?",
            (first_sequence, last_sequence),
        ).rowcount
        > 0
    )
