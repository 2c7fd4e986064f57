"""The block builder: makes an unsealed block on the present head from what the pool offers.

It executes with the importer's own pieces (chain/block_execution.py), so a block that it built passes import by
construction. It neither seals nor imports, and leaves no trace in the state; given a memory of candidates, it leaves
there what it executed, so that the import of the same block, sealed or not, need not do it again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from chain.account import StateChanges, StateReader
from chain.block import MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, Block
from chain.block_execution import BlockExecution, block_context
from chain.candidates import Candidate, Candidates
from chain.config import ChainConfig
from chain.consensus.difficulty import anchor_number
from chain.consensus.engine import Engine
from chain.fees import expected_base_fee, next_gas_limit
from chain.header import EMPTY_OMMERS_HASH, MAX_EXTRA_DATA_BYTES, Header
from chain.receipt import EMPTY_BLOOM
from chain.state import State
from chain.store.state_preparing import PreparedChanges
from chain.transaction import Transaction
from chain.trie.ordered import ordered_root
from chain.validity import TRANSACTION_GAS
from primitives.clock import Clock
from primitives.errors import InvalidTransaction

DEFAULT_MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""Of transactions: a full block of transfers is far below it, only one of nothing but calldata would be above. The
rule (chain/block.py) allows four times as much."""
DEFAULT_BUILD_TIME_LIMIT_S = 2.0
"""A block that takes longer to execute here would hold up every Pi that imports it."""

_UNSEALED_NONCE = bytes(8)
_log = logging.getLogger(__name__)


class HeadState(Protocol):
    """The state at the head."""

    def reader(self) -> StateReader: ...

    def prepare(self, changes: StateChanges) -> PreparedChanges:
        """What the changes would make of the state, without making it so."""


class CanonicalChain(Protocol):
    """Headers of the canonical chain."""

    def head(self) -> Header: ...

    def canonical_header(self, number: int) -> Header | None: ...

    def canonical_hash(self, number: int) -> bytes | None: ...


class PendingTransactions(Protocol):
    """Transactions in the order in which they should be tried (chain.pool.selection.Selection)."""

    def peek(self) -> Transaction | None: ...

    def take(self) -> None: ...

    def skip_sender(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BuilderSettings:
    """What the operator of a node decides about the blocks it makes."""

    coinbase: bytes
    """20-byte address that fees and reward go to."""
    extra_data: bytes = b""
    """At most 32 bytes, for anything."""
    gas_limit_target: int | None = None
    """Where the gas limit should move, by less than 1/1024 a block; None leaves it."""
    max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES
    build_time_limit_s: float = DEFAULT_BUILD_TIME_LIMIT_S

    def __post_init__(self) -> None:
        if len(self.coinbase) != 20:
            raise ValueError("the coinbase must be an address of 20 bytes")
        if len(self.extra_data) > MAX_EXTRA_DATA_BYTES:
            raise ValueError(f"the extra data of a block is at most {MAX_EXTRA_DATA_BYTES} bytes")
        if self.max_block_bytes > MAX_BLOCK_BYTES // 2:  # Header and prefixes come on top.
            raise ValueError(f"the transactions of a block take at most {MAX_BLOCK_BYTES // 2} bytes")


class BlockBuilder:
    """Builds on the head of one chain."""

    def __init__(
        self,
        config: ChainConfig,
        engine: Engine,
        clock: Clock,
        chain: CanonicalChain,
        state: HeadState,
        settings: BuilderSettings,
        stopwatch_s: Callable[[], float] = time.perf_counter,
        candidates: Candidates | None = None,
    ) -> None:
        """`stopwatch_s` measures this machine's effort, which has nothing to do with the ledger's time.

        `candidates` are the ledger's own (chain.ledger.Ledger.candidates).
        """
        self._config = config
        self._engine = engine
        self._clock = clock
        self._chain = chain
        self._state = state
        self._settings = settings
        self._stopwatch_s = stopwatch_s
        self._candidates = candidates

    def build(self, pending: PendingTransactions) -> Block:
        """A block on the present head of what is pending; with proof of work, complete but for mix_hash and nonce."""
        parent = self._chain.head()
        draft = self._draft(parent)
        context = block_context(draft, self._config, self._canonical_hash)
        execution = BlockExecution(State(self._state.reader()), context, self._config)
        transactions = self._fill(execution, pending)
        executed = execution.finish()
        prepared = self._state.prepare(executed.changes)
        header = replace(
            draft,
            state_root=prepared.state_root,
            transactions_root=ordered_root([transaction.encoded for transaction in transactions]),
            receipts_root=ordered_root([receipt.encode() for receipt in executed.receipts]),
            logs_bloom=executed.logs_bloom,
            gas_used=executed.gas_used,
        )
        block = Block(header, tuple(transactions))
        if self._candidates is not None:
            self._candidates.remember(header, Candidate(block.transactions, executed, prepared))
        return block

    def _draft(self, parent: Header) -> Header:
        """The header with all that is known before anything is executed."""
        settings = self._settings
        timestamp_s = max(parent.timestamp_s + self._engine.period_s, self._clock.time_s())
        number = anchor_number(parent.number)
        anchor = None if number is None else self._chain.canonical_header(number)
        target = parent.gas_limit if settings.gas_limit_target is None else settings.gas_limit_target
        return Header(
            parent.hash,
            EMPTY_OMMERS_HASH,
            settings.coinbase,
            bytes(32),
            bytes(32),
            bytes(32),
            EMPTY_BLOOM,
            self._engine.next_difficulty(parent, timestamp_s, anchor),
            parent.number + 1,
            next_gas_limit(parent.gas_limit, target),
            0,
            timestamp_s,
            settings.extra_data,
            self._engine.mix_hash,
            _UNSEALED_NONCE,
            expected_base_fee(parent, self._config),
        )

    def _fill(self, execution: BlockExecution, pending: PendingTransactions) -> list[Transaction]:
        """Apply what fits, best first; a transaction that cannot be used takes its sender's later ones with it."""
        transactions: list[Transaction] = []
        bytes_left = self._settings.max_block_bytes
        deadline_s = self._stopwatch_s() + self._settings.build_time_limit_s
        while (transaction := pending.peek()) is not None:
            if execution.gas_left < TRANSACTION_GAS or self._stopwatch_s() > deadline_s:
                break
            if len(transactions) == MAX_BLOCK_TRANSACTIONS:
                break
            size = len(transaction.encoded)
            if size > bytes_left or transaction.gas_limit > execution.gas_left:
                pending.skip_sender()
                continue
            try:
                execution.apply(transaction)
            except InvalidTransaction as error:
                _log.info("transaction 0x%s is left out: %s", transaction.hash.hex(), error)
                pending.skip_sender()
                continue
            transactions.append(transaction)
            bytes_left -= size
            pending.take()
        return transactions

    def _canonical_hash(self, number: int) -> bytes:
        return self._chain.canonical_hash(number) or bytes(32)
