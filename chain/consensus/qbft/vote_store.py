"""Where a validator's votes are on disk before they are on the wire: one small SQLite file of its own.

Apart from the ledger's database, so that a vote never waits for a block that is being written. WAL with
synchronous=FULL: a save that has returned survives a power cut. Only the newest vote of each kind, of the greatest
height, is kept, so the file does not grow.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from chain.consensus.qbft.events import Vote, VoteKind
from primitives.errors import UserError

VOTES_FILE = "votes.sqlite"
APPLICATION_ID = 0x57515646
"""Tells this file from other SQLite files ("WQVF")."""

CHECKPOINT_PAGES = 256
"""1 MB: the log of a small file stays small; a row larger than that is moved at once."""

JOURNAL_LIMIT_BYTES = 4 * 1024 * 1024
"""To what a log that a large block made longer is cut back."""

_TABLE = """
CREATE TABLE IF NOT EXISTS vote (
    kind INTEGER PRIMARY KEY,
    height INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT
"""


class VoteStore(Protocol):
    """The votes of the present height, kept over a crash."""

    def load(self) -> tuple[Vote, ...]:
        """All that is stored."""

    def save(self, votes: Sequence[Vote]) -> None:
        """Returns when they are on disk; votes of lower heights are gone then."""


class SqliteVoteStore:
    """The votes of one validator. For one thread at a time; one process at a time holds the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, directory: Path) -> "SqliteVoteStore":
        """Open or make the file. Raises UserError where it is in use, damaged, foreign or cannot be written."""
        path = directory / VOTES_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"the votes file {path} cannot be opened: {error}") from error
        try:
            # EXCLUSIVE: a second process with the same votes would be a second machine with one key.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT_BYTES}")
            _set_up(connection, path)
        except sqlite3.Error as error:
            connection.close()
            raise UserError(
                f"the votes file {path} cannot be used ({error}): another node has it open, or it is damaged. "
                "A validator that goes on without its votes may contradict itself."
            ) from error
        except UserError:
            connection.close()
            raise
        return cls(connection, path)

    def load(self) -> tuple[Vote, ...]:
        rows = self._connection.execute("SELECT height, kind, data FROM vote ORDER BY kind").fetchall()
        try:
            return tuple(Vote(height, VoteKind(kind), data) for height, kind, data in rows)
        except ValueError as error:
            raise UserError(f"the votes file {self._path} is damaged, or of a newer version: {error}") from error

    def save(self, votes: Sequence[Vote]) -> None:
        """Raises UserError where they cannot be written, on a full disk say: then nothing may be sent."""
        try:
            self._save(votes, max(vote.height for vote in votes))
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the votes file {self._path} cannot be written ({error}): the node stops, since a validator that "
                "forgets its votes may contradict itself. Free some space or repair the disk, and start it again."
            ) from error

    def close(self) -> None:
        self._connection.close()

    def _save(self, votes: Sequence[Vote], height: int) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute("DELETE FROM vote WHERE height < ?", (height,))
            self._connection.executemany(
                "INSERT INTO vote (kind, height, data) VALUES (?, ?, ?) "
                "ON CONFLICT (kind) DO UPDATE SET height = excluded.height, data = excluded.data",
                [(int(vote.kind), vote.height, vote.data) for vote in votes],
            )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled back by itself, on a full disk say
                self._connection.execute("ROLLBACK")
            raise


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found != APPLICATION_ID and (found or tables):
        connection.execute("ROLLBACK")
        raise UserError(f"{path} is not a file of votes")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(_TABLE)
    connection.execute("COMMIT")
