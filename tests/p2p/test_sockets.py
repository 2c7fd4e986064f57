"""Two whole nodes over real sockets on loopback, and a stranger who sends garbage to one of them."""

import asyncio
import contextlib
from random import Random

from p2p.address_book import AddressBook
from p2p.gossip import run_gossip, status_of
from p2p.node_url import NodeUrl
from p2p.peers import PeerSet
from p2p.reputation import Reputation
from p2p.slots import ConnectionSlots
from p2p.sockets import SocketConnector, listen
from p2p.transport import Endpoint
from primitives.clock import SystemClock
from tests.chain import pool_world
from tests.chain.pool_world import transaction
from tests.p2p.memory_network import CHAIN_ID, FakeChain, FakeSynchroniser, next_block
from tests.p2p.peers import identity


class SocketNode:
    """A node whose chain tells when it has a new head, and whose pool tells when it has a transaction."""

    def __init__(self, number: int) -> None:
        clock = SystemClock()
        self.identity = identity(number)
        self.chain = FakeChain()
        self.pool = pool_world.pool()
        self.has_block = asyncio.Event()
        self.has_transaction = asyncio.Event()
        self.chain.subscribe(lambda _: self.has_block.set())
        self.pool.subscribe(lambda _: self.has_transaction.set())
        self.endpoint = Endpoint(self.identity)
        node_id = self.identity.node_id
        self.peers = PeerSet(
            status_of(self.chain, "sockets", 0), clock, SocketConnector(self.endpoint), ConnectionSlots(clock, node_id),
            Reputation(clock), AddressBook(clock, node_id, Random(1)),
        )  # fmt: skip

    async def run(self) -> None:
        synchroniser = FakeSynchroniser()
        await run_gossip(self.peers, self.chain, self.pool, synchroniser, CHAIN_ID, SystemClock(), Random(1))


async def test_two_nodes_share_transactions_and_blocks_whatever_a_stranger_sends() -> None:
    first, second = SocketNode(1), SocketNode(2)
    async with await listen(second.peers, "127.0.0.1", 0, second.endpoint) as server:
        port = server.sockets[0].getsockname()[1]
        first.peers.add_static(NodeUrl(second.identity.node_id, "localhost", port))
        running = [asyncio.create_task(node.run()) for node in (second, first)]
        await asyncio.sleep(0)

        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\xff" * 1_000)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.transport.abort()

        one = transaction()
        first.pool.add([one])
        async with asyncio.timeout(30):
            await second.has_transaction.wait()
        assert one.hash in second.pool
        block = next_block(second.chain.best, transactions=(one,))
        await second.chain.import_block(block, b"")
        async with asyncio.timeout(30):
            await first.has_block.wait()
        assert first.chain.best == block
        (session,) = first.peers.sessions()
        assert (session.client_version, session.is_outbound) == ("sockets", True)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert not first.peers.sessions() + second.peers.sessions()
