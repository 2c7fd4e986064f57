"""A connection between two nodes: the one class that owns a socket, and the two ways to get it.

It knows the handshake, frames, time and memory limits, and how to say goodbye; not what the messages mean. Its times
are those of the machine, whatever the node's Clock shows: an accelerated ledger does not make a network faster.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from p2p import limits, messages
from p2p.fields import IpAddress
from p2p.framing import LENGTH_BYTES, FrameReader, FrameWriter, MaxBytes, RawMessage
from p2p.handshake import Handshake, InvalidHandshake, Session
from p2p.identity import AllowList, LocalIdentity, NodeId
from p2p.messages import Disconnect, DisconnectReason, Message, SkippedMessage
from primitives.errors import Invalid

T = TypeVar("T")


class ConnectionLost(Exception):
    """The connection ended, or never began, and nobody broke a rule: power cut, Wi-Fi, a peer that left."""


class PeerTooSlow(Invalid):
    """The peer took longer than a limit allows, to speak or to read."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """What one connection may take; the reasons are in p2p/limits.py."""

    connect_time_s: float = limits.CONNECT_TIME_S
    handshake_time_s: float = limits.HANDSHAKE_TIME_S
    idle_time_s: float = limits.IDLE_TIME_S
    message_time_s: float = limits.MESSAGE_TIME_S
    send_time_s: float = limits.SEND_TIME_S
    close_time_s: float = limits.CLOSE_TIME_S
    write_buffer_bytes: int = limits.WRITE_BUFFER_BYTES
    max_unsent_bytes: int = limits.MAX_UNSENT_BYTES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What every connection of a node needs: who we are, whom we let in, how much a connection may take."""

    identity: LocalIdentity
    allowed: AllowList = field(default_factory=AllowList)
    limits: TransportLimits = field(default_factory=TransportLimits)


async def connect(
    host: str,
    port: int,
    endpoint: Endpoint,
    expected: NodeId | None = None,
    max_bytes: MaxBytes = messages.max_payload_bytes,
) -> "Connection":
    """Call a node, and refuse whoever answers but is not `expected`, where that is given.

    Raises ConnectionLost where nobody is reached; PeerTooSlow, InvalidHandshake, InvalidIdentity or NodeRefused.
    """
    try:
        async with asyncio.timeout(endpoint.limits.connect_time_s):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError as error:
        raise ConnectionLost(f"no answer within {endpoint.limits.connect_time_s:g} s") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that no resolver accepts
        raise ConnectionLost(f"cannot be reached: {error}") from error
    return await _open(reader, writer, endpoint, True, expected, max_bytes)


async def accept(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    endpoint: Endpoint,
    max_bytes: MaxBytes = messages.max_payload_bytes,
) -> "Connection":
    """Answer a node that called. The socket is closed where this raises, and it raises what `connect` does."""
    return await _open(reader, writer, endpoint, False, None, max_bytes)


class Connection:
    """An encrypted connection to one known node. Any number of tasks may send, one may receive."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        session: Session,
        is_outbound: bool,
        transport_limits: TransportLimits,
        max_bytes: MaxBytes = messages.max_payload_bytes,
    ) -> None:
        self.node_id = session.node_id
        self.is_outbound = is_outbound
        self.remote_address = remote_address(writer)
        self.unsent_bytes = 0
        """Payloads handed to `send` that are not in the socket's buffer yet."""
        self._reader = reader
        self._writer = writer
        self._limits = transport_limits
        self._frame_writer = FrameWriter(session.sending)
        self._frame_reader = FrameReader(session.receiving, max_bytes, max_skipped_bytes=messages.max_skipped_bytes)
        self._frame_bytes: int | None = None
        """Of the frame whose length has been read, so that a cancelled `receive` can be taken up again."""
        self._message_deadline_s: float | None = None
        self._sending = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        writer.transport.set_write_buffer_limits(high=transport_limits.write_buffer_bytes)

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `abort` was called, here or after a fault."""
        return self._closing is not None or self._writer.is_closing()

    async def send(self, message: Message) -> None:
        """Hand a message to the socket; waits while the peer does not read.

        Raises ConnectionLost, or PeerTooSlow where too much waits or nothing moves; the connection is closed then.
        """
        raw = messages.encode(message)
        if self.is_closed:
            raise ConnectionLost("the connection is closed")
        if self.unsent_bytes + len(raw.payload) > self._limits.max_unsent_bytes:
            self.abort()
            raise PeerTooSlow(f"more than {self._limits.max_unsent_bytes} bytes wait for a peer that does not read")
        self.unsent_bytes += len(raw.payload)
        try:
            await self._send(raw)
        finally:
            self.unsent_bytes -= len(raw.payload)

    async def receive(self) -> Message:
        """The next message. May be cancelled and called again without losing any.

        Raises UnknownMessage (SkippedMessage too) or InvalidMessage, after which the next message can be received;
        InvalidFrame, PeerTooSlow or ConnectionLost, after which the connection is closed.
        """
        try:
            raw = await self._receive()
        except (Invalid, ConnectionLost):
            self.abort()
            raise
        if raw.is_skipped:
            raise SkippedMessage(f"a message with code {raw.code} that is larger than it may be from this peer now")
        return messages.decode(raw)

    async def close(self, reason: DisconnectReason | None = None) -> None:
        """Say why, if there is a reason and the peer still reads, and close the socket. May be called again."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(reason))
        await asyncio.shield(self._closing)

    def abort(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        self._writer.transport.abort()

    async def _send(self, raw: RawMessage) -> None:
        async with self._sending:
            whole = False
            try:
                for frame in self._frame_writer.frames(raw):
                    if self._writer.is_closing():
                        raise ConnectionLost("the connection is closed")
                    self._writer.write(frame)
                    await _within(self._limits.send_time_s, "not reading", self._writer.drain())
                whole = True
            finally:
                if not whole:  # cancelled or failed: half a message may have been sent, and nothing can follow it
                    self.abort()

    async def _receive(self) -> RawMessage:
        loop = asyncio.get_running_loop()
        while True:
            if self._message_deadline_s is None:
                ciphertext = await _within(self._limits.idle_time_s, "silent", self._read_frame())
            else:
                remaining_s = self._message_deadline_s - loop.time()
                ciphertext = await _within(remaining_s, "in the middle of a message", self._read_frame())
            raw = self._frame_reader.receive(ciphertext)
            if raw is not None:
                self._message_deadline_s = None
                return raw
            if self._message_deadline_s is None:
                self._message_deadline_s = loop.time() + self._limits.message_time_s

    async def _read_frame(self) -> bytes:
        if self._frame_bytes is None:
            self._frame_bytes = self._frame_reader.frame_bytes(await self._reader.readexactly(LENGTH_BYTES))
        ciphertext = await self._reader.readexactly(self._frame_bytes)
        self._frame_bytes = None
        return ciphertext

    async def _close(self, reason: DisconnectReason | None) -> None:
        try:
            async with asyncio.timeout(self._limits.close_time_s):
                if reason is not None and not self._writer.is_closing():
                    with contextlib.suppress(PeerTooSlow, ConnectionLost):
                        await self._send(messages.encode(Disconnect(reason)))
                self._writer.close()
                await self._writer.wait_closed()
        except OSError:  # out of time, or the peer was faster
            self.abort()


async def _open(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    endpoint: Endpoint,
    is_outbound: bool,
    expected: NodeId | None,
    max_bytes: MaxBytes,
) -> Connection:
    handshake = Handshake(endpoint.identity, initiator=is_outbound, allowed=endpoint.allowed, expected=expected)
    try:
        session = await _within(
            endpoint.limits.handshake_time_s, "in the handshake", _shake_hands(reader, writer, handshake)
        )
        return Connection(reader, writer, session, is_outbound, endpoint.limits, max_bytes)
    except BaseException:
        writer.transport.abort()
        raise


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handshake: Handshake) -> Session:
    while handshake.session is None:
        if handshake.is_my_turn:
            message = handshake.write()
            writer.write(len(message).to_bytes(LENGTH_BYTES, "big") + message)
            await writer.drain()
        else:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            if length != handshake.next_message_bytes:
                raise InvalidHandshake(f"{length} bytes announced, {handshake.next_message_bytes} expected")
            handshake.read(await reader.readexactly(length))
    return handshake.session


async def _within(duration_s: float, state: str, operation: Awaitable[T]) -> T:
    """The operation's result. Raises PeerTooSlow, naming what the peer was doing, or ConnectionLost."""
    try:
        async with asyncio.timeout(duration_s) as scope:
            return await operation
    except TimeoutError as error:
        if scope.expired():
            raise PeerTooSlow(f"the peer is {state}: {duration_s:g} s") from error
        raise ConnectionLost("the network gave up on the peer") from error  # TCP's own time limit
    except asyncio.IncompleteReadError as error:
        raise ConnectionLost("the peer hung up") from error
    except OSError as error:
        raise ConnectionLost(f"the connection broke: {error}") from error


def remote_address(writer: asyncio.StreamWriter) -> IpAddress:
    """Who is at the other end. Raises ConnectionLost where nobody is any more."""
    name = writer.get_extra_info("peername")
    if not name:
        raise ConnectionLost("the peer hung up")
    address = ipaddress.ip_address(name[0])
    # A socket for both protocols shows IPv4 peers in IPv6 clothes; limits and bans have to see through them.
    return getattr(address, "ipv4_mapped", None) or address
