"""Bodies of checked headers, fetched from several peers at once and handed out in the order of their blocks.

Each peer gets a share of what comes next. A share that is late is asked of another peer as well; what comes first
counts. A body counts only if its header commits to it: a false one costs its sender points, and nobody else anything.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from chain.account import EMPTY_TRIE_ROOT
from chain.block import Block, decode_body
from chain.header import Header
from chain.importer import transactions_root
from p2p import limits
from p2p.backend import SyncBackend
from p2p.reputation import Offence
from p2p.session import NoAnswer, SessionEnded
from p2p.sync.headers import CheckedHeader
from p2p.sync.load import Load, is_late
from p2p.sync.outcome import RoundEnded
from p2p.sync.peers import SyncPeer, SyncPeers
from primitives.clock import Clock
from primitives.errors import InvalidBlock, InvalidSignature, InvalidTransaction


@dataclass(slots=True, eq=False)
class _Wanted:
    """A block whose header is here."""

    checked: CheckedHeader
    block: Block | None = None
    body_bytes: int = 0
    asking: int = 0
    """Questions in progress that ask for it."""
    asked_s: float = 0.0
    """When it was asked for last."""
    asked: set[SyncPeer] = field(default_factory=set)
    """Who is not asked again: they have been, or are being."""


class BodyFetcher:
    """`add` headers and `take` blocks in their order, while `run` fetches."""

    def __init__(self, chain: SyncBackend, peers: SyncPeers, clock: Clock) -> None:
        self._chain = chain
        self._peers = peers
        self._clock = clock
        self._wanted: deque[_Wanted] = deque()
        self._loads: dict[SyncPeer, Load] = {}
        self._bytes = 0
        """Of the bodies that are here."""
        self._usual_bytes = float(limits.USUAL_BODY_BYTES)
        """Of a body, as of late."""
        self._is_complete = False
        self._is_full = False
        """Whether somebody was asked for less than could be, since too much waits here."""
        self._is_stuck = False
        self._to_do = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Fetch, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_for_late_ones())
            while True:
                self._assign(group)
                await self._to_do.wait()
                self._to_do.clear()

    def add(self, headers: Iterable[CheckedHeader]) -> None:
        """Blocks to be fetched, after those that were added before."""
        for checked in headers:
            wanted = _Wanted(checked)
            if checked.header.transactions_root == EMPTY_TRIE_ROOT:
                wanted.block = Block(checked.header, ())
            self._wanted.append(wanted)
        self._wake()

    def complete(self) -> None:
        """No more headers come."""
        self._is_complete = True
        self._wake()

    async def wait_for_room(self) -> None:
        """Until more headers may be added."""
        while len(self._wanted) > limits.MAX_HEADERS_AHEAD - limits.MAX_REQUESTED_HEADERS:
            await self._wait_for_news()

    @property
    def has_next(self) -> bool:
        """Whether `take` has a block to give at once."""
        return bool(self._wanted) and self._wanted[0].block is not None

    async def take(self) -> tuple[Block, CheckedHeader] | None:
        """The next block; None after the last one. Raises RoundEnded where none of the peers has it."""
        while True:
            if self._wanted and (block := self._wanted[0].block) is not None:
                wanted = self._wanted.popleft()
                self._bytes -= wanted.body_bytes
                self._taken()
                return block, wanted.checked
            if not self._wanted and self._is_complete:
                return None
            if self._wanted and self._is_stuck:
                number = self._wanted[0].checked.header.number
                raise RoundEnded(f"none of the connected peers has the body of block {number}")
            await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _taken(self) -> None:
        """There is room; for questions only where it had run out, and when it is worth asking again."""
        self._news.set()
        is_missing = bool(self._wanted) and self._wanted[0].block is None
        if is_missing or (self._is_full and self._bytes <= limits.MAX_WAITING_BODY_BYTES // 2):
            self._to_do.set()

    def _wake(self) -> None:
        self._to_do.set()
        self._news.set()

    async def _look_for_late_ones(self) -> None:
        while True:
            await self._clock.sleep_s(limits.SHARE_LOOK_INTERVAL_S)
            self._to_do.set()

    # Who fetches what

    def _assign(self, group: asyncio.TaskGroup) -> None:
        now_s = self._clock.precise_time_s()
        self._is_full = False
        running = sum(load.running(now_s) for load in self._loads.values())
        for peer in sorted(self._free_peers(now_s), key=lambda peer: self._load(peer).rank):
            if running < limits.MAX_BODY_QUESTIONS and (share := self._share(peer, running, now_s)):
                self._begin(group, peer, share, now_s)
                running += 1
        was_stuck, self._is_stuck = self._is_stuck, self._nobody_has_the_first(now_s)
        if self._is_stuck and not was_stuck:
            self._news.set()

    def _nobody_has_the_first(self, now_s: float) -> bool:
        """Whether there is nobody left to ask for the first block that is missing."""
        first = next((wanted for wanted in self._wanted if wanted.block is None), None)
        if first is None or first.asking:
            return False
        return all(peer in first.asked or self._load(peer).has_nothing(now_s) for peer in self._peers)

    def _load(self, peer: SyncPeer) -> Load:
        return self._loads.setdefault(peer, Load(limits.LATE_SHARE_S))

    def _free_peers(self, now_s: float) -> list[SyncPeer]:
        return [peer for peer in self._peers if self._load(peer).is_free(now_s, limits.MAX_BODY_QUESTIONS_TO_PEER)]

    def _share(self, peer: SyncPeer, running: int, now_s: float) -> list[_Wanted]:
        """What this peer is asked for next, in order."""
        count = max(1, min(limits.MAX_SHARE_BODIES, int(limits.SHARE_BYTES / self._usual_bytes)))
        room = int((limits.MAX_WAITING_BODY_BYTES - self._bytes) / self._usual_bytes) - running * count
        share: list[_Wanted] = []
        for wanted in self._wanted:
            if len(share) >= count:
                break
            if wanted.block is not None or peer in wanted.asked:
                continue
            if wanted.asking and not is_late(wanted.asked_s, now_s, limits.LATE_SHARE_S):
                continue
            # What the import waits for is always fetched, however much waits for it here.
            if len(share) >= room and wanted is not self._wanted[0]:
                self._is_full = True
                break
            share.append(wanted)
        return share

    def _begin(self, group: asyncio.TaskGroup, peer: SyncPeer, share: Sequence[_Wanted], now_s: float) -> None:
        self._load(peer).since_s.append(now_s)
        for wanted in share:
            wanted.asking += 1
            wanted.asked_s = now_s
            wanted.asked.add(peer)
        group.create_task(self._fetch(peer, share, now_s))

    # What they bring

    async def _fetch(self, peer: SyncPeer, share: Sequence[_Wanted], since_s: float) -> None:
        delivered, load = 0, self._load(peer)
        try:
            bodies = await peer.session.get_bodies(tuple([wanted.checked.header.hash for wanted in share]))
            delivered = await self._keep(peer, list(zip(share, bodies, strict=False)))
            load.failures = 0 if delivered else load.failures + 1
            for wanted in share[len(bodies) :]:
                wanted.asked.discard(peer)  # its answer was full before it came to these
        except (NoAnswer, SessionEnded):
            load.failures += 1  # It has been counted against the peer; another one is asked.
        finally:
            load.since_s.remove(since_s)
            if not delivered:
                load.came_empty(self._clock.precise_time_s())
            for wanted in share:
                wanted.asking -= 1
            self._wake()

    async def _keep(self, peer: SyncPeer, pairs: Sequence[tuple[_Wanted, bytes]]) -> int:
        """Keep the bodies that are those asked for; how many are."""
        answered = [(wanted, body) for wanted, body in pairs if body]
        headers = [(wanted.checked.header, body) for wanted, body in answered]
        blocks = await self._chain.beside(partial(_good_blocks, headers))
        if len(blocks) < len(answered):
            number = answered[len(blocks)][0].checked.header.number
            peer.session.offend(Offence.WRONG_ANSWER, f"another body than that of block {number}")
        for (wanted, body), block in zip(answered, blocks, strict=False):
            self._usual_bytes += (len(body) - self._usual_bytes) / limits.USUAL_BODY_MEMORY
            if wanted.block is None:
                wanted.block, wanted.body_bytes = block, len(body)
                self._bytes += len(body)
        return len(blocks)


def _good_blocks(pairs: Sequence[tuple[Header, bytes]]) -> list[Block]:
    """Header and body as blocks, up to a body that its header does not commit to. Not for the event loop."""
    blocks: list[Block] = []
    for header, body in pairs:
        try:
            block = Block(header, decode_body(body))
        except (InvalidBlock, InvalidTransaction):
            break
        if transactions_root(block) != header.transactions_root:
            break
        blocks.append(block)
        # Who sent a transaction is remembered in it: the chain thread need not find that out again. A signature that is
        # not valid is the block's fault, which the import will find.
        with contextlib.suppress(InvalidSignature):
            for transaction in block.transactions:
                _ = transaction.sender
    return blocks
