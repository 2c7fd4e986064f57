"""The tries as they lie in the database: inner nodes from their tables, leaves from the rows of the state itself."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Protocol

from chain.store.account_table import AccountTable, decode_inner
from chain.store.cache import GenerationCache, Missing
from chain.store.records import decode_record
from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import InnerNode, Leaf, Node, encode
from chain.trie.update import NodeSource
from primitives import rlp

KEY_NIBBLES = 64
"""Of every key of a state's tries: they are hashes."""

SlotNodeCache = GenerationCache[tuple[bytes, bytes], InnerNode | bytes | None]
"""By address and path: as RLP where it was not needed otherwise; None says that no inner node stands there."""


class StateTrie(NodeSource, Protocol):
    """A trie of a state with the rows that are its leaves: records of accounts, or values of slots."""

    def rows(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, row) from one key to another, both included, in order."""

    def leaf_value(self, row: bytes) -> bytes:
        """What the trie holds for a row."""


class AccountTrie:
    """The account trie (StateTrie)."""

    def __init__(self, table: AccountTable, replaced: Iterable[bytes] = ()) -> None:
        """`replaced`: sorted keys of accounts that are there, and that the batch to come changes. Their leaves need not
        be looked for, and their values do not matter."""
        self._table = table
        self._replaced = [to_nibbles(key) for key in replaced]

    def node(self, path: bytes) -> Node | None:
        node = self._table.inner(path)
        if node is not None:
            return node
        replaced = self._replaced
        index = bisect_left(replaced, path)
        if index < len(replaced) and replaced[index].startswith(path):
            return Leaf(replaced[index][len(path) :], b"")
        return self._table.leaf(path)

    def encoded(self, path: bytes) -> bytes | None:
        return self._table.encoded(path)

    def rows(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._table.records(first, last)

    def leaf_value(self, row: bytes) -> bytes:
        return decode_record(row).leaf_value


class SlotTrie:
    """The storage trie of one account (StateTrie)."""

    def __init__(self, connection: sqlite3.Connection, cache: SlotNodeCache, address: bytes) -> None:
        self._connection = connection
        self._cache = cache
        self._address = address

    def node(self, path: bytes) -> Node | None:
        node = self._inner(path)
        if isinstance(node, bytes):
            node = decode_inner(node)
            self._cache.put((self._address, path), node)
        return self._leaf(path) if node is None else node

    def encoded(self, path: bytes) -> bytes | None:
        node = self._inner(path)
        return node if node is None or isinstance(node, bytes) else encode(node)

    def rows(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._connection.execute(
            "SELECT key, value FROM slots WHERE address = ? AND key BETWEEN ? AND ? ORDER BY key",
            (self._address, first, last),
        )

    def leaf_value(self, row: bytes) -> bytes:
        return rlp.encode(row)

    def _inner(self, path: bytes) -> InnerNode | bytes | None:
        node = self._cache.get((self._address, path))
        if isinstance(node, Missing):
            row = self._connection.execute(
                "SELECT node FROM slot_nodes WHERE address = ? AND path = ?", (self._address, path)
            ).fetchone()
            node = None if row is None else row[0]
            self._cache.put((self._address, path), node)
        return node

    def _leaf(self, path: bytes) -> Leaf | None:
        row = self._connection.execute(
            "SELECT key, value FROM slots WHERE address = ? AND key >= ? ORDER BY key LIMIT 1",
            (self._address, first_key(path)),
        ).fetchone()
        if row is None or not (nibbles := to_nibbles(row[0])).startswith(path):
            return None
        return Leaf(nibbles[len(path) :], rlp.encode(row[1]))


def first_key(path: bytes) -> bytes:
    """The smallest key that can begin with path."""
    return from_nibbles(path.ljust(KEY_NIBBLES, b"\x00"))


def last_key(path: bytes) -> bytes:
    """The greatest key that can begin with path."""
    return from_nibbles(path.ljust(KEY_NIBBLES, b"\x0f"))
