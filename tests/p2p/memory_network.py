"""An in-memory network: wires that carry real encoded messages, a chain of headers, and nodes of both."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from random import Random
from typing import TypeVar

from chain.block import Block, encode_body
from chain.header import Header
from chain.header_rules import BlockFromFuture
from chain.importer import ImportStatus, UnknownParent, transactions_root
from chain.pool.pool import TransactionPool
from chain.receipt import Receipt, encode_receipts
from chain.transaction import Transaction
from p2p.address_book import AddressBook
from p2p.backend import CertifiedBlock, ChainHead, Unsubscribe, Wire
from p2p.fields import IpAddress
from p2p.framing import InvalidFrame, MaxBytes, RawMessage
from p2p.gossip import RunningSynchroniser, run_gossip, status_of
from p2p.identity import NodeId
from p2p.messages import (
    CertifiedHeader,
    Disconnect,
    DisconnectReason,
    Message,
    SkippedMessage,
    StatePlace,
    Status,
    decode,
    encode,
    max_payload_bytes,
    max_skipped_bytes,
)
from p2p.node_url import NodeUrl
from p2p.owed_answers import OwedAnswers
from p2p.peers import PeerSet
from p2p.reputation import Offence, Reputation, Verdict
from p2p.session import Handlers, PeerSession
from p2p.slots import ConnectionSlots
from p2p.transport import ConnectionLost
from primitives.clock import ManualClock
from primitives.errors import InvalidBlock
from tests.chain import pool_world

T = TypeVar("T")

CHAIN_ID = pool_world.CHAIN_ID
STATUS = Status(1, "test", 0, bytes(32), 0, 0)


def node(number: int) -> NodeId:
    return bytes([number]) * 20


async def settle() -> None:
    """Let everybody do what can be done without time passing."""
    for _ in range(200):
        await asyncio.sleep(0)


class MemoryWire:
    """One end of a connection; what is sent is encoded, measured and decoded as on a real one."""

    def __init__(self, node_id: NodeId, is_outbound: bool, address: IpAddress, max_bytes: MaxBytes) -> None:
        self.node_id = node_id
        self.is_outbound = is_outbound
        self.remote_address = address
        self.other: MemoryWire = self
        self.sent: list[Message] = []
        self.is_closed = False
        self._max_bytes = max_bytes
        self._inbox: asyncio.Queue[RawMessage | None] = asyncio.Queue()

    async def send(self, message: Message) -> None:
        if self.is_closed:
            raise ConnectionLost("closed")
        self.sent.append(message)
        self.send_raw(encode(message))

    def send_raw(self, raw: RawMessage) -> None:
        self.other._inbox.put_nowait(raw)

    async def receive(self) -> Message:
        raw = await self._inbox.get()
        if raw is None:
            self.abort()
            raise ConnectionLost("the peer hung up")
        allowed = self._max_bytes(raw.code)
        if len(raw.payload) > (65_536 if allowed is None else allowed):
            if len(raw.payload) <= max_skipped_bytes(raw.code):
                raise SkippedMessage("a message that is larger than it may be now")
            self.abort()
            raise InvalidFrame("a message that is too large")
        return decode(raw)

    async def close(self, reason: DisconnectReason | None = None) -> None:
        if not self.is_closed and reason is not None:
            await self.send(Disconnect(reason))
        self.abort()

    def abort(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.other._inbox.put_nowait(None)
            self._inbox.put_nowait(None)


def wire_pair(
    caller: NodeId, called: NodeId, caller_max: MaxBytes = max_payload_bytes, called_max: MaxBytes = max_payload_bytes
) -> tuple[MemoryWire, MemoryWire]:
    """The caller's end and the called one's."""
    ours = MemoryWire(called, True, ip_address("10.0.0.2"), caller_max)
    theirs = MemoryWire(caller, False, ip_address("10.0.0.1"), called_max)
    ours.other, theirs.other = theirs, ours
    return ours, theirs


@dataclass
class Talk:
    """A session of ours, and the bare wire of whoever is at the other end."""

    clock: ManualClock
    session: PeerSession
    peer: MemoryWire
    reputation: Reputation
    offences: list[Offence]
    running: "asyncio.Task[str]"

    async def ended(self) -> str:
        """Why the session ended; a session that should have ended and goes on fails the test."""
        async with asyncio.timeout(10):
            return await self.running

    async def says(self, *messages: Message) -> None:
        for message in messages:
            await self.peer.send(message)
        await settle()

    async def heard(self, kind: type[Message]) -> list[Message]:
        """What of that kind our side has sent so far."""
        await settle()
        wire = self.peer.other
        return [message for message in wire.sent if isinstance(message, kind)]

    async def passes_s(self, duration_s: float) -> None:
        await settle()
        self.clock.advance_s(duration_s)
        await settle()


async def begin_talk(
    handlers: Handlers | None = None, clock: ManualClock | None = None, peer: int = 2, status: Status = STATUS
) -> Talk:
    """A session that has exchanged Status and runs."""
    clock = clock or ManualClock()
    reputation = Reputation(clock)
    offences: list[Offence] = []

    def judge(session: PeerSession, offence: Offence) -> Verdict:
        offences.append(offence)
        return reputation.record(session.node_id, offence)

    owed = OwedAnswers()
    ours, theirs = wire_pair(node(1), node(peer), caller_max=owed.max_bytes)
    session = PeerSession(ours, owed, STATUS, clock, handlers or Handlers(), judge)
    await theirs.send(status)
    await session.greet()
    return Talk(clock, session, theirs, reputation, offences, asyncio.create_task(session.run()))


class FakeChecker:
    """Takes headers that follow each other, and asks for receipts where the test says so."""

    def __init__(self, chain: "FakeChain", parent_hash: bytes) -> None:
        self.needs_receipts: Header | None = None
        self._chain = chain
        self._top_hash = parent_hash

    def add(self, header: Header, certificate: bytes) -> None:
        assert self.needs_receipts is None
        if (
            header.parent_hash != self._top_hash
            or header.hash in self._chain.invalid_headers
            or certificate == b"false"
        ):
            raise InvalidBlock("an invalid header, the test says")
        if header.hash in self._chain.future:
            raise BlockFromFuture("a header of tomorrow, the test says")
        self._top_hash = header.hash
        if header.hash in self._chain.changes_validators:
            self.needs_receipts = header

    def supply_receipts(self, receipts: Sequence[Receipt]) -> None:
        assert self.needs_receipts is not None
        if receipts:
            raise InvalidBlock("other receipts than those of the block, which has none")
        self.needs_receipts = None


class FakeChain:
    """Blocks that are valid when their parent is known and their hash is not in `invalid`; the longest chain counts."""

    def __init__(self, reorganisation_cap: int = 128) -> None:
        """0: every block is final at once."""
        genesis = Block(pool_world.header(0), ())
        self.blocks = {genesis.hash: genesis}
        self.canonical = [genesis]
        self.invalid: set[bytes] = set()
        self.invalid_headers: set[bytes] = set()
        self.future: set[bytes] = set()
        self.changes_validators: set[bytes] = set()
        self.reorganisation_cap = reorganisation_cap
        self.refusal: InvalidBlock | None = None
        self.imports: list[bytes] = []
        self.listeners: list[Callable[[CertifiedBlock], None]] = []

    @property
    def best(self) -> Block:
        return self.canonical[-1]

    def head(self) -> ChainHead:
        return ChainHead(self.best.number, self.best.hash, self.best.number + 1)

    @property
    def final_depth_blocks(self) -> int:
        return self.reorganisation_cap

    async def canonical_hash(self, number: int) -> bytes | None:
        return self.canonical[number].hash if number < len(self.canonical) else None

    async def total_difficulty(self, block_hash: bytes) -> int | None:
        return self.blocks[block_hash].number + 1 if block_hash in self.blocks else None

    async def has_block(self, block_hash: bytes) -> bool:
        return block_hash in self.blocks

    async def header_checker(self, parent_hash: bytes) -> FakeChecker:
        return FakeChecker(self, parent_hash)

    async def beside(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return work()

    async def import_block(self, block: Block, certificate: bytes) -> ImportStatus:
        self.imports.append(block.hash)
        await asyncio.sleep(0)
        if block.hash in self.blocks:
            return ImportStatus.KNOWN
        if block.hash in self.invalid or certificate == b"false":
            raise InvalidBlock("invalid, the test says")
        if self.refusal is not None:
            raise self.refusal
        if block.header.parent_hash not in self.blocks:
            raise UnknownParent("no parent")
        extends = block.header.parent_hash == self.best.hash
        return self.put(block, certificate, extends)

    def put(self, block: Block, certificate: bytes = b"", extends: bool = True) -> ImportStatus:
        self.blocks[block.hash] = block
        if block.number <= self.best.number:
            return ImportStatus.SIDE_BRANCH
        if extends:
            self.canonical.append(block)
        else:
            branch = [block]
            while branch[-1].header.parent_hash != self.canonical[branch[-1].number - 1].hash:
                branch.append(self.blocks[branch[-1].header.parent_hash])
            self.canonical[branch[-1].number :] = reversed(branch)
        for listener in list(self.listeners):
            listener(CertifiedBlock(block, certificate, block.number + 1))
        return ImportStatus.EXTENDED if extends else ImportStatus.REORGANISED

    async def headers(self, origin: bytes | int, count: int, skip: int, falling: bool) -> Sequence[CertifiedHeader]:
        block = self.blocks.get(origin) if isinstance(origin, bytes) else None
        first = origin if isinstance(origin, int) else block.number if block is not None else len(self.canonical)
        if block is not None and self.canonical[first : first + 1] != [block]:
            return [CertifiedHeader(block.header.encode(), b"")]
        step = -(skip + 1) if falling else skip + 1
        numbers = range(first, max(-1, first + step * count), step)
        return [
            CertifiedHeader(self.canonical[number].header.encode(), b"")
            for number in numbers
            if number < len(self.canonical)
        ]

    async def bodies(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        bodies: list[bytes] = []
        for block_hash in block_hashes:
            if sum(map(len, bodies)) < soft_limit_bytes:
                block = self.blocks.get(block_hash)
                bodies.append(encode_body(block.transactions) if block else b"")
        return bodies

    async def receipts(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        return [encode_receipts([]) if block_hash in self.blocks else b"" for block_hash in block_hashes]

    async def state_pieces(
        self, block_hash: bytes, places: Sequence[StatePlace], soft_limit_bytes: int
    ) -> Sequence[bytes]:
        return []

    async def codes(self, code_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        return [b""] * len(code_hashes)

    def subscribe(self, listener: Callable[[CertifiedBlock], None]) -> Unsubscribe:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


def next_block(parent: Block, gas_used: int = 0, transactions: tuple[Transaction, ...] = ()) -> Block:
    """A child; the gas tells siblings apart."""
    header: Header = pool_world.child(parent.header, gas_used=gas_used)
    block = Block(header, transactions)
    return Block(replace(header, transactions_root=transactions_root(block), _hash=None), transactions)


@dataclass
class FakeSynchroniser:
    is_syncing: bool = False
    asked: list[NodeId] = field(default_factory=list)

    def sync_with(self, node_id: NodeId) -> None:
        self.asked.append(node_id)

    def joined(self, session: PeerSession) -> None:
        pass

    def left(self, session: PeerSession) -> None:
        pass

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()


class MemoryNetwork:
    """Nodes that call each other by their ids; a node can be made unreachable."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.nodes: dict[NodeId, Node] = {}

    def add(self, number: int, chain: FakeChain | None = None) -> "Node":
        added = Node(self, node(number), chain or FakeChain())
        self.nodes[added.node_id] = added
        return added

    async def passes_s(self, duration_s: float, step_s: float = 1.0) -> None:
        for _ in range(round(duration_s / step_s)):
            await settle()
            self.clock.advance_s(step_s)
        await settle()


class Node:
    """A whole node but for sockets: the real pool, sessions and gossip on a chain of headers."""

    def __init__(self, network: MemoryNetwork, node_id: NodeId, chain: FakeChain) -> None:
        clock = network.clock
        self.network = network
        self.node_id = node_id
        self.chain = chain
        self.pool: TransactionPool = pool_world.pool(clock=clock)
        self.synchroniser: RunningSynchroniser = FakeSynchroniser()
        self.reputation = Reputation(clock)
        self.slots = ConnectionSlots(clock, node_id)
        self.book = AddressBook(clock, node_id, Random(1))
        own_status = status_of(self.chain, "memory", 30_403)
        self.peers = PeerSet(own_status, clock, self, self.slots, self.reputation, self.book)
        self.calls = 0

    @property
    def url(self) -> NodeUrl:
        return NodeUrl(self.node_id, f"10.0.1.{self.node_id[0]}", 30_403)

    async def resolve(self, host: str) -> IpAddress:
        raise ConnectionLost(f"{host} is no name")

    async def connect(self, address: IpAddress, port: int, node_id: NodeId, max_bytes: MaxBytes) -> Wire:
        self.calls += 1
        called = self.network.nodes.get(node_id)
        if called is None:
            raise ConnectionLost("nobody there")
        ours = MemoryWire(node_id, True, address, max_bytes)

        async def accept(called_max: MaxBytes) -> Wire:
            theirs = MemoryWire(self.node_id, False, ip_address(self.url.host), called_max)
            ours.other, theirs.other = theirs, ours
            return theirs

        if not called.peers.take_call(ip_address(self.url.host), accept):
            raise ConnectionLost("hung up on")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return ours

    async def run(self) -> None:
        await run_gossip(
            self.peers, self.chain, self.pool, self.synchroniser, CHAIN_ID, self.network.clock, Random(self.node_id[0])
        )

    def connected(self) -> set[NodeId]:
        return {session.node_id for session in self.peers.sessions()}
