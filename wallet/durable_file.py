"""A small SQLite file for what must not be lost: on the disk before a call returns, whole after a power cut.

WAL with synchronous=FULL. Who keeps something in it says what its tables are (wallet/channel_store.py, for one); two
commands at once wait for each other.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from primitives.errors import UserError

BUSY_TIMEOUT_S = 10
"""Two commands at once wait this long for each other at most."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is for."""

    title: str
    """As it stands in a sentence: "the file of your channels"."""
    application_id: int
    """Marks the file, so that a foreign one is not written to."""
    version: int
    tables: Sequence[str]
    upgrades: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Version -> what makes the next one of it."""


class DurableFile:
    """An open file; use as a context manager. Raises UserError where it is damaged, foreign or not writable."""

    def __init__(self, path: Path, kind: FileKind, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._kind = kind
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        except OSError as error:
            raise UserError(f"{path} cannot be made: {error.strerror}.") from error
        with self._complaints():
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=busy_timeout_s)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """To look only."""
        with self._complaints():
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: on the disk when the block ends, undone where it raises."""
        with self._complaints():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        self._is_new(self._connection)  # before anything is written
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self.transaction() as connection:
            if self._is_new(connection):  # another command may have been first
                for table in self._kind.tables:
                    connection.execute(table)
                connection.execute(f"PRAGMA application_id = {self._kind.application_id}")
                connection.execute(f"PRAGMA user_version = {self._kind.version}")
            self._upgrade(connection)

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        for version in range(self._version(connection), self._kind.version):
            for statement in self._kind.upgrades[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """Raises UserError where the file is not ours."""
        marked = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (marked, tables) == (0, 0):
            return True
        if marked != self._kind.application_id:
            raise UserError(f"{self.path} is a file of another program; name another one for {self._kind.title}.")
        version = self._version(connection)
        if version > self._kind.version or any(
            one not in self._kind.upgrades for one in range(version, self._kind.version)
        ):
            raise UserError(f"{self.path} was written by another version of wattchain; use that one.")
        return False

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.path}, {self._kind.title}, cannot be used: {error}.") from error
        except UnicodeDecodeError as error:  # what SQLite says of a damaged file has bytes of it in it
            raise UserError(f"{self.path}, {self._kind.title}, cannot be used: it is damaged.") from error
