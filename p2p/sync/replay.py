"""Catching up by executing what happened: headers run ahead, bodies follow, blocks are imported in their order.

All three go on at the same time, so that the chain thread never waits for the network while there is something to do.
"""

import asyncio
import logging
from collections.abc import Iterable

from chain.header_rules import BlockFromFuture
from chain.importer import ReorganisationTooDeep, UnknownParent
from p2p import limits
from p2p.backend import SyncBackend
from p2p.reputation import Offence
from p2p.sync.bodies import BodyFetcher
from p2p.sync.headers import CheckedHeader, HeaderSource
from p2p.sync.outcome import RoundEnded
from p2p.sync.peers import SyncPeers
from p2p.sync.progress import Phase, ProgressBoard
from primitives.clock import Clock
from primitives.errors import InvalidBlock

LOGGER = logging.getLogger(__name__)


class Replay:
    """One run from a common ancestor to the end of a peer's chain."""

    def __init__(self, chain: SyncBackend, peers: SyncPeers, clock: Clock, board: ProgressBoard) -> None:
        self._chain = chain
        self._peers = peers
        self._board = board
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
        known_to = self._chain.head().number
        light: list[CheckedHeader] = []
        try:
            while headers := await source.next():
                self._board.update(highest_block=max(source.top.number, self._board.progress.highest_block))
                light += headers
                # Until the branch is heavier than ours nobody is asked for its bodies.
                if source.top.total_difficulty > self._chain.head().total_difficulty:
                    await self._fetcher.wait_for_room()
                    self._fetcher.add(await self._unknown(light, known_to))
                    light = []
                elif len(light) > limits.MAX_HEADERS_AHEAD:
                    raise RoundEnded("a long branch that is lighter than ours")
        except RoundEnded as ending:
            self._ending = ending
        self._fetcher.complete()

    async def _unknown(self, headers: Iterable[CheckedHeader], known_to: int) -> list[CheckedHeader]:
        """Those whose blocks are not here: the lower part of a branch may have come before."""
        return [
            checked
            for checked in headers
            if checked.header.number > known_to or not await self._chain.has_block(checked.header.hash)
        ]

    async def _import_all(self) -> None:
        while (taken := await self._fetcher.take()) is not None:
            block, checked = taken
            self._board.update(phase=Phase.BLOCKS)
            try:
                await self._chain.import_block(block, checked.certificate)
            except (UnknownParent, BlockFromFuture, ReorganisationTooDeep) as refusal:
                raise RoundEnded(str(refusal)) from refusal
            except InvalidBlock as error:
                LOGGER.warning("block %d, whose header was good, is refused: %s", block.number, error)
                if (sender := self._peers.get(checked.sender)) is not None:
                    sender.session.offend(Offence.INVALID_BLOCK, str(error))
                raise RoundEnded(str(error)) from error
            self._board.update(current_block=block.number)


def _first(endings: BaseExceptionGroup[RoundEnded]) -> RoundEnded:
    first: BaseException = endings
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, RoundEnded)
    return first
