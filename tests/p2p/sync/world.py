"""What tests of synchronisation share: our node's synchroniser, and peers that serve a chain well or badly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chain.block import Block
from chain.transaction import Transaction
from p2p.messages import (
    Bodies,
    CertifiedHeader,
    Codes,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetReceipts,
    GetStatePieces,
    Headers,
    Message,
    Ping,
    Pong,
    Receipts,
    StatePieces,
    Status,
)
from p2p.reputation import Offence
from p2p.sync.synchroniser import ChainSynchroniser
from p2p.sync.target import StateTarget
from p2p.transport import ConnectionLost
from primitives.clock import ManualClock
from tests.chain.pool_world import transaction
from tests.p2p.memory_network import FakeChain, Talk, begin_talk, next_block, settle
from tests.p2p.sync.fake_state import CODES, piece_of

SENT = [transaction(sender) for sender in range(8)]
"""Transactions for bodies that are not empty."""


def grow(chain: FakeChain, count: int, every: int = 2, gas_used: int = 0) -> list[Block]:
    """So many blocks more, every second one with a transaction; the gas tells branches apart."""
    added = []
    for _ in range(count):
        number = chain.best.number + 1
        body: tuple[Transaction, ...] = () if number % every else (SENT[number % len(SENT)],)
        added.append(next_block(chain.best, gas_used, body))
        chain.put(added[-1])
    return added


def copy(chain: FakeChain, to: int | None = None) -> FakeChain:
    """Another node's chain with the same blocks, up to a number."""
    made = FakeChain()
    for block in chain.canonical[1 : None if to is None else to + 1]:
        made.put(block)
    return made


@dataclass
class Peer:
    """A peer that answers from a chain of its own. What it does badly, a test puts in the place of an answer."""

    talk: Talk
    chain: FakeChain
    headers: Callable[[GetHeaders, Headers], Message | None] | None = None
    """What is sent in the place of an answer; None for silence."""
    bodies: Callable[[GetBodies, Bodies], Message | None] | None = None
    receipts: Callable[[GetReceipts, Receipts], Message | None] | None = None
    pieces: Callable[[GetStatePieces, StatePieces], Message | None] | None = None
    codes: Callable[[GetCodes, Codes], Message | None] | None = None
    keeps_states: int = 256
    """Of how many blocks, the newest ones, it keeps the states."""
    asked: list[Message] = field(default_factory=list)
    """What was asked of it."""

    @property
    def offences(self) -> list[Offence]:
        return self.talk.offences

    def asked_for(self, kind: type[Message]) -> int:
        return sum(isinstance(message, kind) for message in self.asked)

    async def serve(self) -> None:
        while True:
            try:
                request = await self.talk.peer.receive()
            except ConnectionLost:
                return
            if not isinstance(request, (Status, Ping, Pong)):
                self.asked.append(request)
            answer = await self._answer(request)
            if answer is not None:
                await self.talk.peer.send(answer)

    async def _answer(self, request: Message) -> Message | None:
        if isinstance(request, GetHeaders):
            headers = await self.chain.headers(request.origin, request.count, request.skip, request.falling)
            honest = Headers(request.request_id, tuple(headers))
            return self.headers(request, honest) if self.headers else honest
        if isinstance(request, GetBodies):
            bodies = Bodies(request.request_id, tuple(await self.chain.bodies(request.block_hashes, 2**21)))
            return self.bodies(request, bodies) if self.bodies else bodies
        if isinstance(request, GetReceipts):
            receipts = Receipts(request.request_id, tuple(await self.chain.receipts(request.block_hashes, 2**21)))
            return self.receipts(request, receipts) if self.receipts else receipts
        if isinstance(request, GetStatePieces):
            pieces = StatePieces(request.request_id, self._pieces(request))
            return self.pieces(request, pieces) if self.pieces else pieces
        if isinstance(request, GetCodes):
            codes = Codes(request.request_id, tuple([CODES.get(code_hash, b"") for code_hash in request.code_hashes]))
            return self.codes(request, codes) if self.codes else codes
        return Pong(request.nonce) if isinstance(request, Ping) else None

    def _pieces(self, request: GetStatePieces) -> tuple[bytes, ...]:
        block = self.chain.blocks.get(request.block_hash)
        if block is None or block.number <= self.chain.best.number - self.keeps_states:
            return ()
        return tuple([piece_of(block.number, place) for place in request.places][:24])


class World:
    """Our node, and its peers."""

    def __init__(self, chain: FakeChain | None, target: StateTarget | None, is_full: bool) -> None:
        self.clock = ManualClock()
        self.chain = chain or FakeChain()
        self.synchroniser = ChainSynchroniser(self.chain, self.clock, target, is_full=is_full)
        self.peers: list[Peer] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def peer(self, chain: FakeChain, claims: int | None = None) -> Peer:
        """A peer with that chain joins; it claims that total difficulty, or the true one."""
        head = chain.head()
        total_difficulty = head.total_difficulty if claims is None else claims
        number = head.number if claims is None else min(2**63, claims)
        status = Status(1, "peer", number, head.hash, total_difficulty, 0)
        talk = await begin_talk(clock=self.clock, peer=len(self.peers) + 2, status=status)
        peer = Peer(talk, chain)
        self.peers.append(peer)
        self.tasks.append(asyncio.create_task(peer.serve()))
        self.synchroniser.joined(talk.session)
        if total_difficulty > self.chain.head().total_difficulty:
            self.synchroniser.sync_with(talk.session.node_id)  # as gossip of blocks does
        talk.running.add_done_callback(lambda _: self.synchroniser.left(talk.session))
        return peer

    async def passes_s(self, duration_s: float, step_s: float = 1.0) -> None:
        for _ in range(max(1, round(duration_s / step_s))):
            await settle()
            self.clock.advance_s(step_s)
        await settle()

    async def until(self, is_so: Callable[[], bool], limit_s: float = 0.0) -> float:
        """How long it took until this was so; a second at a time, once nobody has anything to do any more."""
        begun_s = self.clock.now_s
        while True:
            done, doing = -1, 0
            while done != doing and not is_so():
                await settle()
                done, doing = doing, len(self.chain.imports) + sum(len(peer.asked) for peer in self.peers)
            if is_so():
                return self.clock.now_s - begun_s
            assert self.clock.now_s - begun_s < limit_s, "it did not happen in time"
            self.clock.advance_s(1)

    async def reaches(self, block: Block, limit_s: float = 0.0) -> float:
        return await self.until(lambda: self.chain.best == block, limit_s)


@asynccontextmanager
async def world(
    chain: FakeChain | None = None, target: StateTarget | None = None, is_full: bool = False
) -> AsyncIterator[World]:
    made = World(chain, target, is_full)
    running = asyncio.create_task(made.synchroniser.run())
    await settle()
    yield made
    assert not running.done(), "the synchroniser has ended"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for peer in made.peers:
        peer.talk.session.end(None, "the test is over")
        await peer.talk.ended()
    await asyncio.gather(*made.tasks)


def without_bodies(request: GetBodies, honest: Bodies) -> Bodies:
    """As a peer that began with a state answers for older blocks."""
    return Bodies(request.request_id, (b"",) * len(request.block_hashes))


def silence(request: Message, honest: Message) -> None:
    """No answer at all."""


def certified(block: Block, certificate: bytes = b"") -> CertifiedHeader:
    return CertifiedHeader(block.header.encode(), certificate)
