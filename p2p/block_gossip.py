"""Blocks between peers: a new head is pushed to some and announced to the others; announced ones are fetched once.

A block is passed on only after it was imported. One without its parent waits, bounded for each peer, and the peer is
named to whoever synchronises. Whether a block is valid is the chain's answer alone.
"""

import asyncio
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from chain.block import Block, decode_block, decode_body
from chain.header import decode_header
from chain.header_rules import BlockFromFuture
from chain.importer import ImportStatus, ReorganisationTooDeep, UnknownParent, transactions_root
from p2p import limits
from p2p.backend import CertifiedBlock, ChainBackend, ChainHead, Synchroniser
from p2p.fetch_schedule import FetchSchedule
from p2p.identity import NodeId
from p2p.known_hashes import KnownHashes
from p2p.messages import AnnounceBlocks, BlockAnnouncement, NewBlock
from p2p.orphans import Orphan, Orphans
from p2p.rate import TokenBucket
from p2p.received import FETCHED, PUSHED, log_received
from p2p.reputation import Offence
from p2p.session import PeerSession
from primitives.clock import Clock
from primitives.errors import InvalidBlock, InvalidTransaction

LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class _Peer:
    session: PeerSession
    pushes: TokenBucket
    patience: TokenBucket
    """Pushed blocks until it counts as flooding."""
    known: KnownHashes = field(default_factory=lambda: KnownHashes(limits.MAX_KNOWN_BLOCKS))
    is_fetching: bool = False
    importing: int = 0


class BlockGossip:
    """The chain's link to all peers. `run` passes on new heads, beside the sessions."""

    def __init__(self, chain: ChainBackend, synchroniser: Synchroniser, clock: Clock, random: Random) -> None:
        self._chain = chain
        self._synchroniser = synchroniser
        self._clock = clock
        self._random = random
        self._peers: dict[NodeId, _Peer] = {}
        self._schedule = FetchSchedule(limits.MAX_WANTED_BLOCKS)
        self._numbers: dict[bytes, int] = {}
        """As announced, of the blocks in the schedule."""
        self._orphans = Orphans()
        self._imported = KnownHashes(limits.MAX_KNOWN_BLOCKS)
        """Blocks that are in the chain's store, so that the chain thread is not asked about each again and again."""
        self._in_hand: dict[tuple[bytes, bytes], None] = {}
        """Blocks, by hash and certificate, that wait for the chain thread or are in it."""

    async def run(self) -> None:
        """Pass on new heads, until cancelled."""
        unsubscribe = self._chain.subscribe(self._new_head)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            unsubscribe()

    # The sessions

    def joined(self, session: PeerSession) -> None:
        pushes, patience = (
            TokenBucket(self._clock, burst, limits.PUSHED_BLOCKS_PER_S)
            for burst in (limits.PUSHED_BLOCKS_BURST, limits.DELAYED_BLOCKS_BURST)
        )
        peer = _Peer(session, pushes, patience)
        self._peers[session.node_id] = peer
        peer.known.add(session.claimed_head.hash)
        if session.claimed_head.total_difficulty > self._chain.head().total_difficulty:
            self._synchroniser.sync_with(session.node_id)

    def left(self, session: PeerSession) -> None:
        if (peer := self._peers.get(session.node_id)) is not None and peer.session is session:
            del self._peers[session.node_id]
            self._schedule.forget_peer(session.node_id)
            self._orphans.forget_peer(session.node_id)
            self._forget_numbers()

    def take_block(self, session: PeerSession, message: NewBlock) -> None:
        """A block was pushed."""
        peer = self._peers.get(session.node_id)
        if peer is None:
            return
        is_patient, is_affordable = peer.patience.take(), peer.pushes.take()
        if not is_patient:
            session.offend(Offence.FLOOD, "too many blocks pushed")
        if not is_affordable:
            LOGGER.debug("%s: a pushed block is dropped, too many came at once", session)
            return
        try:
            block = decode_block(message.block)
            if block.hash not in self._imported and transactions_root(block) != block.header.transactions_root:
                raise InvalidBlock("the transactions are not those that the header commits to")
        except (InvalidBlock, InvalidTransaction) as error:
            session.offend(Offence.INVALID_BLOCK, str(error))
            return
        peer.known.add(block.hash)
        if message.total_difficulty > session.claimed_head.total_difficulty:
            session.claimed_head = ChainHead(block.number, block.hash, message.total_difficulty)
        self._spawn_import(peer, block, message.certificate, PUSHED)

    def take_announcement(self, session: PeerSession, message: AnnounceBlocks) -> None:
        peer = self._peers.get(session.node_id)
        if peer is None:
            return
        peer.known.update(announced.hash for announced in message.blocks)
        highest = max(message.blocks, key=lambda announced: announced.number)
        if session.newest_block is None or session.newest_block.number < highest.number:
            session.newest_block = highest
        # A peer with more going on than it may have is not served: it will announce again, or others do.
        session.spawn(self._consider(peer, message.blocks))

    # Fetching

    async def _consider(self, peer: _Peer, blocks: Iterable[BlockAnnouncement]) -> None:
        for announced in blocks:
            if announced.number > self._chain.head().number + limits.MAX_ANNOUNCED_AHEAD:
                self._synchroniser.sync_with(peer.session.node_id)
            elif announced.hash not in self._imported and not await self._chain.has_block(announced.hash):
                self._schedule.announced(peer.session.node_id, [announced.hash])
                if announced.hash in self._schedule:
                    self._numbers.setdefault(announced.hash, announced.number)
        self._fetch()

    def _fetch(self) -> None:
        """Ask whoever is idle for a block. One that is in hand is not asked for, unless it turns out to be invalid."""
        busy = {block_hash for block_hash, _ in self._in_hand}
        for node_id, peer in self._peers.items():
            if peer.is_fetching:
                continue
            for block_hash in self._schedule.take(node_id, 1, busy):
                peer.is_fetching = peer.session.spawn(
                    self._fetch_from(peer, block_hash), partial(self._fetched, peer, block_hash)
                )
                if not peer.is_fetching:
                    self._schedule.failed(node_id, [block_hash])
        self._forget_numbers()

    async def _fetch_from(self, peer: _Peer, block_hash: bytes) -> None:
        fetched = await self._fetch_block(peer.session, block_hash)
        if fetched is not None:
            self._spawn_import(peer, fetched.block, fetched.certificate, FETCHED)

    def _fetched(self, peer: _Peer, block_hash: bytes) -> None:
        """Where it did not come, or turned out invalid, another announcer is asked."""
        peer.is_fetching = False
        self._schedule.failed(peer.session.node_id, [block_hash])
        self._fetch()

    async def _fetch_block(self, session: PeerSession, block_hash: bytes) -> CertifiedBlock | None:
        """The block, of which no more is certain than that header and body belong to that hash."""
        headers = await session.get_headers(block_hash, 1)
        bodies = await session.get_bodies((block_hash,)) if headers else ()
        if not headers or not bodies or not bodies[0]:
            session.offend(Offence.STALLED_REQUEST, "it announced a block that it does not have")
            return None
        try:
            block = Block(decode_header(headers[0].header), decode_body(bodies[0]))
        except (InvalidBlock, InvalidTransaction) as error:
            session.offend(Offence.WRONG_ANSWER, str(error))
            return None
        number = self._numbers.get(block_hash, block.number)
        if (block.hash, block.number, block.header.transactions_root) != (block_hash, number, transactions_root(block)):
            session.offend(Offence.WRONG_ANSWER, "another block than the one that was announced")
            return None
        return CertifiedBlock(block, headers[0].certificate, 0)

    def _forget_numbers(self) -> None:
        if len(self._numbers) > len(self._schedule):
            self._numbers = {key: number for key, number in self._numbers.items() if key in self._schedule}

    # Importing

    def _spawn_import(self, peer: _Peer, block: Block, certificate: bytes, way: str = "") -> None:
        """`way`: how it came just now; empty where it had been here."""
        orphan = Orphan(peer.session.node_id, block, certificate)
        if block.hash in self._imported or orphan.key in self._in_hand or orphan in self._orphans:
            return
        if peer.importing >= limits.MAX_IMPORTS_WAITING:
            LOGGER.debug("%s: block %d is dropped, too many of its blocks wait", peer.session, block.number)
            return
        if peer.session.spawn(self._import_with_orphans(orphan), partial(self._import_ended, peer, orphan)):
            peer.importing += 1
            self._in_hand[orphan.key] = None
            if way:
                log_received(block, way)

    def _import_ended(self, peer: _Peer, orphan: Orphan) -> None:
        peer.importing -= 1
        self._in_hand.pop(orphan.key, None)
        self._fetch()

    async def _import_with_orphans(self, first: Orphan) -> None:
        """Import a block, and then those that had been waiting for it."""
        waiting = [first]
        while waiting:
            orphan = waiting.pop()
            if await self._import_one(orphan):
                waiting.extend(self._orphans.take_children(orphan.block.hash))

    async def _import_one(self, orphan: Orphan) -> bool:
        """Whether the block is in the chain's store now."""
        block = orphan.block
        try:
            status = await self._chain.import_block(block, orphan.certificate)
        except UnknownParent:
            self._schedule.settle(block.hash)
            self._orphans.add(orphan)
            self._synchroniser.sync_with(orphan.node_id)
            return False
        except (BlockFromFuture, ReorganisationTooDeep) as refusal:
            # Clocks differ, and a network may have been cut in two: neither is the fault of whoever passes it on.
            LOGGER.debug("block %d is not taken now: %s", block.number, refusal)
            self._schedule.settle(block.hash)
            return False
        except InvalidBlock as error:
            LOGGER.warning("block %d from 0x%s is refused: %s", block.number, orphan.node_id.hex(), error)
            self._schedule.failed(orphan.node_id, [block.hash])
            # The sender may have been replaced, or may have left, while the block waited.
            if (sender := self._peers.get(orphan.node_id)) is not None:
                sender.session.offend(Offence.INVALID_BLOCK, str(error))
            return False
        self._schedule.settle(block.hash)
        self._imported.add(block.hash)
        if status is ImportStatus.SIDE_BRANCH and block.number >= self._chain.head().number:
            # A rival of the head is told, not pushed: whoever builds on it must find us knowing its parent.
            self._announce(block, [peer for peer in self._peers.values() if block.hash not in peer.known])
        return True

    # Passing on

    def _new_head(self, head: CertifiedBlock) -> None:
        """Imported, mined or synchronised: push it to the square root of the peers, announce it to the others."""
        block = head.block
        self._schedule.settle(block.hash)
        self._imported.add(block.hash)
        for orphan in self._orphans.take_children(block.hash):
            if (sender := self._peers.get(orphan.node_id)) is not None:
                self._spawn_import(sender, orphan.block, orphan.certificate)
        if self._synchroniser.is_syncing:
            return
        others = [peer for peer in self._peers.values() if block.hash not in peer.known]
        self._random.shuffle(others)
        encoded = block.encode() if others else b""
        pushes = math.isqrt(len(self._peers)) if len(encoded) <= limits.MAX_PUSHED_BLOCK_BYTES else 0
        message = NewBlock(encoded, head.certificate, head.total_difficulty)
        for peer in others[:pushes]:
            if peer.session.post(message):
                peer.known.add(block.hash)
        self._announce(block, others[pushes:])

    def _announce(self, block: Block, peers: Iterable[_Peer]) -> None:
        message = AnnounceBlocks((BlockAnnouncement(block.number, block.hash),))
        for peer in peers:
            if peer.session.post(message):
                peer.known.add(block.hash)
