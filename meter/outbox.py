"""The durable outbox: a signed reading is on the disk, with all that the next one needs, before anything is sent.

Head (last sequence, hash, registers, the driver's state) and reading are written in one transaction, so a crash can
neither use a sequence twice nor lose or repeat energy. A reading leaves when the ledger has accepted it in a block
that is deep enough; one that the ledger will never take is set aside with the reason, never dropped. The head is signed
like a reading, so that nobody else can write it; who looks for edits is meter/outbox_check.py.
"""

import re
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from chain.transaction import decode_transaction
from contracts.reading_format import MAX_SEQUENCE, StatusFlag, compact_signature
from meter.alterations import Alteration, Alterations, Kind, mark_told, mark_untold
from meter.database import Database, open_database, open_for_reading
from meter.drivers.driver import Registers
from meter.head import HEAD_COLUMNS, Head, check_continues, seal_hash, seal_signer, write_head
from meter.reading import Reading, ReadingDomain, Signature, SignedReading
from meter.signer import Signer
from primitives.errors import InvalidReading, InvalidSignature, InvalidTransaction, NeedsPerson
from primitives.hexadecimal import to_checksum_address

# About 160 bytes each, so 160 MB on the card: an hourly meter may be offline for a century, one at 5 s for 58 days.
MAX_READINGS = 1_000_000

_FEE = re.compile(r"[0-9]{1,78}", re.ASCII)

READING_COLUMNS = "time_s, import_wh, export_wh, power_w, flags, previous_hash, r, vs"


class OutboxFullError(Exception):
    """MAX_READINGS wait or are set aside. The registers go on, so the next reading that fits covers the energy."""


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

    def is_intact(self) -> bool:
        """Whether this is a transaction that its sender signed: the file may have been edited."""
        try:
            transaction = decode_transaction(self.raw)
            return (transaction.hash, transaction.nonce, transaction.sender) == (self.hash, self.nonce, self.sender)
        except InvalidTransaction:
            return False


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

    def __init__(self, database: Database, domain: ReadingDomain, meter: bytes, signer: Signer | None = None) -> None:
        self.database = database
        self.domain = domain
        self.meter = meter
        self.alterations = Alterations(database)
        self._signer = signer
        # As this program wrote it: what another writes beside it is noticed, and does not count.
        self._head: Head | None = None

    @classmethod
    def open(cls, path: Path, domain: ReadingDomain, meter: bytes, signer: Signer | None = None) -> "Outbox":
        """Open for writing, alone; the meter's `signer` seals the head.

        Raises UserError where it is locked, damaged, or of another meter or ledger.
        """
        outbox = cls(open_database(path), domain, meter, signer)
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
        return self._head or self.stored_head()[0]

    def stored_head(self) -> tuple[Head | None, bool]:
        """What stands in the file, and whether the meter's own key sealed it."""
        with self.database.reading() as connection:
            row = connection.execute(f"SELECT {HEAD_COLUMNS} FROM head").fetchone()
        if row is None:
            return None, False
        head = Head(row[0], row[1], Registers(*row[2:5]), row[5])
        try:
            return head, seal_signer(self.domain, head, Signature(row[6] or b"", row[7] or b"")) == self.meter
        except InvalidSignature:
            return head, False

    def adopt(self, head: Head, genesis_hash: bytes, confirmed_block: int) -> None:
        """Continue behind what the ledger holds: for a new outbox, or one that is older than the ledger.

        Raises what the signer raises.
        """
        seal = self._seal(head)
        with self.database.transaction() as connection:
            write_head(connection, head, seal)
            connection.execute(
                "UPDATE identity SET genesis_hash = ?, confirmed_block = coalesce(confirmed_block, ?), "
                "settled_sequence = max(settled_sequence, ?)",
                (genesis_hash, confirmed_block, head.sequence),
            )
        self._head = head

    def note_ledger(self, genesis_hash: bytes) -> None:
        """The readings here are for the ledger that begins with this block."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE identity SET genesis_hash = ?", (genesis_hash,))

    def restore(self, head: Head | None) -> None:
        """Put the head right after an edit; without one the ledger is asked, as by a new outbox.

        Raises what the signer raises: then this program goes by it, and the next reading is put over the edit.
        """
        self._head = head
        seal = None if head is None else self._seal(head)
        with self.database.transaction() as connection:
            if head is None:
                connection.execute("DELETE FROM head")
            else:
                write_head(connection, head, seal)

    def append(self, signed: SignedReading, driver_state: bytes) -> None:
        """Put a reading on the disk. It must continue the chain: InvalidReading otherwise.

        Raises OutboxFullError, and what the signer raises.
        """
        reading = signed.reading
        registers = Registers(reading.time_s, reading.import_wh, reading.export_wh)
        next_head = Head(reading.sequence, reading.hash, registers, driver_state)
        seal = self._seal(next_head)
        edits: list[Alteration] = []
        with self.database.transaction() as connection:
            head = self.head()
            if head is None:
                raise RuntimeError("a reading is signed before the ledger was asked where it stands")
            check_continues(reading, head)
            edits += self._undo_edits(connection, head)
            # Counting a million rows takes seconds; the distance to the oldest says when it is worth it.
            oldest = self._number("SELECT coalesce(min(sequence), 0) FROM readings")
            if reading.sequence - oldest >= MAX_READINGS and self.count() >= MAX_READINGS:
                raise OutboxFullError(f"{MAX_READINGS} readings are in the outbox {self.database.path}")
            connection.execute(
                f"INSERT INTO readings (sequence, {READING_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            write_head(connection, next_head, seal)
            if reading.flags & StatusFlag.TAMPER:
                mark_told(connection, reading.sequence)
        self._head = next_head
        for edit in edits:
            self.alterations.tell(edit)

    def _undo_edits(self, connection: sqlite3.Connection, head: Head) -> list[Alteration]:
        """What another program wrote beside this one since the last reading, where the next one goes."""
        edits = []
        if self._head is not None and self.stored_head()[0] != self._head:
            what = f"the head of the outbox was altered while the meter ran, behind reading {head.sequence}"
            edits.append(Alteration(Kind.HEAD, head.sequence, head.sequence, what))
        rows = connection.execute(
            "DELETE FROM readings WHERE sequence > ? RETURNING sequence, hex(hash)", (head.sequence,)
        ).fetchall()
        if rows:
            first, last = min(rows)[0], max(rows)[0]
            what = f"readings {first} to {last} were put into the outbox, and this meter never signed them there"
            edits.append(Alteration(Kind.HEAD, first, last, what))
        for edit in edits:
            self.alterations.insert(connection, edit, rows)
        return edits

    def _seal(self, head: Head) -> Signature | None:
        if self._signer is None:
            return None
        return Signature(*compact_signature(*self._signer.sign(seal_hash(self.domain, head))))

    def waiting(self, after_sequence: int, limit: int) -> list[SignedReading]:
        """The oldest readings above a sequence that are not set aside."""
        return [stored.signed for stored in self._select("sequence > ? AND quarantined IS NULL", after_sequence, limit)]

    def quarantined(self, limit: int) -> list[StoredReading]:
        return self._select("sequence > ? AND quarantined IS NOT NULL", 0, limit)

    def stored(self, after_sequence: int, limit: int) -> list[StoredReading]:
        """The oldest readings above a sequence that are still here, whatever becomes of them."""
        return self._select("sequence > ?", after_sequence, limit)

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

    def settled_sequence(self) -> int:
        """Readings up to this one left because the ledger had them."""
        # Anybody may have written it.
        return min(self._number("SELECT settled_sequence FROM identity"), MAX_SEQUENCE)

    def hash_of(self, sequence: int) -> bytes | None:
        """Of the reading that this outbox signed under a sequence; None where it is not known any more."""
        head = self.head()
        if head is not None and head.sequence == sequence:
            return head.hash
        with self.database.reading() as connection:
            row = connection.execute("SELECT hash FROM readings WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else bytes(row[0])

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
            is_untold = sum(mark_untold(connection, sequence, sequence) for sequence in superseded) > 0
            connection.execute(
                "UPDATE readings SET quarantined = ? WHERE sequence <= ? AND quarantined IS NULL",
                ("passed over: the ledger accepted a later reading first, which carries this one's energy", greatest),
            )
            connection.execute(
                "UPDATE identity SET confirmed_block = ?, settled_sequence = max(settled_sequence, ?)",
                (confirmed_block, greatest),
            )
        if is_untold:
            self.alterations.remind()
        return Settlement(deleted, tuple(foreign), superseded)

    def quarantine(self, sequence: int, reason: str) -> None:
        """Set a reading aside: it is kept, but not sent any more."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE readings SET quarantined = ? WHERE sequence = ?", (reason, sequence))
            is_untold = mark_untold(connection, sequence, sequence)
        if is_untold:
            self.alterations.remind()

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
        # The fee is text: it may be above what SQLite counts. Nonsense is for whoever sends to find.
        return [
            OutgoingTransaction(
                nonce, sender, hash_, raw, first_sequence, last_sequence, int(fee) if _FEE.fullmatch(fee) else 0
            )
            for nonce, sender, hash_, raw, first_sequence, last_sequence, fee in rows
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

    def forget_transactions(self, nonces: Collection[int]) -> None:
        if not nonces:
            return
        with self.database.transaction() as connection:
            connection.executemany("DELETE FROM transactions WHERE nonce = ?", [(nonce,) for nonce in nonces])

    def _select(self, condition: str, value: int, limit: int, order: str = "ASC") -> list[StoredReading]:
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT sequence, {READING_COLUMNS}, quarantined FROM readings WHERE {condition} "
                f"ORDER BY sequence {order} LIMIT ?",
                (value, limit),
            ).fetchall()
        try:
            return [
                StoredReading(SignedReading(Reading(self.meter, *row[:7]), Signature(row[7], row[8])), row[9])
                for row in rows
            ]
        except InvalidReading as error:
            raise NeedsPerson(
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
                connection.execute("INSERT INTO identity (id, chain_id, contract, meter) VALUES (1, ?, ?, ?)", ours)
        elif row is not None:
            self.check_identity(self.database.path, *row)

    def check_identity(self, path: Path, chain_id: int, contract: bytes, meter: bytes) -> None:
        """Raises UserError where what stands in a file is not of this meter and ledger."""
        if (chain_id, contract, meter) != (self.domain.chain_id, self.domain.contract, self.meter):
            raise NeedsPerson(
                f"the outbox {path} belongs to meter {to_checksum_address(meter)} and the contract "
                f"{to_checksum_address(contract)} on chain {chain_id}: name another file for this meter's outbox"
            )
