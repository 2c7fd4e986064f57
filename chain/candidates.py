"""Blocks that were executed on the present head but are not imported yet, so that their import need not execute again.

A block is executed where it is built, or where a validator checks a proposal. Sealing changes only fields that the seal
hash leaves out, and nothing that was executed depends on them: so that hash tells one candidate from another.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from chain.block_execution import ExecutedBlock
from chain.header import Header
from chain.store.state_preparing import PreparedChanges
from chain.transaction import Transaction

MAX_CANDIDATES = 4
"""Of one head: a proposal of the present round, one that was prepared before, and two for a miner that began anew with
more transactions. One of a full block is a few MB."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block's transactions and what they do to the state of its parent, found to agree with its header."""

    transactions: tuple[Transaction, ...]
    executed: ExecutedBlock
    prepared: PreparedChanges

    def has(self, transactions: Sequence[Transaction]) -> bool:
        """Whether these are its transactions, byte by byte."""
        return [one.encoded for one in transactions] == [one.encoded for one in self.transactions]


class Candidates:
    """The latest candidates on one parent, the present head. For the thread that imports."""

    def __init__(self) -> None:
        self._parent_hash = b""
        self._by_seal_hash: OrderedDict[bytes, Candidate] = OrderedDict()

    def remember(self, header: Header, candidate: Candidate) -> None:
        """Those of another parent are forgotten."""
        if header.parent_hash != self._parent_hash:
            self.clear()
            self._parent_hash = header.parent_hash
        self._by_seal_hash[header.seal_hash] = candidate
        if len(self._by_seal_hash) > MAX_CANDIDATES:
            self._by_seal_hash.popitem(last=False)

    def find(self, header: Header) -> Candidate | None:
        """What was remembered of the block with this header, sealed since or not."""
        if header.parent_hash != self._parent_hash:
            return None
        return self._by_seal_hash.get(header.seal_hash)

    def clear(self) -> None:
        """The head, and with it the state that everything here was prepared on, is another one."""
        self._parent_hash = b""
        self._by_seal_hash.clear()
