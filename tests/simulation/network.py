"""The network between simulated machines: real messages, encoded and decoded, over streams that delay, stall and break.

A stream is what TCP makes of a bad network: nothing is lost in the middle, but it may come late, or the connection ends
and each side learns of that in its own time. Where a way is cut, what is sent waits; when it is open again, the wait
goes on for as long as it took already, as TCP repeats itself less and less often. A machine that was off knows nothing
of its connections, and says so to whoever goes on using them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, copy_context
from random import Random
from typing import Protocol

from p2p import limits
from p2p.backend import Wire
from p2p.fields import IpAddress
from p2p.framing import InvalidFrame, MaxBytes, RawMessage
from p2p.handshake import InvalidHandshake
from p2p.identity import NodeId
from p2p.messages import (
    AnnounceBlocks,
    AnnounceTransactions,
    Consensus,
    Disconnect,
    DisconnectReason,
    Message,
    NewBlock,
    SkippedMessage,
    decode,
    encode,
    max_skipped_bytes,
)
from p2p.transport import ConnectionLost, PeerTooSlow
from tests.simulation.virtual_time import Life, PowerCut, VirtualLoop
from tests.simulation.weather import CALM, Weather

BYTES_A_S = 2_000_000.0
"""Some 16 Mbit/s: Wi-Fi on the far side of the house."""
STALL_S = (0.2, 3.0)
"""TCP waits 0.2 s before it sends a packet again, then twice as long, and so on."""
GIVING_UP_S = (3.0, 40.0)
"""After so long without a way the sender's system may say that there is none."""
GIVES_UP = 0.5
"""Probability that it ever does; otherwise the node itself has to notice."""
MAX_BACKOFF_S = 120.0
"""Linux sends again at least that often."""
OVERTAKEN_S = (0.0, 2.0)
"""How much longer a notice may take that others overtake, or that comes twice."""
SOCKET_BYTES = limits.WRITE_BUFFER_BYTES
"""What may be on its way on one connection before a sender has to wait."""

SHORTEST_S = 1e-6
"""A wait that is shorter may be none at all: times have so many digits only."""

NOTICES = (AnnounceBlocks, AnnounceTransactions, Consensus, NewBlock)

Accept = Callable[[MaxBytes], Awaitable[Wire]]


class Host:
    """A machine on the network. It is on while a life runs on it."""

    def __init__(self, name: str, node_id: NodeId, address: IpAddress) -> None:
        self.name = name
        self.node_id = node_id
        self.address = address
        self.life: Life | None = None
        self.take_call: Callable[[IpAddress, Accept], bool] = lambda address, accept: False
        """Within the life: somebody calls (p2p.peers.PeerSet.take_call)."""
        self.tamper: Tamper | None = None
        self.wires: list[SimulatedWire] = []
        """Ends of connections at this machine that may be open."""


class Tamper(Protocol):
    """A liar who sits between a node and the network."""

    def sends(self, wire: "SimulatedWire", message: Message) -> Iterable[Message]:
        """What is sent instead of what the node says."""

    def hears(self, wire: "SimulatedWire", message: Message) -> None:
        """What the node is told."""


class Watcher(Protocol):
    """Who hears of everything that happens."""

    def event(self, *what: object) -> None: ...

    def said(self, host: Host, message: Message) -> None:
        """A machine sends a message."""

    def is_final(self, message: Message) -> bool:
        """Whether it is one of those by which a block becomes final."""


class SimulatedNetwork:
    """All machines, and the ways between them."""

    def __init__(self, loop: VirtualLoop, random: Random, watcher: Watcher) -> None:
        self.loop = loop
        self.random = random
        self.watcher = watcher
        self.messages = 0
        self.hosts: dict[IpAddress, Host] = {}
        self.stalled: dict[int, Way] = {}
        """Ways with something to deliver that cannot be delivered now."""
        self._weather = CALM
        self._context: Context = copy_context()
        self._ways = 0

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self.ways_changed()

    def add(self, host: Host) -> None:
        self.hosts[host.address] = host

    def ways_changed(self) -> None:
        """A way may be open again: the weather is another, or a machine is on again."""
        for way in list(self.stalled.values()):
            way.try_again()

    def is_cut(self, sender: Host, receiver: Host) -> bool:
        weather = self._weather
        return (
            receiver.life is None
            or weather.islands.get(sender.name, 0) != weather.islands.get(receiver.name, 0)
            or (sender.name, receiver.name) in weather.cut_ways
        )

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        """Something happens in the network, whoever caused it: nobody's life ends it."""
        self.loop.call_at(self.loop.time() + delay_s, action, context=self._context)

    def delay_s(self, size: int = 0) -> float:
        delay_s = self.random.uniform(*self._weather.delay_s) + size / BYTES_A_S
        if self.happens(self._weather.stalls):
            delay_s += self.random.uniform(*STALL_S)
        return delay_s

    def happens(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def number_of_way(self) -> int:
        self._ways += 1
        return self._ways

    # Calls

    async def connect(self, caller: Host, address: IpAddress, node_id: NodeId, max_bytes: MaxBytes) -> "SimulatedWire":
        """Open a connection, as p2p.backend.Connector says."""
        called = self.hosts.get(address)
        try:
            async with asyncio.timeout(limits.CONNECT_TIME_S):
                if called is None or self.happens(self._weather.refusals):
                    await self.loop.create_future()
                    raise AssertionError
                await self._trip(caller, called)
                await self._trip(called, caller)
        except TimeoutError as error:
            raise ConnectionLost(f"no answer within {limits.CONNECT_TIME_S:g} s") from error
        if caller.life is None or called.life is None:
            raise ConnectionLost("the machine is off")
        ours = SimulatedWire(self, caller, called, True, max_bytes)
        answering = _Answering(self, ours)
        try:
            if not called.life.call(called.take_call, caller.address, answering.accept):
                raise ConnectionLost("hung up on")
            try:
                async with asyncio.timeout(limits.HANDSHAKE_TIME_S):
                    await self._trip(caller, called)
                    await self._trip(called, caller)
            except TimeoutError as error:
                raise PeerTooSlow("the peer is in the handshake") from error
            if called.node_id != node_id:
                raise InvalidHandshake("another node answers")
        except BaseException:
            Way(self, caller, called).send(answering.hung_up)
            ours.abort()
            raise
        Way(self, caller, called).send(answering.finished)
        return ours

    async def _trip(self, sender: Host, receiver: Host) -> None:
        """One packet's way."""
        arrived = self.loop.create_future()
        Way(self, sender, receiver).send(lambda: arrived.done() or arrived.set_result(None))
        await arrived


class _Answering:
    """The called side of a handshake."""

    def __init__(self, network: SimulatedNetwork, caller: "SimulatedWire") -> None:
        self._network = network
        self._caller = caller
        self._outcome: asyncio.Future[bool] = network.loop.create_future()

    def finished(self) -> None:
        if not self._outcome.done():
            self._outcome.set_result(True)

    def hung_up(self) -> None:
        if not self._outcome.done():
            self._outcome.set_result(False)

    async def accept(self, max_bytes: MaxBytes) -> Wire:
        caller = self._caller
        theirs = SimulatedWire(self._network, caller.receiver, caller.sender, False, max_bytes)
        theirs.join(caller)
        try:
            async with asyncio.timeout(limits.HANDSHAKE_TIME_S):
                if not await asyncio.shield(self._outcome):
                    raise ConnectionLost("the peer hung up")
        except TimeoutError as error:
            theirs.abort()
            raise PeerTooSlow("the peer is in the handshake") from error
        except BaseException:
            theirs.abort()
            raise
        return theirs


class Way:
    """What one machine sends another on one connection, in order."""

    def __init__(
        self, network: SimulatedNetwork, sender: Host, receiver: Host, give_up: Callable[[], None] | None = None
    ) -> None:
        """`give_up` is called where the sender's system says that the receiver cannot be reached."""
        self._network = network
        self._sender = sender
        self._receiver = receiver
        self._give_up = give_up
        self._queue: deque[tuple[float, Callable[[], object]]] = deque()
        self._number = network.number_of_way()
        self._stalled_since_s: float | None = None
        self._is_awake = False

    def send(self, deliver: Callable[[], object], size: int = 0) -> None:
        network = self._network
        due_s = network.loop.time() + network.delay_s(size)
        if self._queue:
            due_s = max(due_s, self._queue[-1][0])
        self._queue.append((due_s, deliver))
        if not self._is_awake and self._stalled_since_s is None:
            self._wake_in(due_s - network.loop.time())

    def end(self) -> None:
        """Nothing more gets through."""
        self._queue.clear()
        self._network.stalled.pop(self._number, None)

    def try_again(self) -> None:
        network = self._network
        if self._stalled_since_s is None or network.is_cut(self._sender, self._receiver):
            return
        waited_s = min(network.loop.time() - self._stalled_since_s, MAX_BACKOFF_S)
        self._stalled_since_s = None
        network.stalled.pop(self._number, None)
        self._wake_in(network.random.uniform(0.0, waited_s))

    def _wake_in(self, delay_s: float) -> None:
        self._is_awake = True
        self._network.later(delay_s, self._arrive)

    def _arrive(self) -> None:
        self._is_awake = False
        network = self._network
        if not self._queue:
            return
        if network.is_cut(self._sender, self._receiver):
            self._stalled_since_s = network.loop.time()
            network.stalled[self._number] = self
            if self._give_up is not None and network.happens(GIVES_UP):
                since_s = self._stalled_since_s
                network.later(network.random.uniform(*GIVING_UP_S), lambda: self._no_way(since_s))
            return
        now_s = network.loop.time()
        while self._queue and self._queue[0][0] <= now_s:
            self._queue.popleft()[1]()
        if self._queue:
            self._wake_in(self._queue[0][0] - now_s)

    def _no_way(self, since_s: float) -> None:
        if self._stalled_since_s == since_s and self._give_up is not None:
            self.end()
            self._give_up()


class SimulatedWire:
    """One end of a connection (p2p.backend.Wire)."""

    def __init__(
        self, network: SimulatedNetwork, sender: Host, receiver: Host, is_outbound: bool, max_bytes: MaxBytes
    ) -> None:
        assert sender.life is not None
        self.node_id = receiver.node_id
        self.is_outbound = is_outbound
        self.remote_address = receiver.address
        self.sender = sender
        self.receiver = receiver
        self._life = sender.life
        self._network = network
        self._max_bytes = max_bytes
        self._other: SimulatedWire | None = None
        self._way = Way(network, sender, receiver, lambda: self.lost("there is no way to the peer"))
        self._on_the_way_bytes = 0
        """Sent, and not read at the other end."""
        self._unsent_bytes = 0
        """Handed to `send`, and no room for them yet."""
        self._inbox: deque[RawMessage | ConnectionLost | PeerTooSlow] = deque()
        self._changed: asyncio.Future[None] | None = None
        """Somebody waits for the inbox."""
        self._room: deque[asyncio.Future[None]] = deque()
        """Senders that wait for room, in order."""
        self._is_closed = False
        self._has_heard = False
        self._heard_s = network.loop.time()
        sender.wires = [wire for wire in sender.wires if wire.is_open] + [self]
        network.later(limits.IDLE_TIME_S, self._look_for_silence)

    @property
    def is_open(self) -> bool:
        return not self._is_closed and not self._life.is_over

    def join(self, other: "SimulatedWire") -> None:
        """These two are the ends of one connection."""
        self._other, other._other = other, self

    # What a node does

    async def send(self, message: Message) -> None:
        self._check_power()
        if (tamper := self.sender.tamper) is None:
            await self._send(message)
            return
        for said in tamper.sends(self, message):
            await self._send(said)

    async def _send(self, message: Message) -> None:
        raw = encode(message)
        if self._is_closed:
            raise ConnectionLost("the connection is closed")
        self._network.watcher.said(self.sender, message)
        size = len(raw.payload)
        if self._unsent_bytes + size > limits.MAX_UNSENT_BYTES:
            self.abort()
            raise PeerTooSlow(f"more than {limits.MAX_UNSENT_BYTES} bytes wait for a peer that does not read")
        if self._on_the_way_bytes > SOCKET_BYTES:
            await self._wait_for_room(size)
        self._transmit(raw, self._loss(message))

    async def receive(self) -> Message:
        self._check_power()
        while not self._inbox:
            self._changed = self._network.loop.create_future()
            await self._changed
        item = self._inbox[0]
        if not isinstance(item, RawMessage):  # stays there: the connection has ended for good
            self.abort()
            raise item
        self._inbox.popleft()
        if self._other is not None:
            self._other._was_read(len(item.payload))
        allowed = self._max_bytes(item.code)
        if len(item.payload) > (limits.MAX_UNKNOWN_MESSAGE_BYTES if allowed is None else allowed):
            if len(item.payload) > max_skipped_bytes(item.code):
                self.abort()
                raise InvalidFrame("a message that is too large")
            raise SkippedMessage("a message that is larger than this node takes now")
        message = decode(item)
        if (tamper := self.sender.tamper) is not None:
            tamper.hears(self, message)
        return message

    def inject(self, raw: RawMessage) -> None:
        """Send what no node of ours would."""
        if not self._is_closed and not self._life.is_over and self._other is not None:
            self._transmit(raw, None)

    async def close(self, reason: DisconnectReason | None = None) -> None:
        self._check_power()
        if not self._is_closed and reason is not None and self._on_the_way_bytes <= SOCKET_BYTES:
            self._transmit(encode(Disconnect(reason)), None)
        self._end("closed")

    def abort(self) -> None:
        if not self._life.is_over:
            self._end("closed")

    # What the network does

    def lost(self, text: str) -> None:
        """The connection is no more, and this end has just learned it."""
        if not self._is_closed:
            self._inbox.clear()
            self._take(ConnectionLost(text))
            self._is_closed = True
            self._way.end()
            self._let_senders_go()

    def arrived(self, raw: RawMessage) -> None:
        """A message has come to this end's machine."""
        self._heard_s = self._network.loop.time()
        self._has_heard = True
        self._network.messages += 1
        if self._life.is_over or self._is_closed:
            # The machine knows of no such connection, and says so.
            if self._other is not None:
                Way(self._network, self.sender, self.receiver).send(lambda: self._other_lost("the peer has left"))
            return
        self._network.watcher.event("message", self.receiver.name, self.sender.name, raw.code, len(raw.payload))
        self._take(raw)

    def _loss(self, message: Message) -> float | None:
        """How probable it is that the message is lost; None of what is not a notice."""
        weather = self._network.weather
        if not isinstance(message, NOTICES):
            return None
        if weather.lost_final and self._network.watcher.is_final(message):
            return max(weather.lost_notices, weather.lost_final)
        return weather.lost_notices

    def _transmit(self, raw: RawMessage, loss: float | None) -> None:
        network, other = self._network, self._other
        if other is None:
            raise RuntimeError("nobody has accepted this connection")
        weather, size = network.weather, len(raw.payload)
        if network.happens(weather.breaks):
            network.later(network.random.uniform(0.0, 5.0), lambda: self._other_lost("the connection broke"))
            self.lost("the connection broke")
            return
        if loss is not None:
            if network.happens(loss):
                return
            is_overtaken = network.happens(weather.overtaking_notices)
            if is_overtaken or network.happens(weather.repeated_notices):
                network.later(network.random.uniform(*OVERTAKEN_S), lambda: self._arrive_beside(raw))
            if is_overtaken:
                return
        self._on_the_way_bytes += size
        self._way.send(lambda: other.arrived(raw), size)

    def _arrive_beside(self, raw: RawMessage) -> None:
        """A notice that took a way of its own; where there is none now, it is lost.

        Nothing overtakes the first message, by which a conversation begins.
        """
        other = self._other
        if other is None or not other._has_heard or not other.is_open or self._is_closed:
            return
        if not self._network.is_cut(self.sender, self.receiver):
            self._on_the_way_bytes += len(raw.payload)
            other.arrived(raw)

    def _end(self, text: str) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._inbox.clear()
            self._take(ConnectionLost(text))
            self._way.send(lambda: self._other_hangs_up())
            self._let_senders_go()

    def _other_hangs_up(self) -> None:
        other = self._other
        if other is not None and not other._is_closed:
            other._take(ConnectionLost("the peer hung up"))

    def _other_lost(self, text: str) -> None:
        if self._other is not None:
            self._other.lost(text)

    def _take(self, item: "RawMessage | ConnectionLost | PeerTooSlow") -> None:
        self._inbox.append(item)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _was_read(self, size: int) -> None:
        self._on_the_way_bytes = max(0, self._on_the_way_bytes - size)
        if self._on_the_way_bytes <= SOCKET_BYTES and self._room:
            waiting = self._room.popleft()
            if not waiting.done():
                waiting.set_result(None)

    async def _wait_for_room(self, size: int) -> None:
        room = self._network.loop.create_future()
        self._room.append(room)
        self._unsent_bytes += size
        try:
            async with asyncio.timeout(limits.SEND_TIME_S):
                await room
        except TimeoutError as error:
            self.abort()
            raise PeerTooSlow("the peer is not reading") from error
        except asyncio.CancelledError:
            self.abort()  # half a message may be on its way
            raise
        finally:
            self._unsent_bytes -= size
        if self._is_closed:
            raise ConnectionLost("the connection is closed")

    def _let_senders_go(self) -> None:
        for waiting in self._room:
            if not waiting.done():
                waiting.set_result(None)
        self._room.clear()

    def _look_for_silence(self) -> None:
        if self._is_closed or self._life.is_over:
            return
        remaining_s = self._heard_s + limits.IDLE_TIME_S - self._network.loop.time()
        if remaining_s < SHORTEST_S:
            self._take(PeerTooSlow(f"the peer is silent: {limits.IDLE_TIME_S:g} s"))
        else:
            self._network.later(remaining_s, self._look_for_silence)

    def _check_power(self) -> None:
        if self._life.is_over:
            raise PowerCut
