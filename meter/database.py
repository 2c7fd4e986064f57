"""The one SQLite file of a meter: opened by one daemon at a time, every change on the disk before it counts.

WAL with synchronous=FULL: what a transaction wrote is there after a power cut, and nothing of one that did not end.
What the tables mean is in meter/outbox.py, meter/alterations.py and switch_journal.py, gaps.py and
kept_values.py. Damage and a full disk become UserErrors; what becomes of a damaged file is decided in
meter/damaged_outbox.py.
"""

import fcntl
import functools
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from primitives.errors import NeedsPerson, UserError

logger = logging.getLogger(__name__)

APPLICATION_ID = 0x77617474
"""Marks the file as ours ("watt"), so that a foreign database is not written to."""
SCHEMA_VERSION = 2
PAGE_BYTES = 1024
"""A quarter of SQLite's own: a reading changes some five pages by 200 bytes each, and each is written whole."""
LOG_PAGES = 4096
"""4 MB of log before it is written back to the file: the same pages are changed again and again, and go back once."""
# Another process only reads (`meter status`); a writer waits this long for it at most.
BUSY_TIMEOUT_S = 10
# Names for files that were moved aside within one second.
MAX_NAMES = 1000
# Of SQLite's own machine: some milliseconds.
STEPS_BETWEEN_LOOKS = 100_000
# Of what was found while the file was in use.
MAX_REASON_CHARACTERS = 200
# What cannot be written would be told with every try.
TELL_AGAIN_S = 3600.0

_SCHEMA = """
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1), chain_id INTEGER NOT NULL, contract BLOB NOT NULL, meter BLOB NOT NULL,
    genesis_hash BLOB, confirmed_block INTEGER, settled_sequence INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, hash BLOB NOT NULL, time_s INTEGER NOT NULL,
    import_wh INTEGER NOT NULL, export_wh INTEGER NOT NULL, driver_state BLOB, seal_r BLOB, seal_vs BLOB) STRICT;
CREATE TABLE readings (
    sequence INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, import_wh INTEGER NOT NULL, export_wh INTEGER NOT NULL,
    power_w INTEGER NOT NULL, flags INTEGER NOT NULL, previous_hash BLOB NOT NULL, hash BLOB NOT NULL,
    r BLOB NOT NULL, vs BLOB NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, quarantined TEXT) STRICT;
CREATE INDEX quarantined_readings ON readings (sequence) WHERE quarantined IS NOT NULL;
CREATE TABLE transactions (
    nonce INTEGER PRIMARY KEY, sender BLOB NOT NULL, hash BLOB NOT NULL, raw BLOB NOT NULL,
    first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL, max_fee_per_gas TEXT NOT NULL) STRICT;
CREATE TABLE alterations (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
    what TEXT NOT NULL, content TEXT NOT NULL, told_sequence INTEGER) STRICT;
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY, from_s INTEGER NOT NULL, until_s INTEGER, reason TEXT NOT NULL) STRICT;
CREATE TABLE kept_values (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE switchings (
    id INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, block_number INTEGER, is_on INTEGER NOT NULL,
    reason TEXT NOT NULL) STRICT;
"""

# Made by whoever needs it (meter/relay_store.py).
RELAY_MEMORY = "relay_memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"
_RELAY_MEMORY = ("relay_memory", f"CREATE TABLE {RELAY_MEMORY}")


class OutboxNotReady(UserError):
    """No daemon has made the file yet, or one is just making it."""


class DamagedFile(UserError):
    """What stands in the file is no database any more, or not all of it is (meter/damaged_outbox.py)."""

    def __init__(self, path: Path, what: str) -> None:
        self.reason = " ".join(what.split())[:MAX_REASON_CHARACTERS]
        super().__init__(
            f"the outbox {path} is damaged ({self.reason}). `wattchain meter run` moves it aside, keeps it, and goes "
            "on behind what is genuine in it, or the last reading on the ledger"
        )


class DiskFull(UserError):
    """Nothing more can be written until a person makes space. A meter goes on measuring, and its relay stays."""


class Database:
    """An open file. `transaction` is the only way to change it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.path = path
        self.connection = connection
        self._lock = lock
        self._told_s: float | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: committed and on the disk when the block ends, undone where it raises."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def left_out(self, what: str, error: DiskFull) -> None:
        """Say, once an hour, that something is not on the disk and the meter goes on."""
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s >= TELL_AGAIN_S:
            self._told_s = now_s
            logger.error("%s. %s is not kept until then", error, what)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Access with SQLite's complaints told to a person."""
        try:
            yield self.connection
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            told = _as_user_error(self.path, error)
            if isinstance(told, DamagedFile) and self._lock is not None:
                # Not all damage is seen when the file is opened: so that the next start does not end here as well.
                with suppress(OSError):
                    damage_note(self.path).write_text(told.reason)
            raise told from error

    def close(self) -> None:
        self.connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_database(path: Path) -> Database:
    """Open for this process alone, made where it is missing. Raises UserError where locked, damaged or foreign."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
    except OSError as error:
        raise UserError(f"cannot use the outbox {path}: {error.strerror}") from error
    try:
        connection = _connect(path, read_only=False)
        try:
            _prepare(path, connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        os.close(lock)
        raise _as_user_error(path, error) from error
    except BaseException:
        os.close(lock)
        raise
    return Database(path, connection, lock)


def open_for_reading(path: Path) -> Database:
    """Open beside a running daemon, to look only. Raises UserError, and OutboxNotReady where there is nothing yet."""
    not_ready = OutboxNotReady(f"there is no outbox at {path}: `wattchain meter run` makes it")
    if not path.exists():
        raise not_ready
    try:
        connection = _connect(path, read_only=True)
        try:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                _check_unmarked(path, connection)
                raise not_ready
            _check_ours(path, connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise _as_user_error(path, error) from error
    return Database(path, connection, None)


def open_for_salvage(path: Path, max_value_bytes: int, within_s: float) -> sqlite3.Connection:
    """Only to look, at a file of which some can no longer be read. Raises sqlite3.DatabaseError; so does every query
    after that time, for a view in the place of a table may go on for ever."""
    connection = _connect(path, read_only=True)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_value_bytes)
    until_s = time.monotonic() + within_s
    connection.set_progress_handler(lambda: time.monotonic() > until_s, STEPS_BETWEEN_LOOKS)
    return connection


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """No daemon uses the file meanwhile. Raises UserError where one does."""
    lock = _lock(path)
    try:
        yield
    finally:
        os.close(lock)


def damage_note(path: Path) -> Path:
    """Beside a database: damage was met while it was in use."""
    return path.with_name(path.name + ".damage")


def companions(path: Path) -> list[Path]:
    """A database's file and what SQLite keeps beside it."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def move_aside(path: Path, why: str, now_s: int) -> Path:
    """Keep a database and what is beside it under another name, with the date in it; that name. Raises OSError."""
    now = datetime.fromtimestamp(max(now_s, 0), UTC)
    stem = f"{path.name}.{why}-{now:%Y%m%d-%H%M%S}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, MAX_NAMES))]
    name = next((name for name in names if not os.path.lexists(path.with_name(name))), None)
    if name is None:
        raise FileExistsError(f"there are {MAX_NAMES} files {stem} already")
    aside = path.with_name(name)
    for part, kept in zip(companions(path), companions(aside), strict=True):
        if os.path.lexists(part):
            part.rename(kept)
    return aside


def _lock(path: Path) -> int:
    """An exclusive lock that ends with this process, however it ends."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"another meter daemon already uses the outbox {path}; stop it, or give this meter an outbox of its own"
        ) from error
    return descriptor


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    connection.text_factory = _as_text
    return connection


def _as_text(stored: bytes) -> str:
    # The text of a damaged or edited row need be none.
    return stored.decode("utf-8", "replace")


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if is_new:
        _check_unmarked(path, connection)
    else:
        _check_ours(path, connection)
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise DamagedFile(path, problem)
        if _objects(connection) | {_RELAY_MEMORY} != _own_objects():
            raise DamagedFile(path, "it has other tables than this program makes")
        if (met := _met_damage(path)) is not None:
            raise DamagedFile(path, met)
    if is_new:
        with suppress(OSError):
            damage_note(path).unlink()  # of a file that was moved away
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * PAGE_BYTES}")
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _met_damage(path: Path) -> str | None:
    try:
        with damage_note(path).open("rb") as file:
            return _as_text(file.read(MAX_REASON_CHARACTERS))
    except OSError:
        return None


def _objects(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Tables and indexes; a trigger, or a view in the place of a table, could do anything."""
    return set(
        connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' LIMIT 100"
        )
    )


@functools.cache
def _own_objects() -> set[tuple[str, str]]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(_SCHEMA)
        return _objects(connection) | {_RELAY_MEMORY}
    finally:
        connection.close()


def _check_unmarked(path: Path, connection: sqlite3.Connection) -> None:
    marked: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if marked not in (0, APPLICATION_ID):
        raise NeedsPerson(f"{path} is a database of another program; name another file for the outbox")


def _check_ours(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise NeedsPerson(f"{path} is a database of another program; name another file for the outbox")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise NeedsPerson(
            f"the outbox {path} has format {version}, this program writes format {SCHEMA_VERSION}: "
            "run the version of wattchain that wrote it until its outbox is empty"
        )


def _as_user_error(path: Path, error: sqlite3.DatabaseError | UnicodeDecodeError) -> UserError:
    if isinstance(error, UnicodeDecodeError):  # what SQLite says of it has bytes of the file in it
        return DamagedFile(path, "database disk image is malformed")
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return DiskFull(f"THE DISK IS FULL: free some space; what the meter keeps is beside {path}")
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return UserError(f"cannot open the outbox {path} for writing: {error}")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedFile(path, str(error))
    if primary == sqlite3.SQLITE_IOERR:
        return UserError(
            f"the disk does not do what the outbox {path} needs ({error}): look after the card or disk, and start the "
            "meter again"
        )
    raise error  # wrong SQL or misuse: a bug of ours, loud
