"""The tables of a state that is being fetched: what is here, and what is still to be asked for.

The invariant: where `fetched_pieces` names a place, the rows below it are all leaves of the trie with that hash. That
makes rows of one state good for another one as far as their hashes agree. Whatever writes is called inside a database
transaction.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT
from chain.state_pieces import ACCOUNT_TRIE, CheckedPiece, PieceRequest, Place
from chain.store.records import StoredAccount, decode_record, encode_record
from chain.store.trie_source import first_key, last_key

_BELOW = b"\x10"
"""Behind a path: sorts after everything that begins with the path."""


class FetchedState:
    """On the writing connection, while the tables are there."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def aim_at(self, root: bytes) -> None:
        """Ask for this state; what is here of others is kept as far as it may be of use."""
        self._connection.execute("DELETE FROM wanted_pieces")
        self._connection.execute("DELETE FROM wanted_codes")
        if root == EMPTY_TRIE_ROOT:
            self._clear_below(Place(ACCOUNT_TRIE), ())
        else:
            self._want(PieceRequest(Place(ACCOUNT_TRIE), root))

    # What is missing

    def wanted_pieces(self, count: int, besides: Collection[object]) -> list[Place]:
        """Up to `count` places, the account trie's first, each trie's in the order of paths."""
        rows = self._connection.execute(
            "SELECT owner, path FROM wanted_pieces ORDER BY owner, path LIMIT ?", (count + len(besides),)
        )
        return [place for row in rows if (place := Place(*row)) not in besides][:count]

    def wanted_codes(self, count: int, besides: Collection[object]) -> list[bytes]:
        rows = self._connection.execute("SELECT hash FROM wanted_codes LIMIT ?", (count + len(besides),))
        return [code_hash for (code_hash,) in rows if code_hash not in besides][:count]

    def request(self, place: Place) -> PieceRequest | None:
        """The wanted piece with its hash; None where it is not, or no longer, wanted."""
        row = self._connection.execute("SELECT hash FROM wanted_pieces WHERE owner = ? AND path = ?", place).fetchone()
        return None if row is None else PieceRequest(place, row[0])

    def is_code_wanted(self, code_hash: bytes) -> bool:
        query = "SELECT 1 FROM wanted_codes WHERE hash = ?"
        return self._connection.execute(query, (code_hash,)).fetchone() is not None

    # Taking

    def put_piece(self, request: PieceRequest, piece: CheckedPiece) -> None:
        """Take a checked piece that was wanted."""
        place = request.place
        self._connection.execute("DELETE FROM wanted_pieces WHERE owner = ? AND path = ?", place)
        self._clear_below(place, piece.children)
        self._connection.executemany(
            "INSERT INTO fetched_accounts VALUES (?, ?, ?)",
            [(leaf.key, encode_record(leaf.stored), leaf.address) for leaf in piece.accounts],
        )
        self._connection.executemany(
            "INSERT INTO fetched_slots VALUES (?, ?, ?)", [(place.owner, *leaf) for leaf in piece.slots]
        )
        if not piece.children:
            self._connection.execute("INSERT INTO fetched_pieces VALUES (?, ?, ?)", (*place, request.expected_hash))
        for leaf in piece.accounts:
            self._want_parts(leaf.key, leaf.stored)
        for child in piece.children:
            self._want(child)

    def put_code(self, code_hash: bytes, code: bytes) -> None:
        self._connection.execute("INSERT OR IGNORE INTO codes VALUES (?, ?)", (code_hash, code))
        self._connection.execute("DELETE FROM wanted_codes WHERE hash = ?", (code_hash,))

    def _want(self, request: PieceRequest) -> None:
        """Have a piece asked for, unless what is here already is what belongs there."""
        place, expected_hash = request
        row = self._connection.execute(
            "SELECT 1 FROM fetched_pieces WHERE owner = ? AND path = ? AND hash = ?", (*place, expected_hash)
        ).fetchone()
        if row is None:
            self._connection.execute("REPLACE INTO wanted_pieces VALUES (?, ?, ?)", (*place, expected_hash))
        elif place.owner == ACCOUNT_TRIE:
            for key, record in self._connection.execute(
                "SELECT key, record FROM fetched_accounts WHERE key BETWEEN ? AND ?",
                (first_key(place.path), last_key(place.path)),
            ).fetchall():
                self._want_parts(key, decode_record(record))

    def _want_parts(self, key: bytes, stored: StoredAccount) -> None:
        """Of an account: its storage and its code."""
        if stored.storage_root != EMPTY_TRIE_ROOT:
            self._want(PieceRequest(Place(key), stored.storage_root))
        if stored.account.code_hash != EMPTY_CODE_HASH:
            self._connection.execute(
                "INSERT OR IGNORE INTO wanted_codes SELECT :hash WHERE NOT EXISTS "
                "(SELECT 1 FROM codes WHERE hash = :hash)",
                {"hash": stored.account.code_hash},
            )

    def _clear_below(self, place: Place, children: Sequence[PieceRequest]) -> None:
        """Drop what is here below a place, but not below its children, which are in the order of paths."""
        owner, path = place
        first, after = first_key(path), path
        for child in children:
            child_path = child.place.path
            self._clear_range(owner, first, first_key(child_path), after, child_path)
            first, after = last_key(child_path) + b"\x00", child_path + _BELOW
        self._clear_range(owner, first, last_key(path) + b"\x00", after, path + _BELOW)

    def _clear_range(self, owner: bytes, first: bytes, end: bytes, first_path: bytes, end_path: bytes) -> None:
        execute = self._connection.execute
        if owner == ACCOUNT_TRIE:
            execute("DELETE FROM fetched_accounts WHERE key >= ? AND key < ?", (first, end))
        else:
            execute("DELETE FROM fetched_slots WHERE owner = ? AND key >= ? AND key < ?", (owner, first, end))
        execute("DELETE FROM fetched_pieces WHERE owner = ? AND path >= ? AND path < ?", (owner, first_path, end_path))

    # What is here

    def accounts(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and records, in order."""
        return self._connection.execute("SELECT key, record FROM fetched_accounts ORDER BY key")

    def storage(self) -> Iterator[tuple[bytes, bytes, Iterator[tuple[bytes, bytes]]]]:
        """Address, storage root, keys and values of every account that has storage."""
        for key, record, address in self._connection.execute(
            "SELECT key, record, address FROM fetched_accounts WHERE address != x'' ORDER BY key"
        ):
            slots = self._connection.execute(
                "SELECT key, value FROM fetched_slots WHERE owner = ? ORDER BY key", (key,)
            )
            yield address, decode_record(record).storage_root, slots

    def count(self, table: str) -> int:
        """The rows of one of the tables."""
        count: int = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count

    def missing_leaves(self) -> float:
        """How many leaves are still to come, judged by how thick those that are here lie; of a trie of which nothing
        is here, one."""
        shares: dict[bytes, float] = {}
        for owner, depth, count in self._connection.execute(
            "SELECT owner, length(path), count(*) FROM wanted_pieces GROUP BY owner, length(path)"
        ):
            shares[owner] = shares.get(owner, 0.0) + count * 16.0**-depth
        return sum(
            1.0 if share >= 1 else self._leaves_of(owner) * share / (1 - share) for owner, share in shares.items()
        )

    def _leaves_of(self, owner: bytes) -> int:
        if owner == ACCOUNT_TRIE:
            return self.count("fetched_accounts")
        query = "SELECT count(*) FROM fetched_slots WHERE owner = ?"
        count: int = self._connection.execute(query, (owner,)).fetchone()[0]
        return count
