"""The one place where a node is wired together: ledger, pool, miner and gateway in one task group."""

import asyncio
import contextlib
import logging
import os
import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from chain.builder import BlockBuilder, BuilderSettings
from chain.config import DEVELOPMENT, PRODUCTION
from chain.genesis import Genesis, load_genesis
from chain.ledger import Ledger
from chain.miner import Miner
from chain.pool.admission import PoolLimits
from chain.pool.journal import PoolJournal
from chain.pool.pool import TransactionPool
from gateway.server import Gateway, GatewaySettings
from node.backend import NodeBackend
from node.mining import MiningLoop
from node.service import LedgerService
from node.settings import ClockSettings, NodeSettings
from primitives.clock import Clock
from primitives.errors import InvalidGenesis, UserError, plain_cause
from primitives.hexadecimal import parse_address

POOL_JOURNAL_FILE = "pool.sqlite"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node says of itself once it is ready."""

    rpc_url: str
    chain_id: int
    block_number: int
    process_id: int

    def as_json(self) -> dict[str, object]:
        return {
            "rpc": self.rpc_url,
            "chainId": self.chain_id,
            "blockNumber": self.block_number,
            "processId": self.process_id,
        }


def client_version() -> str:
    """As in "wattchain/0.1.0/linux-x86_64/python3.11"."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"wattchain/{version('wattchain')}/{platform.system().lower()}-{platform.machine()}/python{python}"


def read_genesis(settings: NodeSettings) -> Genesis:
    """The genesis of a data directory. Raises UserError."""
    try:
        return load_genesis(settings.genesis_path)
    except FileNotFoundError as error:
        raise UserError(
            f"The folder {settings.data_directory} is not that of a node yet: {settings.genesis_path} is missing. "
            f"Make it with: wattchain init --data-dir {settings.data_directory}"
        ) from error
    except OSError as error:
        raise UserError(f"The genesis file {settings.genesis_path} cannot be read: {error.strerror}.") from error
    except InvalidGenesis as error:
        raise UserError(f"The genesis file {settings.genesis_path} cannot be used: {error}.") from error


def make_clock(settings: ClockSettings, network: str) -> Clock:
    """The node's clock. Raises UserError where a production network's would not be the wall's."""
    if settings.rate != 1 and network != DEVELOPMENT:
        raise UserError(
            f"The clock may run faster on {DEVELOPMENT} networks only; this is a {PRODUCTION} network. "
            "Remove the section [clock] from the settings."
        )
    return settings.make()


def open_ledger(settings: NodeSettings, genesis: Genesis, clock: Clock) -> Ledger:
    """The ledger of a data directory, made where it is new. Raises UserError."""
    return Ledger.open(
        settings.data_directory,
        genesis,
        clock,
        archive=settings.chain.archive,
        reorganisation_cap=settings.chain.reorganisation_cap,
    )


async def run_node(settings: NodeSettings, on_ready: Callable[[NodeFacts], None]) -> None:
    """Run a node until SIGTERM or SIGINT. Raises UserError where it cannot start or go on."""
    genesis = read_genesis(settings)
    clock = make_clock(settings.clock, genesis.config.network)
    stop = _stop_event()
    if settings.mining.enabled and not any(parse_address(settings.mining.coinbase)):
        _log.warning("no coinbase is set: fees and rewards of blocks made here belong to nobody")
    with open_ledger(settings, genesis, clock) as ledger, _open_journal(settings) as journal:
        limits = PoolLimits(settled_depth_blocks=settings.chain.reorganisation_cap)
        pool = TransactionPool(genesis.config, ledger.latest_accounts, ledger.head(), clock, journal, limits)
        builder = BlockBuilder(
            genesis.config, ledger.engine, clock, ledger.blocks, ledger.state, _builder_settings(settings)
        )
        miner = Miner(settings.mining.cpu_share_percent, settings.mining.hash_rate)
        async with LedgerService(ledger, pool, builder) as service:
            backend = NodeBackend(service, clock, settings.mining, miner, client_version())
            async with Gateway(backend, _gateway_settings(settings)) as gateway:
                facts = NodeFacts(gateway.url, genesis.config.chain_id, service.head.number, os.getpid())
                _log.info("chain %d, head %d 0x%s", facts.chain_id, facts.block_number, service.head.hash.hex())
                on_ready(facts)
                mining = MiningLoop(service, miner, settings.mining, clock) if settings.mining.enabled else None
                await _run_until(stop, mining)
        _log.info("stopped at block %d", service.head.number)


async def _run_until(stop: asyncio.Event, mining: MiningLoop | None) -> None:
    """The node's background work, until it is told to stop. A task that dies takes the node down, loudly."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(mining.run())] if mining is not None else []
            await stop.wait()
            _log.info("stopping")
            for task in running:
                task.cancel()
    except BaseExceptionGroup as failures:
        # A full disk is told like any other trouble of the machine; a bug keeps its traceback.
        if (cause := plain_cause(failures)) is not None:
            raise cause from failures
        raise


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _open_journal(settings: NodeSettings) -> "contextlib.closing[PoolJournal]":
    return contextlib.closing(PoolJournal(settings.data_directory / POOL_JOURNAL_FILE))


def _builder_settings(settings: NodeSettings) -> BuilderSettings:
    return BuilderSettings(parse_address(settings.mining.coinbase), gas_limit_target=settings.mining.gas_limit_target)


def _gateway_settings(settings: NodeSettings) -> GatewaySettings:
    rpc = settings.rpc
    return GatewaySettings(rpc.host, rpc.port, rpc.allowed_hosts, rpc.cors_origins, answers_operator=rpc.admin)
