"""Reading states: the present one, those of recent blocks by way of the undo rows, and proofs.

Works on the writing connection and on any snapshot of a reader alike; nothing here writes.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, TypeAlias

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT, Account
from chain.state_pieces import ACCOUNT_TRIE, StatePiece
from chain.store.account_table import AccountTable, read_account
from chain.store.cache import GenerationCache
from chain.store.database import read_meta
from chain.store.records import StatePosition, StoredAccount, decode_position, decode_record
from chain.store.state_piece_reading import account_piece, slot_piece
from chain.store.trie_source import KEY_NIBBLES, AccountTrie, SlotTrie, StateTrie
from chain.trie.proof import prove
from chain.trie.root import slot_key
from primitives.errors import Invalid
from primitives.keccak import keccak256

PROOF_CACHE_NODES = 64
"""Nodes kept while one proof is made; a proof passes each once."""

PAST_TRIE_DEPTH_BLOCKS = 1_024
"""How far below the head tries can be told, of an archive too: older ones would take too long to work out."""


class StateUnavailable(Invalid):
    """The state of the block asked for is not, or no longer, known here."""


class PastTrie(NamedTuple):
    """Which trie of which state."""

    number: int
    """The state after this block."""
    state_root: bytes
    root: bytes
    address: bytes = b""
    """Whose storage; empty for the account trie."""


PastTrieSource: TypeAlias = Callable[[PastTrie], AbstractContextManager[StateTrie]]
"""Who works out the tries of past states (past_tries.py)."""


class StateView:
    """All states that a connection can tell of. Holds as long as the connection's snapshot does."""

    def __init__(self, connection: sqlite3.Connection, past_tries: PastTrieSource | None = None) -> None:
        """Without `past_tries` only the present state can be proved."""
        self._connection = connection
        self._past_tries = _no_past_tries if past_tries is None else past_tries

    def position(self) -> StatePosition:
        """Which block's state is the present one. Before any genesis: an empty state, of block 0."""
        encoded = read_meta(self._connection, "state")
        return StatePosition(0, EMPTY_TRIE_ROOT, 0) if encoded is None else decode_position(encoded)

    def reader(self) -> "SavedState":
        """The present state."""
        return PresentState(self._connection)

    def reader_at(self, number: int) -> "SavedState":
        """The state after block `number`. Raises StateUnavailable where it lies ahead or too far back."""
        position = self.position()
        if number == position.number:
            return self.reader()
        if number > position.number:
            raise StateUnavailable(f"block {number} is not there yet: the head is block {position.number}")
        if number < position.history_from:
            raise StateUnavailable(
                f"the state of block {number} is no longer kept: this node answers from block {position.history_from} "
                "on (a node run with --archive keeps all)"
            )
        return PastState(self._connection, number, position.number)

    def find_code(self, code_hash: bytes) -> bytes | None:
        """None where no state kept here ever had it."""
        return find_code(self._connection, code_hash)

    def storage_root(self, address: bytes, number: int) -> bytes:
        """Of an account in the state after block `number`. Raises StateUnavailable as reader_at does."""
        stored = self.reader_at(number).stored(address)
        return EMPTY_TRIE_ROOT if stored is None else stored.storage_root

    def prove_account(self, address: bytes, number: int) -> list[bytes]:
        """RLP of the nodes from the state root after block `number` towards an account (EIP-1186).

        Raises StateUnavailable where that state is not kept, or too much has changed since.
        """
        with self._account_trie(number) as trie:
            return prove(trie, keccak256(address))

    def prove_slot(self, address: bytes, slot: int, number: int) -> list[bytes]:
        """RLP of the nodes from the account's storage root after block `number` towards a slot (EIP-1186)."""
        with self._slot_trie(address, number) as trie:
            return prove(trie, slot_key(slot))

    def piece_at(self, number: int, owner: bytes, path: bytes, max_bytes: int) -> StatePiece | None:
        """What stands at a place of the state after block `number` (chain/state_pieces.py), in at most max_bytes, which
        is room for a leaf at least, and for a node in any case; None where nothing does. Raises StateUnavailable."""
        if len(path) > KEY_NIBBLES or max(path, default=0) > 0x0F:
            return None
        if owner == ACCOUNT_TRIE:
            with self._account_trie(number) as trie:
                return account_piece(trie, path, max_bytes, self._storage_address)
        address = self._find_storage_address(owner)
        if address is None:
            return None
        with self._slot_trie(address, number) as trie:
            return slot_piece(trie, path, max_bytes)

    @contextmanager
    def _account_trie(self, number: int) -> Iterator[StateTrie]:
        if number == self.position().number:
            yield AccountTrie(AccountTable(self._connection))
        else:
            root = self._past_root(number)
            with self._past_tries(PastTrie(number, root, root)) as trie:
                yield trie

    @contextmanager
    def _slot_trie(self, address: bytes, number: int) -> Iterator[StateTrie]:
        if number == self.position().number:
            yield SlotTrie(self._connection, GenerationCache(PROOF_CACHE_NODES), address)
        else:
            wanted = PastTrie(number, self._past_root(number), self.storage_root(address, number), address)
            with self._past_tries(wanted) as trie:
                yield trie

    def _past_root(self, number: int) -> bytes:
        """The state root after a past block whose tries can be told."""
        self.reader_at(number)
        if number < self.position().number - PAST_TRIE_DEPTH_BLOCKS:
            raise StateUnavailable(
                f"block {number} is too far back for proofs: they reach {PAST_TRIE_DEPTH_BLOCKS} blocks below the head"
            )
        row = self._connection.execute("SELECT root FROM undo_roots WHERE number = ?", (number + 1,)).fetchone()
        return bytes(row[0])

    def _find_storage_address(self, key: bytes) -> bytes | None:
        row = self._connection.execute("SELECT address FROM storage_addresses WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def _storage_address(self, key: bytes) -> bytes:
        address = self._find_storage_address(key)
        if address is None:
            raise RuntimeError(f"the address of the account with key 0x{key.hex()} is missing from the database")
        return address


class SavedState:
    """A state in the database: the parts of StateReader that follow from stored()."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def stored(self, address: bytes) -> StoredAccount | None:
        raise NotImplementedError

    def storage(self, address: bytes, slot: int) -> int:
        raise NotImplementedError

    def account(self, address: bytes) -> Account | None:
        stored = self.stored(address)
        return None if stored is None else stored.account

    def code(self, code_hash: bytes) -> bytes:
        return read_code(self._connection, code_hash)

    def has_storage(self, address: bytes) -> bool:
        stored = self.stored(address)
        return stored is not None and stored.storage_root != EMPTY_TRIE_ROOT


class PresentState(SavedState):
    """The state after the head block."""

    def stored(self, address: bytes) -> StoredAccount | None:
        return read_account(self._connection, keccak256(address))

    def storage(self, address: bytes, slot: int) -> int:
        return int.from_bytes(read_slot(self._connection, address, slot_key(slot)) or b"", "big")


class PastState(SavedState):
    """The state after block `number`, some blocks below `head`: what the first block above it replaced, if any did."""

    def __init__(self, connection: sqlite3.Connection, number: int, head: int) -> None:
        super().__init__(connection)
        self._number = number
        self._head = head
        self._is_archive = has_archive(connection)

    def stored(self, address: bytes) -> StoredAccount | None:
        key = keccak256(address)
        row = self._replaced(_ACCOUNT_IN_ARCHIVE if self._is_archive else _ACCOUNT_BY_BLOCK, {"key": key})
        if row is None:
            return read_account(self._connection, key)
        return None if row[0] is None else decode_record(row[0])

    def storage(self, address: bytes, slot: int) -> int:
        key = slot_key(slot)
        row = self._replaced(_SLOT_IN_ARCHIVE if self._is_archive else _SLOT_BY_BLOCK, {"address": address, "key": key})
        value = read_slot(self._connection, address, key) if row is None else row[0]
        return int.from_bytes(value or b"", "big")

    def _replaced(self, query: str, key: dict[str, bytes]) -> tuple[bytes | None] | None:
        row: tuple[bytes | None] | None = self._connection.execute(
            query, {**key, "first": self._number + 1, "last": self._head}
        ).fetchone()
        return row


BLOCKS = (
    "WITH RECURSIVE block (number) AS (VALUES (:first) UNION ALL SELECT number + 1 FROM block WHERE number < :last) "
)
"""Undo rows lie in the order of block numbers, so that writing them costs little; a key is looked for block by block,
about a microsecond each. An archive has too many blocks for that, and an index."""

_ACCOUNT_BY_BLOCK = BLOCKS + (
    "SELECT undo.record FROM block CROSS JOIN undo_accounts AS undo "
    "ON undo.number = block.number AND undo.key = :key LIMIT 1"
)
_SLOT_BY_BLOCK = BLOCKS + (
    "SELECT undo.value FROM block CROSS JOIN undo_slots AS undo "
    "ON undo.number = block.number AND undo.address = :address AND undo.key = :key LIMIT 1"
)
_ACCOUNT_IN_ARCHIVE = (
    "SELECT undo.record FROM account_history AS history CROSS JOIN undo_accounts AS undo "
    "ON undo.number = history.number AND undo.key = history.key "
    "WHERE history.key = :key AND history.number BETWEEN :first AND :last ORDER BY history.number LIMIT 1"
)
_SLOT_IN_ARCHIVE = (
    "SELECT undo.value FROM slot_history AS history CROSS JOIN undo_slots AS undo "
    "ON undo.number = history.number AND undo.address = history.address AND undo.key = history.key "
    "WHERE history.address = :address AND history.key = :key AND history.number BETWEEN :first AND :last "
    "ORDER BY history.number LIMIT 1"
)


def read_slot(connection: sqlite3.Connection, address: bytes, key: bytes) -> bytes | None:
    row = connection.execute("SELECT value FROM slots WHERE address = ? AND key = ?", (address, key)).fetchone()
    return None if row is None else bytes(row[0])


def read_code(connection: sqlite3.Connection, code_hash: bytes) -> bytes:
    code = find_code(connection, code_hash)
    if code is None:
        raise RuntimeError(f"the code with hash 0x{code_hash.hex()} is missing from the database")
    return code


def find_code(connection: sqlite3.Connection, code_hash: bytes) -> bytes | None:
    if code_hash == EMPTY_CODE_HASH:
        return b""
    row = connection.execute("SELECT code FROM codes WHERE hash = ?", (code_hash,)).fetchone()
    return None if row is None else bytes(row[0])


def _no_past_tries(wanted: PastTrie) -> AbstractContextManager[StateTrie]:
    raise StateUnavailable(f"only the present state can be proved here, not that of block {wanted.number}")


def has_archive(connection: sqlite3.Connection) -> bool:
    """Whether the database keeps all states and the index to find them."""
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'account_history'"
    return connection.execute(query).fetchone() is not None
