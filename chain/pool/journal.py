"""The pool's journal: what this node's own users submitted and were told it is accepted, on disk until it is settled.

An SQLite file of its own (WAL, synchronous=FULL) beside the ledger. Many submissions at once share one commit, written
by a thread, so that the node's loop does not wait for the card. It decides nothing: the pool says what to keep.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from primitives.errors import UserError

_APPLICATION_ID = 0x57504F4C
"""Marks the file as a pool journal ("WPOL"), so that a foreign database is not written to."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS submitted (hash BLOB PRIMARY KEY, encoded BLOB NOT NULL) WITHOUT ROWID"


class PoolJournal:
    """Encoded transactions by hash. One pool uses it; `flush` makes durable what was recorded before."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises UserError where it is damaged or something else."""
        self._path = path
        self._connection = _open(path)
        self._batch: dict[bytes, bytes | None] = {}
        self._recorded = 0
        self._durable = 0
        self._writing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "pool-journal")

    def load(self) -> dict[bytes, bytes]:
        """All that is on disk: encoded transactions by hash."""
        return dict(self._connection.execute("SELECT hash, encoded FROM submitted"))

    def record(self, transaction_hash: bytes, encoded: bytes) -> None:
        """To be kept from the next flush on."""
        self._batch[transaction_hash] = encoded
        self._recorded += 1

    def forget(self, transaction_hash: bytes) -> None:
        """Needed no more; leaves the disk with the next flush, whenever that is."""
        self._batch[transaction_hash] = None

    async def flush(self) -> None:
        """Return when everything recorded before the call is on disk; concurrent calls share a commit.

        Raises UserError (a full or broken disk), and keeps the records for the next attempt.
        """
        wanted = self._recorded
        while self._durable < wanted:
            async with self._writing:
                if self._durable >= wanted:
                    return
                batch, self._batch = self._batch, {}
                recorded = self._recorded
                try:
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)
                except BaseException:
                    # Cancelled or failed: write it again; writing twice does no harm.
                    self._batch = batch | self._batch
                    raise
                self._durable = recorded

    def close(self) -> None:
        """Write what is left and close the file. Raises UserError where it cannot be written."""
        self._thread.shutdown()
        try:
            self._write(self._batch)
            self._batch = {}
        finally:
            self._connection.close()

    def _write(self, batch: Mapping[bytes, bytes | None]) -> None:
        kept = [(transaction_hash, encoded) for transaction_hash, encoded in batch.items() if encoded is not None]
        dropped = [(transaction_hash,) for transaction_hash, encoded in batch.items() if encoded is None]
        if not batch:
            return
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO submitted VALUES (?, ?)", kept)
                self._connection.executemany("DELETE FROM submitted WHERE hash = ?", dropped)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{self._path}, the journal of submitted transactions, cannot be written: {error}"
            ) from error


def _open(path: Path) -> sqlite3.Connection:
    # Opened here, written to by the one thread of the executor, closed after that has ended: never by two at a time.
    try:
        connection = sqlite3.connect(path, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise UserError(f"{path}, the journal of submitted transactions, cannot be opened: {error}") from error
    try:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id != _APPLICATION_ID and (application_id or tables):
            raise UserError(f"{path} is not the transaction journal of a node; move it away and start again")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(_SCHEMA)
        connection.execute("SELECT count(*) FROM submitted").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UserError(
            f"{path}, the journal of submitted transactions, cannot be used ({error}); if it is damaged, move it away "
            "and start again: transactions that were accepted but not in a block yet are then lost"
        ) from error
    except UserError:
        connection.close()
        raise
    return connection
