"""Accounts and changes to them: the values that pass between execution, the state store and the trie.

Storage is a mapping of 256-bit slot to 256-bit value, where 0 means absent. Code is known by its keccak-256.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from primitives import rlp
from primitives.keccak import EMPTY_DIGEST, keccak256

EMPTY_CODE_HASH = EMPTY_DIGEST
EMPTY_TRIE_ROOT = keccak256(rlp.encode(b""))


class Account(NamedTuple):
    """An account without its storage. A tuple, since execution makes one for every change it writes."""

    nonce: int = 0
    balance: int = 0
    """In wei."""
    code_hash: bytes = EMPTY_CODE_HASH


EMPTY_ACCOUNT = Account()


@dataclass(slots=True)
class StateChanges:
    """What a block (or a transaction) did to the state, ready to be applied at once.

    An account that maps to None is removed, and its whole storage with it. A slot that maps to 0 is removed. An account
    whose storage alone changed appears in both mappings.
    """

    accounts: dict[bytes, Account | None] = field(default_factory=dict)
    storage: dict[bytes, dict[int, int]] = field(default_factory=dict)
    codes: dict[bytes, bytes] = field(default_factory=dict)


class StateReader(Protocol):
    """One state, unchanging, read by address."""

    def account(self, address: bytes) -> Account | None: ...

    def storage(self, address: bytes, slot: int) -> int: ...

    def code(self, code_hash: bytes) -> bytes: ...

    def has_storage(self, address: bytes) -> bool:
        """Whether any slot of the address holds a value (EIP-7610)."""
