"""What pool tests share: senders with keys, an account table in place of a state, and heads that follow each other."""

from dataclasses import replace

from chain.account import Account
from chain.config import ChainConfig
from chain.header import EMPTY_OMMERS_HASH, Header
from chain.pool.admission import PoolLimits
from chain.pool.journal import PoolJournal
from chain.pool.pool import TransactionPool
from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from primitives import secp256k1
from primitives.clock import ManualClock

CHAIN_ID = 77
RICH = 10**24
RECIPIENT = b"\x99" * 20

KEYS = [bytes(31) + bytes((number,)) for number in range(1, 100)]
ADDRESSES = [secp256k1.address_of(key) for key in KEYS]


class Accounts:
    """A state of accounts alone."""

    def __init__(self, accounts: dict[bytes, Account] | None = None) -> None:
        self.accounts = {address: Account(0, RICH) for address in ADDRESSES} if accounts is None else accounts

    def account(self, address: bytes) -> Account | None:
        return self.accounts.get(address)

    def having(self, sender: int, nonce: int = 0, balance: int = RICH) -> "Accounts":
        """The same, but for one sender."""
        return Accounts({**self.accounts, ADDRESSES[sender]: Account(nonce, balance)})


def header(
    number: int = 10, parent_hash: bytes = bytes(32), gas_limit: int = 10_000_000, base_fee: int = 0, gas_used: int = 0
) -> Header:
    zeros = bytes(32)
    return Header(
        parent_hash, EMPTY_OMMERS_HASH, bytes(20), zeros, zeros, zeros, bytes(256), 1, number, gas_limit, gas_used,
        1_700_000_000 + number, b"", zeros, bytes(8), base_fee,
    )  # fmt: skip


def child(parent: Header, **changes: int) -> Header:
    return header(parent.number + 1, parent.hash, parent.gas_limit, parent.base_fee_per_gas, **changes)


def transaction(sender: int = 0, nonce: int = 0, tip: int = 10, **changes: object) -> Transaction:
    """A signed transfer of nothing that pays at most 1,000 wei per gas, the tip included."""
    unsigned = Transaction(DYNAMIC_FEE, CHAIN_ID, nonce, tip, max(1_000, tip), 21_000, RECIPIENT, 0, b"")
    return sign_transaction(replace(unsigned, **changes), KEYS[sender])


def pool(
    accounts: Accounts | None = None,
    head: Header | None = None,
    clock: ManualClock | None = None,
    journal: PoolJournal | None = None,
    config: ChainConfig | None = None,
    **limits: int,
) -> TransactionPool:
    return TransactionPool(
        config or ChainConfig(CHAIN_ID),
        accounts or Accounts(),
        head or header(),
        clock or ManualClock(),
        journal,
        PoolLimits(**limits),
    )
