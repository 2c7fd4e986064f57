"""Taking over a recent state, so that a new node need not execute what happened before.

All headers that are missing are fetched and checked first; they alone say which state is the right one. Then the state
of a block that nothing can undo, the pivot, comes in pieces from all peers that keep it. When none keeps it any more,
the pivot moves on to a newer block. What is above the pivot is executed as always.
"""

import logging
from collections import deque

from chain.header import Header
from p2p import limits
from p2p.sync.headers import HeaderSource
from p2p.sync.outcome import BranchLeft, RoundEnded
from p2p.sync.peers import SyncPeers
from p2p.sync.pieces import PieceFetcher
from p2p.sync.progress import Phase, ProgressBoard
from p2p.sync.survey import check_heaviest
from p2p.sync.target import StateTarget
from primitives.clock import Clock
from primitives.errors import InvalidBlock

LOGGER = logging.getLogger(__name__)


class StateSync:
    """From a block that is executed to the pivot as the head; `run` may be called again where it did not get there."""

    def __init__(
        self, target: StateTarget, peers: SyncPeers, clock: Clock, board: ProgressBoard, final_depth_blocks: int
    ) -> None:
        self._target = target
        self._peers = peers
        self._clock = clock
        self._board = board
        self._final_depth_blocks = final_depth_blocks
        distance = max(limits.PIVOT_DISTANCE_BLOCKS, final_depth_blocks)
        self._newest: deque[Header] = deque(maxlen=distance + 1)
        """Of the headers that were checked; the first is where a pivot would be."""

    async def run(self, source: HeaderSource) -> bool:
        """Whether the node stands at a pivot now; else everything is to be executed. Raises RoundEnded where nobody who
        could help is connected at the moment: what was fetched is kept."""
        begun_at = source.begin.number
        pivot = await self._next_pivot(source)
        if pivot is None or pivot.number - begun_at < limits.MIN_BLOCKS_TO_SKIP:
            if self._target.has_begun():
                raise RoundEnded(f"its {source.top.number} blocks are fewer than those of the state that is begun")
            LOGGER.info("there are only %d blocks: all of them are executed", source.top.number)
            return False
        vain = 0
        while True:
            LOGGER.info("fetching the state of block %d, 0x%s", pivot.number, pivot.hash.hex())
            self._board.update(phase=Phase.STATE, current_block=pivot.number)
            await self._target.aim_at(pivot)
            fetcher = PieceFetcher(self._target, self._peers, self._clock, self._board, pivot)
            if await fetcher.run():
                await self._finish()
                LOGGER.info("took over the state of block %d", pivot.number)
                return True
            vain = 0 if fetcher.has_brought else vain + 1
            newer = await self._next_pivot(source)
            if newer is None or newer.number <= pivot.number or vain >= limits.MAX_VAIN_PIVOTS:
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
        if self._final_depth_blocks:
            # No way leads back from a pivot, so that it must be on the heaviest chain that anybody has.
            source.settle_claim()
            check_heaviest(self._peers, source)
        return self._newest[0] if len(self._newest) == self._newest.maxlen else None

    async def _finish(self) -> None:
        try:
            await self._target.finish()
        except InvalidBlock as error:
            await self._target.abandon()
            raise BranchLeft(str(error)) from error
