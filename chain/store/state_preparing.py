"""Working out what a block's changes make of the state: the new root, and every row to write. Nothing is written here.

Between the two stands the present state with its caches, so that what execution has read is not read again.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT, Account, StateChanges
from chain.store.account_table import AccountTable
from chain.store.cache import GenerationCache, Missing
from chain.store.records import AccountRow, StoredAccount
from chain.store.state_reader import SavedState, read_code, read_slot
from chain.store.trie_source import AccountTrie, SlotNodeCache, SlotTrie
from chain.trie.root import slot_key
from chain.trie.update import TrieUpdate, update
from primitives import rlp
from primitives.keccak import keccak256

SLOT_NODE_CACHE_LIMIT = 4_096
"""Decoded nodes of all storage tries together, 1.4 KB each where all sixteen children are there: at most 6 MB."""

ACCOUNT_CACHE_LIMIT = 16_384
"""Accounts, about 400 bytes each: at most 7 MB."""

SLOT_CACHE_LIMIT = 16_384
"""Slots, about 250 bytes each: at most 4 MB."""

CODE_CACHE_LIMIT = 64
"""Codes of at most 24 KB: 1.5 MB."""


class SlotRow(NamedTuple):
    """The row of a slot, before and after: its value as the shortest big-endian bytes, None for 0."""

    address: bytes
    key: bytes
    old: bytes | None
    new: bytes | None


@dataclass(slots=True)
class PreparedChanges:
    """Everything that committing a block's changes writes. Good for the state it was prepared on."""

    parent_root: bytes
    account_trie: TrieUpdate
    slot_tries: dict[bytes, TrieUpdate] = field(default_factory=dict)
    """By address."""
    accounts: list[AccountRow] = field(default_factory=list)
    slots: list[SlotRow] = field(default_factory=list)
    codes: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def state_root(self) -> bytes:
        return self.account_trie.root


class CachedState(SavedState):
    """The present state as the writer sees it (a StateReader), with what was used lately in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._accounts: GenerationCache[bytes, StoredAccount | None] = GenerationCache(ACCOUNT_CACHE_LIMIT)
        self._slots: GenerationCache[tuple[bytes, bytes], bytes | None] = GenerationCache(SLOT_CACHE_LIMIT)
        self._codes: GenerationCache[bytes, bytes] = GenerationCache(CODE_CACHE_LIMIT)
        self.account_table = AccountTable(connection)
        self._slot_nodes: SlotNodeCache = GenerationCache(SLOT_NODE_CACHE_LIMIT)

    def stored(self, address: bytes) -> StoredAccount | None:
        return self.stored_by_key(keccak256(address))

    def storage(self, address: bytes, slot: int) -> int:
        return int.from_bytes(self.slot_by_key(address, slot_key(slot)) or b"", "big")

    def code(self, code_hash: bytes) -> bytes:
        if code_hash == EMPTY_CODE_HASH:
            return b""
        code = self._codes.get(code_hash)
        if isinstance(code, Missing):
            code = read_code(self._connection, code_hash)
            self._codes.put(code_hash, code)
        return code

    def stored_by_key(self, key: bytes) -> StoredAccount | None:
        stored = self._accounts.get(key)
        if isinstance(stored, Missing):
            stored = self.account_table.account(key)
            self._accounts.put(key, stored)
        return stored

    def slot_by_key(self, address: bytes, key: bytes) -> bytes | None:
        value = self._slots.get((address, key))
        if isinstance(value, Missing):
            value = read_slot(self._connection, address, key)
            self._slots.put((address, key), value)
        return value

    def account_trie(self, replaced: Iterable[bytes] = ()) -> AccountTrie:
        return AccountTrie(self.account_table, replaced)

    def slot_trie(self, address: bytes) -> SlotTrie:
        return SlotTrie(self._connection, self._slot_nodes, address)

    def slot_keys(self, address: bytes) -> list[bytes]:
        """The keys of all slots of an account that hold a value."""
        return [row[0] for row in self._connection.execute("SELECT key FROM slots WHERE address = ?", (address,))]

    def absorb(self, prepared: PreparedChanges) -> None:
        """These changes are the present state now; the account table sees to its own rows."""
        for key, _, new in prepared.accounts:
            self._accounts.put(key, new)
        for address, key, _, value in prepared.slots:
            self._slots.put((address, key), value)
        for address, slot_trie in prepared.slot_tries.items():
            for path, node in slot_trie.nodes.items():
                self._slot_nodes.put((address, path), slot_trie.decoded.get(path) or node)

    def forget(self) -> None:
        """Hold nothing in memory: the database has gone back to where it was."""
        self.account_table.clear()
        for cache in (self._accounts, self._slots, self._codes, self._slot_nodes):
            cache.clear()


def prepare(present: CachedState, parent_root: bytes, changes: StateChanges) -> PreparedChanges:
    """What `changes` make of the present state, whose root is parent_root."""
    accounts: dict[bytes, Account | None] = dict(changes.accounts)
    slots: list[SlotRow] = []
    for address, values in changes.storage.items():
        if address not in accounts:
            accounts[address] = present.account(address)
        if accounts[address] is not None:
            slots += _slot_rows(present, address, {slot_key(slot): value for slot, value in values.items()})
    for address, account in changes.accounts.items():
        if account is None and present.has_storage(address):
            slots += _slot_rows(present, address, dict.fromkeys(present.slot_keys(address), 0))
    slot_tries = update_slot_tries(present, slots)
    rows = []
    for address, account in accounts.items():
        key = keccak256(address)
        old = present.stored_by_key(key)
        if account is None:
            new = None
        elif address in slot_tries:
            new = StoredAccount(account, slot_tries[address].root)
        else:
            new = StoredAccount(account, old.storage_root if old is not None else EMPTY_TRIE_ROOT)
        if new != old:
            rows.append(AccountRow(key, old, new))
    rows.sort()
    return PreparedChanges(parent_root, update_account_trie(present, rows), slot_tries, rows, slots, changes.codes)


def update_account_trie(present: CachedState, rows: list[AccountRow]) -> TrieUpdate:
    """`rows` are sorted by key."""
    source = present.account_trie([row.key for row in rows if row.old is not None])
    return update(source, {row.key: None if row.new is None else row.new.leaf_value for row in rows})


def update_slot_tries(present: CachedState, rows: list[SlotRow]) -> dict[bytes, TrieUpdate]:
    """The storage tries of all addresses that occur in rows."""
    changes: dict[bytes, dict[bytes, bytes | None]] = {}
    for address, key, _, new in rows:
        changes.setdefault(address, {})[key] = None if new is None else rlp.encode(new)
    return {address: update(present.slot_trie(address), changed) for address, changed in changes.items()}


def _slot_rows(present: CachedState, address: bytes, values: Mapping[bytes, int]) -> list[SlotRow]:
    """The rows of the slots that really change."""
    rows = []
    for key in sorted(values):
        old = present.slot_by_key(address, key)
        new = rlp.encode_int(values[key]) or None
        if new != old:
            rows.append(SlotRow(address, key, old, new))
    return rows
