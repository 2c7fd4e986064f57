"""New nodes catch up with old ones over real connections, with real ledgers: by a state, or by executing everything.

Shows that a state taken over is the state, that certificates and the receipts of validator changes come with it, that a
node that began so can bring up the next one, and that of two forks the lighter one gives way.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from chain.builder import BuilderSettings
from chain.genesis import Genesis
from chain.ledger import Ledger
from chain.queries import ChainQueries
from contracts.binding import load_artifact
from node.core import CoreSettings, NodeCore, Surroundings
from p2p import limits
from p2p.identity import Network, new_local_identity
from p2p.node_url import NodeUrl
from p2p.sockets import SocketConnector, listen
from p2p.transport import Endpoint
from primitives.clock import ManualClock, SystemClock
from tests.chain.ledger_world import ADDRESSES, START_S, World, world_genesis
from tests.chain.qbft.authority_world import SIGNERS, AuthorityWorld, authority_genesis
from tests.chain.test_importer_qbft import vote

LENGTH = 40
CAP = 8
"""Blocks that the proof-of-work nodes of these tests can undo."""
TIME_LIMIT_S = 20.0
QBFT = authority_genesis(code=load_artifact("Validators").runtime_code)
POW = world_genesis()
NEWCOMER = SIGNERS[4].address


@pytest.fixture(autouse=True)
def short_chains_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MIN_BLOCKS_TO_SKIP", 20)
    monkeypatch.setattr(limits, "PIVOT_DISTANCE_BLOCKS", 4)


@asynccontextmanager
async def node(
    folder: Path, genesis: Genesis, number: int, *peers: NodeUrl, full_sync: bool = False
) -> AsyncIterator[tuple[NodeCore, NodeUrl, Ledger]]:
    """A node on the ledger in a folder, whose clock shows the end of time."""
    clock = ManualClock(START_S + 10**6)
    with Ledger.open(folder, genesis, clock, reorganisation_cap=CAP) as ledger:
        key = bytes([number]) * 32
        identity = new_local_identity(Network(ledger.config.chain_id, ledger.genesis_hash), key)
        endpoint = Endpoint(identity)
        surroundings = Surroundings(clock, SystemClock(), SocketConnector(endpoint), Random(number))
        settings = CoreSettings(BuilderSettings(bytes(20)), "test", CAP, full_sync=full_sync, static_peers=peers)
        async with NodeCore(ledger, None, identity.node_id, surroundings, settings) as core:
            server = await listen(core.peers, "127.0.0.1", 0, endpoint)
            running = asyncio.create_task(core.run())
            port = server.sockets[0].getsockname()[1]
            core.listening_port = port
            try:
                yield core, NodeUrl(identity.node_id, "127.0.0.1", port), ledger
            finally:
                server.close()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


async def stands_at(core: NodeCore, number: int) -> None:
    """Wait until the node's head has this number."""
    reached = asyncio.Event()

    def look(_: object = None) -> None:
        if core.service.head.number == number:
            reached.set()

    end = core.service.on_import(look)
    look()
    async with asyncio.timeout(TIME_LIMIT_S):
        await reached.wait()
    end()


def old_qbft_chain(folder: Path) -> None:
    """With payments, and a fifth validator from block 11 on."""
    world = AuthorityWorld.open(folder, QBFT)
    with world.ledger:
        for number in range(1, LENGTH + 1):
            transactions = [world.transfer(0, 7, number)]
            if number == 10:
                transactions += [vote(world, voter, "voteToAdd", NEWCOMER) for voter in range(3)]
            world.grow(1, transactions)
        assert NEWCOMER in world.ledger.validators_of_next()


def old_pow_chain(folder: Path, length: int = LENGTH, coinbase: bytes = b"\xc0" * 20) -> None:
    world = World.open(folder, POW)
    world.coinbase = coinbase
    with world.ledger:
        world.grow(length, transfers=3)


async def same_state(first: NodeCore, second: NodeCore) -> bool:
    def state(chain: ChainQueries) -> object:
        reader = chain.state_at(chain.head().number)
        return chain.head().state_root, [reader.account(address) for address in ADDRESSES]

    return await first.service.read(state) == await second.service.read(state)


async def test_a_state_of_a_qbft_chain_goes_from_node_to_node(tmp_path: Path) -> None:
    old_qbft_chain(tmp_path / "old")
    async with (
        node(tmp_path / "old", QBFT, 1) as (old, old_url, _),
        node(tmp_path / "new", QBFT, 2, old_url) as (new, _, ledger),
    ):
        await stands_at(new, LENGTH)
        assert await same_state(old, new)
        assert NEWCOMER in ledger.validators_of_next()
        await assert_began_at_a_state(new, LENGTH - 4)
    async with (
        node(tmp_path / "new", QBFT, 2) as (new, new_url, _),
        node(tmp_path / "third", QBFT, 3, new_url) as (third, _, _),
    ):
        await stands_at(third, LENGTH)
        assert await same_state(new, third)


async def test_a_state_of_a_proof_of_work_chain_is_taken_where_nothing_can_undo_it(tmp_path: Path) -> None:
    old_pow_chain(tmp_path / "old")
    async with (
        node(tmp_path / "old", POW, 1) as (old, old_url, _),
        node(tmp_path / "new", POW, 2, old_url) as (new, _, _),
    ):
        await stands_at(new, LENGTH)
        assert await same_state(old, new)
        assert new.chain.head() == old.chain.head()
        await assert_began_at_a_state(new, LENGTH - CAP)


@pytest.mark.parametrize("genesis", [QBFT, POW], ids=["qbft", "pow"])
async def test_a_node_that_wants_all_of_it_executes_all_of_it(tmp_path: Path, genesis: Genesis) -> None:
    (old_qbft_chain if genesis is QBFT else old_pow_chain)(tmp_path / "old")
    async with (
        node(tmp_path / "old", genesis, 1) as (old, old_url, _),
        node(tmp_path / "new", genesis, 2, old_url, full_sync=True) as (new, _, _),
    ):
        await stands_at(new, LENGTH)
        assert await same_state(old, new)
        hashes = await new.service.read(lambda chain: [header.hash for header in chain.headers(1, LENGTH)])
        assert all(await new.chain.bodies(hashes, 10**9))


async def test_of_two_forks_the_lighter_one_gives_way(tmp_path: Path) -> None:
    old_pow_chain(tmp_path / "light", 5)
    old_pow_chain(tmp_path / "heavy", 7, b"\xee" * 20)
    async with (
        node(tmp_path / "light", POW, 1) as (light, light_url, _),
        node(tmp_path / "heavy", POW, 2, light_url) as (heavy, _, _),
    ):
        await stands_at(light, 7)
        assert light.chain.head() == heavy.chain.head()
        assert await same_state(light, heavy)


async def assert_began_at_a_state(core: NodeCore, pivot: int) -> None:
    """Headers from the first one on, bodies from the one above the pivot."""
    hashes = await core.service.read(lambda chain: [header.hash for header in chain.headers(1, LENGTH)])
    assert len(hashes) == LENGTH
    bodies = await core.chain.bodies(hashes, 10**9)
    assert [number for number, body in enumerate(bodies, 1) if body] == list(range(pivot + 1, LENGTH + 1))
