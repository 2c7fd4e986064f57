"""Disks that lose what was not synced, and the moments at which the power fails.

A node's files are real, its databases real SQLite. A database is synced by a commit under synchronous=FULL; what it
wrote otherwise since, a power cut takes away. The power fails between any two steps of a node, and around a commit:
before it, in the middle, when any of the sectors it writes may be on the disk or not, and after it, before the node
hears of it. The next life finds the files in a directory of its own; the last one can write on, and nobody will see it.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from tests.simulation.virtual_time import PowerCut, current_life

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

SYNCHRONOUS_FULL = 2
_WAL = "-wal"
_SHARED_MEMORY = "-shm"


class CutAt(Enum):
    """Where in a commit the power fails."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class Disk:
    """The disk of one node, through all of its lives."""

    def __init__(self, root: Path, random: Random) -> None:
        self.directory = root / "1"
        """Where the present life finds its files."""
        self.is_lossless: Callable[[Path], bool] = lambda path: True
        """False for files that do not outlive a power cut at all: a part that is missing, to see what comes of it."""
        self._root = root
        self._random = random
        self._lives = 1
        self._connections: list[Connection] = []
        self._synced: dict[Path, dict[Path, bytes]] = {}
        """Of a database that was written without being synced: the files as they were synced last."""
        self.directory.mkdir(parents=True)

    def adopt(self, connection: "Connection") -> None:
        self._connections.append(connection)

    def before_unsynced_commit(self, database: Path) -> None:
        """It is about to be written, and not synced."""
        if database not in self._synced:
            files = (database, Path(f"{database}{_WAL}"))
            self._synced[database] = {file: file.read_bytes() for file in files if file.exists()}

    def after_synced_commit(self, database: Path) -> None:
        self._synced.pop(database, None)

    def power_cut(self) -> None:
        """Have the next life find what is on the disk now."""
        self._leave(self._copy())

    def power_cut_during(self, connection: "Connection", commit: Callable[[], object]) -> None:
        """Fail in the middle of a commit, when what it writes is partly on the disk."""
        before = self._copy()
        commit()
        log = Path(f"{connection.path}{_WAL}")
        if log.exists():
            copied = before / log.name
            old = copied.read_bytes() if copied.exists() else b""
            copied.write_bytes(self._mixed(old, log.read_bytes()))
        self._leave(before)

    def close_abandoned(self) -> None:
        """Close what the lives before the present one left open: a process has only so many files."""
        abandoned = [one for one in self._connections if self.directory not in one.path.parents]
        self._connections = [one for one in self._connections if one not in abandoned]
        for connection in abandoned:
            connection.close()
        for number in range(1, self._lives):
            shutil.rmtree(self._root / str(number), ignore_errors=True)

    def close_all(self) -> None:
        """Nobody needs the disk any more."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _copy(self) -> Path:
        target = self._root / str(self._lives + 1)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for file in sorted(self.directory.iterdir()):
            if file.is_file() and not file.name.endswith(_SHARED_MEMORY) and self.is_lossless(file):
                (target / file.name).write_bytes(file.read_bytes())
        for database, files in self._synced.items():
            for name in (database.name, f"{database.name}{_WAL}"):
                (target / name).unlink(missing_ok=True)
            for file, content in files.items():
                (target / file.name).write_bytes(content)
        return target

    def _leave(self, target: Path) -> None:
        self._lives += 1
        self._synced.clear()
        self.directory = target

    def _mixed(self, old: bytes, new: bytes) -> bytes:
        """What may be on the disk when one content was being replaced by the other."""
        kept = self._random.random()
        sectors = []
        for start in range(0, max(len(old), len(new)), SECTOR_BYTES):
            source = new if self._random.random() < kept else old
            sectors.append(source[start : start + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0"))
        return b"".join(sectors)


class PowerSupply:
    """Whether the power holds through the commits of one life of a node."""

    def __init__(self, disk: Disk, fails_at: Callable[[Path], CutAt | None], on_cut: Callable[[], None]) -> None:
        """`fails_at` is asked at each commit to a database; `on_cut` is told that the node is off."""
        self.disk = disk
        self._fails_at = fails_at
        self._on_cut = on_cut

    def commit(self, connection: "Connection", carry_out: Callable[[], Any]) -> Any:
        is_synced = connection.is_synced
        cut = self._fails_at(connection.path)
        if cut is CutAt.BEFORE:
            self.disk.power_cut()
        elif cut is CutAt.DURING and is_synced:
            self.disk.power_cut_during(connection, carry_out)
        else:
            if not is_synced:
                self.disk.before_unsynced_commit(connection.path)
            answer = carry_out()
            if is_synced:
                self.disk.after_synced_commit(connection.path)
            if cut is None:
                return answer
            self.disk.power_cut()
        self._on_cut()
        raise PowerCut


class Connection(sqlite3.Connection):
    """A database that runs on the power of the node that opened it."""

    path = Path()
    power: PowerSupply | None = None

    @property
    def is_synced(self) -> bool:
        """Whether a commit is on the disk when it returns."""
        (level,) = sqlite3.Connection.execute(self, "PRAGMA synchronous").fetchone()
        return bool(level >= SYNCHRONOUS_FULL)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT":
            answer: sqlite3.Cursor = self._commit(lambda: sqlite3.Connection.execute(self, sql))
            return answer
        return super().execute(sql, parameters)

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        answer: sqlite3.Cursor = self._commit(lambda: sqlite3.Connection.executescript(self, sql_script))
        return answer

    def commit(self) -> None:
        self._commit(super().commit)

    def __exit__(self, kind: object, error: object, trace: object, /) -> Literal[False]:
        if kind is None:
            self.commit()
        else:
            self.rollback()
        return False

    def _commit(self, carry_out: Callable[[], Any]) -> Any:
        return carry_out() if self.power is None else self.power.commit(self, carry_out)


@contextmanager
def powered_databases() -> Iterator[None]:
    """Within this, databases that nodes open run on the nodes' power."""
    connect = sqlite3.connect

    def connect_powered(database: Any, *arguments: Any, **settings: Any) -> sqlite3.Connection:
        life = current_life()
        power = life.power if life is not None else None
        if not isinstance(power, PowerSupply):
            return connect(database, *arguments, **settings)
        connection = connect(database, *arguments, **settings, factory=Connection)
        assert isinstance(connection, Connection)
        text = str(database)
        connection.path = Path(unquote(urlsplit(text).path)) if text.startswith("file:") else Path(text)
        connection.power = power
        power.disk.adopt(connection)
        return connection

    sqlite3.connect = connect_powered
    try:
        yield
    finally:
        sqlite3.connect = connect
