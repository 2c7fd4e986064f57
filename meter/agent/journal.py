"""What an agent has done, and why, on the disk: each transaction before it is sent, each decision as it is logged.

The ledger decides what counts; this book is for what the ledger cannot know: a transaction that is under way, so that a
restart sends the same bytes again and nothing twice, and what was signed in the last 24 hours, which counts against the
owner's limits whatever a node says became of it.
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
from primitives.errors import NeedsPerson, UserError
from wallet.durable_file import DurableFile, FileKind
from wallet.transfer import highest_fee

KIND = FileKind(
    title="the agent's book",
    application_id=0x77616772,
    version=2,
    tables=(
        "CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), chain_id INTEGER NOT NULL, "
        "account BLOB NOT NULL) STRICT",
        "CREATE TABLE sent (id INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, text TEXT NOT NULL, "
        "spend_wei TEXT NOT NULL, nonce INTEGER NOT NULL, hash BLOB NOT NULL, raw BLOB NOT NULL, state TEXT NOT NULL, "
        "note TEXT NOT NULL DEFAULT '', energy_wh INTEGER NOT NULL DEFAULT 0) STRICT",
        "CREATE INDEX sent_by_time ON sent (time_s)",
        "CREATE TABLE decisions (id INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, day INTEGER NOT NULL, "
        "code TEXT NOT NULL, text TEXT NOT NULL) STRICT",
        "CREATE INDEX decisions_of_day ON decisions (day, code)",
    ),
    upgrades={
        1: (
            "ALTER TABLE sent ADD COLUMN energy_wh INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX sent_by_time ON sent (time_s)",
            "DROP TABLE day",
        ),
    },
)
DAY_S = 86_400
KEPT_DECISIONS = 5_000
"""About a month; older ones make room."""
KEPT_SENT_S = 3 * DAY_S
"""More than the limits look back, and than a transaction waits for its block; what is older makes room."""
MAX_SENT_A_DAY = 2_000
"""A slot's order has some nine transactions, and a day 96 slots. So the book has no more than three days of as many."""
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
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed in 24 hours."""

    count: int
    """Of transactions."""
    spend_wei: int
    """For purchases and bids."""
    energy_wh: int
    """Advertised, bought, bid for and offered."""


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
                # Where nothing was signed there is nothing to lose: somebody has put the settings right.
                is_empty = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sent)").fetchone()[0]
                verb = "REPLACE" if is_empty else "IGNORE"
                connection.execute(f"INSERT OR {verb} INTO identity VALUES (1, ?, ?)", (chain_id, account))
                found = connection.execute("SELECT chain_id, account FROM identity").fetchone()
        except BaseException:
            self._file.close()
            raise
        if found != (chain_id, account):
            self._file.close()
            raise NeedsPerson(f"{path} is the book of another account, or of another ledger; name another file.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def begin(
        self, time_s: int, text: str, spend_wei: int, energy_wh: int, nonce: int, transaction_hash: bytes, raw: bytes
    ) -> None:
        """Write a transaction down, before it is sent."""
        with self._file.transaction() as connection:
            at_s = max(time_s, _newest_s(connection))  # a clock that was set back takes nothing out of the day
            connection.execute(
                "INSERT INTO sent (time_s, text, spend_wei, energy_wh, nonce, hash, raw, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (at_s, text, str(spend_wei), energy_wh, nonce, transaction_hash, raw, UNDER_WAY),
            )
            connection.execute("DELETE FROM sent WHERE time_s < ?", (at_s - KEPT_SENT_S,))

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

    def since_s(self, now_s: int) -> int:
        """24 hours ago by the own clock: since then orders count. A node has no say in it."""
        with self._file.reading() as connection:
            return max(now_s, _newest_s(connection)) - DAY_S

    def signed(self, now_s: int) -> Signed:
        """In the last 24 hours: all of it, whatever became of it.

        What a node calls refused or lost may be in a block all the same. Of those with one number only the dearest
        counts: there are such where one was given up, or sent again for a higher fee.
        """
        spend: dict[int, int] = {}
        energy: dict[int, int] = {}
        count = 0
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT nonce, spend_wei, energy_wh FROM sent WHERE time_s > ?", (self.since_s(now_s),)
            )
            for nonce, spend_wei, energy_wh in rows:
                count += 1
                spend[nonce] = max(spend.get(nonce, 0), int(spend_wei))
                energy[nonce] = max(energy.get(nonce, 0), energy_wh)
        return Signed(count, sum(spend.values()), sum(energy.values()))

    def fees_wei(self, now_s: int) -> int:
        """What the transactions that were signed in the last 24 hours can cost in fees at most."""
        dearest: dict[int, int] = {}
        for one in self._sent("WHERE time_s > ?", (self.since_s(now_s),)):
            dearest[one.nonce] = max(dearest.get(one.nonce, 0), highest_fee(decode_transaction(one.raw)))
        return sum(dearest.values())

    def orders_in_blocks(self, now_s: int) -> int:
        """How many orders of all kinds are in blocks, of those that were signed in the last 24 hours."""
        found = self._sent("WHERE time_s > ? AND state IN (?, ?)", (self.since_s(now_s), IN_BLOCK, DONE))
        return len([one for one in found if one.text.startswith(ORDER_CODES)])

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
                "SELECT id, time_s, text, spend_wei, nonce, hash, raw, state, note, energy_wh FROM sent " + condition,
                values,
            )
            return [Sent(number, time_s, text, int(wei), *others) for number, time_s, text, wei, *others in cursor]


def _newest_s(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(time_s), 0) FROM sent").fetchone()[0])


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
