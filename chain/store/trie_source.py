"""The tries as they lie in the database: inner nodes from their tables, leaves from the rows of the state itself."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable

from chain.store.cache import MISSING, GenerationCache, Missing
from chain.store.records import decode_record
from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import InnerNode, Leaf, Node, decode
from primitives import rlp

UPPER_LEVELS = 4
"""Levels of the account trie that are held in memory: 1 + 16 + 256 + 4,096 nodes of 1.4 KB at most, 6 MB."""

DEEP_NODE_CACHE_LIMIT = 4_096
"""Nodes below those: another 6 MB at most."""

SlotNodeCache = GenerationCache[tuple[bytes, bytes], InnerNode | None]
"""By address and path; None says that no inner node stands there."""


class AccountNodeCache:
    """Inner nodes of the account trie by path; None says that none stands there.

    The upper levels are held whole: every change passes them, and in a large trie the many nodes further down, each
    used once in a long while, would drive them out.
    """

    def __init__(self, limit: int = DEEP_NODE_CACHE_LIMIT) -> None:
        self._upper: dict[bytes, InnerNode | None] = {}
        self._deep: GenerationCache[bytes, InnerNode | None] = GenerationCache(limit)

    def get(self, path: bytes) -> InnerNode | Missing | None:
        return self._upper.get(path, MISSING) if len(path) < UPPER_LEVELS else self._deep.get(path)

    def put(self, path: bytes, node: InnerNode | None) -> None:
        if len(path) < UPPER_LEVELS:
            self._upper[path] = node
        else:
            self._deep.put(path, node)

    def clear(self) -> None:
        self._upper.clear()
        self._deep.clear()


class AccountTrie:
    """The account trie (NodeSource)."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        cache: AccountNodeCache,
        replaced: Iterable[bytes] = (),
    ) -> None:
        """`replaced`: sorted keys of accounts that are there, and that the batch to come changes. Their leaves need not
        be looked for, and their values do not matter."""
        self._connection = connection
        self._cache = cache
        self._known = [to_nibbles(key) for key in replaced]

    def node(self, path: bytes) -> Node | None:
        node = self._cache.get(path)
        if isinstance(node, Missing):
            row = self._connection.execute("SELECT node FROM account_nodes WHERE path = ?", (path,)).fetchone()
            node = None if row is None else _inner(row[0])
            self._cache.put(path, node)
        return self._leaf(path) if node is None else node

    def _leaf(self, path: bytes) -> Leaf | None:
        known = self._known
        index = bisect_left(known, path)
        if index < len(known) and known[index].startswith(path):
            return Leaf(known[index][len(path) :], b"")
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

    def node(self, path: bytes) -> Node | None:
        node = self._cache.get((self._address, path))
        if isinstance(node, Missing):
            row = self._connection.execute(
                "SELECT node FROM slot_nodes WHERE address = ? AND path = ?", (self._address, path)
            ).fetchone()
            node = None if row is None else _inner(row[0])
            self._cache.put((self._address, path), node)
        return self._leaf(path) if node is None else node

    def _leaf(self, path: bytes) -> Leaf | None:
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
