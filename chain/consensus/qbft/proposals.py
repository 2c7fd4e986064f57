"""Proposals as blocks of the ledger: fits events.Blocks, through which the machine asks about what is mere bytes to it.

A block's hash is that of its header, so these bytes are the block of that hash only if the body belongs to the header:
or a validator could pass on a header that a quorum prepared with a body of its own. Lives where the machine lives, on
the thread that imports.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from chain.block import Block, check_body, decode_block
from chain.transaction import Transaction
from primitives.errors import InvalidBlock, InvalidTransaction

MAX_DECODED = 2
"""Blocks kept as decoded, since one is asked about again and again: the proposal, and one that was prepared before.
The largest one of 8 MB can take 60 MB in this form."""


class Checker(Protocol):
    """Who tells whether a block could be imported next; chain.ledger.Ledger is one."""

    def check_proposal(self, block: Block) -> None:
        """Raises InvalidBlock unless the block is a valid child of the head."""


class LedgerProposals:
    """The ledger's blocks for one machine."""

    def __init__(
        self, checker: Checker, recognise: Callable[[Sequence[Transaction]], None] = lambda transactions: None
    ) -> None:
        """`recognise` may know of some transactions who sent them (chain.pool.pool.TransactionPool)."""
        self._checker = checker
        self._recognise = recognise
        self._decoded: OrderedDict[bytes, Block] = OrderedDict()

    def block_hash(self, block: bytes) -> bytes:
        """Raises InvalidBlock where these bytes are not the one encoding of a block whose body is its header's."""
        return self.block(block).hash

    def check(self, block: bytes, height: int, parent_hash: bytes, proposer: bytes | None) -> None:
        """Raises InvalidBlock where the block cannot be the child of that parent, which is the ledger's head.

        `proposer` must have built it; None where a quorum prepared the block already, whoever built it.
        """
        decoded = self.block(block)
        header = decoded.header
        if header.number != height or header.parent_hash != parent_hash:
            raise InvalidBlock(f"the proposal of height {height} is block {header.number}, or has another parent")
        if proposer is not None and header.coinbase != proposer:
            raise InvalidBlock(
                f"0x{proposer.hex()} proposes a block that says it was built by 0x{header.coinbase.hex()}"
            )
        self._checker.check_proposal(decoded)

    def block(self, encoded: bytes) -> Block:
        """Raises InvalidBlock where these bytes are no block."""
        block = self._decoded.get(encoded)
        if block is None:
            try:
                block = decode_block(encoded)
            except InvalidTransaction as error:
                raise InvalidBlock(f"a transaction of the proposal: {error}") from error
            check_body(block)
            self._recognise(block.transactions)
            self._decoded[encoded] = block
            if len(self._decoded) > MAX_DECODED:
                self._decoded.popitem(last=False)
        return block
