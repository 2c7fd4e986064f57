"""The order in which a block takes pending transactions: the best tip first, and each sender's in order of nonce.

Between equal tips senders take turns, so that on a network without fees nobody waits behind the backlog of another; and
there the transactions of a sender end with its allowance of gas for the block (chain/pool/membership.py).
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

from chain.pool.sender_queue import PooledTransaction
from chain.transaction import Transaction


class Selection:
    """A copy of the pending transactions, to be taken one by one; the pool may change meanwhile.

    Transactions that do not cover the base fee are left out, and their senders' later ones with them.
    """

    def __init__(
        self,
        runs: Iterable[Sequence[PooledTransaction]],
        base_fee: int,
        gas_allowances: Mapping[bytes, int] | None = None,
    ) -> None:
        """`gas_allowances` are of senders whose gas is bounded: the limits of what is taken count, not what is used."""
        self._base_fee = base_fee
        self._gas_left = dict(gas_allowances or {})
        self._heap: list[tuple[int, int, int, Sequence[PooledTransaction]]] = []
        for run in runs:
            if run and (tip := run[0].tip(base_fee)) >= 0 and self._is_within_allowance(run[0]):
                self._heap.append((-tip, 0, run[0].sequence, run))
        heapq.heapify(self._heap)

    def peek(self) -> Transaction | None:
        """The next one, or None at the end."""
        if not self._heap:
            return None
        _, position, _, run = self._heap[0]
        return run[position].transaction

    def take(self) -> None:
        """The next one has been used: its sender's following one comes into play."""
        _, position, _, run = self._heap[0]
        taken = run[position]
        if taken.sender in self._gas_left:
            self._gas_left[taken.sender] -= taken.transaction.gas_limit
        position += 1
        if position < len(run):
            following = run[position]
            if (tip := following.tip(self._base_fee)) >= 0 and self._is_within_allowance(following):
                heapq.heapreplace(self._heap, (-tip, position, following.sequence, run))
                return
        heapq.heappop(self._heap)

    def skip_sender(self) -> None:
        """The next one cannot be used, and so none of its sender's later ones."""
        heapq.heappop(self._heap)

    def _is_within_allowance(self, entry: PooledTransaction) -> bool:
        gas_left = self._gas_left.get(entry.sender)
        return gas_left is None or entry.transaction.gas_limit <= gas_left

    def __iter__(self) -> Iterator[Transaction]:
        while (transaction := self.peek()) is not None:
            self.take()
            yield transaction
