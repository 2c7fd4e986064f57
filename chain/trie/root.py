"""What the state's tries hold (Yellow Paper, 4.1), and the root of a whole state computed in memory."""

from collections.abc import Mapping

from chain.account import EMPTY_CODE_HASH, Account
from chain.trie.node import EMPTY_ROOT
from chain.trie.update import build
from primitives import rlp
from primitives.keccak import keccak256

_EMPTY_ROOT_AND_CODE = b"\xa0" + EMPTY_ROOT + b"\xa0" + EMPTY_CODE_HASH


def trie_root(entries: Mapping[bytes, bytes]) -> bytes:
    """The root of the trie that holds exactly these keys and values."""
    return build(entries).root


def storage_root(slots: Mapping[int, int]) -> bytes:
    """The root of an account's storage. Slots that hold 0 are absent."""
    return trie_root({slot_key(slot): storage_value(value) for slot, value in slots.items() if value})


def state_root(accounts: Mapping[bytes, Account | None], storage: Mapping[bytes, Mapping[int, int]]) -> bytes:
    """The root of a state given whole: accounts by address, and the storage of those that have some."""
    return trie_root(
        {
            keccak256(address): account_value(account, storage_root(storage.get(address, {})))
            for address, account in accounts.items()
            if account is not None
        }
    )


def slot_key(slot: int) -> bytes:
    """The key of a slot in its storage trie."""
    return keccak256(slot.to_bytes(32, "big"))


def storage_value(value: int) -> bytes:
    """What a storage trie holds for a slot that is not 0."""
    return rlp.encode(rlp.encode_int(value))


def account_value(account: Account, root: bytes = EMPTY_ROOT) -> bytes:
    """What the account trie holds for an account whose storage has the given root."""
    nonce, balance, code_hash = account
    balance_bytes = balance.to_bytes((balance.bit_length() + 7) >> 3, "big")
    if 0 < nonce < 0x80 and balance >= 0x80:  # written out, since every changed account passes here
        payload = bytes((nonce, 0x80 + len(balance_bytes))) + balance_bytes
    else:
        payload = rlp.encode(rlp.encode_int(nonce)) + rlp.encode(balance_bytes)
    if code_hash == EMPTY_CODE_HASH and root == EMPTY_ROOT:
        payload += _EMPTY_ROOT_AND_CODE
    else:
        payload += b"\xa0" + root + b"\xa0" + code_hash
    return bytes((0xF8, len(payload))) + payload  # at least the two hashes, at most 9 and 33 bytes more
