"""Who has to go when the pool is full: always the last nonce of some sender, so that no gap is torn.

Transactions of this node's own users go last, runnable ones after those that only wait; then the worst paid go first.
Between equals, as on a network without fees, the sender with the most goes first, and then the youngest, so that one
busy sender cannot drive out the others.
"""

import heapq
from collections.abc import Iterable

from chain.pool.sender_queue import SenderQueue

Rank = tuple[bool, bool, int, int, int]
"""(is local, is pending, tip, - its sender's count, - sequence) of a sender's last one; the lowest goes first."""

_STALE_FACTOR = 4
"""Heap entries per sender before the heaps are built anew: stale ones are skipped, but cost memory."""


class EvictionOrder:
    """The senders' last transactions by rank, kept up to date once somebody has asked."""

    def __init__(self) -> None:
        self._ranks: dict[bytes, Rank] | None = None
        self._all: list[tuple[Rank, bytes]] = []
        self._queued: list[tuple[Rank, bytes]] = []

    def forget(self) -> None:
        """All ranks have changed (a new base fee); they are found again when needed."""
        self._ranks = None

    def update(self, queue: SenderQueue, base_fee: int) -> None:
        """The queue has changed."""
        if self._ranks is None:
            return
        if not queue.entries:
            self._ranks.pop(queue.address, None)
            return
        rank = _rank(queue, base_fee)
        if self._ranks.get(queue.address) != rank:
            self._ranks[queue.address] = rank
            self._push(rank, queue.address)
        if len(self._all) > _STALE_FACTOR * (len(self._ranks) + 16):
            self.forget()

    def worst(self, queues: Iterable[SenderQueue], base_fee: int, *, only_queued: bool) -> bytes | None:
        """The sender whose last transaction goes first, or None. With `only_queued` among those that only wait."""
        if self._ranks is None:
            self._build(queues, base_fee)
        ranks = self._ranks or {}
        heap = self._queued if only_queued else self._all
        while heap:
            rank, address = heap[0]
            if ranks.get(address) == rank:
                return address
            heapq.heappop(heap)
        return None

    def _build(self, queues: Iterable[SenderQueue], base_fee: int) -> None:
        self._ranks = {queue.address: _rank(queue, base_fee) for queue in queues if queue.entries}
        self._all = [(rank, address) for address, rank in self._ranks.items()]
        self._queued = [item for item in self._all if not item[0][1]]
        heapq.heapify(self._all)
        heapq.heapify(self._queued)

    def _push(self, rank: Rank, address: bytes) -> None:
        heapq.heappush(self._all, (rank, address))
        if not rank[1]:
            heapq.heappush(self._queued, (rank, address))


def _rank(queue: SenderQueue, base_fee: int) -> Rank:
    tail = queue.entries[queue.tail_nonce]
    is_pending = queue.tail_nonce < queue.pending_end
    return (tail.is_local, is_pending, queue.lowest_tip(base_fee), -len(queue.entries), -tail.sequence)
