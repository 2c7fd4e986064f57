"""Loading a whole state of any size: a genesis, sorted by SQLite first, or one that was fetched and lies there sorted.

Keys that come in order touch a trie's right edge alone, so every node is made nearly once, and memory holds one run.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from chain.account import Account
from chain.store.account_table import AccountTable
from chain.store.cache import GenerationCache
from chain.store.records import AccountRow, StoredAccount, decode_record, encode_record
from chain.store.trie_source import AccountTrie, SlotTrie
from chain.trie.node import EMPTY_ROOT
from chain.trie.root import slot_key
from chain.trie.update import update
from primitives import rlp
from primitives.keccak import keccak256

RUN_LENGTH = 4_096
"""Accounts or slots put into a trie at once: some 4 MB, and long enough that the edge shared with the next does not
count."""


def load(
    connection: sqlite3.Connection,
    accounts: Iterable[tuple[bytes, Account]],
    storage: Mapping[bytes, Mapping[int, int]],
    codes: Mapping[bytes, bytes],
) -> bytes:
    """Write a whole state into empty tables; its root. Inside a database transaction."""
    if connection.execute("SELECT 1 FROM buckets LIMIT 1").fetchone() is not None:
        raise RuntimeError("a genesis state is loaded into an empty database only")
    connection.executemany("INSERT INTO codes VALUES (?, ?)", codes.items())
    connection.execute("CREATE TEMP TABLE unsorted_accounts (key BLOB, record BLOB)")
    try:
        connection.executemany(
            "INSERT INTO unsorted_accounts VALUES (?, ?)",
            (
                (
                    keccak256(address),
                    encode_record(StoredAccount(account, _load_slots(connection, address, storage.get(address, {})))),
                )
                for address, account in accounts
            ),
        )
        return load_accounts(connection, connection.execute("SELECT key, record FROM unsorted_accounts ORDER BY key"))
    finally:
        connection.execute("DROP TABLE unsorted_accounts")


def load_accounts(connection: sqlite3.Connection, rows: Iterator[tuple[bytes, bytes]]) -> bytes:
    """Write all accounts, given as keys in order and records, into empty tables; the root of their trie."""
    table = AccountTable(connection)
    root = EMPTY_ROOT
    while run := list(islice(rows, RUN_LENGTH)):
        accounts = [AccountRow(key, None, decode_record(record)) for key, record in run]
        result = update(AccountTrie(table), {row.key: row.new.leaf_value for row in accounts if row.new is not None})
        root = result.root
        table.write(accounts, result)
    table.lay_out()
    return root


def load_slots(connection: sqlite3.Connection, address: bytes, rows: Iterator[tuple[bytes, bytes]]) -> bytes:
    """Write the storage of an account that has none yet, given as keys in order and values; its root."""
    root = EMPTY_ROOT
    while run := list(islice(rows, RUN_LENGTH)):
        if root == EMPTY_ROOT:
            connection.execute("INSERT OR IGNORE INTO storage_addresses VALUES (?, ?)", (keccak256(address), address))
        trie = SlotTrie(connection, GenerationCache(2), address)
        result = update(trie, {key: rlp.encode(value) for key, value in run})
        root = result.root
        connection.executemany("INSERT INTO slots VALUES (?, ?, ?)", [(address, *row) for row in run])
        nodes = sorted(result.nodes.items())
        connection.executemany(
            "REPLACE INTO slot_nodes VALUES (?, ?, ?)",
            [(address, path, node) for path, node in nodes if node is not None],
        )
        connection.executemany(
            "DELETE FROM slot_nodes WHERE address = ? AND path = ?",
            [(address, path) for path, node in nodes if node is None],
        )
    return root


def _load_slots(connection: sqlite3.Connection, address: bytes, slots: Mapping[int, int]) -> bytes:
    values = sorted((slot_key(slot), rlp.encode_int(value)) for slot, value in slots.items() if value)
    return load_slots(connection, address, iter(values))
