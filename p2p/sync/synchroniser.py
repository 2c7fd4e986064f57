"""Catching up with the network: again and again with the peer that seems to be furthest ahead, until nobody is ahead.

A round looks for the block that both chains share, has the peer's headers checked from there on, and then either
executes the blocks (replay.py) or, on a node that is new, takes over a recent state (state.py). Whatever a peer claims,
sends or withholds costs a bounded time, and the next round is another peer's.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from p2p import limits
from p2p.backend import ChainHead, SyncBackend
from p2p.identity import NodeId
from p2p.session import NoAnswer, PeerSession, SessionEnded
from p2p.sync.ancestor import common_ancestor
from p2p.sync.headers import HeaderSource
from p2p.sync.outcome import BranchLeft, NotAhead, RoundEnded
from p2p.sync.peers import SyncPeer, SyncPeers
from p2p.sync.progress import Phase, ProgressBoard, SyncProgress
from p2p.sync.replay import Replay
from p2p.sync.state import StateSync
from p2p.sync.survey import Survey, check_heaviest
from p2p.sync.target import StateTarget
from p2p.time_limit import within
from primitives.clock import Clock
from primitives.errors import InvalidBlock

LOGGER = logging.getLogger(__name__)


class ChainSynchroniser:
    """Fits p2p.backend.Synchroniser, and follows the sessions. `run` does the work."""

    def __init__(
        self, chain: SyncBackend, clock: Clock, target: StateTarget | None = None, *, is_full: bool = False
    ) -> None:
        """`clock` is the network's. Without a target, or with `is_full`, every block is executed, even by a node that
        could take over a state."""
        self.board = ProgressBoard(clock)
        self._chain = chain
        self._clock = clock
        self._target = target
        self._is_full = is_full
        self._peers = SyncPeers(clock, prefers_heavy=chain.final_depth_blocks > 0)
        self._wake = asyncio.Event()
        self._source: HeaderSource | None = None
        """Of the round in progress."""
        self._taking: tuple[StateSync, HeaderSource] | None = None
        """What was begun and not ended: the headers that were checked for it need not be checked again."""
        self._may_hold_remains = target is not None
        """Whether the target may hold something of a state that was begun."""

    @property
    def progress(self) -> SyncProgress | None:
        """How far it has come; None where the node is not, or not much, behind."""
        return self.board.progress if self.is_syncing else None

    @property
    def is_syncing(self) -> bool:
        """Whether it is proved that others are well ahead, or a part of a state is here, and nothing to build on."""
        if self._target is not None and self._target.has_begun():
            return True
        is_behind_by = 0 if self._source is None else self._source.top.number - self._chain.head().number
        return is_behind_by > limits.MIN_SYNCING_BLOCKS

    def sync_with(self, node_id: NodeId) -> None:
        if (peer := self._peers.get(node_id)) is not None:
            peer.is_named = True
            self._wake.set()

    def joined(self, session: PeerSession) -> None:
        self._peers.joined(session)
        self._wake.set()

    def left(self, session: PeerSession) -> None:
        self._peers.left(session)

    async def run(self) -> None:
        """Catch up whenever a peer is ahead, until cancelled."""
        while True:
            peer = self._peers.best_ahead(self._chain.head().total_difficulty)
            if peer is None:
                self.board.update(phase=Phase.NOTHING)
                await self._wait()
            else:
                await self._round(peer)

    async def _wait(self) -> None:
        try:
            await within(self._clock, limits.SYNC_LOOK_INTERVAL_S, self._woken())
        except TimeoutError:
            self._peers.look()

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    # A round

    async def _round(self, peer: SyncPeer) -> None:
        before = self._chain.head()
        try:
            await self._catch_up_with(peer)
        except NotAhead as ending:
            LOGGER.debug("%s is not ahead: %s", peer.session, ending)
            self._peers.reached(peer)
        except (RoundEnded, NoAnswer, SessionEnded) as ending:
            LOGGER.debug("synchronisation with %s ended: %s", peer.session, ending)
            if self._chain.head().total_difficulty > before.total_difficulty:
                peer.rest_s = 0.0
            self._peers.failed(peer)
        else:
            self._peers.reached(peer)

    async def _catch_up_with(self, peer: SyncPeer) -> None:
        self._show_beginning()
        if self._target is not None and self._is_state_wanted(self._target, peer):
            await self._take_state(self._target, peer)
        number = await common_ancestor(self._chain, peer.session)
        survey = await self._survey(number, peer) if self._goes_too_deep(number, peer) else None
        if self._target is not None and self._may_hold_remains:
            await self._target.abandon()
            self._may_hold_remains = False
        async with self._using(await self._source_above(number, peer)) as source:
            self.board.update(current_block=self._chain.head().number)
            await Replay(self._chain, self._peers, self._clock, self.board, survey).run(source)
            source.settle_claim()

    def _goes_too_deep(self, number: int, peer: SyncPeer) -> bool:
        """Whether more blocks would be executed above that one than can be undone."""
        depth = self._chain.final_depth_blocks
        return depth > 0 and peer.claimed_number - number > depth

    async def _survey(self, number: int, peer: SyncPeer) -> Survey:
        """See how heavy the peer's branch is. Raises RoundEnded where it is lighter than what anybody claims."""
        async with self._using(await self._source_above(number, peer)) as source:
            survey = Survey(source.top)
            while headers := await source.next():
                survey.add(headers)
                top = source.top.number
                self.board.update(current_block=top, highest_block=max(top, self.board.progress.highest_block))
            source.settle_claim()
            check_heaviest(self._peers, source)
        return survey

    def _show_beginning(self) -> None:
        number = self._chain.head().number
        fresh = {"starting_block": number, "highest_block": 0, "pieces": 0, "accounts": 0, "state_share": 0.0}
        begun: dict[str, Any] = {} if self.board.progress.is_syncing else fresh
        self.board.update(phase=Phase.HEADERS, current_block=number, **begun)

    @asynccontextmanager
    async def _using(self, source: HeaderSource) -> AsyncIterator[HeaderSource]:
        self._source = source
        try:
            yield source
        finally:
            self._source = None
            await source.close()

    # A state

    def _is_state_wanted(self, target: StateTarget, peer: SyncPeer) -> bool:
        if self._is_full:
            return False
        own_number = self._chain.head().number
        distance = max(limits.PIVOT_DISTANCE_BLOCKS, self._chain.final_depth_blocks)
        worth_it = distance + (limits.FAR_BEHIND_BLOCKS if own_number else limits.MIN_BLOCKS_TO_SKIP)
        return target.has_begun() or peer.claimed_number - own_number >= worth_it

    async def _take_state(self, target: StateTarget, peer: SyncPeer) -> None:
        """Take over a state, if that is possible. Raises RoundEnded where it is to be gone on with later."""
        self._may_hold_remains = True
        if self._taking is None:
            number = await common_ancestor(self._chain, peer.session)
            state = StateSync(target, self._peers, self._clock, self.board, self._chain.final_depth_blocks)
            self._taking = state, await self._source_above(number, peer)
        state, source = self._taking
        source.look_again(peer)
        try:
            async with self._using(source):
                self._may_hold_remains = not await state.run(source)
        except BranchLeft:
            self._taking = None
            raise
        self._taking = None

    async def _source_above(self, number: int, peer: SyncPeer) -> HeaderSource:
        block_hash = await self._chain.canonical_hash(number)
        total_difficulty = None if block_hash is None else await self._chain.total_difficulty(block_hash)
        if block_hash is None or total_difficulty is None:
            raise RoundEnded("our own chain was reorganised meanwhile")
        try:
            checker = await self._chain.header_checker(block_hash)
        except InvalidBlock as error:  # UnknownParent: it was reorganised away; or its state names no validators
            raise RoundEnded(str(error)) from error
        parent = ChainHead(number, block_hash, total_difficulty)
        return HeaderSource(self._chain, self._peers, self._clock, peer, parent, checker)
