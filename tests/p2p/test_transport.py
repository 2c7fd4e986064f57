"""Connections over real sockets on loopback: talk, limits, hostile bytes and clean ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from p2p.framing import FrameWriter, InvalidFrame, RawMessage
from p2p.handshake import Handshake, InvalidHandshake
from p2p.identity import AllowList, Network, NodeRefused
from p2p.limits import REKEY_INTERVAL_FRAMES
from p2p.messages import (
    AnnounceTransactions,
    Bodies,
    Consensus,
    Disconnect,
    DisconnectReason,
    Message,
    Ping,
    Pong,
    SkippedMessage,
    UnknownMessage,
    code_of,
    max_payload_bytes,
)
from p2p.noise import MAX_PLAINTEXT_BYTES
from p2p.transport import Connection, ConnectionLost, Endpoint, PeerTooSlow, TransportLimits, accept, connect
from primitives.errors import Invalid
from tests.p2p.peers import EVERYBODY, NETWORK, identity

PATIENT = TransportLimits()
LARGE = Bodies(1, (bytes(8 * 1024 * 1024), bytes(1024 * 1024)))
"""140 frames: more than the buffers of two sockets hold."""


@dataclass
class Listener:
    """A node that answers calls, and what became of them."""

    port: int = 0
    accepted: "asyncio.Queue[Connection | Exception]" = field(default_factory=asyncio.Queue)
    connections: list[Connection] = field(default_factory=list)

    async def connection(self) -> Connection:
        outcome = await self.accepted.get()
        assert isinstance(outcome, Connection), outcome
        return outcome

    async def refusal(self) -> Exception:
        outcome = await self.accepted.get()
        assert isinstance(outcome, Exception)
        return outcome


@asynccontextmanager
async def listening(endpoint: Endpoint, small_buffers: bool = False) -> AsyncIterator[Listener]:
    listener = Listener()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = await accept(reader, writer, endpoint)
        except (Invalid, ConnectionLost) as error:
            listener.accepted.put_nowait(error)
        else:
            listener.connections.append(connection)
            listener.accepted.put_nowait(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening_socket:
        if small_buffers:
            listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server = await asyncio.start_server(answer, sock=listening_socket)
        listener.port = server.sockets[0].getsockname()[1]
        try:
            yield listener
        finally:
            server.close()
            for connection in listener.connections:
                await connection.close()


@asynccontextmanager
async def connected(
    caller_limits: TransportLimits = PATIENT, listener_limits: TransportLimits = PATIENT, small_buffers: bool = False
) -> AsyncIterator[tuple[Connection, Connection]]:
    async with listening(Endpoint(identity(2), limits=listener_limits), small_buffers) as listener:
        caller = await connect("127.0.0.1", listener.port, Endpoint(identity(1), limits=caller_limits))
        listener_side = await listener.connection()
        try:
            yield caller, listener_side
        finally:
            await caller.close()
            await listener_side.close()


async def stranger(port: int, data: bytes) -> bytes:
    """What a node answers to bytes from somebody who is no node, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


async def hostile_peer(port: int) -> tuple[FrameWriter, asyncio.StreamWriter]:
    """Someone with a proper identity who then writes what he likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    handshake = Handshake(identity(3), initiator=True, allowed=EVERYBODY)
    while handshake.session is None:
        if handshake.is_my_turn:
            message = handshake.write()
            writer.write(len(message).to_bytes(2, "big") + message)
        else:
            handshake.read(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
    return FrameWriter(handshake.session.sending), writer


async def begun(connection: Connection) -> None:
    """Wait until a message of the connection is being sent."""
    while not connection.unsent_bytes:  # noqa: ASYNC110 - there is no event for the tests' sake
        await asyncio.sleep(0)


async def test_two_nodes_know_each_other_and_talk_both_ways() -> None:
    async with connected() as (caller, listener):
        assert (caller.node_id, listener.node_id) == (identity(2).node_id, identity(1).node_id)
        assert (caller.is_outbound, listener.is_outbound) == (True, False)
        assert str(listener.remote_address) == "127.0.0.1"
        for number in range(10):
            await caller.send(Ping(number))
            assert await listener.receive() == Ping(number)
            await listener.send(Pong(number))
            assert await caller.receive() == Pong(number)


async def test_messages_of_many_frames_arrive_whole_among_small_ones() -> None:
    async with connected() as (caller, listener), asyncio.TaskGroup() as tasks:
        medium = Bodies(1, (bytes(200_000),))
        sent: list[Message] = [medium if number % 5 == 0 else Ping(number) for number in range(11)]
        for message in sent:
            tasks.create_task(caller.send(message))
        assert [await listener.receive() for _ in sent] == sent
        assert caller.unsent_bytes == 0


async def test_a_long_conversation_goes_on_under_new_keys() -> None:
    async with connected() as (caller, listener), asyncio.TaskGroup() as tasks:
        count = 2 * REKEY_INTERVAL_FRAMES + 1

        async def speak() -> None:
            for number in range(count):
                await caller.send(Ping(number))

        tasks.create_task(speak())
        assert [await listener.receive() for _ in range(count)] == [Ping(number) for number in range(count)]


async def test_nobody_is_reached_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            await connect("127.0.0.1", unused.getsockname()[1], Endpoint(identity(1)))
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        await connect("a" * 64 + ".invalid", 1, Endpoint(identity(1)))


async def test_a_node_of_another_chain_is_refused_and_both_hang_up() -> None:
    async with listening(Endpoint(identity(2))) as listener:
        other = Endpoint(identity(1, Network(1, NETWORK.genesis_hash)))
        with pytest.raises(InvalidHandshake):
            await connect("127.0.0.1", listener.port, other)
        assert isinstance(await listener.refusal(), ConnectionLost)


async def test_whoever_is_not_expected_or_not_allowed_is_refused() -> None:
    async with listening(Endpoint(identity(2), AllowList(frozenset([identity(9).node_id])))) as listener:
        with pytest.raises(NodeRefused):
            await connect("127.0.0.1", listener.port, Endpoint(identity(1)), expected=identity(5).node_id)
        assert isinstance(await listener.refusal(), ConnectionLost)
        caller = await connect("127.0.0.1", listener.port, Endpoint(identity(1)), expected=identity(2).node_id)
        assert isinstance(await listener.refusal(), NodeRefused)
        with pytest.raises(ConnectionLost):
            await caller.receive()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0", b"\xff\xff", b"\x16\x03\x01\x02\0\x01\0"])
async def test_a_stranger_who_speaks_another_protocol_hears_nothing(data: bytes) -> None:
    async with listening(Endpoint(identity(2))) as listener:
        assert await stranger(listener.port, data) == b""
        assert isinstance(await listener.refusal(), InvalidHandshake)


async def test_a_stranger_who_says_nothing_is_gone_after_the_handshake_time() -> None:
    async with listening(Endpoint(identity(2), limits=TransportLimits(handshake_time_s=0.05))) as listener:
        assert await stranger(listener.port, b"\0") == b""
        refusal = await listener.refusal()
        assert isinstance(refusal, PeerTooSlow)
        assert "in the handshake" in str(refusal)


async def test_a_silent_peer_is_gone_after_the_idle_time() -> None:
    async with connected(listener_limits=TransportLimits(idle_time_s=0.05)) as (caller, listener):
        with pytest.raises(PeerTooSlow, match="silent"):
            await listener.receive()
        assert listener.is_closed
        with pytest.raises(ConnectionLost):
            await caller.receive()


async def test_a_message_that_never_ends_is_given_up() -> None:
    limits = TransportLimits(message_time_s=0.05)
    async with listening(Endpoint(identity(2), limits=limits)) as listener:
        frame_writer, writer = await hostile_peer(listener.port)
        connection = await listener.connection()
        frames = frame_writer.frames(RawMessage(0x25, bytes(2 * MAX_PLAINTEXT_BYTES)))
        writer.write(next(frames))
        with pytest.raises(PeerTooSlow, match="in the middle of a message"):
            await connection.receive()
        assert connection.is_closed
        writer.transport.abort()


async def test_a_message_that_is_too_large_for_its_type_is_refused_at_its_first_frame() -> None:
    async with listening(Endpoint(identity(2))) as listener:
        frame_writer, writer = await hostile_peer(listener.port)
        connection = await listener.connection()
        size = (max_payload_bytes(0x02) or 0) + 1
        writer.write(next(frame_writer.frames(RawMessage(0x02, bytes(size)))))
        with pytest.raises(InvalidFrame, match=f"of {size} bytes"):
            await connection.receive()
        assert connection.is_closed
        writer.transport.abort()


async def test_after_a_bad_message_the_next_one_is_received_and_after_a_bad_frame_nothing() -> None:
    async with listening(Endpoint(identity(2))) as listener:
        frame_writer, writer = await hostile_peer(listener.port)
        connection = await listener.connection()
        for raw in (RawMessage(0x7F, b"news"), RawMessage(0x02, b"\xc1"), RawMessage(0x02, b"\x92\x01\x05")):
            writer.writelines(frame_writer.frames(raw))
        with pytest.raises(UnknownMessage):
            await connection.receive()
        with pytest.raises(Invalid, match="not msgpack"):
            await connection.receive()
        assert await connection.receive() == Ping(5)
        writer.write(b"\0\x20" + bytes(32))
        with pytest.raises(InvalidFrame, match="altered or repeated"):
            await connection.receive()
        with pytest.raises(ConnectionLost):
            await connection.receive()
        writer.transport.abort()


async def test_a_message_of_the_consensus_that_is_too_large_for_this_peer_is_dropped() -> None:
    limits = {code_of(Consensus): 70_000}
    async with listening(Endpoint(identity(2))) as listener:
        caller = await connect("127.0.0.1", listener.port, Endpoint(identity(1)), max_bytes=limits.get)
        sender = await listener.connection()
        await sender.send(Consensus(False, bytes(200_000)))
        with pytest.raises(SkippedMessage):
            await caller.receive()
        await sender.send(Consensus(True, bytes(60_000)))
        assert await caller.receive() == Consensus(True, bytes(60_000))
        await caller.close()


async def test_a_receive_that_was_cancelled_loses_nothing() -> None:
    async with listening(Endpoint(identity(2))) as listener:
        frame_writer, writer = await hostile_peer(listener.port)
        connection = await listener.connection()
        data = b"".join(frame_writer.frames(RawMessage(0x02, b"\x92\x01\x05")))
        # Cut inside the length, inside the frame, and before its last byte.
        for piece in (data[:1], data[1:7], data[7:-1], data[-1:]):
            receiving = asyncio.create_task(connection.receive())
            writer.write(piece)
            done, _ = await asyncio.wait([receiving], timeout=None if piece == data[-1:] else 0.02)
            if not done:
                receiving.cancel()
                await asyncio.wait([receiving])
        assert receiving.result() == Ping(5)
        writer.transport.abort()


async def test_a_peer_that_does_not_read_holds_up_the_sender_and_then_is_dropped() -> None:
    slow = TransportLimits(send_time_s=0.1, write_buffer_bytes=1024)
    async with connected(caller_limits=slow, small_buffers=True) as (caller, listener):
        with pytest.raises(PeerTooSlow, match="not reading"):
            await caller.send(LARGE)
        assert caller.is_closed
        assert caller.unsent_bytes == 0
        with pytest.raises(ConnectionLost):
            await listener.receive()
        with pytest.raises(ConnectionLost, match="closed"):
            await caller.send(Ping(1))


async def test_no_more_than_so_many_bytes_wait_for_one_peer() -> None:
    narrow = TransportLimits(max_unsent_bytes=10 * 1024 * 1024, write_buffer_bytes=1024)
    async with connected(caller_limits=narrow, small_buffers=True) as (caller, _):
        first = asyncio.create_task(caller.send(LARGE))
        await begun(caller)
        with pytest.raises(PeerTooSlow, match="bytes wait"):
            await caller.send(LARGE)
        assert caller.is_closed
        with pytest.raises(ConnectionLost):
            await first


async def test_a_send_that_was_cut_short_ends_the_connection() -> None:
    """Half a message is on its way: what came next would be taken for its rest."""
    async with connected(TransportLimits(write_buffer_bytes=1024), small_buffers=True) as (caller, listener):
        sending = asyncio.create_task(caller.send(LARGE))
        await begun(caller)
        sending.cancel()
        await asyncio.wait([sending])
        assert caller.is_closed
        with pytest.raises(ConnectionLost):
            await listener.receive()


async def test_closing_says_why_and_can_be_repeated() -> None:
    async with connected() as (caller, listener):
        await caller.send(AnnounceTransactions((bytes(32),)))
        await asyncio.gather(caller.close(DisconnectReason.SHUTTING_DOWN), caller.close())
        assert caller.is_closed
        assert await listener.receive() == AnnounceTransactions((bytes(32),))
        assert await listener.receive() == Disconnect(DisconnectReason.SHUTTING_DOWN)
        with pytest.raises(ConnectionLost, match="hung up"):
            await listener.receive()


async def test_closing_does_not_wait_for_a_peer_that_does_not_read() -> None:
    limits = TransportLimits(close_time_s=0.05, write_buffer_bytes=1024)
    async with connected(limits, small_buffers=True) as (caller, _):
        sending = asyncio.create_task(caller.send(LARGE))
        await begun(caller)
        await caller.close(DisconnectReason.TIMEOUT)
        with pytest.raises(ConnectionLost):
            await sending


async def test_a_power_cut_is_nobodys_fault() -> None:
    async with connected() as (caller, listener):
        caller.abort()
        with pytest.raises(ConnectionLost):
            await listener.receive()
