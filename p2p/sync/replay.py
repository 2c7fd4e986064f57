"""Catching up by executing what happened: headers run ahead, bodies follow, blocks are imported in their order.

All three go on at the same time, so that the chain thread never waits for the network while there is something to do.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chain.header_rules import BlockFromFuture
from chain.importer import ImportStatus, ReorganisationTooDeep, UnknownParent
from p2p import limits
from p2p.backend import SyncBackend
from p2p.reputation import Offence
from p2p.sync.bodies import BodyFetcher
from p2p.sync.headers import CheckedHeader, HeaderSource
from p2p.sync.outcome import RoundEnded
from p2p.sync.peers import SyncPeers
from p2p.sync.progress import Phase, ProgressBoard
from p2p.sync.survey import Survey
from primitives.clock import Clock
from primitives.errors import InvalidBlock

LOGGER = logging.getLogger(__name__)


class Replay:
    """One run from a common ancestor to the end of a peer's chain."""

    def __init__(
        self,
        chain: SyncBackend,
        peers: SyncPeers,
        clock: Clock,
        board: ProgressBoard,
        survey: Survey | None = None,
    ) -> None:
        """Without a survey, where blocks can be undone only so deep, no more than so many are taken."""
        self._chain = chain
        self._peers = peers
        self._board = board
        self._survey = survey
        self._fetcher = BodyFetcher(chain, peers, clock)
        self._ending: RoundEnded | None = None
        """Why there were no more headers, where that was not the end of the chain."""

    async def run(self, source: HeaderSource) -> None:
        """Import all that the source has, if it is heavier than what is here. Raises RoundEnded."""
        try:
            async with asyncio.TaskGroup() as group:
                fetching = group.create_task(self._fetcher.run())
                group.create_task(self._bring_headers(source))
                await self._import_all()
                fetching.cancel()
        except* RoundEnded as endings:
            self._ending = _first(endings)
        if self._ending is not None:
            raise self._ending

    async def _bring_headers(self, source: HeaderSource) -> None:
        known_to, depth = self._chain.head().number, self._chain.final_depth_blocks
        limit = source.top.number + depth if depth and self._survey is None else None
        waiting: list[CheckedHeader] = []
        try:
            while headers := await source.next():
                self._board.update(highest_block=max(source.top.number, self._board.progress.highest_block))
                waiting += headers
                count = self._ripe(waiting, limit)
                if count:
                    await self._fetcher.wait_for_room()
                    self._fetcher.add(await self._unknown(waiting[:count], known_to))
                    del waiting[:count]
                if limit is not None and source.top.number > limit:
                    source.correct_claim()
                    raise RoundEnded(f"it has more than the {depth} blocks that can be undone, and did not say so")
                if len(waiting) > limits.MAX_HEADERS_AHEAD:
                    raise RoundEnded("a long branch that is lighter than ours")
        except RoundEnded as ending:
            self._ending = ending
        self._fetcher.complete()

    def _ripe(self, headers: Sequence[CheckedHeader], limit: int | None) -> int:
        """How many of the headers' blocks may be fetched and executed: none until the branch is heavier than ours."""
        if headers[-1].total_difficulty <= self._chain.head().total_difficulty:
            return 0
        if self._survey is not None:
            return self._survey.proven(headers)
        if limit is not None:
            return sum(checked.header.number <= limit for checked in headers)
        return len(headers)

    async def _unknown(self, headers: Iterable[CheckedHeader], known_to: int) -> list[CheckedHeader]:
        """Those whose blocks are not here: the lower part of a branch may have come before."""
        return [
            checked
            for checked in headers
            if checked.header.number > known_to or not await self._chain.has_block(checked.header.hash)
        ]

    async def _import_all(self) -> None:
        begun: deque[_Begun] = deque()
        try:
            while True:
                while begun and (len(begun) == limits.MAX_IMPORTS_AHEAD or not self._fetcher.has_next):
                    await self._finish(begun.popleft())
                if (taken := await self._fetcher.take()) is None:
                    break
                block, checked = taken
                self._board.update(phase=Phase.BLOCKS)
                task = asyncio.ensure_future(self._chain.import_block(block, checked.certificate))
                begun.append(_Begun(checked, task))
        finally:
            # After one that was refused, those on top of it have no parent.
            for one in begun:
                one.task.cancel()
            await asyncio.gather(*[one.task for one in begun], return_exceptions=True)

    async def _finish(self, begun: "_Begun") -> None:
        number = begun.checked.header.number
        try:
            await begun.task
        except (UnknownParent, BlockFromFuture, ReorganisationTooDeep) as refusal:
            raise RoundEnded(str(refusal)) from refusal
        except InvalidBlock as error:
            LOGGER.warning("block %d, whose header was good, is refused: %s", number, error)
            if (sender := self._peers.get(begun.checked.sender)) is not None:
                sender.session.offend(Offence.INVALID_BLOCK, str(error))
            raise RoundEnded(str(error)) from error
        self._board.update(current_block=number)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A block that the chain was given."""

    checked: CheckedHeader
    task: "asyncio.Future[ImportStatus]"


def _first(endings: BaseExceptionGroup[RoundEnded]) -> RoundEnded:
    first: BaseException = endings
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, RoundEnded)
    return first
