"""Strangers who send a running network what no honest node would: each is dropped, and nobody else notices.

Shows with real validators that oversized, malformed, stale and endless messages, and garbage instead of a handshake,
end the connection of whoever sends them, that the offender is not let in again, and that blocks go on coming meanwhile.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack
import pytest

from chain.consensus.qbft.messages import Commit, encode_message
from p2p import limits
from p2p.framing import RawMessage
from p2p.identity import Network, new_local_identity
from p2p.messages import Consensus, Disconnect, NewBlock, Ping, Status, code_of, encode
from p2p.transport import Connection, ConnectionLost, Endpoint, PeerTooSlow, connect
from primitives.hexadecimal import parse_data
from primitives.secp256k1 import address_of
from tests.functional.running_network import NetworkNode, RunningNetwork, block_number, until

DROP_TIMEOUT_S = 20.0


class Stranger:
    """Connected as any node may; it has exchanged Status."""

    def __init__(self, connection: Connection, key: bytes) -> None:
        self.connection = connection
        self.node_id = address_of(key)

    async def send_raw(self, raw: RawMessage) -> None:
        await self.connection._send(raw)

    async def is_dropped(self) -> str:
        """Wait until the node hangs up; the reason that it gives, if it gives one."""
        reason = ""
        async with asyncio.timeout(DROP_TIMEOUT_S):
            try:
                while True:
                    message = await self.connection.receive()
                    if isinstance(message, Disconnect):
                        reason = message.reason.name
            except ConnectionLost:
                return reason


async def oversized(stranger: Stranger) -> None:
    """A ping that claims to be the size of a film."""
    await stranger.send_raw(RawMessage(code_of(Ping), bytes(2**20)))


async def malformed(stranger: Stranger) -> None:
    """Payloads that are msgpack, but not the message."""
    for _ in range(10):
        await stranger.send_raw(RawMessage(code_of(NewBlock), msgpack.packb([1, b"", None, -5])))


async def nested(stranger: Stranger) -> None:
    """Arrays in arrays in arrays."""
    for _ in range(10):
        await stranger.send_raw(RawMessage(code_of(Ping), b"\x91" * 900))


async def stale(stranger: Stranger) -> None:
    """A block of long ago, again and again."""
    for _ in range(2 * limits.DELAYED_BLOCKS_BURST):
        await stranger.send_raw(encode(STALE_BLOCK[0]))


async def forged(stranger: Stranger) -> None:
    """Votes that nobody signed."""
    for number in range(10):
        vote = Commit(number + 1, 0, bytes(32), bytes(65))
        await stranger.send_raw(encode(Consensus(True, encode_message(vote))))


async def false_votes(stranger: Stranger) -> None:
    """What is no message of the consensus at all."""
    for _ in range(10):
        await stranger.send_raw(encode(Consensus(True, b"\xc0")))


async def endless(stranger: Stranger) -> None:
    """Pings without end."""
    for number in range(100_000):
        await stranger.send_raw(encode(Ping(number)))


STALE_BLOCK: list[NewBlock] = []
"""Of the network that runs at present."""


@pytest.mark.slow
async def test_strangers_are_dropped_and_nobody_else_notices(tmp_path: Path) -> None:
    async with RunningNetwork(tmp_path, 4, "qbft", "--block-time", 1, "--empty-block-period", 1) as network:
        victim, *others = network.nodes
        await network.until_connected(peers=3)
        await network.until_block(1)
        STALE_BLOCK[:] = [await block_message(victim, 1)]
        before = await block_number(victim)
        lost = [other.log.count("is gone") for other in others]
        for attack in (oversized, malformed, nested, stale, forged, false_votes, endless):
            await strike(victim, attack)
        await garbage_instead_of_a_handshake(victim)
        await network.until_block(before + 2)
        await network.until_connected(peers=3)
        for node in network.nodes:
            assert "Traceback" not in node.log
            assert "fault of this node" not in node.log
        # The connections between the others never broke.
        assert [other.log.count("is gone") for other in others] == lost


async def strike(victim: NetworkNode, attack: Callable[[Stranger], Awaitable[None]]) -> None:
    key = secrets.token_bytes(32)
    stranger = await intrude(victim, key)
    attacking = asyncio.create_task(attack(stranger))
    await stranger.is_dropped()
    attacking.cancel()
    (ended,) = await asyncio.gather(attacking, return_exceptions=True)
    assert ended is None or isinstance(ended, (ConnectionLost, PeerTooSlow, asyncio.CancelledError)), ended
    # Who it was is known, and it is not spoken with again.
    again = await intrude(victim, key)
    assert await again.is_dropped() == "BANNED"
    await until("it is no peer", lambda: is_no_peer(victim, stranger.node_id))


async def intrude(victim: NetworkNode, key: bytes) -> Stranger:
    async with victim.client() as client:
        chain_id = await client.chain_id()
        genesis = await client.block(0)
    assert genesis is not None
    endpoint = Endpoint(new_local_identity(Network(chain_id, genesis.hash), key))
    connection = await connect("127.0.0.1", victim.p2p_port, endpoint, victim.node_id)
    await connection.send(Status(1, "stranger", 0, genesis.hash, 1, 0))
    return Stranger(connection, key)


async def garbage_instead_of_a_handshake(victim: NetworkNode) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", victim.p2p_port)
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        async with asyncio.timeout(DROP_TIMEOUT_S):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
    finally:
        writer.transport.abort()


async def block_message(node: NetworkNode, number: int) -> NewBlock:
    async with node.client() as client:
        block = parse_data(await client.request("debug_getRawBlock", hex(number)))
    return NewBlock(block, b"", number + 1)


async def is_no_peer(node: NetworkNode, node_id: bytes) -> bool:
    async with node.client() as client:
        peers = await client.request("admin_peers")
    assert isinstance(peers, list)
    return node_id.hex() not in {peer["id"][2:].lower() for peer in peers}
