"""The payments of one's own channels on the disk: the last that was signed, and the best that was received.

One SQLite file; WAL with synchronous=FULL, so that what a call has written is there after a power cut. That is why a
consumer never signs less than before, and why a producer may deliver as soon as `keep_received` has returned. A channel
is named by its network's genesis hash and its number, so that another network with the same chain id is not mixed up.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from primitives.errors import UserError
from wallet.channel_payment import InvalidPayment, Kind, SignedTotal, encode_total, parse_total

APPLICATION_ID = 0x77637061
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10
"""Two commands at once wait this long for each other at most."""

_SCHEMA = """
CREATE TABLE totals (
    genesis_hash BLOB NOT NULL, channel INTEGER NOT NULL, role TEXT NOT NULL, total TEXT NOT NULL,
    PRIMARY KEY (genesis_hash, channel, role)) STRICT
"""

SIGNED, RECEIVED, AGREED = "signed", "received", "agreed"
"""The last payment that I signed; the best that I got; the closing that I, the producer, signed."""


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """Which channel of which ledger."""

    genesis_hash: bytes
    number: int


class ChannelStore:
    """An open file; use as a context manager. Raises UserError where it is damaged, foreign or not writable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._complaints():
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"The folder of {path} cannot be made: {error.strerror}.") from error
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            try:
                self._prepare()
                path.chmod(0o600)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> "ChannelStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def last_signed(self, channel: ChannelKey) -> SignedTotal | None:
        """The payment that this consumer signed last."""
        return self._read(channel, SIGNED, Kind.PAYMENT)

    def best_received(self, channel: ChannelKey) -> SignedTotal | None:
        """The payment with the greatest total that this producer got."""
        return self._read(channel, RECEIVED, Kind.PAYMENT)

    def agreed(self, channel: ChannelKey) -> SignedTotal | None:
        """The closing that this producer has signed: it takes no more payments."""
        return self._read(channel, AGREED, Kind.CLOSING)

    def keep_signed(self, channel: ChannelKey, payment: SignedTotal) -> None:
        """Write down what is about to be handed over; it is on the disk when this returns.

        Raises UserError where a greater total, or the same, was signed meanwhile.
        """
        with self._transaction():
            last = self.last_signed(channel)
            if last is not None and payment.total_wei <= last.total_wei:
                raise UserError(
                    f"Another payment of channel {channel.number} was signed in the same moment; repeat yours."
                )
            self._write(channel, SIGNED, payment)

    def keep_received(self, channel: ChannelKey, payment: SignedTotal) -> int:
        """Keep a payment that was checked; what it is worth beyond the best before, in wei. On the disk when this
        returns: only then may it be acknowledged.

        Raises InvalidPayment where it is not above the best one, and after an agreement to close.
        """
        with self._transaction():
            if self.agreed(channel) is not None:
                raise InvalidPayment(
                    f"you have agreed to the closing of channel {channel.number}, so its consumer may close without "
                    "this payment"
                )
            best = self.best_received(channel)
            before_wei = 0 if best is None else best.total_wei
            if payment.total_wei <= before_wei:
                raise InvalidPayment(
                    f"the payment adds nothing: its total is {payment.total_wei} wei, one with {before_wei} wei is "
                    "here already"
                )
            self._write(channel, RECEIVED, payment)
        return payment.total_wei - before_wei

    def keep_agreed(self, channel: ChannelKey, closing: SignedTotal) -> None:
        """Write down that this producer agrees to a closing. Raises UserError where it takes less than was paid."""
        with self._transaction():
            best = self.best_received(channel)
            if best is not None and closing.total_wei < best.total_wei:
                raise UserError(f"Another payment of channel {channel.number} came in the same moment; repeat this.")
            self._write(channel, AGREED, closing)

    def _read(self, channel: ChannelKey, role: str, kind: Kind) -> SignedTotal | None:
        with self._complaints():
            row = self._connection.execute(
                "SELECT total FROM totals WHERE genesis_hash = ? AND channel = ? AND role = ?",
                (channel.genesis_hash, channel.number, role),
            ).fetchone()
        return None if row is None else parse_total(row[0], kind)

    def _write(self, channel: ChannelKey, role: str, total: SignedTotal) -> None:
        self._connection.execute(
            "INSERT INTO totals VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET total = excluded.total",
            (channel.genesis_hash, channel.number, role, encode_total(total)),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._complaints():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UserError(f"The file of your channels, {self.path}, cannot be used: {error}.") from error

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        marked = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (marked, tables) == (0, 0):
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif marked != APPLICATION_ID:
            raise UserError(f"{self.path} is a file of another program; name another one for your channels.")
        elif connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            raise UserError(f"{self.path} was written by another version of wattchain; use that one.")
        connection.execute("COMMIT")
