"""A whole node on a simulated machine: real ledger, pool, gossip, synchronisation and consensus, life after life.

Only what touches the world outside is replaced: sockets, threads, the clock, the mining process and the power supply.
"""

import asyncio
import contextlib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar

from chain.builder import BuilderSettings
from chain.config import QBFT
from chain.consensus.proof_of_work import seal_here
from chain.consensus.qbft.signing import KeySigner
from chain.consensus.qbft.validators import ValidatorSet
from chain.consensus.qbft.vote_store import SqliteVoteStore
from chain.header import Header
from chain.ledger import Ledger
from chain.pool.journal import PoolJournal
from chain.queries import ChainQueries
from node.application import POOL_JOURNAL_FILE
from node.core import CoreSettings, NodeCore, Surroundings
from node.mining import MiningLoop
from node.settings import MiningSettings
from node.validator import Ballot
from p2p.backend import Wire
from p2p.fields import IpAddress
from p2p.framing import MaxBytes
from p2p.identity import NodeId
from p2p.node_url import NodeUrl
from p2p.reputation import Offence, Verdict
from p2p.session import PeerSession
from p2p.transport import ConnectionLost
from primitives.secp256k1 import address_of
from tests.simulation.host import Host
from tests.simulation.power import CutAt, Disk, PowerSupply
from tests.simulation.virtual_time import Life, PowerCut, SimulatedClock
from tests.simulation.witness import recover_once

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

PORT = 30_403


class SimulatedWorkers:
    """node.workers.Workers without threads: one writes at a time, after a while, and others read meanwhile."""

    def __init__(self, work_time_s: Callable[[], float]) -> None:
        self._work_time_s = work_time_s
        self._writing = asyncio.Lock()

    async def write(self, function: Callable[[], T]) -> T:
        async with self._writing:
            await asyncio.sleep(self._work_time_s())
            return function()

    async def read(self, function: Callable[[], T]) -> T:
        await asyncio.sleep(self._work_time_s())
        return function()

    async def close(self) -> None:
        async with self._writing:
            return


class SimulatedMiner:
    """chain.miner.Miner that finds a seal when its luck says so; the seal itself costs nothing at difficulty 1."""

    def __init__(self, random: Random, mean_time_s: float) -> None:
        self.hash_rate = 0
        self.hashes = 0
        self.sealing_s = 0.0
        self._random = random
        self._mean_time_s = mean_time_s

    async def seal(self, header: Header) -> Header:
        await asyncio.sleep(self._random.expovariate(1 / self._mean_time_s))
        return seal_here(header)

    async def __aenter__(self) -> "SimulatedMiner":
        return self

    async def __aexit__(self, *_: object) -> None: ...


class SimulatedNode:
    """One machine and the node on it, through all of its lives."""

    def __init__(self, world: "World", name: str, key: bytes, number: int) -> None:
        self.name = name
        self.node_id: NodeId = address_of(key)
        self.host = Host(name, self.node_id, ip_address(f"10.0.0.{number}"))
        self.random = Random(f"{name} {world.seed}")
        self.clock = SimulatedClock(world.loop, self.random.uniform(-1, 1), self.random.uniform(0.999, 1.001))
        self.disk = Disk(world.directory / name, Random(f"disk of {name} {world.seed}"))
        self.genesis = world.genesis
        """With the operator's overrides."""
        self.is_honest = True
        self.mean_sealing_time_s: float | None = None
        """Of its miner, on a proof-of-work chain; None where it does not mine."""
        self.takes_over_state = False
        """Rather than execute all blocks, where it is new."""
        self.work_time_s = (0.0005, 0.01)
        """What a piece of work on chain or disk takes."""
        self.fails_at_commit = 0.0
        """How probable it is that the power fails around a commit."""
        self.core: NodeCore | None = None
        """While it is on and has opened its ledger."""
        self.lives: list[Life] = []
        self._key = key
        self._world = world
        self._ledger: Ledger | None = None
        self._main: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._starts_again = False

    @property
    def url(self) -> NodeUrl:
        return NodeUrl(self.node_id, str(self.host.address), PORT)

    @property
    def is_on(self) -> bool:
        return self.host.life is not None

    @property
    def is_ready(self) -> bool:
        """Whether it has opened its ledger."""
        return self.core is not None

    @property
    def head_number(self) -> int:
        return self.core.service.head.number if self.core is not None else -1

    @property
    def head_hash(self) -> bytes:
        return self.core.service.head.hash if self.core is not None else b""

    def power_on(self) -> None:
        """Start with what the disk holds; a node that is just being stopped starts when it has ended."""
        if self.is_on:
            self._starts_again = self._is_stopping
            return
        self._is_stopping = self._starts_again = False
        life = Life(self._world.loop, self.name, self._work_time_s)
        life.is_honest = self.is_honest
        life.power = PowerSupply(self.disk, self._fails_at, self._off)
        self.lives.append(life)
        self.host.life = life
        self._main = life.start(self._live(life))
        self._main.add_done_callback(lambda main: self._ended(life, main))
        self._world.network.ways_changed()

    def power_cut(self) -> None:
        """From one moment to the next."""
        if self.is_on:
            self.disk.power_cut()
            self._off()

    def stop(self) -> None:
        """As an operator would."""
        if self._main is not None:
            self._is_stopping = True
            self._main.cancel()

    def validators_of(self, number: int) -> ValidatorSet:
        """Of that height, as this node's ledger has it."""
        return self.query(lambda chain: chain.validators_of(number))

    def query(self, question: Callable[[ChainQueries], T]) -> T:
        """The ledger's answer now; the node must be on."""
        assert self._ledger is not None
        with self._ledger.view() as view:
            return question(view)

    def has_transaction(self, transaction_hash: bytes) -> bool:
        return self.query(lambda chain: chain.find_transaction(transaction_hash)) is not None

    def has_pooled(self, transaction_hash: bytes) -> bool:
        return self.core is not None and transaction_hash in self.core.pool

    def block_hash(self, number: int) -> bytes | None:
        """On its chain."""
        header = self.query(lambda chain: chain.header_by_number(number))
        return None if header is None else header.hash

    def final_block(self, number: int) -> tuple[bytes, bytes]:
        """Hash and certificate of a block on its chain."""

        def find(chain: ChainQueries) -> tuple[bytes, bytes]:
            header = chain.header_by_number(number)
            assert header is not None
            return header.hash, chain.certificate(header.hash)

        return self.query(find)

    # p2p.backend.Connector

    async def resolve(self, host: str) -> IpAddress:
        raise ConnectionLost(f"{host} is no address")

    async def connect(self, address: IpAddress, port: int, node_id: NodeId, max_bytes: MaxBytes) -> Wire:
        return await self._world.network.connect(self.host, address, node_id, max_bytes)

    # Its life

    async def _live(self, life: Life) -> None:
        world, directory = self._world, self.disk.directory
        with contextlib.ExitStack() as stack:
            ledger = stack.enter_context(
                Ledger.open(directory, self.genesis, self.clock, reorganisation_cap=world.reorganisation_cap)
            )
            journal = stack.enter_context(contextlib.closing(PoolJournal(directory / POOL_JOURNAL_FILE)))
            ballot = None
            if ledger.config.consensus == QBFT:
                votes = stack.enter_context(contextlib.closing(SqliteVoteStore.open(directory)))
                ballot = Ballot(KeySigner(self._key), votes)
            surroundings = Surroundings(
                self.clock,
                self.clock,
                self,
                Random(f"{self.name} {len(self.lives)} {world.seed}"),
                SimulatedWorkers(self._work_time_s),
                recover_once,
            )
            core = NodeCore(ledger, journal, self.node_id, surroundings, self._settings(), ballot)
            self._ledger = ledger
            async with core:
                core.listening_port = PORT
                self.core = core
                self._watch_judgements(core)
                core.service.on_import(lambda result: world.witness.imported(self, result))
                world.witness.began(self)
                self.host.take_call = core.peers.take_call
                async with asyncio.TaskGroup() as group:
                    group.create_task(core.run())
                    if self.mean_sealing_time_s is not None:
                        group.create_task(self._mining(core, self.mean_sealing_time_s).run())

    def _watch_judgements(self, core: NodeCore) -> None:
        judge = core.peers._judge

        def judge_openly(session: PeerSession, offence: Offence) -> Verdict:
            self._world.witness.judged(self, session.node_id, offence)
            return judge(session, offence)

        core.peers._judge = judge_openly  # type: ignore[method-assign]

    def _settings(self) -> CoreSettings:
        others = tuple(node.url for node in self._world.nodes if node.node_id != self.node_id)
        return CoreSettings(
            BuilderSettings(self.node_id, build_time_limit_s=3_600),  # the real machine's speed decides nothing
            "simulated",
            self._world.reorganisation_cap,
            static_peers=others,
            full_sync=not self.takes_over_state,
        )

    def _mining(self, core: NodeCore, mean_time_s: float) -> MiningLoop:
        settings = MiningSettings(enabled=True, minimum_block_period_s=0, empty_block_period_s=0)
        miner = SimulatedMiner(self.random, mean_time_s)
        return MiningLoop(
            core.service,
            miner,
            settings,
            self.clock,
            lambda: core.synchroniser.is_syncing,  # type: ignore[arg-type]
        )

    def _ended(self, life: Life, main: "asyncio.Task[None]") -> None:
        """The process is over, though the machine may have power."""
        if life.is_over:
            return
        if not main.cancelled() and (error := main.exception()) is not None and not isinstance(error, PowerCut):
            self._world.witness.fail(f"{self.name} died: {error!r}")
        self._leave(life)
        if self._starts_again:
            self.power_on()

    def _off(self) -> None:
        life = self.host.life
        assert life is not None
        life.is_over = True
        self._leave(life)
        self._world.network.later(0.0, self.disk.close_abandoned)
        self._world.power_cuts += 1
        self._world.lost_power(self)

    def _leave(self, life: Life) -> None:
        self._world.witness.event("off", self.name)
        self.host.life = None
        self.host.take_call = lambda address, accept: False
        self.core = None

    def _work_time_s(self) -> float:
        return self.random.uniform(*self.work_time_s)

    def _fails_at(self, database: Path) -> CutAt | None:
        if self.fails_at_commit and self.random.random() < self.fails_at_commit:
            return self.random.choice(list(CutAt))
        return None
