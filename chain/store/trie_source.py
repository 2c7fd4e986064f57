"""The tries as they lie in the database: inner nodes from their tables, leaves from the rows of the state itself."""

import sqlite3
from bisect import bisect_left

from chain.store.cache import GenerationCache, Missing
from chain.store.records import StoredAccount, decode_record
from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import InnerNode, Leaf, decode
from primitives import rlp

AccountNodeCache = GenerationCache[bytes, InnerNode | None]
SlotNodeCache = GenerationCache[tuple[bytes, bytes], InnerNode | None]
"""By address and path. In both, None says that no inner node stands there."""


class AccountTrie:
    """The account trie (NodeSource)."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        cache: AccountNodeCache,
        known: dict[bytes, StoredAccount] | None = None,
    ) -> None:
        """`known`: accounts by key that were read already, so that their leaves need not be looked for."""
        self._connection = connection
        self._cache = cache
        self._known = known or {}
        self._known_paths = [(to_nibbles(key), key) for key in sorted(self._known)]

    def inner(self, path: bytes) -> InnerNode | None:
        node = self._cache.get(path)
        if not isinstance(node, Missing):
            return node
        row = self._connection.execute("SELECT node FROM account_nodes WHERE path = ?", (path,)).fetchone()
        node = None if row is None else _inner(row[0])
        self._cache.put(path, node)
        return node

    def leaf(self, path: bytes) -> Leaf | None:
        index = bisect_left(self._known_paths, (path, b""))
        if index < len(self._known_paths) and self._known_paths[index][0].startswith(path):
            nibbles, key = self._known_paths[index]
            return Leaf(nibbles[len(path) :], self._known[key].leaf_value)
        row = self._connection.execute(
            "SELECT key, record FROM accounts WHERE key >= ? ORDER BY key LIMIT 1", (_first_key(path),)
        ).fetchone()
        if row is None or not (nibbles := to_nibbles(row[0])).startswith(path):
            return None
        return Leaf(nibbles[len(path) :], decode_record(row[1]).leaf_value)


class SlotTrie:
    """The storage trie of one account (NodeSource)."""

    def __init__(self, connection: sqlite3.Connection, cache: SlotNodeCache, address: bytes) -> None:
        self._connection = connection
        self._cache = cache
        self._address = address

    def inner(self, path: bytes) -> InnerNode | None:
        node = self._cache.get((self._address, path))
        if not isinstance(node, Missing):
            return node
        row = self._connection.execute(
            "SELECT node FROM slot_nodes WHERE address = ? AND path = ?", (self._address, path)
        ).fetchone()
        node = None if row is None else _inner(row[0])
        self._cache.put((self._address, path), node)
        return node

    def leaf(self, path: bytes) -> Leaf | None:
        row = self._connection.execute(
            "SELECT key, value FROM slots WHERE address = ? AND key >= ? ORDER BY key LIMIT 1",
            (self._address, _first_key(path)),
        ).fetchone()
        if row is None or not (nibbles := to_nibbles(row[0])).startswith(path):
            return None
        return Leaf(nibbles[len(path) :], rlp.encode(row[1]))


def _inner(encoded: bytes) -> InnerNode:
    node = decode(encoded)
    if isinstance(node, Leaf):
        raise RuntimeError("a leaf is stored among the inner nodes of a trie")
    return node


def _first_key(path: bytes) -> bytes:
    """The smallest key that can begin with path."""
    return from_nibbles(path + b"\x00" if len(path) & 1 else path)
