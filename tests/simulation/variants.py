"""Nodes with a part missing, to see that the simulation notices."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from unittest.mock import patch

from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.signing import Authenticator
from chain.consensus.qbft.vote_store import SqliteVoteStore
from chain.pool.journal import PoolJournal
from chain.store import database


@dataclass(frozen=True, slots=True)
class Variant:
    """What is taken away from all nodes."""

    name: str = "whole"
    taken_away: Callable[[], AbstractContextManager[object]] = nullcontext
    keeps_votes: bool = True
    """The file of votes outlives a power cut."""
    watches_all: bool = True
    """False: only what the ledger sees counts, forks and what is lost; not contradictions of one validator, nor errors
    in a log."""


def _no_lock() -> AbstractContextManager[object]:
    return patch.object(QbftMachine, "_locked", lambda machine, state: None)


def _unsynced_votes() -> AbstractContextManager[object]:
    open_store = SqliteVoteStore.open.__func__  # type: ignore[attr-defined]

    def open_unsynced(cls: type[SqliteVoteStore], directory: Path) -> SqliteVoteStore:
        store: SqliteVoteStore = open_store(cls, directory)
        store._connection.execute("PRAGMA synchronous=NORMAL")
        return store

    return patch.object(SqliteVoteStore, "open", classmethod(open_unsynced))


def _unsynced_ledger() -> AbstractContextManager[object]:
    set_up = database._set_up

    def set_up_unsynced(connection: Connection, path: Path) -> None:
        set_up(connection, path)
        connection.execute("PRAGMA synchronous=NORMAL")

    return patch.object(database, "_set_up", set_up_unsynced)


def _unsynced_pool() -> AbstractContextManager[object]:
    async def flush(journal: PoolJournal) -> None:
        """Says that all is on disk."""

    return patch.object(PoolJournal, "flush", flush)


def _unproved_blocks() -> AbstractContextManager[object]:
    return patch.object(Authenticator, "quorum_signed", lambda *_: True)


WHOLE = Variant()
VOLATILE_VOTES = Variant("volatile-votes", keeps_votes=False, watches_all=False)
NO_LOCK = Variant("no-lock", _no_lock, watches_all=False)
UNSYNCED_VOTES = Variant("unsynced-votes", _unsynced_votes)
UNSYNCED_LEDGER = Variant("unsynced-ledger", _unsynced_ledger)
UNSYNCED_POOL = Variant("unsynced-pool", _unsynced_pool)
UNPROVED_BLOCKS = Variant("unproved-blocks", _unproved_blocks)

VARIANTS = {
    variant.name: variant
    for variant in (
        WHOLE,
        VOLATILE_VOTES,
        NO_LOCK,
        UNSYNCED_VOTES,
        UNSYNCED_LEDGER,
        UNSYNCED_POOL,
        UNPROVED_BLOCKS,
    )
}
