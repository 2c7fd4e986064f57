"""Loading a genesis state of any size: sorted by SQLite, put into the trie in runs of neighbouring keys.

Keys that come in order touch the trie's right edge alone, so every node is made nearly once, and memory holds one run.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from itertools import islice

from chain.account import Account
from chain.store.account_table import AccountTable
from chain.store.cache import GenerationCache
from chain.store.records import AccountRow, StoredAccount, decode_record, encode_record
from chain.store.trie_source import AccountTrie, SlotTrie
from chain.trie.node import EMPTY_ROOT
from chain.trie.root import slot_key, storage_value
from chain.trie.update import update
from primitives import rlp
from primitives.keccak import keccak256

RUN_LENGTH = 4_096
"""Accounts put into the trie at once: some 4 MB, and long enough that the edge shared with the next does not count."""


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
        return _load_accounts(connection)
    finally:
        connection.execute("DROP TABLE unsorted_accounts")


def _load_accounts(connection: sqlite3.Connection) -> bytes:
    table = AccountTable(connection)
    rows = connection.execute("SELECT key, record FROM unsorted_accounts ORDER BY key")
    root = EMPTY_ROOT
    while run := list(islice(rows, RUN_LENGTH)):
        accounts = [AccountRow(key, None, decode_record(record)) for key, record in run]
        result = update(AccountTrie(table), {row.key: row.new.leaf_value for row in accounts if row.new is not None})
        root = result.root
        table.write(accounts, result)
    table.lay_out()
    return root


def _load_slots(connection: sqlite3.Connection, address: bytes, slots: Mapping[int, int]) -> bytes:
    """Write an account's storage; its root."""
    values = {slot_key(slot): value for slot, value in slots.items() if value}
    if not values:
        return EMPTY_ROOT
    result = update(
        SlotTrie(connection, GenerationCache(2), address), {key: storage_value(value) for key, value in values.items()}
    )
    connection.executemany(
        "INSERT INTO slots VALUES (?, ?, ?)",
        [(address, key, rlp.encode_int(value)) for key, value in sorted(values.items())],
    )
    connection.executemany(
        "INSERT INTO slot_nodes VALUES (?, ?, ?)",
        [(address, path, node) for path, node in sorted(result.nodes.items())],
    )
    return result.root
