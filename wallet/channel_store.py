"""The payments of one's own channels on the disk: the last that was signed, and the best that was received.

One SQLite file; WAL with synchronous=FULL, so that what a call has written is there after a power cut. That is why a
consumer never signs less than before, and why a producer may deliver as soon as `keep_received` has returned. A channel
is named by its network's genesis hash and its number, so that another network with the same chain id is not mixed up.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from primitives.errors import UserError
from wallet.amounts import format_amount
from wallet.channel_payment import InvalidPayment, Kind, SignedTotal, encode_total, parse_total
from wallet.durable_file import DurableFile, FileKind

FILE = FileKind(
    "the file of your channels",
    0x77637061,
    1,
    (
        "CREATE TABLE totals (genesis_hash BLOB NOT NULL, channel INTEGER NOT NULL, role TEXT NOT NULL, "
        "total TEXT NOT NULL, PRIMARY KEY (genesis_hash, channel, role)) STRICT",
    ),
)

SIGNED, RECEIVED, AGREED = "signed", "received", "agreed"
"""The last payment that I signed; the best that I got; the closing that I, the producer, signed."""


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """Which channel of which ledger."""

    genesis_hash: bytes
    number: int


class ChannelStore(DurableFile):
    """An open file; use as a context manager. Raises UserError where it is damaged, foreign or not writable."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, FILE)

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
        with self.transaction() as connection:
            last = self.last_signed(channel)
            if last is not None and payment.total_wei <= last.total_wei:
                raise UserError(
                    f"Another payment of channel {channel.number} was signed in the same moment; repeat yours."
                )
            self._write(connection, channel, SIGNED, payment)

    def keep_received(self, channel: ChannelKey, payment: SignedTotal, claimed_wei: int = 0) -> int:
        """Keep a payment that was checked; what it is worth beyond the best before, in wei. On the disk when this
        returns: only then may it be acknowledged.

        `claimed_wei` is what the ledger has paid out of the channel already: it counts also where the payment that it
        was paid for is not in this file any more. Raises InvalidPayment where the payment adds nothing to either, and
        after an agreement to close.
        """
        with self.transaction() as connection:
            if self.agreed(channel) is not None:
                raise InvalidPayment(
                    f"you have agreed to the closing of channel {channel.number}, so its consumer may close without "
                    "this payment"
                )
            best = self.best_received(channel)
            before_wei = 0 if best is None else best.total_wei
            if payment.total_wei <= before_wei:
                raise InvalidPayment(
                    f"the payment adds nothing: its total is {format_amount(payment.total_wei)}, one with "
                    f"{format_amount(before_wei)} is here already"
                )
            if payment.total_wei <= claimed_wei:
                raise InvalidPayment(
                    f"the payment adds nothing: its total is {format_amount(payment.total_wei)}, and "
                    f"{format_amount(claimed_wei)} of channel {channel.number} are claimed already"
                )
            self._write(connection, channel, RECEIVED, payment)
        return payment.total_wei - max(before_wei, claimed_wei)

    def keep_agreed(self, channel: ChannelKey, closing: SignedTotal) -> None:
        """Write down that this producer agrees to a closing. Raises UserError where it takes less than was paid."""
        with self.transaction() as connection:
            best = self.best_received(channel)
            if best is not None and closing.total_wei < best.total_wei:
                raise UserError(f"Another payment of channel {channel.number} came in the same moment; repeat this.")
            self._write(connection, channel, AGREED, closing)

    def _read(self, channel: ChannelKey, role: str, kind: Kind) -> SignedTotal | None:
        with self.reading() as connection:
            row = connection.execute(
                "SELECT total FROM totals WHERE genesis_hash = ? AND channel = ? AND role = ?",
                (channel.genesis_hash, channel.number, role),
            ).fetchone()
        return None if row is None else parse_total(row[0], kind)

    @staticmethod
    def _write(connection: sqlite3.Connection, channel: ChannelKey, role: str, total: SignedTotal) -> None:
        connection.execute(
            "INSERT INTO totals VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET total = excluded.total",
            (channel.genesis_hash, channel.number, role, encode_total(total)),
        )
