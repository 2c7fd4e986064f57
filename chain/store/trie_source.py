"""The tries as they lie in the database: inner nodes from their tables, leaves from the rows of the state itself."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable

from chain.store.account_table import AccountTable, decode_inner
from chain.store.cache import GenerationCache, Missing
from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import InnerNode, Leaf, Node, encode
from primitives import rlp

SlotNodeCache = GenerationCache[tuple[bytes, bytes], InnerNode | bytes | None]
"""By address and path: as RLP where it was not needed otherwise; None says that no inner node stands there."""


class AccountTrie:
    """The account trie (NodeSource)."""

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


class SlotTrie:
    """The storage trie of one account (NodeSource)."""

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
            (self._address, _first_key(path)),
        ).fetchone()
        if row is None or not (nibbles := to_nibbles(row[0])).startswith(path):
            return None
        return Leaf(nibbles[len(path) :], rlp.encode(row[1]))


def _first_key(path: bytes) -> bytes:
    """The smallest key that can begin with path."""
    return from_nibbles(path + b"\x00" if len(path) & 1 else path)
