"""The table of who takes which message: peers, gossip of transactions and blocks, and the server of the chain together.

This is where the parts of p2p/ meet. It opens no socket: p2p/sockets.py does, and hands calls to the peers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any, Protocol

from p2p.backend import ChainBackend, PoolBackend, Synchroniser
from p2p.block_gossip import BlockGossip
from p2p.chain_server import ChainServer
from p2p.messages import (
    PROTOCOL_VERSION,
    AnnounceBlocks,
    AnnounceTransactions,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetReceipts,
    GetStatePieces,
    GetTransactions,
    Message,
    NewBlock,
    Status,
)
from p2p.peers import Follower, PeerSet
from p2p.session import Handlers, PeerSession
from p2p.transaction_gossip import TransactionGossip
from primitives.clock import Clock


class RunningSynchroniser(Synchroniser, Follower, Protocol):
    """One that catches up by itself, with the peers it hears of."""

    async def run(self) -> None:
        """Until cancelled."""


def status_of(chain: ChainBackend, client_version: str, listening_port: int) -> Callable[[], Status]:
    """What this node says of itself when a session begins."""

    def own_status() -> Status:
        head = chain.head()
        version = client_version
        return Status(PROTOCOL_VERSION, version, head.number, head.hash, head.total_difficulty, listening_port)

    return own_status


async def run_gossip(
    peers: PeerSet,
    chain: ChainBackend,
    pool: PoolBackend,
    synchroniser: RunningSynchroniser,
    chain_id: int,
    clock: Clock,
    random: Random,
    notices: Mapping[type[Message], Callable[[PeerSession, Any], None]] = MappingProxyType({}),
    followers: Sequence[Follower] = (),
) -> None:
    """Keep peers, pass transactions and blocks between them and this node, and catch up, until cancelled. `notices` and
    `followers` are for whatever else the node talks about with its peers."""
    transactions = TransactionGossip(pool, chain_id, clock)
    blocks = BlockGossip(chain, synchroniser, clock, random)
    server = ChainServer(chain)
    handlers = Handlers(
        notices={
            AnnounceTransactions: transactions.take_announcement,
            NewBlock: blocks.take_block,
            AnnounceBlocks: blocks.take_announcement,
            **notices,
        },
        requests={
            GetTransactions: transactions.answer,
            GetHeaders: server.headers,
            GetBodies: server.bodies,
            GetReceipts: server.receipts,
            GetStatePieces: server.state_pieces,
            GetCodes: server.codes,
        },
    )
    peers.serve(handlers, [synchroniser, transactions, blocks, *followers])
    async with asyncio.TaskGroup() as group:
        group.create_task(transactions.run())
        group.create_task(blocks.run())
        group.create_task(synchroniser.run())
        group.create_task(peers.run())
