"""The tries as they lie in the database: inner nodes from their tables, leaves from the rows of the state itself."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable

from chain.store.cache import MISSING, GenerationCache, Missing
from chain.store.records import decode_record
from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import InnerNode, Leaf, Node, decode, encoded_end
from chain.trie.update import TrieUpdate
from primitives import rlp

UPPER_LEVELS = 4
"""Levels of the account trie with a table of their own, level by level, which are held in memory as they are used:
1 + 16 + 256 + 4,096 nodes of 1.4 KB at most, 6 MB. Every change passes them.

The deeper nodes that share their first four nibbles, a region, are one row among the accounts below them, so that a
change to one of a million accounts reads and writes one page of the database for everything. Its key is the two bytes
of those nibbles.
"""

REGION_CACHE_LIMIT = 2_048
"""Regions in memory: some 3 KB each in a trie of a million accounts."""

SlotNodeCache = GenerationCache[tuple[bytes, bytes], InnerNode | None]
"""By address and path; None says that no inner node stands there."""

_ACCOUNT_KEY_LENGTH = 32


class AccountNodes:
    """The inner nodes of the account trie, with those used lately in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._upper: dict[bytes, InnerNode | None] = {}
        self._regions: GenerationCache[bytes, Region] = GenerationCache(REGION_CACHE_LIMIT)

    def upper(self, path: bytes) -> InnerNode | None:
        """What is stored at a path of less than UPPER_LEVELS nibbles."""
        node = self._upper.get(path, MISSING)
        if isinstance(node, Missing):
            row = self._connection.execute("SELECT node FROM upper_nodes WHERE id = ?", (_upper_id(path),)).fetchone()
            node = self._upper[path] = None if row is None else _inner(row[0])
        return node

    def write(self, update: TrieUpdate) -> None:
        """Store what a batch made of the trie."""
        upper: list[tuple[int, bytes | None]] = []
        regions: dict[bytes, Region] = {}
        for path in sorted(update.nodes):
            encoded = update.nodes[path]
            if len(path) < UPPER_LEVELS:
                upper.append((_upper_id(path), encoded))
                self._upper[path] = update.decoded.get(path)
                continue
            prefix = path[:UPPER_LEVELS]
            region = regions[prefix] = self.region(prefix)
            region.put(path, encoded, update.decoded.get(path))
        rows = [(from_nibbles(prefix), region.encode()) for prefix, region in regions.items()]
        execute_many = self._connection.executemany
        execute_many("REPLACE INTO upper_nodes VALUES (?, ?)", [row for row in upper if row[1] is not None])
        execute_many("DELETE FROM upper_nodes WHERE id = ?", [row[:1] for row in upper if row[1] is None])
        execute_many("REPLACE INTO accounts VALUES (?, ?)", [row for row in rows if row[1]])
        execute_many("DELETE FROM accounts WHERE key = ?", [row[:1] for row in rows if not row[1]])

    def lay_out(self) -> None:
        """Write the upper nodes again in one go, so that they fill their pages."""
        rows = self._connection.execute("SELECT id, node FROM upper_nodes ORDER BY id").fetchall()
        self._connection.execute("DELETE FROM upper_nodes")
        self._connection.executemany("INSERT INTO upper_nodes VALUES (?, ?)", rows)

    def clear(self) -> None:
        self._upper.clear()
        self._regions.clear()

    def region(self, prefix: bytes) -> "Region":
        """The nodes below a path of UPPER_LEVELS nibbles."""
        region = self._regions.get(prefix)
        if isinstance(region, Missing):
            row = self._connection.execute(
                "SELECT record FROM accounts WHERE key = ?", (from_nibbles(prefix),)
            ).fetchone()
            region = Region(b"" if row is None else row[0])
            self._regions.put(prefix, region)
        return region


class Region:
    """The inner nodes below one path of UPPER_LEVELS nibbles. As a row: for each node, in the order of paths, how many
    nibbles of its path are left, those nibbles, and the node's RLP."""

    __slots__ = ("_decoded", "_encoded")

    def __init__(self, row: bytes) -> None:
        self._encoded: dict[bytes, bytes] = {}
        """By the path that is left."""
        self._decoded: dict[bytes, InnerNode] = {}
        """Those that were asked for."""
        begin = 0
        while begin < len(row):
            path_end = begin + 1 + row[begin]
            end = encoded_end(row, path_end)
            self._encoded[row[begin + 1 : path_end]] = row[path_end:end]
            begin = end

    def get(self, path: bytes) -> InnerNode | None:
        rest = path[UPPER_LEVELS:]
        node = self._decoded.get(rest)
        if node is None and rest in self._encoded:
            node = self._decoded[rest] = _inner(self._encoded[rest])
        return node

    def put(self, path: bytes, encoded: bytes | None, decoded: InnerNode | None) -> None:
        rest = path[UPPER_LEVELS:]
        if encoded is None or decoded is None:
            self._encoded.pop(rest, None)
            self._decoded.pop(rest, None)
        else:
            self._encoded[rest] = encoded
            self._decoded[rest] = decoded

    def encode(self) -> bytes:
        return b"".join([bytes((len(rest),)) + rest + self._encoded[rest] for rest in sorted(self._encoded)])


class AccountTrie:
    """The account trie (NodeSource)."""

    def __init__(self, connection: sqlite3.Connection, nodes: AccountNodes, replaced: Iterable[bytes] = ()) -> None:
        """`replaced`: sorted keys of accounts that are there, and that the batch to come changes. Their leaves need not
        be looked for, and their values do not matter."""
        self._connection = connection
        self._nodes = nodes
        self._replaced = [to_nibbles(key) for key in replaced]
        self._prefix = b""
        self._region = Region(b"")

    def node(self, path: bytes) -> Node | None:
        if len(path) < UPPER_LEVELS:
            node = self._nodes.upper(path)
        else:
            prefix = path[:UPPER_LEVELS]
            if prefix != self._prefix:  # a batch is sorted, and asks for several nodes of a region in a row
                self._prefix, self._region = prefix, self._nodes.region(prefix)
            node = self._region.get(path)
        return self._leaf(path) if node is None else node

    def _leaf(self, path: bytes) -> Leaf | None:
        replaced = self._replaced
        index = bisect_left(replaced, path)
        if index < len(replaced) and replaced[index].startswith(path):
            return Leaf(replaced[index][len(path) :], b"")
        row = self._connection.execute(
            "SELECT key, record FROM accounts WHERE key >= ? AND length(key) = ? ORDER BY key LIMIT 1",
            (_first_key(path), _ACCOUNT_KEY_LENGTH),
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


def _upper_id(path: bytes) -> int:
    number = 1
    for nibble in path:
        number = number << 4 | nibble
    return number


def _first_key(path: bytes) -> bytes:
    """The smallest key that can begin with path."""
    return from_nibbles(path + b"\x00" if len(path) & 1 else path)
