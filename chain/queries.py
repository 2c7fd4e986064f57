"""Questions about the chain, answered on one snapshot of the database: consistent, whatever is imported meanwhile."""

from collections.abc import Iterator, Sequence

from chain.account import StateReader
from chain.block import Block
from chain.block_execution import block_context
from chain.config import QBFT, ChainConfig
from chain.consensus.qbft.engine import validators_of
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from chain.receipt import Receipt
from chain.state_pieces import StatePiece
from chain.store.blocks import BlockView
from chain.store.state_reader import StateView
from primitives.errors import Invalid
from vm.host import BlockContext


class ChainQueries:
    """One snapshot of one chain, for one question, in one thread."""

    def __init__(self, config: ChainConfig, blocks: BlockView, state: StateView, reorganisation_cap: int) -> None:
        self.config = config
        self._blocks = blocks
        self._state = state
        self._reorganisation_cap = reorganisation_cap

    def head(self) -> Header:
        return self._blocks.head()

    def finalized_number(self) -> int:
        """The highest block that no reorganisation may undo any more; 0 where only the genesis is safe."""
        if self.config.consensus == QBFT:
            return self.head().number
        return max(0, self.head().number - self._reorganisation_cap)

    def header_by_number(self, number: int) -> Header | None:
        return self._blocks.canonical_header(number)

    def header_by_hash(self, block_hash: bytes) -> Header | None:
        return self._blocks.header(block_hash)

    def headers(self, first: int, last: int) -> Iterator[Header]:
        """Canonical headers from `first` to `last`, both included, rising; those beyond the head are left out."""
        for number in range(first, min(last, self.head().number) + 1):
            header = self._blocks.canonical_header(number)
            if header is not None:
                yield header

    def blooms(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """(number, 256-byte bloom) of the canonical blocks from `first` to `last`, rising."""
        return self._blocks.blooms(first, last)

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        """None as well where nothing but the header is kept: below a state that was taken over."""
        return self._blocks.block(block_hash)

    def is_canonical(self, block_hash: bytes) -> bool:
        header = self._blocks.header(block_hash)
        return header is not None and self._blocks.canonical_hash(header.number) == block_hash

    def total_difficulty(self, block_hash: bytes) -> int | None:
        return self._blocks.total_difficulty(block_hash)

    def receipts(self, block_hash: bytes) -> Sequence[Receipt] | None:
        """One a transaction, in order; None for a block that is unknown or was never canonical."""
        return self._blocks.receipts(block_hash)

    def certificate(self, block_hash: bytes) -> bytes:
        """What proves a block beside its header; empty with proof of work, for the genesis and for an unknown block."""
        return self._blocks.certificate(block_hash)

    def validators_of(self, number: int) -> ValidatorSet:
        """Who votes, or voted, on a block of this number: at most the one after the head.

        Raises Invalid where the state before it is not kept or names nobody, and where the chain has no validators.
        """
        if self.config.consensus != QBFT:
            raise Invalid("proof of work has no validators")
        if number < 1:
            raise Invalid("nobody voted on the genesis block")
        return validators_of(self.config, number, self.state_at(number - 1))

    def find_transaction(self, transaction_hash: bytes) -> tuple[Block, int] | None:
        """The canonical block that holds a transaction, and its index there."""
        location = self._blocks.transaction_location(transaction_hash)
        if location is None:
            return None
        block = self._blocks.block(location.block_hash)
        return None if block is None else (block, location.index)

    def state_at(self, number: int) -> StateReader:
        """The state after a canonical block. Raises Invalid where that history is no longer kept."""
        return self._state.reader_at(number)

    def code(self, code_hash: bytes) -> bytes | None:
        """A contract's code by its keccak-256; None where no contract ever had it here."""
        return self._state.find_code(code_hash)

    def storage_root(self, address: bytes, number: int) -> bytes:
        """Of an account in the state after a canonical block; that of the empty trie for an absent one."""
        return self._state.storage_root(address, number)

    def prove_account(self, address: bytes, number: int) -> Sequence[bytes]:
        """The trie nodes from the state root after a canonical block towards the account (EIP-1186).

        Raises Invalid where that history is not kept, or too much has changed since.
        """
        return self._state.prove_account(address, number)

    def prove_slot(self, address: bytes, slot: int, number: int) -> Sequence[bytes]:
        """The trie nodes from the account's storage root towards the slot. Raises as prove_account does."""
        return self._state.prove_slot(address, slot, number)

    def state_piece(self, number: int, owner: bytes, path: bytes, max_bytes: int) -> StatePiece | None:
        """What stands at a place of the state after a canonical block, for whoever fetches that state.

        Raises StateUnavailable where that history is not kept, or too much has changed since.
        """
        return self._state.piece_at(number, owner, path, max_bytes)

    def block_context(self, header: Header) -> BlockContext:
        """What code inside that block saw."""
        return block_context(header, self.config, self._hash_at)

    def _hash_at(self, number: int) -> bytes:
        return self._blocks.canonical_hash(number) or bytes(32)
