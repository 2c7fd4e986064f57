"""Taking over a recent state, so that a new node need not execute what happened before.

All headers from the first block on are fetched and checked; they alone say which state is the right one. Then the state
of a block that nothing can undo, the pivot, comes in pieces from all peers that keep it. When none keeps it any more,
the pivot moves on to a newer block. What is above the pivot is executed as always.
"""

import logging
from collections import deque

from chain.header import Header
from p2p import limits
from p2p.sync.headers import HeaderSource
from p2p.sync.outcome import RoundEnded
from p2p.sync.peers import SyncPeers
from p2p.sync.pieces import PieceFetcher
from p2p.sync.progress import Phase, ProgressBoard
from p2p.sync.target import StateTarget
from primitives.clock import Clock

LOGGER = logging.getLogger(__name__)


class StateSync:
    """One run, from the genesis block to the pivot as the head."""

    def __init__(self, target: StateTarget, peers: SyncPeers, clock: Clock, board: ProgressBoard) -> None:
        self._target = target
        self._peers = peers
        self._clock = clock
        self._board = board
        distance = max(limits.PIVOT_DISTANCE_BLOCKS, target.final_depth_blocks)
        self._newest: deque[Header] = deque(maxlen=distance + 1)
        """Of the headers that were checked; the first is where a pivot would be."""

    async def run(self, source: HeaderSource) -> bool:
        """Whether the node stands at a pivot now; else everything is to be executed. Raises RoundEnded where nobody who
        could help is connected at the moment: what was fetched is kept."""
        pivot = await self._next_pivot(source)
        if pivot is None or pivot.number < limits.MIN_BLOCKS_TO_SKIP:
            if self._target.has_begun():
                raise RoundEnded(f"its {source.top.number} blocks are fewer than those of the state that is begun")
            LOGGER.info("there are only %d blocks: all of them are executed", source.top.number)
            return False
        while True:
            LOGGER.info("fetching the state of block %d, 0x%s", pivot.number, pivot.hash.hex())
            self._board.update(phase=Phase.STATE, current_block=pivot.number)
            await self._target.aim_at(pivot)
            if await PieceFetcher(self._target, self._peers, self._clock, self._board, pivot).run():
                await self._target.finish()
                LOGGER.info("took over the state of block %d", pivot.number)
                return True
            newer = await self._next_pivot(source)
            if newer is None or newer.number <= pivot.number:
                LOGGER.warning("no connected peer serves the state of block %d: all blocks are executed", pivot.number)
                return False
            pivot = newer

    async def _next_pivot(self, source: HeaderSource) -> Header | None:
        """The block to take the state of, with all headers up to now; None where there are too few."""
        self._board.update(phase=Phase.HEADERS)
        source.look_again()
        while headers := await source.next():
            await self._target.keep_headers(headers)
            self._newest.extend([checked.header for checked in headers])
            top = source.top.number
            self._board.update(current_block=top, highest_block=max(top, self._board.progress.highest_block))
        return self._newest[0] if len(self._newest) == self._newest.maxlen else None
