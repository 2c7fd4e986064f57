"""A whole small ledger in memory that fits what the gateway asks for: real execution and pool, no store, no trie.

It makes blocks when it is told to, and can take some off again, as a reorganisation does.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from chain.account import EMPTY_TRIE_ROOT, Account, StateChanges
from chain.block import Block
from chain.block_execution import BlockExecution, block_context
from chain.config import ChainConfig
from chain.fees import expected_base_fee
from chain.header import EMPTY_OMMERS_HASH, Header
from chain.pool.pool import TransactionPool
from chain.pool.status import PoolContent, PoolStatus
from chain.receipt import EMPTY_BLOOM, Receipt, merge_blooms
from chain.state import State
from chain.transaction import Transaction
from gateway.backend import ChainView, NodeInfo, NodeStatus, PeerInfo, SyncProgress
from primitives.clock import ManualClock
from primitives.errors import Invalid
from vm.host import BlockContext

T = TypeVar("T")

CHAIN_ID = 4711
COINBASE = bytes.fromhex("c0ffee0000000000000000000000000000000000")
GENESIS_TIME_S = 1_700_000_000
NODE = NodeInfo(
    node_id=COINBASE,
    public_key=b"\x01" * 64,
    url="wattchain://0xc0FFee0000000000000000000000000000000000@192.168.1.7:30403",
    listen_host="0.0.0.0",
    listen_port=30_403,
    protocol_version=1,
    validators=(),
    is_validating=False,
    consensus_round=0,
    started_s=GENESIS_TIME_S - 60,
)
BLOCK_TIME_S = 15
REORGANISATION_CAP = 5
KEPT_STATES = 20


@dataclass
class MemoryState:
    """A state as dictionaries."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    slots: dict[bytes, dict[int, int]] = field(default_factory=dict)
    codes: dict[bytes, bytes] = field(default_factory=dict)

    def account(self, address: bytes) -> Account | None:
        return self.accounts.get(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self.slots.get(address, {}).get(slot, 0)

    def code(self, code_hash: bytes) -> bytes:
        return self.codes.get(code_hash, b"")

    def has_storage(self, address: bytes) -> bool:
        return any(self.slots.get(address, {}).values())

    def after(self, changes: StateChanges) -> "MemoryState":
        accounts = dict(self.accounts)
        slots = {address: dict(entries) for address, entries in self.slots.items()}
        for address, account in changes.accounts.items():
            if account is None:
                accounts.pop(address, None)
                slots.pop(address, None)
            else:
                accounts[address] = account
        for address, entries in changes.storage.items():
            slots.setdefault(address, {}).update(entries)
        return MemoryState(accounts, slots, self.codes | changes.codes)


@dataclass(frozen=True)
class Entry:
    """A block with all that came of it."""

    block: Block
    receipts: tuple[Receipt, ...]
    state: MemoryState


class MemoryView:
    """The chain as it is at one moment."""

    def __init__(self, config: ChainConfig, canonical: Sequence[Entry], known: dict[bytes, Entry]) -> None:
        self.config = config
        self._canonical = list(canonical)
        self._known = dict(known)

    def head(self) -> Header:
        return self._canonical[-1].block.header

    def finalized_number(self) -> int:
        return max(self.head().number - REORGANISATION_CAP, 0)

    def header_by_number(self, number: int) -> Header | None:
        block = self.block_by_number(number)
        return None if block is None else block.header

    def header_by_hash(self, block_hash: bytes) -> Header | None:
        block = self.block_by_hash(block_hash)
        return None if block is None else block.header

    def headers(self, first: int, last: int) -> Iterator[Header]:
        for entry in self._canonical[first : last + 1]:
            yield entry.block.header

    def blooms(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        return ((header.number, header.logs_bloom) for header in self.headers(first, last))

    def block_by_number(self, number: int) -> Block | None:
        return self._canonical[number].block if number < len(self._canonical) else None

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        entry = self._known.get(block_hash)
        return None if entry is None else entry.block

    def is_canonical(self, block_hash: bytes) -> bool:
        entry = self._known.get(block_hash)
        return entry is not None and self.block_by_number(entry.block.number) == entry.block

    def total_difficulty(self, block_hash: bytes) -> int | None:
        entry = self._known.get(block_hash)
        return None if entry is None else entry.block.header.difficulty * (entry.block.number + 1)

    def certificate(self, block_hash: bytes) -> bytes:
        entry = self._known.get(block_hash)
        return b"seals of " + block_hash[:4] if entry is not None and entry.block.number else b""

    def receipts(self, block_hash: bytes) -> Sequence[Receipt] | None:
        entry = self._known.get(block_hash)
        return None if entry is None else entry.receipts

    def find_transaction(self, transaction_hash: bytes) -> tuple[Block, int] | None:
        for entry in self._canonical:
            for index, transaction in enumerate(entry.block.transactions):
                if transaction.hash == transaction_hash:
                    return entry.block, index
        return None

    def state_at(self, number: int) -> MemoryState:
        if number < self.head().number - KEPT_STATES:
            raise Invalid(f"the state after block {number} is no longer kept")
        return self._canonical[number].state

    def storage_root(self, address: bytes, number: int) -> bytes:
        return EMPTY_TRIE_ROOT

    def prove_account(self, address: bytes, number: int) -> Sequence[bytes]:
        return [b"no trie", b"here"]

    def prove_slot(self, address: bytes, slot: int, number: int) -> Sequence[bytes]:
        return [b"nor here"]


class MemoryLedger:
    """A backend. Blocks are made by `mine`, nothing happens by itself."""

    def __init__(self, balances: dict[bytes, int], config: ChainConfig | None = None) -> None:
        self.config = config or ChainConfig(CHAIN_ID)
        self.clock = ManualClock(GENESIS_TIME_S)
        self.sync: SyncProgress | None = None
        self.node = NODE
        self.connected: list[PeerInfo] = []
        self.named: list[str] = []
        state = MemoryState({address: Account(balance=balance) for address, balance in balances.items()})
        genesis = Entry(Block(_header(None, GENESIS_TIME_S, self.config), ()), (), state)
        self._canonical = [genesis]
        self._known = {genesis.block.hash: genesis}
        self.pool = TransactionPool(self.config, state, genesis.block.header, self.clock)

    @property
    def view(self) -> MemoryView:
        return MemoryView(self.config, self._canonical, self._known)

    @property
    def minimum_priority_fee(self) -> int:
        return self.pool.minimum_priority_fee

    async def read(self, function: Callable[[ChainView], T]) -> T:
        return await asyncio.to_thread(function, self.view)

    async def submit(self, transaction: Transaction) -> bytes:
        return await self.pool.submit(transaction)

    def pooled_transaction(self, transaction_hash: bytes) -> Transaction | None:
        return self.pool.get(transaction_hash)

    def pool_content(self) -> PoolContent:
        return self.pool.content()

    def pool_status(self) -> PoolStatus:
        return self.pool.status()

    def pending_nonce(self, address: bytes) -> int:
        return self.pool.pending_nonce(address)

    def on_pending(self, listener: Callable[[Sequence[Transaction]], None]) -> Callable[[], None]:
        return self.pool.subscribe(listener)

    def status(self) -> NodeStatus:
        return NodeStatus("wattchain/test", COINBASE, True, 1_000, False, len(self.connected), self.sync)

    def node_info(self) -> NodeInfo:
        return self.node

    def peers(self) -> Sequence[PeerInfo]:
        return self.connected

    def add_peer(self, url: str) -> bool:
        if "://" not in url:
            raise Invalid(f"{url!r} is no node")
        self.named.append(url)
        return url != self.node.url

    def remove_peer(self, url: str) -> bool:
        was_named = url in self.named
        self.named = [other for other in self.named if other != url]
        return was_named

    def mine(self, count: int = 1, *, with_pool: bool = True, coinbase: bytes = COINBASE) -> Block:
        """So many blocks, the first with all that is pending; the last of them."""
        for _ in range(count):
            self.clock.advance_s(BLOCK_TIME_S)
            parent = self._canonical[-1]
            draft = _header(parent.block.header, self.clock.time_s(), self.config, coinbase)
            transactions = list(self.pool.pending()) if with_pool else []
            entry = self._execute(parent, draft, transactions)
            self._canonical.append(entry)
            self._known[entry.block.hash] = entry
            self.pool.head_changed(entry.state, entry.block.header, entry.block.transactions, ())
        return self._canonical[-1].block

    def take_off(self, count: int) -> None:
        """The last blocks become a side branch; their transactions are forgotten."""
        del self._canonical[-count:]
        head = self._canonical[-1]
        self.pool.head_changed(head.state, head.block.header, ())

    def _execute(self, parent: Entry, draft: Header, transactions: Sequence[Transaction]) -> Entry:
        execution = BlockExecution(State(parent.state), self._context(draft), self.config)
        for transaction in transactions:
            execution.apply(transaction)
        executed = execution.finish()
        header = _header(
            parent.block.header,
            draft.timestamp_s,
            self.config,
            draft.coinbase,
            gas_used=executed.gas_used,
            logs_bloom=merge_blooms(executed.receipts),
        )
        return Entry(Block(header, tuple(transactions)), executed.receipts, parent.state.after(executed.changes))

    def _context(self, header: Header) -> BlockContext:
        return block_context(header, self.config, lambda number: self._canonical[number].block.hash)


def _header(
    parent: Header | None,
    timestamp_s: int,
    config: ChainConfig,
    coinbase: bytes = COINBASE,
    gas_used: int = 0,
    logs_bloom: bytes = EMPTY_BLOOM,
) -> Header:
    return Header(
        parent_hash=bytes(32) if parent is None else parent.hash,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=coinbase,
        state_root=EMPTY_TRIE_ROOT,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        logs_bloom=logs_bloom,
        difficulty=1,
        number=0 if parent is None else parent.number + 1,
        gas_limit=30_000_000,
        gas_used=gas_used,
        timestamp_s=timestamp_s,
        extra_data=b"test",
        mix_hash=bytes(32),
        nonce=bytes(8),
        base_fee_per_gas=10**9 if parent is None else expected_base_fee(parent, config),
    )
