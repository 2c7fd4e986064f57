"""The one door through which a block enters the chain, whether it was made here or came from a peer.

Cheap checks come first: header against parent, seal, transactions root. A block on a side branch is kept unexecuted;
when its branch becomes the heaviest, one database transaction rolls back to the fork and executes the branch, or, where
a block of the branch turns out to be invalid, leaves everything as it was. Where blocks are final there are no
branches: nothing but a child of the head is taken, and its certificate is checked before anything is executed.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from chain.block import Block, check_body
from chain.block_execution import BlockExecution, ExecutedBlock, block_context
from chain.candidates import Candidate, Candidates
from chain.config import ChainConfig
from chain.consensus.difficulty import anchor_number
from chain.consensus.engine import Engine
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from chain.header_rules import check_clock, check_header
from chain.receipt import Receipt
from chain.state import State
from chain.store.blocks import BlockStore
from chain.store.database import Database
from chain.store.state import StateStore
from chain.trie.ordered import ordered_root
from primitives.clock import Clock
from primitives.errors import InvalidBlock, InvalidTransaction

DEFAULT_REORGANISATION_CAP = 128
"""Blocks that a heavier branch may replace at most. Deeper history is settled: a majority that was cut off for longer
must be brought back by an operator, rather than undo half an hour of bills unasked."""

MAX_REMEMBERED_INVALID = 1_024
"""Hashes of blocks found invalid, so that sending one again costs us nothing; the oldest are forgotten."""


class UnknownParent(InvalidBlock):
    """The block may be good, but its parent is not here."""


class ReorganisationTooDeep(InvalidBlock):
    """The block's branch is heavier, but leaves ours further back than the cap allows."""


class ImportStatus(Enum):
    EXTENDED = "extended"
    REORGANISED = "reorganised"
    SIDE_BRANCH = "side branch"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of a block, and how the canonical chain changed: blocks taken off it and put on it, in order."""

    status: ImportStatus
    head: Header
    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = ()
    receipts: tuple[Sequence[Receipt], ...] = field(default=(), repr=False)
    """Of the connected blocks, one sequence a block."""
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """Of the connected blocks as well: what proves each beside its header, empty with proof of work."""


class Importer:
    """Owns the writing side of one chain. Not thread-safe: one thread at a time may import."""

    def __init__(
        self,
        config: ChainConfig,
        database: Database,
        blocks: BlockStore,
        state: StateStore,
        engine: Engine,
        clock: Clock,
        reorganisation_cap: int = DEFAULT_REORGANISATION_CAP,
        candidates: Candidates | None = None,
    ) -> None:
        """`candidates` is where the builder on the same chain leaves what it executed."""
        self._config = config
        self._database = database
        self._blocks = blocks
        self._state = state
        self._engine = engine
        self._clock = clock
        self._reorganisation_cap = reorganisation_cap
        self._candidates = Candidates() if candidates is None else candidates
        self._invalid: OrderedDict[bytes, None] = OrderedDict()

    def import_block(self, block: Block, certificate: bytes = b"") -> ImportResult:
        """Take one block in. Raises InvalidBlock (or UnknownParent, BlockFromFuture) and changes nothing."""
        header, head = block.header, self._head()
        if self._blocks.header(block.hash) is not None:
            return ImportResult(ImportStatus.KNOWN, head)
        if self._engine.is_final and header.number <= head.number:
            raise InvalidBlock(f"block {header.number} is not the one that is final here")
        validators = self._check_header(header)
        self._engine.check_certificate(header, certificate, validators)
        if not self._engine.is_final:
            check_clock(header, self._clock.time_s())
        # Before the body is looked at: work at the difficulty of long ago may be cheap.
        if header.number <= head.number - self._reorganisation_cap:
            raise ReorganisationTooDeep(
                f"block {header.number} is not on our chain and lies more than {self._reorganisation_cap} blocks "
                f"below its head, {head.number}"
            )
        candidate = self._candidates.find(header)
        if candidate is not None and candidate.has(block.transactions):
            block = Block(header, candidate.transactions)  # Their senders are known.
        else:
            check_body(block)
        if header.parent_hash == head.hash:
            return self._extend(block, certificate)
        total_difficulty = self._total_difficulty(header)
        if total_difficulty <= self._total_difficulty(head):
            with self._database.transaction():
                self._blocks.put(block, total_difficulty)
            return ImportResult(ImportStatus.SIDE_BRANCH, head)
        return self._reorganise(block, head)

    def check_proposal(self, block: Block) -> None:
        """Whether the block could be imported next, if it were certified. Its execution is remembered for that moment.

        Raises InvalidBlock (or BlockFromFuture); nothing is stored.
        """
        header, head = block.header, self._head()
        if header.parent_hash != head.hash:
            raise InvalidBlock(f"block {header.number} does not stand on this node's head, block {head.number}")
        self._check_header(header)
        check_clock(header, self._clock.time_s())
        known = self._candidates.find(header)
        if known is not None and known.has(block.transactions):
            return
        check_body(block)
        try:
            self._candidates.remember(header, self._execute(block))
        except InvalidBlock:
            self._remember_invalid([block])
            raise

    def _check_header(self, header: Header) -> ValidatorSet | None:
        """All that needs no body; who may vote on the block. Raises InvalidBlock."""
        if header.hash in self._invalid or header.parent_hash in self._invalid:
            raise InvalidBlock(f"block 0x{header.hash.hex()} is, or stands on, a block that was found invalid")
        parent = self._blocks.header(header.parent_hash)
        if parent is None:
            raise UnknownParent(f"the parent 0x{header.parent_hash.hex()} of block {header.number} is not known")
        check_header(header, parent, self.anchor(parent), self._config, self._engine)
        # The present state is the parent's wherever anybody votes: only children of the head come that far.
        validators = self._engine.validators_of(header.number, self._state.reader())
        self._engine.check_builder(header, validators)
        return validators

    def _extend(self, block: Block, certificate: bytes) -> ImportResult:
        try:
            with self._database.transaction():
                executed = self._connect(block, certificate)
        except InvalidBlock:
            self._remember_invalid([block])
            raise
        return ImportResult(ImportStatus.EXTENDED, block.header, (), (block,), (executed.receipts,), (certificate,))

    def _reorganise(self, block: Block, head: Header) -> ImportResult:
        branch = self._branch_to_canonical(block)
        fork_number = branch[0].number - 1
        depth = head.number - fork_number
        if depth > self._reorganisation_cap:
            raise ReorganisationTooDeep(
                f"the branch of block {block.number} leaves ours {depth} blocks back; "
                f"at most {self._reorganisation_cap} are undone"
            )
        if fork_number < self._state.position().history_from:
            raise ReorganisationTooDeep(
                f"the branch of block {block.number} leaves ours at block {fork_number}; the way back is kept down to "
                f"block {self._state.position().history_from} only"
            )
        disconnected: list[Block] = []
        receipts: list[Sequence[Receipt]] = []
        with self._database.transaction():
            for number in range(head.number, fork_number, -1):
                disconnected.append(self._disconnect(number))
            for position, branch_block in enumerate(branch):
                try:
                    receipts.append(self._connect(branch_block).receipts)
                except InvalidBlock:
                    self._remember_invalid(branch[position:])
                    raise
        disconnected.reverse()
        return ImportResult(
            ImportStatus.REORGANISED,
            block.header,
            tuple(disconnected),
            tuple(branch),
            tuple(receipts),
            (b"",) * len(branch),
        )

    def _connect(self, block: Block, certificate: bytes = b"") -> ExecutedBlock:
        """Execute on top of the present head unless that was done, check, write. Inside a database transaction."""
        candidate = self._candidates.find(block.header) or self._execute(block)
        self._candidates.clear()
        self._state.commit(block.number, candidate.prepared)
        self._blocks.put(block, self._total_difficulty(block.header), certificate)
        self._blocks.connect(block, candidate.executed.receipts)
        return candidate.executed

    def _disconnect(self, number: int) -> Block:
        block = self._blocks.canonical_block(number)
        if block is None:
            raise RuntimeError(f"the canonical block {number} is missing from the database")
        self._state.rollback(number)
        self._blocks.disconnect(number)
        return block

    def _execute(self, block: Block) -> Candidate:
        """On top of the present head. Raises InvalidBlock where the outcome is not what the header says."""
        header = block.header
        context = block_context(header, self._config, self._canonical_hash)
        execution = BlockExecution(State(self._state.reader()), context, self._config)
        for index, transaction in enumerate(block.transactions):
            try:
                execution.apply(transaction)
            except InvalidTransaction as error:
                raise InvalidBlock(f"transaction {index} of block {header.number}: {error}") from error
        executed = execution.finish()
        if executed.gas_used != header.gas_used:
            raise InvalidBlock(f"the block says it used {header.gas_used} gas, it used {executed.gas_used}")
        if executed.logs_bloom != header.logs_bloom:
            raise InvalidBlock("the block's logs bloom is not that of its receipts")
        if receipts_root(executed.receipts) != header.receipts_root:
            raise InvalidBlock("the block's receipts root is not that of its receipts")
        prepared = self._state.prepare(executed.changes)
        if prepared.state_root != header.state_root:
            raise InvalidBlock(
                f"the block's state root is 0x{header.state_root.hex()}, its transactions lead to "
                f"0x{prepared.state_root.hex()}"
            )
        return Candidate(block.transactions, executed, prepared)

    def _branch_to_canonical(self, block: Block) -> list[Block]:
        """The block and its ancestors that are not canonical, oldest first."""
        branch = [block]
        while self._blocks.canonical_hash(branch[-1].number - 1) != branch[-1].header.parent_hash:
            ancestor = self._blocks.block(branch[-1].header.parent_hash)
            if ancestor is None:
                raise UnknownParent(f"block {branch[-1].number - 1} of the branch is not known")
            branch.append(ancestor)
        branch.reverse()
        return branch

    def anchor(self, parent: Header) -> Header | None:
        """The block that difficulty on top of `parent` is measured from, on parent's own branch.

        Raises UnknownParent where that branch does not reach down to it here.
        """
        number = anchor_number(parent.number)
        if number is None:
            return None
        header = parent
        while header.number > number and self._blocks.canonical_hash(header.number) != header.hash:
            ancestor = self._blocks.header(header.parent_hash)
            if ancestor is None:
                raise UnknownParent(f"block {header.number - 1} of the branch is not known")
            header = ancestor
        return header if header.number == number else self._blocks.canonical_header(number)

    def _head(self) -> Header:
        return self._blocks.head()

    def _total_difficulty(self, header: Header) -> int:
        """Of the chain up to a block whose parent is stored."""
        below = self._blocks.total_difficulty(header.parent_hash)
        if below is None:
            raise RuntimeError(f"the total difficulty of block {header.number - 1} is missing from the database")
        return below + header.difficulty

    def _canonical_hash(self, number: int) -> bytes:
        return self._blocks.canonical_hash(number) or bytes(32)

    def _remember_invalid(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._invalid[block.hash] = None
            if len(self._invalid) > MAX_REMEMBERED_INVALID:
                self._invalid.popitem(last=False)


def transactions_root(block: Block) -> bytes:
    return block.transactions_root


def receipts_root(receipts: Sequence[Receipt]) -> bytes:
    return ordered_root([receipt.encode() for receipt in receipts])
