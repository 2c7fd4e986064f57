"""Accounts as rows: the record of an account and its way to the leaf of the account trie.

A record is one byte (the nonce's length, and whether code hash and storage root follow), the nonce, the code hash and
storage root where they are not those of nothing, and the balance as what is left. An account that only holds money
takes about ten bytes instead of the leaf's seventy.
"""

from typing import NamedTuple

from chain.account import EMPTY_CODE_HASH, Account
from chain.trie.node import EMPTY_ROOT
from chain.trie.root import account_value

_HAS_CODE = 0x10
_HAS_STORAGE = 0x20
_NONCE_LENGTH = 0x0F


class StoredAccount(NamedTuple):
    """An account with the root of its storage."""

    account: Account
    storage_root: bytes = EMPTY_ROOT

    @property
    def leaf_value(self) -> bytes:
        return account_value(self.account, self.storage_root)


class AccountRow(NamedTuple):
    """An account by its key, before and after; None where there is none."""

    key: bytes
    old: StoredAccount | None
    new: StoredAccount | None


def encode_record(stored: StoredAccount) -> bytes:
    (nonce, balance, code_hash), storage_root = stored
    nonce_length = (nonce.bit_length() + 7) >> 3
    head = nonce_length
    body = nonce.to_bytes(nonce_length, "big")
    if code_hash != EMPTY_CODE_HASH:
        head |= _HAS_CODE
        body += code_hash
    if storage_root != EMPTY_ROOT:
        head |= _HAS_STORAGE
        body += storage_root
    return bytes((head,)) + body + balance.to_bytes((balance.bit_length() + 7) >> 3, "big")


def decode_record(record: bytes) -> StoredAccount:
    head = record[0]
    end = 1 + (head & _NONCE_LENGTH)
    nonce = int.from_bytes(record[1:end], "big")
    code_hash, storage_root = EMPTY_CODE_HASH, EMPTY_ROOT
    if head & _HAS_CODE:
        code_hash = record[end : end + 32]
        end += 32
    if head & _HAS_STORAGE:
        storage_root = record[end : end + 32]
        end += 32
    return StoredAccount(Account(nonce, int.from_bytes(record[end:], "big"), code_hash), storage_root)


class StatePosition(NamedTuple):
    """Which state the database holds, and from which block on older ones can still be told."""

    number: int
    root: bytes
    history_from: int

    def encode(self) -> bytes:
        return self.number.to_bytes(8, "big") + self.root + self.history_from.to_bytes(8, "big")


def decode_position(encoded: bytes) -> StatePosition:
    return StatePosition(int.from_bytes(encoded[:8], "big"), encoded[8:40], int.from_bytes(encoded[40:], "big"))
