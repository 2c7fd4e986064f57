"""Pieces of a trie of the state (chain/state_pieces.py), read from wherever that trie lies."""

from collections.abc import Callable

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT
from chain.state_pieces import AccountLeaf, AccountLeaves, SlotLeaf, SlotLeaves, TrieNode
from chain.store.records import decode_record
from chain.store.trie_source import StateTrie, first_key, last_key

# What an encoded piece takes, at most: its own framing and kind, and for each leaf framing, key and fields.
_PIECE_BYTES = 9
_ACCOUNT_BYTES = 2 + 33 + 1 + 1 + 1 + 1 + 1
_CODE_HASH_BYTES = 32
_STORAGE_BYTES = 32 + 20
_SLOT_BYTES = 2 + 33 + 1


def account_piece(
    trie: StateTrie, path: bytes, max_bytes: int, address_of: Callable[[bytes], bytes]
) -> AccountLeaves | TrieNode | None:
    """What stands at a path of an account trie; `address_of` finds the address for the key of an account that has
    storage."""
    leaves: list[AccountLeaf] = []
    size = _PIECE_BYTES
    for key, row in trie.rows(first_key(path), last_key(path)):
        stored = decode_record(row)
        nonce, balance, code_hash = stored.account
        size += _ACCOUNT_BYTES + (nonce.bit_length() + balance.bit_length() + 14) // 8
        if code_hash != EMPTY_CODE_HASH:
            size += _CODE_HASH_BYTES
        has_storage = stored.storage_root != EMPTY_TRIE_ROOT
        if has_storage:
            size += _STORAGE_BYTES
        if size > max_bytes:
            return _node(trie, path)
        leaves.append(AccountLeaf(key, stored, address_of(key) if has_storage else b""))
    return AccountLeaves(tuple(leaves)) if leaves else None


def slot_piece(trie: StateTrie, path: bytes, max_bytes: int) -> SlotLeaves | TrieNode | None:
    """What stands at a path of a storage trie."""
    leaves: list[SlotLeaf] = []
    size = _PIECE_BYTES
    for key, value in trie.rows(first_key(path), last_key(path)):
        size += _SLOT_BYTES + len(value)
        if size > max_bytes:
            return _node(trie, path)
        leaves.append(SlotLeaf(key, value))
    return SlotLeaves(tuple(leaves)) if leaves else None


def _node(trie: StateTrie, path: bytes) -> TrieNode | None:
    encoded = trie.encoded(path)
    return None if encoded is None else TrieNode(encoded)
