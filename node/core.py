"""One node but for its sockets, its gateway and its mining process: ledger, pool, gossip, synchronisation, consensus.

Everything from outside is handed in: the time, the disk, the way to other nodes, chance. A simulation runs this very
class, many of them in one process, on a clock of its own.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

from chain.builder import BlockBuilder, BuilderSettings
from chain.config import QBFT
from chain.consensus.qbft.signing import Recover, recover_signer
from chain.ledger import Ledger
from chain.pool.admission import PoolLimits
from chain.pool.journal import PoolJournal
from chain.pool.membership import Membership
from chain.pool.pool import TransactionPool
from node.chain_backend import LedgerChain
from node.service import LedgerService
from node.state_target import LedgerStateTarget
from node.validator import Ballot, ValidatorLoop
from node.workers import ThreadWorkers, Workers
from p2p.address_book import AddressBook
from p2p.backend import Connector
from p2p.consensus_gossip import ConsensusGossip
from p2p.gossip import run_gossip
from p2p.identity import NodeId
from p2p.limits import MAX_INBOUND_STRANGERS, MAX_OUTBOUND_STRANGERS
from p2p.messages import PROTOCOL_VERSION, Consensus, Status
from p2p.node_url import NodeUrl
from p2p.peers import PeerSet
from p2p.reputation import Reputation
from p2p.slots import ConnectionSlots
from p2p.sync.synchroniser import ChainSynchroniser
from primitives.clock import Clock


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node gets from the world."""

    clock: Clock
    """The ledger's: a demo may run it faster than the world's."""
    network_clock: Clock
    """The world's, for everything that waits for other nodes."""
    connector: Connector
    random: Random
    workers: Workers = field(default_factory=ThreadWorkers)
    recover: Recover = recover_signer


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the operator decides about all this."""

    builder: BuilderSettings
    client_version: str
    reorganisation_cap: int
    is_networked: bool = True
    """Off: other nodes are neither called nor answered."""
    full_sync: bool = False
    static_peers: tuple[NodeUrl, ...] = ()
    max_inbound: int = MAX_INBOUND_STRANGERS
    max_outbound: int = MAX_OUTBOUND_STRANGERS
    address_book: Path | None = None


class NodeCore:
    """For use by `async with`; `run` talks to other nodes until it is cancelled."""

    def __init__(
        self,
        ledger: Ledger,
        journal: PoolJournal | None,
        node_id: NodeId,
        surroundings: Surroundings,
        settings: CoreSettings,
        ballot: Ballot | None = None,
    ) -> None:
        """With a ballot the node takes part in the consensus of a qbft chain, where it is a validator."""
        config, clock, world = ledger.config, surroundings.clock, surroundings
        limits = PoolLimits(settled_depth_blocks=settings.reorganisation_cap)
        self.node_id = node_id
        self.settings = settings
        self.listening_port = 0
        """Where other nodes can call this one, once it is known; 0 where they cannot."""
        members = Membership(config, ledger.latest_accounts, ledger.head())
        self.pool = TransactionPool(config, ledger.latest_accounts, ledger.head(), clock, journal, limits, members)
        builder = BlockBuilder(
            config,
            ledger.engine,
            clock,
            ledger.blocks,
            ledger.state,
            settings.builder,
            candidates=ledger.candidates,
        )
        self.service = LedgerService(ledger, self.pool, builder, surroundings.workers)
        self.chain = LedgerChain(self.service, ledger, settings.reorganisation_cap)
        self.book = AddressBook(world.network_clock, node_id, world.random)
        if settings.address_book is not None:
            self.book.load(settings.address_book)
        for url in settings.static_peers:
            self.book.add_static(url)
        slots = ConnectionSlots(world.network_clock, node_id, settings.max_inbound, settings.max_outbound)
        self.peers = PeerSet(
            self._own_status,
            world.network_clock,
            world.connector,
            slots,
            Reputation(world.network_clock),
            self.book,
            settings.address_book,
        )
        target = LedgerStateTarget(self.service, ledger)
        self.synchroniser = ChainSynchroniser(self.chain, world.network_clock, target, is_full=settings.full_sync)
        self.consensus = ConsensusGossip(node_id, world.network_clock, self.peers.set_validators)
        self.validator: ValidatorLoop | None = None
        if config.consensus == QBFT:
            self.validator = ValidatorLoop(
                self.service,
                ledger,
                ballot,
                self.consensus,
                self.synchroniser,
                clock,
                world.network_clock,
                world.recover,
            )
            self.consensus.serve(self.validator)
        self._ledger = ledger
        self._world = world

    async def __aenter__(self) -> Self:
        await self.service.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.__aexit__()

    async def run(self) -> None:
        """Keep peers, pass on what is new, catch up with them and take part in the consensus, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self.settings.is_networked:
                group.create_task(self._run_gossip())
            if self.validator is not None:
                group.create_task(self.validator.run())

    async def _run_gossip(self) -> None:
        await run_gossip(
            self.peers,
            self.chain,
            self.pool,
            self.synchroniser,
            self._ledger.config.chain_id,
            self._world.network_clock,
            self._world.random,
            notices={Consensus: self.consensus.take_message},
            followers=[self.consensus],
        )

    def _own_status(self) -> Status:
        head = self.chain.head()
        version, port = self.settings.client_version, self.listening_port
        return Status(PROTOCOL_VERSION, version, head.number, head.hash, head.total_difficulty, port)
