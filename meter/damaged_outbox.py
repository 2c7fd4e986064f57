"""An outbox file that a card has spoilt: kept under another name, and a new one begun with what is still genuine in it.

Nobody is asked: a meter that stands still until a person comes costs more than what is lost. Readings count where the
meter's own key signed them, the head where it sealed it; where no head is left the ledger says where to go on. The
supplier is told by the flag TAMPER, since damage and a hand at the card look alike.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from meter.alterations import Alteration, Kind
from meter.checkpoint import state_file
from meter.database import DamagedFile, companions, damage_note, locked, move_aside, open_for_salvage
from meter.head import HEAD_COLUMNS
from meter.outbox import READING_COLUMNS, Outbox
from meter.reading import Reading, ReadingDomain, Signature, SignedReading
from meter.relay_store import RelayStore
from meter.signer import Signer
from primitives.clock import Clock
from primitives.errors import InvalidReading, NeedsPerson, UserError

logger = logging.getLogger(__name__)

# A card that spoils the file again and again is worn out; copies without end would fill it.
MAX_KEPT = 10
# Of each table, half from its newest row down and half from its oldest up: two years of hourly readings, each verified
# in a millisecond on a small computer. Registers are cumulative: what is between is in the next reading.
MAX_SAVED_ROWS = 20_000
# Of the two minutes that a service may take to start.
SALVAGE_S = 60.0
# Greater values are none that a meter wrote.
MAX_VALUE_BYTES = 10**6

_SQLITE_MAGIC = b"SQLite format 3\0"
# The second where what SQLite says of the file has bytes of it in it that are no text.
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)

# Checked by whoever uses them, as in a file that nothing happened to.
_OTHER_TABLES = ("alterations", "gaps", "kept_values", "relay_memory", "switchings", "transactions")


@dataclass(frozen=True, slots=True)
class Saved:
    """What was genuine in the damaged file."""

    readings: int
    has_head: bool


def open_outbox(path: Path, domain: ReadingDomain, meter: bytes, signer: Signer, clock: Clock) -> Outbox:
    """As Outbox.open, but that a damaged file is moved aside and another begun. Raises UserError."""
    if _new_file(path).exists() and not path.exists():
        with locked(path):
            _finish_renewal(path, clock)
    try:
        outbox = Outbox.open(path, domain, meter, signer)
    except DamagedFile as error:
        _check_may_move(path, error)
        _renew(path, domain, meter, signer, clock, error.reason)
        return Outbox.open(path, domain, meter, signer)
    try:
        _note_missing(outbox)
    except BaseException:
        outbox.close()
        raise
    return outbox


def _renew(path: Path, domain: ReadingDomain, meter: bytes, signer: Signer, clock: Clock, damage: str) -> None:
    with locked(path):
        saved = _make_new(path, domain, meter, signer, damage)
        aside = _swap(path, clock)
    kept = f"{saved.readings} readings were saved from it" if saved.readings else "no reading was saved from it"
    behind = "its last reading" if saved.has_head else "the last reading that is saved, or that the ledger has"
    logger.error(
        "THE OUTBOX %s WAS DAMAGED (%s). It is kept as %s, and another was begun: %s, and the meter goes on behind %s. "
        "Look after the card or disk; tell your supplier, whom the next reading tells as well",
        path,
        damage,
        aside.name,
        kept,
        behind,
    )


def _note_missing(outbox: Outbox) -> None:
    """The state between readings is kept from the first reading on: beside an outbox without one, something is gone."""
    if outbox.head() is None and outbox.alterations.count() == 0 and state_file(outbox.database.path).exists():
        what = "the outbox was taken away or emptied, and another was begun"
        outbox.alterations.record(Alteration(Kind.DAMAGED, 0, 0, what))


def _check_may_move(path: Path, error: DamagedFile) -> None:
    """Raises NeedsPerson where the file may be another program's, or the card is worn out."""
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    if not is_database and not state_file(path).exists():
        raise NeedsPerson(
            f"{path} is no outbox, or one that is damaged from its beginning ({error.reason}): check meter.outbox in "
            "the settings. If it is the outbox, move it away and keep it; the meter goes on behind the last reading on "
            "the ledger"
        ) from error
    kept = [other for other in path.parent.glob(f"{path.name}.damaged-*") if other.name[-4:] not in ("-wal", "-shm")]
    if len(kept) >= MAX_KEPT:
        raise NeedsPerson(
            f"the outbox {path} is damaged ({error.reason}), as {len(kept)} before it that are kept beside it: the "
            "card or disk is worn out. Put in another, or move these files away and keep them"
        ) from error


def _new_file(path: Path) -> Path:
    return path.with_name(path.name + ".renewed")


def _make_new(path: Path, domain: ReadingDomain, meter: bytes, signer: Signer, damage: str) -> Saved:
    """Beside the damaged file, so that a power cut leaves one of them whole."""
    new = _new_file(path)
    for part in companions(new):
        part.unlink(missing_ok=True)
    with closing(Outbox.open(new, domain, meter, signer)) as outbox:
        saved = Saved(0, has_head=False)
        beside = [part for part in companions(path) if not part.exists()]
        # What cannot be opened at all has nothing to give.
        with suppress(*_UNREADABLE), closing(open_for_salvage(path, MAX_VALUE_BYTES, SALVAGE_S)) as source:
            saved = _save(source, outbox, path)
        for part in beside:  # made by looking
            part.unlink(missing_ok=True)
        head = outbox.stored_head()[0]
        sequence = 0 if head is None else head.sequence
        what = f"the outbox was damaged ({damage}), and another was begun with {saved.readings} readings of it"
        with outbox.database.transaction() as connection:
            outbox.alterations.insert(connection, Alteration(Kind.DAMAGED, sequence, sequence, what))
    new.with_name(new.name + ".lock").unlink(missing_ok=True)
    return saved


def _swap(path: Path, clock: Clock) -> Path:
    """Put the new file in the damaged one's place; where that is kept."""
    try:
        aside = move_aside(path, "damaged", clock.time_s())
        _new_file(path).rename(path)
        damage_note(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"the damaged outbox {path} cannot be moved aside: {error.strerror}") from error
    return aside


def _finish_renewal(path: Path, clock: Clock) -> None:
    """Of a program that ended between the two renamings: the new file was whole before the first."""
    logger.error("the outbox %s was damaged, and is replaced by the one that was begun in its place", path)
    _swap(path, clock)


def _save(source: sqlite3.Connection, outbox: Outbox, path: Path) -> Saved:
    """Raises UserError where the file is of another meter or ledger."""
    _save_identity(source, outbox, path)
    RelayStore(outbox.database)  # makes its table
    with outbox.database.transaction() as connection:
        for table in _OTHER_TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            _copy(connection, table, columns, _rows(source, table, columns))
        columns = ["sequence", *READING_COLUMNS.split(", "), "hash", "attempts", "quarantined"]
        genuine = (row for row in _rows(source, "readings", columns) if _is_genuine(outbox, row))
        readings = _copy(connection, "readings", columns, genuine)
        columns = ["id", *HEAD_COLUMNS.split(", ")]
        _copy(connection, "head", columns, _rows(source, "head", columns))
    has_head = outbox.stored_head()[1]
    if not has_head:
        with outbox.database.transaction() as connection:
            connection.execute("DELETE FROM head")
    return Saved(readings, has_head)


def _save_identity(source: sqlite3.Connection, outbox: Outbox, path: Path) -> None:
    columns = ["chain_id", "contract", "meter", "genesis_hash", "confirmed_block", "settled_sequence"]
    row = next(_rows(source, "identity", columns), None)
    genesis_hash, confirmed_block, settled_sequence = None, 0, 0  # from the first block on, where it is not known
    chain_id, contract, meter = row[:3] if row is not None else (None, None, None)
    if row is not None and isinstance(chain_id, int) and _is_bytes(contract, 20) and _is_bytes(meter, 20):
        outbox.check_identity(path, chain_id, contract, meter)
        genesis_hash = row[3] if _is_bytes(row[3], 32) else None
        confirmed_block, settled_sequence = [
            value if isinstance(value, int) and value >= 0 else 0 for value in (row[4], row[5])
        ]
    with outbox.database.transaction() as connection:
        connection.execute(
            "UPDATE identity SET genesis_hash = ?, confirmed_block = ?, settled_sequence = ?",
            (genesis_hash, confirmed_block, settled_sequence),
        )


def _rows(source: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Those that can still be read, from the newest down and from the oldest up to where the damage is."""
    with suppress(*_UNREADABLE):
        if not source.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone():
            return  # a view in its place may go on for ever
    query = f"SELECT rowid, {', '.join(columns)} FROM {table} ORDER BY rowid {{}} LIMIT {MAX_SAVED_ROWS // 2}"
    lowest = 2**63
    with suppress(*_UNREADABLE):
        for rowid, *row in source.execute(query.format("DESC")):
            lowest = rowid
            yield tuple(row)
    with suppress(*_UNREADABLE):
        for rowid, *row in source.execute(query.format("ASC")):
            if rowid >= lowest:
                break
            yield tuple(row)


def _copy(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterator[tuple[object, ...]]
) -> int:
    """How many were not there yet; what the table does not take was no row of it."""
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    count = 0
    for row in rows:
        with suppress(sqlite3.IntegrityError):
            count += connection.execute(statement, row).rowcount
    return count


def _is_genuine(outbox: Outbox, row: tuple[object, ...]) -> bool:
    """Whether this meter signed the reading of a row."""
    *fields, r, vs, stored_hash, _attempts, _quarantined = row
    numbers, hashes = fields[:-1], (fields[-1], r, vs)
    if not (all(isinstance(value, int) for value in numbers) and all(_is_bytes(value, 32) for value in hashes)):
        return False
    try:
        reading = Reading(outbox.meter, *fields)  # type: ignore[arg-type]
        outbox.domain.verify(SignedReading(reading, Signature(r, vs)))  # type: ignore[arg-type]
    except InvalidReading:
        return False
    return reading.hash == stored_hash


def _is_bytes(value: object, length: int) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and len(value) == length
