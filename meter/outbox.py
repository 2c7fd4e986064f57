"""The durable outbox: a signed reading is on the disk, with all that the next one needs, before anything is sent.

Head (last sequence, hash, registers, the driver's state) and reading are written in one transaction, so a crash can
neither use a sequence twice nor lose or repeat energy. A reading leaves when the ledger has accepted it in a block
that is deep enough; one that the ledger will never take is set aside with the reason, never dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meter.database import Database, open_database, open_for_reading
from meter.drivers.driver import Registers
from meter.reading import NO_HASH, Reading, ReadingDomain, Signature, SignedReading
from primitives.errors import InvalidReading, UserError
from primitives.hexadecimal import to_checksum_address

# About 250 bytes each, so 250 MB on the card: an hourly meter may be offline for a century, one at 5 s for 58 days.
MAX_READINGS = 1_000_000

_READING_COLUMNS = "time_s, import_wh, export_wh, power_w, flags, previous_hash, r, vs"


class OutboxFullError(Exception):
    """MAX_READINGS wait or are set aside. The registers go on, so the next reading that fits covers the energy."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain of readings stands: what the next one continues."""

    sequence: int
    hash: bytes
    registers: Registers
    driver_state: bytes | None


@dataclass(frozen=True, slots=True)
class OutgoingTransaction:
    """A signed transaction that carries readings, stored before it is sent so that the same bytes can be sent again."""

    nonce: int
    sender: bytes
    hash: bytes
    raw: bytes
    first_sequence: int
    last_sequence: int
    max_fee_per_gas: int


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading in the outbox, for people: `quarantined` is why the ledger will not take it, None while it waits."""

    signed: SignedReading
    quarantined: str | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a stretch of the ledger said about our readings."""

    deleted: int
    foreign: tuple[int, ...]
    """Sequences under which the ledger holds another reading than ours: a second device uses this meter's key."""
    superseded: tuple[int, ...]
    """Readings that the ledger passed over: a later one was accepted first, and carries their energy."""


class Outbox:
    """The readings of one meter for one Meter contract."""

    def __init__(self, database: Database, domain: ReadingDomain, meter: bytes) -> None:
        self.database = database
        self.domain = domain
        self.meter = meter

    @classmethod
    def open(cls, path: Path, domain: ReadingDomain, meter: bytes) -> "Outbox":
        """Open for writing, alone. Raises UserError where it is locked, damaged, or of another meter or ledger."""
        outbox = cls(open_database(path), domain, meter)
        try:
            outbox._check_identity(is_writable=True)
        except BaseException:
            outbox.close()
            raise
        return outbox

    @classmethod
    def open_for_reading(cls, path: Path, domain: ReadingDomain, meter: bytes) -> "Outbox":
        """Open beside a running daemon. Raises UserError."""
        outbox = cls(open_for_reading(path), domain, meter)
        try:
            outbox._check_identity(is_writable=False)
        except BaseException:
            outbox.close()
            raise
        return outbox

    def close(self) -> None:
        self.database.close()

    def head(self) -> Head | None:
        """None until the outbox has seen once where the ledger stands (see `adopt`)."""
        with self.database.reading() as connection:
            row = connection.execute(
                "SELECT sequence, hash, time_s, import_wh, export_wh, driver_state FROM head"
            ).fetchone()
        return None if row is None else Head(row[0], row[1], Registers(*row[2:5]), row[5])

    def adopt(self, head: Head, genesis_hash: bytes, confirmed_block: int) -> None:
        """Continue behind what the ledger holds: for a new outbox, or one that is older than the ledger."""
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    head.sequence,
                    head.hash,
                    head.registers.time_s,
                    head.registers.import_wh,
                    head.registers.export_wh,
                    head.driver_state,
                ),
            )
            connection.execute(
                "UPDATE identity SET genesis_hash = ?, confirmed_block = coalesce(confirmed_block, ?)",
                (genesis_hash, confirmed_block),
            )

    def append(self, signed: SignedReading, driver_state: bytes) -> None:
        """Put a reading on the disk. It must continue the chain: InvalidReading otherwise. Raises OutboxFullError."""
        reading = signed.reading
        with self.database.transaction() as connection:
            head = self.head()
            if head is None:
                raise RuntimeError("a reading is signed before the ledger was asked where it stands")
            check_continues(reading, head)
            # Counting a million rows takes seconds; the distance to the oldest says when it is worth it.
            oldest = self._number("SELECT coalesce(min(sequence), 0) FROM readings")
            if reading.sequence - oldest >= MAX_READINGS and self.count() >= MAX_READINGS:
                raise OutboxFullError(f"{MAX_READINGS} readings are in the outbox {self.database.path}")
            connection.execute(
                f"INSERT INTO readings (sequence, {_READING_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    reading.sequence,
                    reading.time_s,
                    reading.import_wh,
                    reading.export_wh,
                    reading.power_w,
                    reading.flags,
                    reading.previous_hash,
                    signed.signature.r,
                    signed.signature.vs,
                    reading.hash,
                ),
            )
            connection.execute(
                "UPDATE head SET sequence = ?, hash = ?, time_s = ?, import_wh = ?, export_wh = ?, driver_state = ?",
                (
                    reading.sequence,
                    reading.hash,
                    reading.time_s,
                    reading.import_wh,
                    reading.export_wh,
                    driver_state,
                ),
            )

    def waiting(self, after_sequence: int, limit: int) -> list[SignedReading]:
        """The oldest readings above a sequence that are not set aside."""
        return [stored.signed for stored in self._select("sequence > ? AND quarantined IS NULL", after_sequence, limit)]

    def quarantined(self, limit: int) -> list[StoredReading]:
        return self._select("sequence > ? AND quarantined IS NOT NULL", 0, limit)

    def newest(self, limit: int) -> list[StoredReading]:
        """The last readings that are still here, newest first."""
        return self._select("sequence > ?", 0, limit, order="DESC")

    def count(self) -> int:
        return self._number("SELECT count(*) FROM readings")

    def count_quarantined(self) -> int:
        return self._number("SELECT count(*) FROM readings WHERE quarantined IS NOT NULL")

    def genesis_hash(self) -> bytes | None:
        with self.database.reading() as connection:
            value: bytes | None = connection.execute("SELECT genesis_hash FROM identity").fetchone()[0]
        return value

    def confirmed_block(self) -> int:
        """Up to this block the ledger's events were settled here."""
        return self._number("SELECT coalesce(confirmed_block, -1) FROM identity")

    def settle(self, accepted: Sequence[Reading], confirmed_block: int) -> Settlement:
        """Take note of all readings of this meter that were accepted up to a block that is deep enough."""
        deleted, foreign, greatest = 0, [], 0
        with self.database.transaction() as connection:
            for reading in accepted:
                greatest = max(greatest, reading.sequence)
                row = connection.execute("SELECT hash FROM readings WHERE sequence = ?", (reading.sequence,)).fetchone()
                if row is None:
                    continue  # settled before, or signed by the device that had this key before us
                if row[0] == reading.hash:
                    connection.execute("DELETE FROM readings WHERE sequence = ?", (reading.sequence,))
                    deleted += 1
                else:
                    foreign.append(reading.sequence)
            rows = connection.execute(
                "SELECT sequence FROM readings WHERE sequence <= ? AND quarantined IS NULL ORDER BY sequence",
                (greatest,),
            ).fetchall()
            superseded = tuple([row[0] for row in rows])
            connection.execute(
                "UPDATE readings SET quarantined = ? WHERE sequence <= ? AND quarantined IS NULL",
                ("passed over: the ledger accepted a later reading first, which carries this one's energy", greatest),
            )
            connection.execute("UPDATE identity SET confirmed_block = ?", (confirmed_block,))
        return Settlement(deleted, tuple(foreign), superseded)

    def quarantine(self, sequence: int, reason: str) -> None:
        """Set a reading aside: it is kept, but not sent any more."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE readings SET quarantined = ? WHERE sequence = ?", (reason, sequence))

    def count_attempt(self, sequence: int) -> int:
        """Count a failed transaction against a reading that was alone in it; the number of them so far."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE readings SET attempts = attempts + 1 WHERE sequence = ?", (sequence,))
            row = connection.execute("SELECT attempts FROM readings WHERE sequence = ?", (sequence,)).fetchone()
        return 0 if row is None else int(row[0])

    def transactions(self) -> list[OutgoingTransaction]:
        """Those that are stored and not known to be deep enough, by nonce."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT nonce, sender, hash, raw, first_sequence, last_sequence, max_fee_per_gas FROM transactions "
                "ORDER BY nonce"
            ).fetchall()
        # The fee is text: it may be above what SQLite counts.
        return [
            OutgoingTransaction(nonce, sender, transaction_hash, raw, first_sequence, last_sequence, int(max_fee))
            for nonce, sender, transaction_hash, raw, first_sequence, last_sequence, max_fee in rows
        ]

    def store_transaction(self, transaction: OutgoingTransaction) -> None:
        """Before it is sent. Replaces one of the same nonce."""
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    transaction.nonce,
                    transaction.sender,
                    transaction.hash,
                    transaction.raw,
                    transaction.first_sequence,
                    transaction.last_sequence,
                    str(transaction.max_fee_per_gas),
                ),
            )

    def forget_transactions(self, nonces: Iterable[int]) -> None:
        with self.database.transaction() as connection:
            connection.executemany("DELETE FROM transactions WHERE nonce = ?", [(nonce,) for nonce in nonces])

    def _select(self, condition: str, value: int, limit: int, order: str = "ASC") -> list[StoredReading]:
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT sequence, {_READING_COLUMNS}, quarantined FROM readings WHERE {condition} "
                f"ORDER BY sequence {order} LIMIT ?",
                (value, limit),
            ).fetchall()
        try:
            return [
                StoredReading(SignedReading(Reading(self.meter, *row[:7]), Signature(row[7], row[8])), row[9])
                for row in rows
            ]
        except InvalidReading as error:
            raise UserError(
                f"the outbox {self.database.path} was altered: {error}. Move it away and keep it"
            ) from error

    def _number(self, query: str) -> int:
        with self.database.reading() as connection:
            return int(connection.execute(query).fetchone()[0])

    def _check_identity(self, *, is_writable: bool) -> None:
        with self.database.reading() as connection:
            row = connection.execute("SELECT chain_id, contract, meter FROM identity").fetchone()
        ours = (self.domain.chain_id, self.domain.contract, self.meter)
        if row is None and is_writable:
            with self.database.transaction() as connection:
                connection.execute("INSERT INTO identity VALUES (1, ?, ?, ?, NULL, NULL)", ours)
        elif row is not None and row != ours:
            raise UserError(
                f"the outbox {self.database.path} belongs to meter {to_checksum_address(row[2])} and the contract "
                f"{to_checksum_address(row[1])} on chain {row[0]}: name another file for this meter's outbox"
            )


def first_head() -> Head:
    """The head of a meter that the ledger has no reading of."""
    return Head(0, NO_HASH, Registers(), None)


def check_continues(reading: Reading, head: Head) -> None:
    """Raises InvalidReading unless the reading may stand behind the head."""
    if reading.sequence != head.sequence + 1 or reading.previous_hash != head.hash:
        raise InvalidReading(f"reading {reading.sequence} does not follow on reading {head.sequence}")
    for name, value, last in (
        ("time", reading.time_s, head.registers.time_s),
        ("import register", reading.import_wh, head.registers.import_wh),
        ("export register", reading.export_wh, head.registers.export_wh),
    ):
        if value < last:
            raise InvalidReading(f"the {name} of reading {reading.sequence} falls from {last} to {value}")
