"""Calls over TCP: the connector and the listener that a set of peers uses outside of tests and simulations."""

import asyncio
import ipaddress
import socket

from p2p.fields import IpAddress
from p2p.framing import MaxBytes
from p2p.identity import NodeId
from p2p.peers import PeerSet
from p2p.transport import Connection, ConnectionLost, Endpoint, accept, connect, remote_address


class SocketConnector:
    """Calls nodes as the endpoint says."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def resolve(self, host: str) -> IpAddress:
        """The first address that the system knows for a name. Raises ConnectionLost."""
        try:
            async with asyncio.timeout(self._endpoint.limits.connect_time_s):
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError; UnicodeError: a name no resolver accepts
            raise ConnectionLost(f"{host} cannot be found: {error}") from error
        return ipaddress.ip_address(found[0][4][0])

    async def connect(self, address: IpAddress, port: int, node_id: NodeId, max_bytes: MaxBytes) -> Connection:
        return await connect(str(address), port, self._endpoint, node_id, max_bytes)


async def listen(peers: PeerSet, host: str | None, port: int, endpoint: Endpoint) -> asyncio.Server:
    """Answer calls at that place (all addresses where the host is None). Raises OSError where it is taken."""

    def take_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer(max_bytes: MaxBytes) -> Connection:
            return await accept(reader, writer, endpoint, max_bytes)

        try:
            is_taken = peers.take_call(remote_address(writer), answer)
        except ConnectionLost:
            is_taken = False
        if not is_taken:
            writer.transport.abort()

    return await asyncio.start_server(take_call, host, port)
