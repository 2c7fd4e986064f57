"""Taking over the whole state of one block, the pivot, from others, instead of executing what came before.

What comes in is checked by hash, piece by piece (state_pieces.py), and lies in tables of its own, so that a node that
was switched off goes on where it stopped. Nothing of it counts before `finish`, which puts everything in its place in
one database transaction: the state, the pivot as the head, and the headers below it as canonical ones, without bodies.
Whether the headers are the right ones is for the caller to know: here they only have to follow each other.

For the thread that imports.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chain.header import Header, decode_header
from chain.state_pieces import InvalidStatePiece, Place, check_piece, decode_piece
from chain.store.blocks import BlockStore
from chain.store.database import Database, delete_meta, read_meta, write_meta
from chain.store.fetched_state import FetchedState
from chain.store.schema import FETCH_TABLE_NAMES, FETCH_TABLES
from chain.store.state import StateStore
from chain.trie.update import DamagedTrie
from primitives.errors import InvalidBlock, UserError
from primitives.keccak import keccak256

_PIVOT = "fetch_pivot"
"""Under this name the number of the pivot, 8 bytes, and its hash; nothing before there is one."""


class KeptHeader(NamedTuple):
    """A header that was checked, with what came beside it."""

    header: Header
    certificate: bytes = b""
    receipts: bytes = b""
    """Of its block, as encode_receipts writes them; empty where nobody needed them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What is to be asked for."""

    places: tuple[Place, ...]
    codes: tuple[bytes, ...]
    """Hashes."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of answers."""

    accounts: int = 0
    """That they brought."""
    bad: int | None = None
    """The position of the first that is not what was asked for: those before it were taken, none after it."""
    fault: str = ""
    """What is wrong with it."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far the fetch has come."""

    accounts: int
    slots: int
    share: float
    """Of the whole, from 0 to 1: an estimate from how much of the key space is here, since keys are spread evenly."""


class StateFetch:
    """The fetch of one ledger, begun or not."""

    def __init__(self, database: Database, blocks: BlockStore, state: StateStore) -> None:
        self._database = database
        self._connection = database.connection
        self._blocks = blocks
        self._state = state
        self._fetched = FetchedState(database.connection)

    @property
    def has_begun(self) -> bool:
        """Whether anything is here, of this run or of an earlier one."""
        query = "SELECT 1 FROM sqlite_schema WHERE name = 'fetched_headers'"
        with self._database.reading():
            return self._connection.execute(query).fetchone() is not None

    @property
    def pivot(self) -> Header | None:
        """The block whose state is being fetched; None before aim_at, and where another header took its place."""
        with self._database.reading():
            encoded = read_meta(self._connection, _PIVOT)
            kept = None if encoded is None else self._kept_header(int.from_bytes(encoded[:8], "big"))
        return kept if kept is not None and _encode_pivot(kept) == encoded else None

    def keep_headers(self, headers: Sequence[KeptHeader]) -> None:
        """Keep headers that follow each other and what is kept already, or a canonical block.

        They may be here already; where others are, these take their place. Raises InvalidBlock where one does not
        follow, and then none is kept.
        """
        with self._database.transaction():
            self._begin()
            for kept in headers:
                self._keep(kept)

    def aim_at(self, pivot: Header) -> None:
        """Fetch the state after this block, whose header is kept. What is here of another state and is part of this one
        too is not asked for again."""
        with self._database.transaction():
            self._begin()
            kept = self._kept_header(pivot.number)
            if kept is None or kept.hash != pivot.hash:
                raise RuntimeError(f"the header of the pivot, block {pivot.number}, has not been kept")
            if read_meta(self._connection, _PIVOT) != _encode_pivot(pivot):
                write_meta(self._connection, _PIVOT, _encode_pivot(pivot))
                self._fetched.aim_at(pivot.state_root)

    def needs(self, count: int, besides: Collection[Place | bytes] = ()) -> Needs:
        """Up to `count` places and codes that are missing, besides those that were asked for already.

        Without `besides`, none means that nothing is missing: the time for `finish`.
        """
        with self._database.reading():
            places = self._fetched.wanted_pieces(count, besides)
            codes = self._fetched.wanted_codes(count - len(places), besides)
        return Needs(tuple(places), tuple(codes))

    def take_pieces(self, answers: Sequence[tuple[Place, bytes]]) -> Taken:
        """Check encoded pieces and keep them, on disk when this returns. What is no longer wanted is passed over."""
        accounts = 0
        with self._database.transaction():
            for index, (place, encoded) in enumerate(answers):
                request = self._fetched.request(place) if self.has_begun else None
                if request is None:
                    continue
                try:
                    piece = check_piece(request, decode_piece(encoded))
                except InvalidStatePiece as error:
                    return Taken(accounts, index, str(error))
                self._fetched.put_piece(request, piece)
                accounts += len(piece.accounts)
        return Taken(accounts)

    def take_codes(self, answers: Sequence[tuple[bytes, bytes]]) -> Taken:
        """The same for contract codes, each with its hash before it."""
        with self._database.transaction():
            for index, (code_hash, code) in enumerate(answers):
                if not (self.has_begun and self._fetched.is_code_wanted(code_hash)):
                    continue
                if keccak256(code) != code_hash:
                    return Taken(0, index, f"not the code with hash 0x{code_hash.hex()}")
                self._fetched.put_code(code_hash, code)
        return Taken()

    def progress(self) -> FetchProgress:
        """Counts what is here: not for every piece."""
        with self._database.reading():
            if not self.has_begun:
                return FetchProgress(0, 0, 0.0)
            accounts, slots = self._fetched.count("fetched_accounts"), self._fetched.count("fetched_slots")
            missing = self._fetched.missing_leaves()
        total = accounts + slots + missing
        return FetchProgress(accounts, slots, (accounts + slots) / total if total else 0.0)

    def finish(self) -> None:
        """Make the pivot the head, with its state, history beginning there. A power cut leaves the old ledger, with the
        fetch as it was, or the new one.

        Nothing may be missing. Takes as long as a genesis of that many accounts. Raises InvalidBlock where the ledger
        has come as far meanwhile, or is on another branch than the kept headers, and UserError, with all that was
        fetched thrown away, where the disk has damaged it.
        """
        pivot = self.pivot
        if pivot is None or self.needs(1) != Needs((), ()):
            raise RuntimeError("the state to take over is not complete")
        if damage := self._put_in_place(pivot):
            self.abandon()
            raise UserError(
                f"the state of block {pivot.number}, right when it came, is damaged now ({damage}): check the "
                "disk, then start the node again, which fetches it anew"
            )

    def abandon(self) -> None:
        """Forget everything that was fetched but codes, which are found by their hash and harm nobody."""
        with self._database.transaction():
            if self.has_begun:
                self._drop()

    def _put_in_place(self, pivot: Header) -> str:
        """What is wrong, where it is not what it was."""
        try:
            with self._database.transaction():
                self._connect_headers(pivot.number)
                self._blocks.begin_after(pivot.number)
                self._state.replace(pivot.number, pivot.state_root, self._fetched.accounts(), self._fetched.storage())
                self._drop()
        except DamagedTrie as error:
            return str(error)  # and no more: the error's frames hold cursors, which keep tables from being dropped
        return ""

    def _begin(self) -> None:
        if not self.has_begun:
            for statement in FETCH_TABLES.split(";"):
                self._connection.execute(statement)

    def _drop(self) -> None:
        for table in FETCH_TABLE_NAMES:
            self._connection.execute(f"DROP TABLE {table}")
        delete_meta(self._connection, _PIVOT)

    # Headers

    def _keep(self, kept: KeptHeader) -> None:
        number, encoded = kept.header.number, kept.header.encode()
        row = self._connection.execute("SELECT header FROM fetched_headers WHERE number = ?", (number,)).fetchone()
        if row is not None and row[0] == encoded:
            return
        below = self._kept_header(number - 1)
        parent_hash = self._blocks.canonical_hash(number - 1) if below is None else below.hash
        if kept.header.parent_hash != parent_hash:
            raise InvalidBlock(f"header {number} does not follow those that are kept")
        # What is kept is one chain: nothing above, and nothing that does not lead here.
        first = 0 if below is None else number
        self._connection.execute("DELETE FROM fetched_headers WHERE number >= ?", (first,))
        self._connection.execute(
            "INSERT INTO fetched_headers VALUES (?, ?, ?, ?)", (number, encoded, kept.certificate, kept.receipts)
        )

    def _kept_header(self, number: int) -> Header | None:
        row = self._connection.execute("SELECT header FROM fetched_headers WHERE number = ?", (number,)).fetchone()
        return None if row is None else decode_header(row[0])

    def _connect_headers(self, last: int) -> None:
        """Make the kept headers up to a number canonical, in the place of what stands above the last common block."""
        if self._blocks.head().number >= last:
            raise InvalidBlock(f"the ledger has come as far as block {last} meanwhile")
        number: int = self._connection.execute("SELECT min(number) FROM fetched_headers").fetchone()[0]
        parent = self._blocks.canonical_header(number - 1)
        while (kept := self._kept_header(number)) is not None and self._blocks.canonical_hash(number) == kept.hash:
            number, parent = number + 1, kept
        if parent is None or kept is None or kept.parent_hash != parent.hash:
            raise InvalidBlock(f"block {number - 1} of the ledger is not the one that the kept headers stand on")
        self._blocks.cut(number - 1)
        total_difficulty = self._blocks.total_difficulty(parent.hash) or 0
        for encoded, certificate, receipts in self._connection.execute(
            "SELECT header, certificate, receipts FROM fetched_headers WHERE number BETWEEN ? AND ? ORDER BY number",
            (number, last),
        ):
            header = decode_header(encoded)
            total_difficulty += header.difficulty
            self._blocks.connect_header(header, total_difficulty, certificate, receipts)


def _encode_pivot(header: Header) -> bytes:
    return header.number.to_bytes(8, "big") + header.hash
