"""One end of a simulated connection: real messages, encoded and decoded, over a stream that may stall, break and end.

Nothing is lost in the middle of a stream, but it may come late, or the connection ends and each side learns of that in
its own time. A machine that was off knows nothing of its connections, and says so to whoever goes on using them.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from p2p import limits
from p2p.framing import InvalidFrame, MaxBytes, RawMessage
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
from tests.simulation.host import Host
from tests.simulation.virtual_time import PowerCut
from tests.simulation.way import Way

if TYPE_CHECKING:
    from tests.simulation.network import SimulatedNetwork

OVERTAKEN_S = (0.0, 2.0)
"""How much longer a notice may take that others overtake, or that comes twice."""
SOCKET_BYTES = limits.WRITE_BUFFER_BYTES
"""What may be on its way on one connection before a sender has to wait."""
SHORTEST_S = 1e-6
"""A wait that is shorter may be none at all: times have so many digits only."""

NOTICES = (AnnounceBlocks, AnnounceTransactions, Consensus, NewBlock)


class SimulatedWire:
    """One end of a connection (p2p.backend.Wire)."""

    def __init__(
        self, network: "SimulatedNetwork", sender: Host, receiver: Host, is_outbound: bool, max_bytes: MaxBytes
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
