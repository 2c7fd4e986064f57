"""Catching up with the network: again and again with the peer that seems to be furthest ahead, until nobody is ahead.

A round looks for the block that both chains share, has the peer's headers checked from there on, and then either
executes the blocks (replay.py) or, on a node that is new, takes over a recent state (state.py). Whatever a peer claims,
sends or withholds costs a bounded time, and the next round is another peer's.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2p import limits
from p2p.backend import ChainHead, SyncBackend
from p2p.identity import NodeId
from p2p.reputation import Offence
from p2p.session import NoAnswer, PeerSession, SessionEnded
from p2p.sync.ancestor import common_ancestor
from p2p.sync.headers import HeaderSource
from p2p.sync.outcome import BranchLeft, NotAhead, RoundEnded
from p2p.sync.peers import SyncPeer, SyncPeers
from p2p.sync.progress import Phase, ProgressBoard, SyncProgress
from p2p.sync.replay import Replay
from p2p.sync.state import StateSync
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
        self._peers = SyncPeers(clock)
        self._wake = asyncio.Event()
        self._source: HeaderSource | None = None
        """Of the round in progress."""
        self._taking: tuple[StateSync, HeaderSource] | None = None
        """What was begun and not ended: the headers that were checked for it need not be checked again."""

    @property
    def progress(self) -> SyncProgress | None:
        """How far it has come; None where the node is not, or not much, behind."""
        return self.board.progress if self.is_syncing else None

    @property
    def is_syncing(self) -> bool:
        """Whether it is proved that others are well ahead."""
        return self._source is not None and (
            self._source.top.number - self._chain.head().number > limits.MIN_SYNCING_BLOCKS
        )

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
        source = await self._source_above(number, peer)
        async with self._using(source):
            if self._target is not None and self._target.has_begun():
                await self._target.abandon()
            await Replay(self._chain, self._peers, self._clock, self.board).run(source)
            self._settle_claim(source)

    def _show_beginning(self) -> None:
        number = self._chain.head().number
        begun = {} if self.board.progress.is_syncing else {"starting_block": number, "highest_block": 0}
        self.board.update(phase=Phase.HEADERS, current_block=number, **begun)

    @asynccontextmanager
    async def _using(self, source: HeaderSource) -> AsyncIterator[None]:
        self._source = source
        try:
            yield
        finally:
            self._source = None
            await source.close()

    # A state

    def _is_state_wanted(self, target: StateTarget, peer: SyncPeer) -> bool:
        if self._is_full or not target.can_take_state():
            return False
        worth_it = limits.MIN_BLOCKS_TO_SKIP + max(limits.PIVOT_DISTANCE_BLOCKS, target.final_depth_blocks)
        return target.has_begun() or peer.claimed_number >= worth_it

    async def _take_state(self, target: StateTarget, peer: SyncPeer) -> None:
        """Take over a state, if that is possible. Raises RoundEnded where it is to be gone on with later."""
        if self._taking is None:
            state = StateSync(target, self._peers, self._clock, self.board)
            self._taking = state, await self._source_above(0, peer)
        state, source = self._taking
        source.look_again(peer)
        try:
            async with self._using(source):
                await state.run(source)
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

    def _settle_claim(self, source: HeaderSource) -> None:
        """The chain is at its end: a peer that claimed more is believed less."""
        session = source.peer.session
        if source.broken_claim is not None:
            session.offend(Offence.STALLED_REQUEST, "its chain is lighter than it said")
            if session.claimed_head == source.broken_claim:
                session.claimed_head = source.top
