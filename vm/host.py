"""The one window through which the interpreter sees the world: state, access lists, logs and the journal.

A Host covers one transaction at a time. Addresses are 20 bytes, slots and values ints below 2**256, amounts wei.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Log(NamedTuple):
    """One event: the emitting contract, up to four 256-bit topics, and data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What code can learn of the block it runs in."""

    number: int
    timestamp_s: int
    coinbase: bytes
    gas_limit: int
    prev_randao: int
    """Answer of opcode 0x44: the beacon of EIP-4399, or the difficulty on a proof-of-work chain."""
    base_fee: int
    """Wei per gas (EIP-1559)."""
    blob_base_fee: int
    """Wei per blob gas (EIP-7516)."""
    chain_id: int
    block_hash: Callable[[int], bytes]
    """32-byte hash of one of the last 256 blocks; zeros for any other number."""


@dataclass(frozen=True, slots=True)
class TransactionContext:
    """What code can learn of the transaction it runs in."""

    origin: bytes
    gas_price: int
    """Effective wei per gas."""
    blob_hashes: tuple[bytes, ...] = ()


class Host(Protocol):
    """State and journal as the interpreter needs them. Reading an absent account gives zeros, never an error."""

    def balance(self, address: bytes) -> int: ...

    def nonce(self, address: bytes) -> int: ...

    def code(self, address: bytes) -> bytes: ...

    def code_hash(self, address: bytes) -> bytes:
        """keccak-256 of the code; that of nothing for an account without code, 32 zero bytes for an absent account."""

    def is_empty(self, address: bytes) -> bool:
        """Whether nonce, balance and code are all empty, or the account absent (EIP-161)."""

    def is_occupied(self, address: bytes) -> bool:
        """Whether a contract cannot be created here: nonce, code or storage present (EIP-684, EIP-7610)."""

    def create_account(self, address: bytes) -> None:
        """Begin a contract at the address: nonce 1 (EIP-161), balance kept, remembered as new (EIP-6780)."""

    def increment_nonce(self, address: bytes) -> None: ...

    def set_code(self, address: bytes, code: bytes) -> None: ...

    def transfer(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """Move wei and touch both; the caller has checked that the sender has it."""

    def storage(self, address: bytes, slot: int) -> int: ...

    def original_storage(self, address: bytes, slot: int) -> int:
        """The slot's value when the transaction began (EIP-2200)."""

    def set_storage(self, address: bytes, slot: int, value: int) -> None: ...

    def transient_storage(self, address: bytes, slot: int) -> int:
        """EIP-1153."""

    def set_transient_storage(self, address: bytes, slot: int, value: int) -> None: ...

    def warm_address(self, address: bytes) -> bool:
        """Add to the accessed addresses; True where it was there already (EIP-2929)."""

    def warm_slot(self, address: bytes, slot: int) -> bool:
        """Add to the accessed slots; True where it was there already (EIP-2929)."""

    def add_refund(self, gas: int) -> None:
        """Add to (or, negative, take from) the gas to be refunded at the end (EIP-3529)."""

    def add_log(self, log: Log) -> None: ...

    def self_destruct(self, address: bytes, beneficiary: bytes) -> None:
        """Move the balance; remove the account at the end if it was created in this transaction (EIP-6780)."""

    def snapshot(self) -> int: ...

    def revert(self, snapshot: int) -> None:
        """Undo everything since the snapshot: state, logs, refunds, transient storage and accessed sets."""
