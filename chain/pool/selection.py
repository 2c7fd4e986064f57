"""The order in which a block takes pending transactions: the best tip first, and each sender's in order of nonce.

Between equal tips senders take turns, so that on a network without fees nobody waits behind another's backlog.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence

from chain.pool.sender_queue import PooledTransaction
from chain.transaction import Transaction


class Selection:
    """A copy of the pending transactions, to be taken one by one; the pool may change meanwhile.

    Transactions that do not cover the base fee are left out, and their senders' later ones with them.
    """

    def __init__(self, runs: Iterable[Sequence[PooledTransaction]], base_fee: int) -> None:
        self._base_fee = base_fee
        self._heap: list[tuple[int, int, int, Sequence[PooledTransaction]]] = []
        for run in runs:
            if run and (tip := run[0].tip(base_fee)) >= 0:
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
        position += 1
        if position < len(run) and (tip := run[position].tip(self._base_fee)) >= 0:
            heapq.heapreplace(self._heap, (-tip, position, run[position].sequence, run))
        else:
            heapq.heappop(self._heap)

    def skip_sender(self) -> None:
        """The next one cannot be used, and so none of its sender's later ones."""
        heapq.heappop(self._heap)

    def __iter__(self) -> Iterator[Transaction]:
        while (transaction := self.peek()) is not None:
            self.take()
            yield transaction
