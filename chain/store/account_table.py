"""Accounts and the inner nodes of their trie, laid out so that a change to one of a million accounts touches few pages.

The upper levels of the trie have a table of their own, level by level. Everything whose path begins with the same four
nibbles, accounts and deeper nodes, is one row, a bucket: one page is read and written for all that a change needs below
the upper levels. A bucket holds fifteen accounts of a million, and one of a few thousand.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import accumulate

from chain.store.cache import MISSING, GenerationCache, Missing
from chain.store.records import AccountRow, StoredAccount, decode_record, encode_record
from chain.trie.nibbles import to_nibbles
from chain.trie.node import InnerNode, Leaf, decode, encode
from chain.trie.update import TrieUpdate

UPPER_LEVELS = 4
"""Levels of the trie that have their own table, and are held in memory as they are used: 1 + 16 + 256 + 4,096 nodes of
1.4 KB at most, 6 MB. Every change passes them."""

BUCKET_CACHE_LIMIT = 2_048
"""Buckets in memory: some 4 KB each with a million accounts. Those of one block are needed three times."""

_REST_LENGTH = 30
"""Bytes of an account's key that its bucket's number does not tell."""


class AccountTable:
    """The rows, with those used lately in memory. For one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._upper: dict[bytes, InnerNode | bytes | None] = {}
        """As RLP where it need not be taken apart."""
        self._buckets: GenerationCache[int, Bucket] = GenerationCache(BUCKET_CACHE_LIMIT)

    def account(self, key: bytes) -> StoredAccount | None:
        record = self.bucket(key[0] << 8 | key[1]).record(key[2:])
        return None if record is None else decode_record(record)

    def inner(self, path: bytes) -> InnerNode | None:
        """The branch or extension stored at path."""
        if len(path) >= UPPER_LEVELS:
            return self.bucket(_bucket_of(path)).node(path[UPPER_LEVELS:])
        node = self._upper_node(path)
        if isinstance(node, bytes):
            node = self._upper[path] = decode_inner(node)
        return node

    def encoded(self, path: bytes) -> bytes | None:
        """The same as RLP."""
        if len(path) >= UPPER_LEVELS:
            return self.bucket(_bucket_of(path)).encoded_node(path[UPPER_LEVELS:])
        node = self._upper_node(path)
        return node if node is None or isinstance(node, bytes) else encode(node)

    def leaf(self, path: bytes) -> Leaf | None:
        """The leaf of the one account whose key begins with path."""
        number = _bucket_of(path)
        if len(path) < UPPER_LEVELS:
            row = self._connection.execute("SELECT min(id) FROM buckets WHERE id >= ?", (number,)).fetchone()
            if row[0] is None:
                return None
            number = row[0]
        bucket = self.bucket(number)
        for rest, record in bucket.accounts():
            nibbles = to_nibbles(number.to_bytes(2, "big") + rest)
            if nibbles.startswith(path):
                return Leaf(nibbles[len(path) :], decode_record(record).leaf_value)
        return None

    def records(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, record) of the accounts from one key to another, both included, in order."""
        rows = self._connection.execute(
            "SELECT id, row FROM buckets WHERE id BETWEEN ? AND ? ORDER BY id",
            (int.from_bytes(first[:2], "big"), int.from_bytes(last[:2], "big")),
        )
        for number, row in rows:
            start = number.to_bytes(2, "big")
            for rest, record in Bucket(row).accounts():
                key = start + rest
                if first <= key <= last:
                    yield key, record

    def write(self, accounts: Iterable[AccountRow], update: TrieUpdate) -> None:
        """Store changed accounts and what they made of the trie."""
        buckets: dict[int, Bucket] = {}  # the cache may let go of some while they are being changed
        for key, _, new in accounts:
            number = key[0] << 8 | key[1]
            bucket = buckets[number] = buckets.get(number) or self.bucket(number)
            bucket.put_record(key[2:], None if new is None else encode_record(new))
        upper: list[tuple[int, bytes | None]] = []
        for path, encoded in update.nodes.items():
            if len(path) < UPPER_LEVELS:
                upper.append((_upper_id(path), encoded))
                self._upper[path] = update.decoded.get(path) or encoded
            else:
                number = _bucket_of(path)
                bucket = buckets[number] = buckets.get(number) or self.bucket(number)
                bucket.put_node(path[UPPER_LEVELS:], encoded, update.decoded.get(path))
        upper.sort()
        rows = [(number, buckets[number].encode()) for number in sorted(buckets)]
        execute_many = self._connection.executemany
        execute_many("REPLACE INTO upper_nodes VALUES (?, ?)", [row for row in upper if row[1] is not None])
        execute_many("DELETE FROM upper_nodes WHERE id = ?", [row[:1] for row in upper if row[1] is None])
        execute_many("REPLACE INTO buckets VALUES (?, ?)", [row for row in rows if row[1]])
        execute_many("DELETE FROM buckets WHERE id = ?", [row[:1] for row in rows if not row[1]])

    def lay_out(self) -> None:
        """Write the upper nodes again in one go, so that they fill their pages."""
        rows = self._connection.execute("SELECT id, node FROM upper_nodes ORDER BY id").fetchall()
        self._connection.execute("DELETE FROM upper_nodes")
        self._connection.executemany("INSERT INTO upper_nodes VALUES (?, ?)", rows)

    def clear(self) -> None:
        self._upper.clear()
        self._buckets.clear()

    def _upper_node(self, path: bytes) -> InnerNode | bytes | None:
        node = self._upper.get(path, MISSING)
        if isinstance(node, Missing):
            row = self._connection.execute("SELECT node FROM upper_nodes WHERE id = ?", (_upper_id(path),)).fetchone()
            node = self._upper[path] = None if row is None else row[0]
        return node

    def bucket(self, number: int) -> "Bucket":
        bucket = self._buckets.get(number)
        if isinstance(bucket, Missing):
            bucket = read_bucket(self._connection, number)
            self._buckets.put(number, bucket)
        return bucket


class Bucket:
    """The accounts and inner nodes below one path of UPPER_LEVELS nibbles.

    As a row: the number of accounts (2 bytes), their keys without the first two bytes, in order, the lengths of their
    records (a byte each), the records; then for each node, in the order of paths, how many nibbles of its path are
    left, those nibbles, the length of its RLP (2 bytes), its RLP. It is taken apart when the need arises.
    """

    __slots__ = ("_decoded", "_encoded", "_keys", "_records", "_row")

    def __init__(self, row: bytes) -> None:
        self._row = row
        self._keys = row[2 : 2 + _REST_LENGTH * (row[0] << 8 | row[1])] if row else b""
        self._records: list[bytes] | None = None
        self._encoded: dict[bytes, bytes] = {}
        self._decoded: dict[bytes, InnerNode] = {}

    def record(self, rest: bytes) -> bytes | None:
        """The record of the account with this rest of a key."""
        index = self._index(rest)
        if index < 0:
            return None
        if self._records is not None:
            return self._records[index]
        lengths = 2 + len(self._keys)
        length = self._row[lengths + index]
        begin = lengths + len(self._keys) // _REST_LENGTH + sum(self._row[lengths : lengths + index])
        return self._row[begin : begin + length]

    def accounts(self) -> list[tuple[bytes, bytes]]:
        """(rest of the key, record) in the order of keys."""
        records = self._take_apart()
        return [(self._keys[i * _REST_LENGTH : (i + 1) * _REST_LENGTH], record) for i, record in enumerate(records)]

    def node(self, rest: bytes) -> InnerNode | None:
        """The inner node at the rest of a path."""
        node = self._decoded.get(rest)
        if node is None:
            encoded = self.encoded_node(rest)
            if encoded is not None:
                node = self._decoded[rest] = decode_inner(encoded)
        return node

    def encoded_node(self, rest: bytes) -> bytes | None:
        """The same as RLP."""
        self._take_apart()
        return self._encoded.get(rest)

    def put_record(self, rest: bytes, record: bytes | None) -> None:
        """Set or, with None, remove an account."""
        records = self._take_apart()
        index = self._index(rest)
        if index < 0:
            if record is not None:
                entries = sorted([*self.accounts(), (rest, record)])
                self._keys = b"".join([key for key, _ in entries])
                self._records = [value for _, value in entries]
        elif record is None:
            self._keys = self._keys[: index * _REST_LENGTH] + self._keys[(index + 1) * _REST_LENGTH :]
            del records[index]
        else:
            records[index] = record

    def put_node(self, rest: bytes, encoded: bytes | None, decoded: InnerNode | None) -> None:
        """Set or, with None, remove a node."""
        self._take_apart()
        self._decoded.pop(rest, None)
        if encoded is None:
            self._encoded.pop(rest, None)
            return
        self._encoded[rest] = encoded
        if decoded is not None:
            self._decoded[rest] = decoded

    def encode(self) -> bytes:
        """The row; empty where there is nothing."""
        records = self._take_apart()
        if not records:
            return b""
        parts = [len(records).to_bytes(2, "big"), self._keys, bytes(map(len, records)), *records]
        for rest in sorted(self._encoded):
            node = self._encoded[rest]
            parts += (bytes((len(rest),)), rest, len(node).to_bytes(2, "big"), node)
        return b"".join(parts)

    def _index(self, rest: bytes) -> int:
        """Which account this is; -1 for none."""
        position = self._keys.find(rest)
        while position % _REST_LENGTH and position >= 0:  # found across two keys
            position = self._keys.find(rest, position + 1)
        return position // _REST_LENGTH

    def _take_apart(self) -> list[bytes]:
        if self._records is not None:
            return self._records
        row = self._row
        count = len(self._keys) // _REST_LENGTH
        lengths_begin = 2 + len(self._keys)
        begin = lengths_begin + count
        lengths = row[lengths_begin:begin]
        ends = list(accumulate(lengths, initial=begin))
        self._records = [row[ends[index] : ends[index + 1]] for index in range(count)]
        position = ends[-1]
        while position < len(row):
            rest_end = position + 1 + row[position]
            node_begin = rest_end + 2
            node_end = node_begin + (row[rest_end] << 8 | row[rest_end + 1])
            self._encoded[row[position + 1 : rest_end]] = row[node_begin:node_end]
            position = node_end
        self._row = b""
        return self._records


def read_bucket(connection: sqlite3.Connection, number: int) -> Bucket:
    row = connection.execute("SELECT row FROM buckets WHERE id = ?", (number,)).fetchone()
    return Bucket(b"" if row is None else row[0])


def read_account(connection: sqlite3.Connection, key: bytes) -> StoredAccount | None:
    """One account straight from the database."""
    record = read_bucket(connection, key[0] << 8 | key[1]).record(key[2:])
    return None if record is None else decode_record(record)


def decode_inner(encoded: bytes) -> InnerNode:
    """A stored branch or extension."""
    node = decode(encoded)
    if isinstance(node, Leaf):
        raise RuntimeError("a leaf is stored among the inner nodes of a trie")
    return node


def _bucket_of(path: bytes) -> int:
    """The first bucket below a path."""
    number = 0
    for nibble in path[:UPPER_LEVELS].ljust(UPPER_LEVELS, b"\x00"):
        number = number << 4 | nibble
    return number


def _upper_id(path: bytes) -> int:
    number = 1
    for nibble in path:
        number = number << 4 | nibble
    return number
