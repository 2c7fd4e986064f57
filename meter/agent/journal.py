"""What an agent has done, and why, on the disk: each transaction before it is sent, each decision as it is logged.

The ledger decides what counts; this book is for what the ledger cannot know: a transaction that is under way, so that a
restart sends the same bytes again and nothing twice, and what was signed today, as a second witness.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chain.transaction import decode_transaction
from primitives.errors import UserError
from wallet.durable_file import DurableFile, FileKind
from wallet.transfer import highest_fee

KIND = FileKind(
    title="the agent's book",
    application_id=0x77616772,
    version=1,
    tables=(
        "CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), chain_id INTEGER NOT NULL, "
        "account BLOB NOT NULL) STRICT",
        "CREATE TABLE sent (id INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, text TEXT NOT NULL, "
        "spend_wei TEXT NOT NULL, nonce INTEGER NOT NULL, hash BLOB NOT NULL, raw BLOB NOT NULL, state TEXT NOT NULL, "
        "note TEXT NOT NULL DEFAULT '') STRICT",
        "CREATE TABLE decisions (id INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, day INTEGER NOT NULL, "
        "code TEXT NOT NULL, text TEXT NOT NULL) STRICT",
        "CREATE INDEX decisions_of_day ON decisions (day, code)",
        "CREATE TABLE day (id INTEGER PRIMARY KEY CHECK (id = 1), begin_s INTEGER NOT NULL) STRICT",
    ),
)
KEPT_DECISIONS = 5_000
"""About a month; older ones make room."""
KEPT_SENT = 5_000
LEAST_DAY_S = 23 * 3_600
"""A day on which clocks are put forward."""
ORDER_CODES = ("advertise", "buy", "bid", "offer")
"""Of decisions whose transaction is told by an event that names the account."""

UNDER_WAY, IN_BLOCK, DONE, FAILED, DROPPED = "under way", "in a block", "done", "failed", "dropped"
"""A transaction's states: sent and not seen; in a block that may still be taken back; in one that is deep enough;
refused in its block; never in a block, since the node refused it or another one of the account took its place."""


@dataclass(frozen=True, slots=True)
class Sent:
    id: int
    time_s: int
    text: str
    spend_wei: int
    nonce: int
    hash: bytes
    raw: bytes
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class Told:
    """A decision as it was logged."""

    time_s: int
    code: str
    text: str


class Journal:
    """An open file, of one account on one ledger."""

    def __init__(self, path: Path, chain_id: int, account: bytes) -> None:
        """Raises UserError where the file is damaged, or another account's."""
        self._file = DurableFile(path, KIND)
        try:
            with self._file.transaction() as connection:
                connection.execute("INSERT OR IGNORE INTO identity VALUES (1, ?, ?)", (chain_id, account))
                found = connection.execute("SELECT chain_id, account FROM identity").fetchone()
        except BaseException:
            self._file.close()
            raise
        if found != (chain_id, account):
            self._file.close()
            raise UserError(f"{path} is the book of another account, or of another ledger; name another file.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def begin(self, time_s: int, text: str, spend_wei: int, nonce: int, transaction_hash: bytes, raw: bytes) -> None:
        """Write a transaction down, before it is sent."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO sent (time_s, text, spend_wei, nonce, hash, raw, state) "
                # A clock that was set back takes nothing out of the day.
                "VALUES (max(?, coalesce((SELECT begin_s FROM day), 0)), ?, ?, ?, ?, ?, ?)",
                (time_s, text, str(spend_wei), nonce, transaction_hash, raw, UNDER_WAY),
            )
            connection.execute(
                "DELETE FROM sent WHERE state NOT IN (?, ?) AND id <= (SELECT max(id) FROM sent) - ?",
                (UNDER_WAY, IN_BLOCK, KEPT_SENT),
            )

    def mark(self, sent: Sent, state: str, note: str = "") -> None:
        if (state, note) == (sent.state, sent.note):
            return
        with self._file.transaction() as connection:
            connection.execute("UPDATE sent SET state = ?, note = ? WHERE id = ?", (state, note, sent.id))

    def unsettled(self) -> list[Sent]:
        """What may still change, in the order in which it was sent."""
        return self._sent("WHERE state IN (?, ?) ORDER BY id", (UNDER_WAY, IN_BLOCK))

    def newest(self, count: int) -> list[Sent]:
        return self._sent("ORDER BY id DESC LIMIT ?", (count,))

    def day_begin_s(self, told_s: int, now_s: int) -> int:
        """When the day began whose orders count: as the node tells, but never a new day before the last one was long
        enough by the own clock, `now_s`. For the node knows time and zone, and each new day has new money.
        """
        with self._file.transaction() as connection:
            row = connection.execute("SELECT begin_s FROM day").fetchone()
            if row is not None and min(told_s, now_s) < row[0] + LEAST_DAY_S:
                return int(row[0])
            begin_s = min(told_s, now_s)
            connection.execute("INSERT OR REPLACE INTO day VALUES (1, ?)", (begin_s,))
        return begin_s

    def signed_wei(self, since_s: int) -> int:
        """For purchases and bids since then. What was refused in a block does not count, and of those with one number
        only the dearest: there are such where one was given up, or sent again for a higher fee."""
        dearest: dict[int, int] = {}
        for one in self._sent("WHERE time_s >= ? AND state != ?", (since_s, FAILED)):
            dearest[one.nonce] = max(dearest.get(one.nonce, 0), one.spend_wei)
        return sum(dearest.values())

    def fees_wei(self, since_s: int) -> int:
        """What the transactions that were signed since then can have cost in fees at most."""
        dearest: dict[int, int] = {}
        for one in self._sent("WHERE time_s >= ?", (since_s,)):
            dearest[one.nonce] = max(dearest.get(one.nonce, 0), highest_fee(decode_transaction(one.raw)))
        return sum(dearest.values())

    def orders_in_blocks(self, since_s: int) -> int:
        """How many orders of all kinds are in blocks, of those that were signed since then."""
        found = self._sent("WHERE time_s >= ? AND state IN (?, ?)", (since_s, IN_BLOCK, DONE))
        return len([one for one in found if one.text.startswith(tuple([f"{code}:" for code in ORDER_CODES]))])

    def tell(self, time_s: int, day: int, code: str, text: str) -> None:
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO decisions (time_s, day, code, text) VALUES (?, ?, ?, ?)", (time_s, day, code, text)
            )
            connection.execute(
                "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?", (KEPT_DECISIONS,)
            )

    def was_told(self, day: int, code: str) -> bool:
        with self._file.reading() as connection:
            row = connection.execute("SELECT 1 FROM decisions WHERE day = ? AND code = ?", (day, code)).fetchone()
        return row is not None

    def decisions(self, count: int) -> list[Told]:
        """The newest first."""
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT time_s, code, text FROM decisions ORDER BY id DESC LIMIT ?", (count,)
            ).fetchall()
        return [Told(*row) for row in rows]

    def _sent(self, condition: str, values: tuple[object, ...]) -> list[Sent]:
        with self._file.reading() as connection:
            cursor: sqlite3.Cursor = connection.execute(
                f"SELECT id, time_s, text, spend_wei, nonce, hash, raw, state, note FROM sent {condition}", values
            )
            return [Sent(number, time_s, text, int(wei), *others) for number, time_s, text, wei, *others in cursor]


@contextmanager
def only_agent(path: Path) -> Iterator[None]:
    """Holds the file for one running agent: two would each spend the day's money. Raises UserError."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"{lock_path} cannot be made: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise UserError(f"An agent with the book {path} is running already.") from error
    try:
        yield
    finally:
        os.close(lock)
