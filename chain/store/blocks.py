"""Blocks on disk: every header that passed its checks, side branches included; which of them are canonical; receipts
and the place of every canonical transaction.

Nothing is judged here: the importer says what is canonical.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chain.block import Block, decode_body, encode_body
from chain.header import Header, decode_header
from chain.receipt import BLOOM_BYTES, Receipt, decode_receipts, encode_receipts
from chain.store import transaction_index
from chain.store.cache import GenerationCache, Missing
from chain.store.database import Database, read_meta, write_meta
from primitives import rlp
from primitives.errors import Invalid, InvalidBlock, UserError
from primitives.keccak import keccak256

S = TypeVar("S")
T = TypeVar("T")

SIDE_BRANCH_WINDOW = 1_024
"""Blocks off the canonical chain are forgotten this far below its head, where no reorganisation reaches them."""

HEADER_CACHE_LIMIT = 1_024
"""Headers the writer keeps, some 1.5 KB each: those that rules and BLOCKHASH look back to."""

_SIBLING_BITS = 16
MAX_SIBLINGS = 1 << _SIBLING_BITS
"""Blocks of one number that can be stored: the room for the counter in a block's id."""

_BLOCK_TABLES = ("headers", "bodies", "receipts", "certificates")

_BODIES_FROM = "bodies_from"
"""Under this name the first block that must have a body, apart from the genesis; none where all must."""

_BLOOM_OFFSET = 3 + 33 + 33 + 21 + 33 + 33 + 33 + 3
"""Where the bloom begins in a header's RLP: behind the list's prefix, five hashes, the coinbase and its own prefix."""


@dataclass(frozen=True, slots=True)
class TransactionLocation:
    """Where on the canonical chain a transaction is."""

    block_hash: bytes
    block_number: int
    index: int


@dataclass(frozen=True, slots=True)
class _StoredHeader:
    id: int
    total_difficulty: int
    header: Header


class BlockView:
    """Reading blocks, on the writing connection or on a snapshot."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def head(self) -> Header:
        """The header of the newest canonical block. Raises UserError where there is no chain yet."""
        row = self._connection.execute("SELECT hash FROM canonical ORDER BY number DESC LIMIT 1").fetchone()
        header = None if row is None else self.header(row[0])
        if header is None:
            raise UserError("the database holds no chain yet: make one with `wattchain init`")
        return header

    def header(self, block_hash: bytes) -> Header | None:
        stored = self._stored(block_hash)
        return None if stored is None else stored.header

    def total_difficulty(self, block_hash: bytes) -> int | None:
        """The sum of the difficulties from genesis to this block."""
        stored = self._stored(block_hash)
        return None if stored is None else stored.total_difficulty

    def block(self, block_hash: bytes) -> Block | None:
        """None as well where the header alone is here."""
        stored = self._stored(block_hash)
        body = None if stored is None else self._body(stored.id)
        return None if stored is None or body is None else Block(stored.header, _decoded(decode_body, body))

    def canonical_hash(self, number: int) -> bytes | None:
        row = self._connection.execute("SELECT hash FROM canonical WHERE number = ?", (_bounded(number),)).fetchone()
        return None if row is None else row[0]

    def canonical_header(self, number: int) -> Header | None:
        block_hash = self.canonical_hash(number)
        return None if block_hash is None else self.header(block_hash)

    def canonical_block(self, number: int) -> Block | None:
        block_hash = self.canonical_hash(number)
        return None if block_hash is None else self.block(block_hash)

    def receipts(self, block_hash: bytes) -> list[Receipt] | None:
        """The receipts of a block that is canonical, or was."""
        row = self._connection.execute(
            "SELECT receipts FROM receipts JOIN headers USING (id) WHERE hash = ?", (block_hash,)
        ).fetchone()
        return None if row is None else _decoded(decode_receipts, row[0])

    def certificate(self, block_hash: bytes) -> bytes:
        """What proves the block beside its header; empty where it came with nothing, or is not known."""
        row = self._connection.execute(
            "SELECT certificate FROM certificates JOIN headers USING (id) WHERE hash = ?", (block_hash,)
        ).fetchone()
        return b"" if row is None else bytes(row[0])

    def transaction_location(self, transaction_hash: bytes) -> TransactionLocation | None:
        """Where the canonical chain holds a transaction."""
        newest = self._connection.execute("SELECT max(number) FROM canonical").fetchone()[0]
        if newest is None:
            return None
        for number, index in transaction_index.candidates(self._connection, newest, transaction_hash):
            block_id, block_hash = self._connection.execute(
                "SELECT id, hash FROM canonical WHERE number = ?", (number,)
            ).fetchone()
            body = self._body(block_id)
            if body is not None and _transaction_hash(body, index) == transaction_hash:
                return TransactionLocation(block_hash, number, index)
        return None

    def blooms(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """(number, 256-byte bloom) of the canonical blocks in a range, both ends included, without their bodies."""
        return iter(
            self._connection.execute(
                "SELECT canonical.number, substr(headers.header, ?, ?) FROM canonical JOIN headers USING (id) "
                "WHERE canonical.number BETWEEN ? AND ? ORDER BY canonical.number",
                (_BLOOM_OFFSET + 1, BLOOM_BYTES, _bounded(first), _bounded(last)),
            )
        )

    def _stored(self, block_hash: bytes) -> _StoredHeader | None:
        row = self._connection.execute(
            "SELECT id, total_difficulty, header FROM headers WHERE hash = ?", (block_hash,)
        ).fetchone()
        if row is None:
            return None
        return _decoded(_decode_stored_header, row)

    def _body(self, block_id: int) -> bytes | None:
        """None of a block that was never executed here, because the state of a later one was taken over."""
        row = self._connection.execute("SELECT body FROM bodies WHERE id = ?", (block_id,)).fetchone()
        if row is not None:
            return bytes(row[0])
        number = block_id >> _SIBLING_BITS
        if number >= int.from_bytes(read_meta(self._connection, _BODIES_FROM) or b"", "big"):
            raise RuntimeError(f"the body of block {number} is missing from the database")
        return None


class BlockStore(BlockView):
    """Blocks on the writing connection. For one thread; whatever writes is called inside a database transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.connection)
        self._headers: GenerationCache[bytes, _StoredHeader] = GenerationCache(HEADER_CACHE_LIMIT)
        database.on_rollback(self._headers.clear)

    def put(self, block: Block, total_difficulty: int, certificate: bytes = b"") -> None:
        """Keep a block, canonical or not. One that is there already stays as it is."""
        if self._stored(block.hash) is None:
            block_id = self._put_header(block.header, total_difficulty, certificate)
            self._connection.execute("INSERT INTO bodies VALUES (?, ?)", (block_id, encode_body(block.transactions)))

    def connect_header(self, header: Header, total_difficulty: int, certificate: bytes, receipts: bytes) -> None:
        """Make a block canonical, on top of the head, of which the header is here and perhaps the receipts, in their
        stored form. `begin_after` has to follow."""
        stored = self._stored(header.hash)
        block_id = stored.id if stored is not None else self._put_header(header, total_difficulty, certificate)
        self._connection.execute("INSERT INTO canonical VALUES (?, ?, ?)", (header.number, block_id, header.hash))
        if receipts:
            self._connection.execute("INSERT OR IGNORE INTO receipts VALUES (?, ?)", (block_id, receipts))

    def begin_after(self, number: int) -> None:
        """Canonical blocks up to this one may have no body: they were connected by their headers."""
        write_meta(self._connection, _BODIES_FROM, (number + 1).to_bytes(8, "big"))
        transaction_index.leap(self._connection, number)

    def cut(self, number: int) -> None:
        """Take all blocks above `number` off the canonical chain, and forget them and every side branch."""
        for (above,) in self._connection.execute(
            "SELECT number FROM canonical WHERE number > ? ORDER BY number DESC", (number,)
        ).fetchall():
            block = self.canonical_block(above)
            hashes = [] if block is None else [transaction.hash for transaction in block.transactions]
            transaction_index.remove(self._connection, above, hashes)
        self._connection.execute("DELETE FROM canonical WHERE number > ?", (number,))
        first = max(0, number - SIDE_BRANCH_WINDOW)
        for table in _BLOCK_TABLES:
            self._connection.execute(
                f"DELETE FROM {table} WHERE id >= ? AND id NOT IN (SELECT id FROM canonical WHERE number >= ?)",
                (first << _SIBLING_BITS, first),
            )
        self._headers.clear()

    def _put_header(self, header: Header, total_difficulty: int, certificate: bytes) -> int:
        first = header.number << _SIBLING_BITS
        block_id: int = self._connection.execute(
            "SELECT coalesce(max(id) + 1, ?) FROM headers WHERE id BETWEEN ? AND ?",
            (first, first, first + MAX_SIBLINGS - 1),
        ).fetchone()[0]
        if block_id >= first + MAX_SIBLINGS:
            raise InvalidBlock(f"there are {MAX_SIBLINGS} blocks of number {header.number} already")
        self._connection.execute(
            "INSERT INTO headers VALUES (?, ?, ?, ?)",
            (block_id, header.hash, rlp.encode_int(total_difficulty), header.encode()),
        )
        if certificate:
            self._connection.execute("INSERT INTO certificates VALUES (?, ?)", (block_id, certificate))
        self._headers.put(header.hash, _StoredHeader(block_id, total_difficulty, header))
        return block_id

    def connect(self, block: Block, receipts: Sequence[Receipt]) -> None:
        """Make a stored block the canonical one of its number, and the head."""
        stored = self._stored(block.hash)
        if stored is None:
            raise RuntimeError("a block is put into the store before it is connected")
        number = block.number
        self._connection.execute("INSERT INTO canonical VALUES (?, ?, ?)", (number, stored.id, block.hash))
        self._connection.execute(
            "INSERT OR REPLACE INTO receipts VALUES (?, ?)", (stored.id, encode_receipts(receipts))
        )
        transaction_index.add(self._connection, number, [transaction.hash for transaction in block.transactions])
        if number > SIDE_BRANCH_WINDOW:
            self._forget_side_branches(number - SIDE_BRANCH_WINDOW)

    def disconnect(self, number: int) -> None:
        """Take the head, which has this number, off the canonical chain.

        The block is kept, and its receipts too: whoever was told of its logs must be told that they are gone.
        """
        block = self.canonical_block(number)
        if block is None or self.canonical_hash(number + 1) is not None:
            raise RuntimeError(f"block {number} is not the head")
        transaction_index.remove(self._connection, number, [transaction.hash for transaction in block.transactions])
        self._connection.execute("DELETE FROM canonical WHERE number = ?", (number,))

    def _stored(self, block_hash: bytes) -> _StoredHeader | None:
        stored = self._headers.get(block_hash)
        if isinstance(stored, Missing):
            found = super()._stored(block_hash)
            if found is not None:
                self._headers.put(block_hash, found)
            return found
        return stored

    def _forget_side_branches(self, number: int) -> None:
        """Drop the blocks of a number but the canonical one."""
        first = number << _SIBLING_BITS
        rows = self._connection.execute(
            "SELECT id, hash FROM headers WHERE id BETWEEN ? AND ? "
            "AND id != (SELECT id FROM canonical WHERE number = ?)",
            (first, first + MAX_SIBLINGS - 1, number),
        ).fetchall()
        for block_id, _ in rows:
            for table in _BLOCK_TABLES:
                self._connection.execute(f"DELETE FROM {table} WHERE id = ?", (block_id,))
        if rows:
            self._headers.clear()


def _decode_stored_header(row: tuple[int, bytes, bytes]) -> _StoredHeader:
    return _StoredHeader(row[0], int.from_bytes(row[1], "big"), decode_header(row[2]))


def _decoded(decode: Callable[[S], T], stored: S) -> T:
    """What was stored. It was valid when it came in: if it is not now, the disk is at fault, not the sender."""
    try:
        return decode(stored)
    except (Invalid, TypeError) as error:  # TypeError: NULL where a value must be
        raise UserError(
            f"the ledger's database is damaged ({error}): check the disk, then let the node sync again into a new data "
            "directory, or put back a backup"
        ) from error


def _bounded(number: int) -> int:
    """A number that SQLite can hold, and that is no block's where the given one is none either."""
    return number if 0 <= number < 1 << 62 else -1 if number < 0 else 1 << 62


def _transaction_hash(body: bytes, index: int) -> bytes:
    """The hash of one transaction of a stored body, without decoding the others."""
    item = rlp.decode(body)[index]
    if isinstance(item, bytes):  # a typed transaction is a string in the list, and hashed as it is
        return keccak256(item)
    return keccak256(rlp.encode(item))  # type: ignore[arg-type]
