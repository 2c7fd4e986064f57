"""What SIGKILL cannot show: that every connection that writes waits for the disk (WAL, synchronous=FULL).

A kill leaves the pages that the system has not written yet; a power cut does not. So the setting itself is looked at,
on every connection that a node and a meter open.
"""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from chain.genesis import parse_genesis
from chain.ledger import Ledger
from chain.pool.journal import PoolJournal
from meter.outbox import Outbox
from meter.reading import ReadingDomain
from node.new_network import NetworkPlan, genesis_document
from primitives.clock import ManualClock

FULL = 2  # https://sqlite.org/pragma.html#pragma_synchronous


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, sqlite3.Connection]]:
    """All to files that are opened during the test: (what was opened, the connection)."""
    opened: list[tuple[str, sqlite3.Connection]] = []
    connect = sqlite3.connect

    def remember(database: object, *arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *arguments, **options)  # type: ignore[call-overload]
        if database != ":memory:":
            opened.append((str(database), connection))
        return connection

    monkeypatch.setattr(sqlite3, "connect", remember)
    return opened


def test_every_connection_that_writes_waits_for_the_disk(
    tmp_path: Path, connections: list[tuple[str, sqlite3.Connection]]
) -> None:
    genesis = parse_genesis(genesis_document(NetworkPlan(b"\x11" * 20, 1)))
    for _ in range(2):  # as made, and as opened again
        connections.clear()
        with contextlib.ExitStack() as stack:
            ledger = stack.enter_context(Ledger.open(tmp_path, genesis, ManualClock()))
            stack.enter_context(contextlib.closing(PoolJournal(tmp_path / "pool.sqlite")))
            domain = ReadingDomain(1, b"\x22" * 20)
            stack.enter_context(contextlib.closing(Outbox.open(tmp_path / "outbox.sqlite", domain, b"\x33" * 20)))
            with ledger.view():
                pass
            written = {_path(name).name for name, connection in connections if waits_for_the_disk(name, connection)}
        assert written == {"chain.sqlite", "pool.sqlite", "outbox.sqlite"}
        assert len(connections) > len(written)  # readers too


def waits_for_the_disk(name: str, connection: sqlite3.Connection) -> bool:
    """Whether it can write, and then surely waits; otherwise it surely cannot write."""
    if "mode=ro" in name:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM meta")
        return False
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
    return True


def _path(name: str) -> Path:
    return Path(name.removeprefix("file://").partition("?")[0])
