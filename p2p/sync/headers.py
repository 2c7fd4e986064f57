"""Headers of the chain that a peer claims, one after another, each checked before it is worth anything.

The next batch is on its way while one is checked. Where the peer that was chosen fails, others carry on where it
stopped. A header that may change the validators is followed by a question for its receipts, which anybody may answer.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from chain.header import Header, decode_header
from chain.header_rules import BlockFromFuture
from chain.receipt import encode_receipts
from p2p import limits
from p2p.backend import ChainHead, HeaderChecker, SyncBackend
from p2p.identity import NodeId
from p2p.messages import CertifiedHeader
from p2p.reputation import Offence
from p2p.session import NoAnswer, SessionEnded
from p2p.sync.outcome import BranchLeft, RoundEnded
from p2p.sync.peers import SyncPeer, SyncPeers
from p2p.sync.receipts import decode_foreign_receipts
from p2p.time_limit import within
from primitives.clock import Clock
from primitives.errors import InvalidBlock

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckedHeader:
    """A header that keeps all rules that can be checked without executing its block."""

    header: Header
    certificate: bytes
    total_difficulty: int
    sender: NodeId
    receipts: bytes = b""
    """Of its block, as they are stored, where they were needed to know the validators."""


class _WrongAnswer(InvalidBlock):
    """Headers other than those asked for."""


class _OtherBranch(InvalidBlock):
    """A batch goes on from another block: the peer's chain was reorganised, or it never was on this branch."""


class HeaderSource:
    """The headers that follow a block which is here: `next` until it gives none, then `close`."""

    def __init__(
        self,
        chain: SyncBackend,
        peers: SyncPeers,
        clock: Clock,
        peer: SyncPeer,
        parent: ChainHead,
        checker: HeaderChecker,
    ) -> None:
        self.begin = parent
        """The block below the first header."""
        self.peer = peer
        """Who is asked for headers now."""
        self.top = parent
        """The last header that was checked."""
        self.broken_claim: ChainHead | None = None
        """What the peer claimed when it was asked for what it then did not have."""
        self._chain = chain
        self._peers = peers
        self._clock = clock
        self._checker = checker
        self._unsure: CheckedHeader | None = None
        """The last header, where the next one cannot be checked without its receipts; `next` has not given it yet."""
        self._received: Sequence[CertifiedHeader] = ()
        """Headers that are not checked yet."""
        self._is_at_end = False
        self._claim = peer.session.claimed_head
        """Of the peer, when it was asked last."""
        self._fault = ""
        """Why the peer is asked for no more, where it failed."""
        self._ahead: asyncio.Task[tuple[CertifiedHeader, ...]] | None = None

    async def next(self) -> Sequence[CheckedHeader]:
        """The next headers, at least one; none at the end of the chain. Raises RoundEnded where nobody can go on."""
        while True:
            if self._unsure is not None:
                return [await self._with_receipts(self._unsure)]
            if self._received:
                if checked := await self._check():
                    return checked
            elif self._is_at_end:
                return ()
            else:
                await self._receive()

    def look_again(self, peer: SyncPeer | None = None) -> None:
        """After `close`: the chain may have grown, and `next` may give more; from this peer, where one is given."""
        self._is_at_end = False
        self.broken_claim = None
        if peer is not None:
            self.peer, self._fault = peer, ""

    def correct_claim(self) -> None:
        """The peer has shown more blocks than it claimed, which may weigh less."""
        session = self.peer.session
        if session.claimed_head.number >= self.top.number:
            return  # It claims more by now.
        if session.claimed_head.total_difficulty > self.top.total_difficulty:
            session.offend(Offence.STALLED_REQUEST, "its chain is longer and lighter than it said")
        session.claimed_head = self.top

    def settle_claim(self) -> None:
        """The chain was at its end: a peer that had claimed more is believed less. Raises RoundEnded then."""
        if self.broken_claim is None:
            return
        session = self.peer.session
        session.offend(Offence.STALLED_REQUEST, "its chain is lighter than it said")
        if session.claimed_head == self.broken_claim:
            session.claimed_head = self.top
        raise RoundEnded("its chain is lighter than it said")

    async def close(self) -> None:
        """Ask for no more."""
        self._received = ()
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
            self._ahead = None

    # Asking

    async def _receive(self) -> None:
        if self._fault:
            await self._change_peer()
        since_s = self._clock.precise_time_s()
        try:
            received = await (self._ahead or self._ask(self.top.number + 1))
        except (NoAnswer, SessionEnded) as error:
            self._fault = str(error)
            return
        self._ahead = None
        self.peer.is_slow = self._clock.precise_time_s() - since_s > limits.SLOW_HEADERS_S
        self._received = received
        # A peer sends as many as it has: with fewer it is at its end, and cannot dribble them out one by one.
        self._is_at_end = len(received) < limits.MAX_REQUESTED_HEADERS
        if self._is_at_end and not received:
            self._compare_with_claim()
        elif not self._is_at_end:
            self._ask(self.top.number + 1 + len(received))

    def _ask(self, number: int) -> asyncio.Task[tuple[CertifiedHeader, ...]]:
        self._claim = self.peer.session.claimed_head
        question = self.peer.session.get_headers(number, limits.MAX_REQUESTED_HEADERS)
        self._ahead = asyncio.create_task(question)
        return self._ahead

    async def _change_peer(self) -> None:
        LOGGER.debug("%s: no headers after %d: %s", self.peer.session, self.top.number, self._fault)
        await self.close()
        self._peers.failed(self.peer)
        other = self._peers.best_above(self.top.number, self.peer)
        if other is None:
            raise RoundEnded(self._fault)
        self.peer, self._fault = other, ""

    def _compare_with_claim(self) -> None:
        if self._claim.total_difficulty > self.top.total_difficulty:
            self.broken_claim = self._claim

    # Checking

    async def _check(self) -> list[CheckedHeader]:
        """Check what was received, up to a header that may change the validators or that is wrong; those before it."""
        checked, error = await self._chain.beside(partial(self._check_until_unsure, self._received))
        self._received = self._received[len(checked) :]
        if self._checker.needs_receipts is not None:
            self._unsure = checked.pop()
        if isinstance(error, _OtherBranch):
            self._received = ()
            raise BranchLeft(str(error)) from error
        if isinstance(error, BlockFromFuture):
            LOGGER.debug("%s: header %d waits: %s", self.peer.session, self.top.number + 1, error)
            await self.close()
            self._is_at_end = True
        elif error is not None:
            LOGGER.warning("%s: a header after %d is refused: %s", self.peer.session, self.top.number, error)
            offence = Offence.WRONG_ANSWER if isinstance(error, _WrongAnswer) else Offence.INVALID_BLOCK
            self.peer.session.offend(offence, str(error))
            self._received, self._fault, self._is_at_end = (), str(error), False
        elif self._is_at_end and not self._received:
            self._compare_with_claim()
        return checked

    def _check_until_unsure(
        self, received: Sequence[CertifiedHeader]
    ) -> tuple[list[CheckedHeader], InvalidBlock | None]:
        """Those that are good, from the first on, and what is wrong with the next one. Not for the event loop."""
        checked: list[CheckedHeader] = []
        try:
            for one in received:
                header = decode_header(one.header)
                if header.number != self.top.number + 1:
                    raise _WrongAnswer(f"header {header.number} where {self.top.number + 1} is due")
                if header.parent_hash != self.top.hash:
                    kind = _WrongAnswer if checked else _OtherBranch
                    raise kind(f"header {header.number} does not follow the one before it")
                self._checker.add(header, one.certificate)
                total_difficulty = self.top.total_difficulty + header.difficulty
                self.top = ChainHead(header.number, header.hash, total_difficulty)
                checked.append(CheckedHeader(header, one.certificate, total_difficulty, self.peer.session.node_id))
                if self._checker.needs_receipts is not None:
                    break
        except InvalidBlock as error:
            return checked, error
        return checked, None

    async def _with_receipts(self, unsure: CheckedHeader) -> CheckedHeader:
        """The last header with its receipts, from whoever has them. Raises RoundEnded where nobody has."""
        patience_s = {0: limits.LATE_PIECES_S, 1: limits.REQUEST_TIME_S}
        attempts: dict[SyncPeer, int] = {}
        while True:
            left = [peer for peer in (self.peer, *self._peers) if attempts.get(peer, 0) in patience_s]
            if not left:
                break
            peer = min(left, key=lambda peer: (attempts.get(peer, 0), peer.is_slow))
            attempt = attempts.get(peer, 0)
            attempts[peer] = attempt + 1
            try:
                asking = peer.session.get_receipts((self.top.hash,))
                answer = await within(self._clock, patience_s[attempt], asking)
            except TimeoutError:
                peer.is_slow = True
                continue
            except (NoAnswer, SessionEnded):
                answer = ()
            attempts[peer] = len(patience_s)  # whatever it has said, it need not be asked again
            if answer and answer[0] and (receipts := await self._taken_receipts(peer, answer[0])) is not None:
                self._unsure = None
                return replace(unsure, receipts=receipts)
        LOGGER.warning("no connected peer has the receipts of block %d, which changes validators", self.top.number)
        raise RoundEnded(f"nobody has the receipts of block {self.top.number}")

    async def _taken_receipts(self, peer: SyncPeer, encoded: bytes) -> bytes | None:
        """As they are to be kept; None where they are not those of the block."""

        def take() -> bytes:
            receipts = decode_foreign_receipts(encoded)
            self._checker.supply_receipts(receipts)
            return encode_receipts(receipts)

        try:
            return await self._chain.beside(take)
        except InvalidBlock as error:
            peer.session.offend(Offence.WRONG_ANSWER, str(error))
            return None
