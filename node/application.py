"""The one place where a node is wired to the world: disk, sockets, clock, miner and gateway around its core."""

import asyncio
import contextlib
import errno
import logging
import os
import platform
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from random import Random
from typing import Any

from chain.builder import BuilderSettings
from chain.config import DEVELOPMENT, POW, PRODUCTION, QBFT, ValidatorOverride
from chain.consensus.qbft.signing import KeySigner, Recover, recover_signer
from chain.consensus.qbft.validators import ValidatorSet
from chain.consensus.qbft.vote_store import SqliteVoteStore
from chain.genesis import Genesis, load_genesis
from chain.ledger import Ledger
from chain.miner import Miner
from chain.pool.journal import PoolJournal
from gateway.server import Gateway, GatewaySettings
from node.backend import NodeBackend
from node.core import CoreSettings, NodeCore, Surroundings
from node.liveness import tell_alive
from node.mining import MiningLoop
from node.node_key import load_node_key
from node.own_address import own_host
from node.settings import ClockSettings, NodeSettings, P2pSettings
from node.validator import Ballot, build_time_limit_s, remembering_recover
from p2p.identity import LocalIdentity, Network, new_local_identity
from p2p.local_discovery import LocalDiscovery
from p2p.messages import PeerAddress
from p2p.peers import PeerSet
from p2p.sockets import SocketConnector, listen
from p2p.sync.progress import SyncProgress
from p2p.transport import Endpoint
from primitives.clock import Clock, SystemClock
from primitives.errors import InvalidGenesis, NeedsPerson, UserError, plain_cause
from primitives.hexadecimal import parse_address
from primitives.secp256k1 import address_of, public_key
from wallet.service_manager import ServiceManager

POOL_JOURNAL_FILE = "pool.sqlite"
ADDRESS_BOOK_FILE = "peers.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node says of itself once it is ready."""

    rpc_url: str
    chain_id: int
    block_number: int
    process_id: int
    node_url: str
    """Where other nodes can call it, as far as it can tell; empty where they cannot."""

    def as_json(self) -> dict[str, object]:
        return {
            "rpc": self.rpc_url,
            "chain_id": self.chain_id,
            "block_number": self.block_number,
            "process_id": self.process_id,
            "node": self.node_url,
        }


def client_version() -> str:
    """As in "wattchain/0.1.0/linux-x86_64/python3.11"."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"wattchain/{version('wattchain')}/{platform.system().lower()}-{platform.machine()}/python{python}"


def read_genesis(settings: NodeSettings) -> Genesis:
    """The genesis of a data directory, with the operator's overrides of its validators. Raises UserError."""
    overrides = tuple(
        ValidatorOverride(one.block, ValidatorSet.of(one.validators)) for one in settings.consensus.validator_overrides
    )
    try:
        genesis = load_genesis(settings.genesis_path)
        return replace(genesis, config=replace(genesis.config, validator_overrides=overrides))
    except FileNotFoundError as error:
        raise UserError(
            f"The folder {settings.data_directory} is not that of a node yet: {settings.genesis_path} is missing. "
            f"Make it with: wattchain init --data-dir {settings.data_directory}"
        ) from error
    except OSError as error:
        raise UserError(f"The genesis file {settings.genesis_path} cannot be read: {error.strerror}.") from error
    except InvalidGenesis as error:
        raise NeedsPerson(f"The genesis file {settings.genesis_path} cannot be used: {error}.") from error


def make_clock(settings: ClockSettings, network: str) -> Clock:
    """The node's clock. Raises UserError where a production network's would not be the wall's."""
    if settings.rate != 1 and network != DEVELOPMENT:
        raise NeedsPerson(
            f"The clock may run faster on {DEVELOPMENT} networks only; this is a {PRODUCTION} network. "
            "Remove the section [clock] from the settings."
        )
    return settings.make()


def open_ledger(settings: NodeSettings, genesis: Genesis, clock: Clock, recover: Recover = recover_signer) -> Ledger:
    """The ledger of a data directory, made where it is new. Raises UserError."""
    return Ledger.open(
        settings.data_directory,
        genesis,
        clock,
        archive=settings.chain.archive,
        reorganisation_cap=settings.chain.reorganisation_cap,
        page_cache_mib=settings.chain.page_cache_mib,
        recover=recover,
    )


async def run_node(
    settings: NodeSettings,
    on_ready: Callable[[NodeFacts], None],
    on_sync: Callable[[SyncProgress], None] | None = None,
) -> None:
    """Run a node until SIGTERM or SIGINT. Raises UserError where it cannot start or go on.

    `on_sync` hears of everything about catching up with other nodes, which is logged now and then otherwise.
    """
    genesis = read_genesis(settings)
    clock = make_clock(settings.clock, genesis.config.network)
    stop = _stop_event()
    manager = ServiceManager.from_environment()
    _check_mining(settings, genesis)
    recover = remembering_recover()
    async with contextlib.AsyncExitStack() as stack:
        ledger = stack.enter_context(open_ledger(settings, genesis, clock, recover))
        journal = stack.enter_context(_open_journal(settings))
        key = load_node_key(settings.data_directory)
        identity = new_local_identity(Network(genesis.config.chain_id, ledger.genesis_hash), key)
        endpoint = Endpoint(identity, settings.allow_list())
        surroundings = Surroundings(clock, SystemClock(), SocketConnector(endpoint), Random(), recover=recover)
        ballot = _ballot(settings, genesis, key, stack)
        core = NodeCore(ledger, journal, identity.node_id, surroundings, _core_settings(settings, genesis, key), ballot)
        await stack.enter_async_context(core)
        miner = Miner(settings.mining.cpu_share_percent, settings.mining.hash_rate)
        backend = NodeBackend(core, clock, settings, miner, public_key(key), own_host(settings.p2p.host))
        if settings.p2p.enabled:
            server = await stack.enter_async_context(await _listen(settings.p2p, core.peers, endpoint))
            core.listening_port = server.sockets[0].getsockname()[1]
        gateway = await stack.enter_async_context(Gateway(backend, _gateway_settings(settings)))
        head = core.service.head
        facts = NodeFacts(gateway.url, genesis.config.chain_id, head.number, os.getpid(), backend.node_info().url)
        _log.info("chain %d, head %d 0x%s, %s", facts.chain_id, head.number, head.hash.hex(), facts.node_url)
        on_ready(facts)
        manager.ready(_status_line(core))
        if on_sync is not None:
            core.synchroniser.board.subscribe(on_sync)
        work = [core.run(), tell_alive(manager, lambda: _status_line(core))]
        if settings.mining.enabled:
            work.append(
                MiningLoop(core.service, miner, settings.mining, clock, lambda: core.synchroniser.is_syncing).run()
            )
        if settings.p2p.enabled and settings.p2p.discovery:
            work.append(_discovery(settings.p2p, identity, core).run())
        await _run_until(stop, work, manager)
        _log.info("stopped at block %d", core.service.head.number)


def _status_line(core: NodeCore) -> str:
    catching_up = ", catching up" if core.synchroniser.is_syncing else ""
    return f"block {core.service.head.number}, {len(core.peers.sessions())} peers{catching_up}"


def _discovery(settings: P2pSettings, identity: LocalIdentity, core: NodeCore) -> LocalDiscovery:
    def hear_of(peer: PeerAddress) -> None:
        # As if it had said so itself: what is on this network is believed of this network.
        core.book.heard_of(peer, peer.address)

    return LocalDiscovery(identity.network, identity.node_id, settings.host, core.listening_port, hear_of)


async def _run_until(stop: asyncio.Event, work: Sequence[Coroutine[Any, Any, None]], manager: ServiceManager) -> None:
    """The node's background work, until it is told to stop. A task that dies takes the node down, loudly."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in work]
            await stop.wait()
            _log.info("stopping")
            manager.stopping()
            for task in running:
                task.cancel()
    except BaseExceptionGroup as failures:
        # A full disk is told like any other trouble of the machine; a bug keeps its traceback.
        if (cause := plain_cause(failures)) is not None:
            raise cause from failures
        raise


async def _listen(settings: P2pSettings, peers: PeerSet, endpoint: Endpoint) -> asyncio.Server:
    """Raises UserError where the place is taken."""
    try:
        return await listen(peers, settings.host, settings.port, endpoint)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"The node cannot listen for others on {settings.host} port {settings.port}: it is taken, perhaps by "
                "another node. Choose another port with --p2p-port, or as p2p.port in the settings."
            ) from error
        raise UserError(
            f"The node cannot listen for others on {settings.host} port {settings.port}: {error.strerror}. "
            "Correct p2p.host or p2p.port in the settings."
        ) from error


def _check_mining(settings: NodeSettings, genesis: Genesis) -> None:
    if not settings.mining.enabled:
        return
    if genesis.config.consensus != POW:
        raise NeedsPerson(
            "The blocks of this network are made by its validators, not by mining. Leave out --mine, and set "
            "enabled = false in the section [mining] of the settings."
        )
    if not any(parse_address(settings.mining.coinbase)):
        _log.warning("no coinbase is set: fees and rewards of blocks made here belong to nobody")


def _ballot(settings: NodeSettings, genesis: Genesis, key: bytes, stack: contextlib.AsyncExitStack) -> Ballot | None:
    """What this node votes with; None where it does not. Raises UserError where its votes cannot be kept."""
    if genesis.config.consensus != QBFT or not settings.consensus.validate:
        return None
    votes = stack.enter_context(contextlib.closing(SqliteVoteStore.open(settings.data_directory)))
    return Ballot(KeySigner(key), votes)


def _core_settings(settings: NodeSettings, genesis: Genesis, key: bytes) -> CoreSettings:
    builder = BuilderSettings(
        parse_address(settings.mining.coinbase), gas_limit_target=settings.mining.gas_limit_target
    )
    if genesis.config.consensus == QBFT:
        # A block belongs to the key that proposed it, and has to be ready long before its round is over.
        time_limit_s = build_time_limit_s(genesis.config.request_timeout_ms)
        builder = replace(builder, coinbase=address_of(key), build_time_limit_s=time_limit_s)
    return CoreSettings(
        builder=builder,
        client_version=client_version(),
        reorganisation_cap=settings.chain.reorganisation_cap,
        is_networked=settings.p2p.enabled,
        full_sync=settings.executes_everything,
        static_peers=settings.static_peers(),
        max_inbound=settings.p2p.max_inbound,
        max_outbound=settings.p2p.max_outbound,
        address_book=settings.data_directory / ADDRESS_BOOK_FILE,
    )


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _open_journal(settings: NodeSettings) -> "contextlib.closing[PoolJournal]":
    return contextlib.closing(PoolJournal(settings.data_directory / POOL_JOURNAL_FILE))


def _gateway_settings(settings: NodeSettings) -> GatewaySettings:
    rpc = settings.rpc
    return GatewaySettings(rpc.host, rpc.port, rpc.allowed_hosts, rpc.cors_origins, answers_operator=rpc.admin)
