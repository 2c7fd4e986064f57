"""The ledger's one SQLite file: opening and locking it, transactions, and readers that see one moment.

WAL with synchronous=FULL: a transaction that has returned survives a power cut, one that has not leaves no trace. What
the rows mean is the business of blocks.py and state.py.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chain.store.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES, UPGRADES
from primitives.errors import NeedsPerson, UserError
from primitives.keccak import keccak256

DATABASE_FILE = "chain.sqlite"
LOCK_FILE = "lock"

DEFAULT_PAGE_CACHE_MIB = 16
"""Pages that the writing connection keeps: part of a node's 150 MB; the system's file cache does the rest."""

READER_CACHE_KIB = 2 * 1024
"""The same for each reading connection, of which there are several."""

CHECKPOINT_PAGES = 4096
"""Pages (16 MB) that gather in the write-ahead log before they are moved: a page that many blocks change, as the tops
of the tries, is moved once for all of them."""

JOURNAL_LIMIT_BYTES = 32 * 1024 * 1024
"""To what a log that grew further (genesis, or a reader that held it up) is cut back."""

QUICK_CHECK_LIMIT_BYTES = 256 * 1024 * 1024
"""After an unclean end the whole file is checked if it is smaller: some ten seconds of an SD card. Damage in a larger
one is reported when it is met."""

BUSY_TIMEOUT_MS = 5_000
"""How long to wait for a tool that looks at the file (sqlite3, a backup)."""

_OPEN = b"open\n"
_CLOSED = b"closed\n"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_MACHINE = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOLFS,
)


class Database:
    """The one writing connection of a data directory, or with read_only a look at it beside a running node.

    For one thread at a time. Other threads read through reader().
    """

    def __init__(self, directory: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.directory = directory
        self.connection = connection
        self._path = directory / DATABASE_FILE
        self._lock = lock
        self._on_rollback: list[Callable[[], None]] = []
        self._readers: list[DatabaseReader] = []

    @classmethod
    def open(
        cls, directory: Path, *, read_only: bool = False, page_cache_mib: int = DEFAULT_PAGE_CACHE_MIB
    ) -> "Database":
        """Open the directory's database; make both where they are absent, unless read_only.

        Raises UserError where another node uses the directory, or the file is damaged, foreign or of another version.
        """
        path = directory / DATABASE_FILE
        if read_only:
            if not path.exists():
                raise UserError(f"there is no ledger in {directory}: make one with `wattchain init`")
            with _plain_errors(path), _closed_on_error(_connect(path, READER_CACHE_KIB, read_only=True)) as connection:
                _check_identity(connection, path)
            return cls(directory, connection, None)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock, ended_cleanly = _lock(directory)
        except OSError as error:
            raise UserError(f"the data directory {directory} cannot be used: {error.strerror}") from error
        try:
            with _plain_errors(path), _closed_on_error(_connect(path, page_cache_mib * 1024)) as connection:
                _set_up(connection, path)
                if not ended_cleanly and path.stat().st_size <= QUICK_CHECK_LIMIT_BYTES:
                    _quick_check(connection, path)
        except BaseException:
            os.close(lock)
            raise
        _write_mark(lock, _OPEN)
        return cls(directory, connection, lock)

    def close(self) -> None:
        """Close, readers included, and give the data directory free. The last connection to close empties the log."""
        for reader in self._readers:
            reader.close()
        self.connection.close()
        if self._lock is not None:
            _write_mark(self._lock, _CLOSED)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is on disk when this ends, or, on any exception, nothing is."""
        with _plain_errors(self._path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # SQLite may have rolled back by itself, on a full disk say
                    self.connection.execute("ROLLBACK")
                for forget in self._on_rollback:
                    forget()
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Reading by the writing connection, outside of transactions: a damaged file becomes a UserError."""
        with _plain_errors(self._path):
            yield

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Call `forget` after a transaction was taken back, so that nothing in memory remembers it."""
        self._on_rollback.append(forget)

    def reader(self) -> "DatabaseReader":
        """A connection of its own for another thread, which can only read. Closed with the database at the latest."""
        with _plain_errors(self._path):
            reader = DatabaseReader(self._path, _connect(self._path, READER_CACHE_KIB, read_only=True))
        self._readers.append(reader)
        return reader

    @property
    def genesis_hash(self) -> bytes | None:
        """The hash of block 0; None as long as no genesis was loaded."""
        return read_meta(self.connection, "genesis")

    def set_genesis(self, genesis_hash: bytes) -> None:
        """Bind the database to its chain. Inside the transaction that writes block 0."""
        if self.genesis_hash is not None:
            raise RuntimeError("the genesis of a database is set once")
        write_meta(self.connection, "genesis", genesis_hash)

    def check_genesis(self, genesis_hash: bytes) -> None:
        """Raises UserError where the database holds another chain than the genesis file describes."""
        stored = self.genesis_hash
        if stored is not None and stored != genesis_hash:
            raise NeedsPerson(
                f"the ledger in {self.directory} began with block 0x{stored.hex()}, the genesis file describes "
                f"0x{genesis_hash.hex()}: use the genesis file it was made with, or another data directory"
            )


class DatabaseReader:
    """A reading connection. One snapshot at a time; a second thread waits for the first."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._in_use = threading.RLock()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The database as it is at this moment, however long one looks. Keep it short: it holds up the log."""
        with self._in_use, _plain_errors(self._path):
            self._connection.execute("BEGIN")
            try:
                read_meta(self._connection, "state")  # a snapshot begins with the first thing read
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        with self._in_use:
            self._connection.close()


def read_meta(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def write_meta(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def delete_meta(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM meta WHERE name = ?", (name,))


def _connect(path: Path, cache_kib: int, *, read_only: bool = False) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    except BaseException:  # the first look at a damaged file
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in an empty file, or see that the file is ours; then the settings of a writer."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    _upgrade(connection)
    _check_identity(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables of an older version of this program up to date, one version at a time."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return
    connection.create_function("keccak256", 1, keccak256, deterministic=True)
    while (version := connection.execute("PRAGMA user_version").fetchone()[0]) in UPGRADES:
        connection.executescript(f"BEGIN IMMEDIATE; {UPGRADES[version]} PRAGMA user_version = {version + 1}; COMMIT;")


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise UserError(f"{path} is a database of another program: choose another data directory")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has version {version} of the ledger's tables, this program knows version {SCHEMA_VERSION}: "
            "run the program that wrote it, or sync into a new data directory"
        )


def _quick_check(connection: sqlite3.Connection, path: Path) -> None:
    result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok":
        raise UserError(_damage(path, str(result)))


def _damage(path: Path, detail: str) -> str:
    return (
        f"the ledger's database {path} is damaged ({detail}): check the disk, then remove the file and let the node "
        "sync again, or put back a backup"
    )


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turn what the disk does to us into a UserError; a wrong statement stays what it is, a bug."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
        if code in _DAMAGED:
            raise UserError(_damage(path, str(error))) from error
        if code == sqlite3.SQLITE_FULL:
            raise UserError(f"the disk that holds {path} is full: free some space and start again") from error
        if code in _MACHINE:
            raise UserError(f"the ledger's database {path} cannot be used: {error}") from error
        raise


def _lock(directory: Path) -> tuple[int, bool]:
    """The held lock's descriptor, and whether the last holder closed its database. Raises UserError where taken."""
    lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock, os.pread(lock, len(_OPEN), 0) != _OPEN
    except BlockingIOError as error:
        os.close(lock)
        raise UserError(
            f"another node is using the data directory {directory}: stop it first, or choose another directory"
        ) from error
    except BaseException:
        os.close(lock)
        raise


def _write_mark(lock: int, mark: bytes) -> None:
    os.pwrite(lock, mark, 0)
    os.ftruncate(lock, len(mark))
