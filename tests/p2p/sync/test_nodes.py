"""Whole nodes: gossip and synchronisation together, over sessions that peers keep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2p.sync.synchroniser import ChainSynchroniser
from primitives.clock import ManualClock
from tests.p2p.memory_network import FakeChain, MemoryNetwork, Node, next_block, settle
from tests.p2p.sync.world import copy, grow


@asynccontextmanager
async def nodes(*chains: FakeChain) -> AsyncIterator[tuple[MemoryNetwork, list[Node]]]:
    """A node on each chain; each calls the one before it."""
    network = MemoryNetwork(ManualClock())
    made: list[Node] = []
    for number, chain in enumerate(chains, 1):
        node = network.add(number, chain)
        node.synchroniser = ChainSynchroniser(chain, network.clock, is_full=True)
        if made:
            node.peers.add_static(made[-1].url)
        made.append(node)
    running = [asyncio.create_task(node.run()) for node in made]
    await settle()
    yield network, made
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def agree(network: MemoryNetwork, made: list[Node], limit_s: int) -> None:
    for _ in range(limit_s):
        if len({node.chain.best.hash for node in made}) == 1:
            return
        await network.passes_s(1)
    raise AssertionError([node.chain.best.number for node in made])


async def test_new_nodes_catch_up_one_from_the_other_and_then_follow() -> None:
    old = FakeChain()
    grow(old, 300)
    async with nodes(old, FakeChain(), FakeChain()) as (network, made):
        await agree(network, made, 60)
        assert made[2].chain.best.number == 300
        block = next_block(old.best)
        await old.import_block(block, b"")
        await agree(network, made, 5)
        assert made[2].chain.best == block


async def test_two_halves_of_a_network_come_together_again() -> None:
    first = FakeChain()
    grow(first, 100)
    second = copy(first, 80)
    grow(second, 50, gas_used=1)
    async with nodes(first, copy(first), copy(second), second) as (network, made):
        await agree(network, made, 60)
        assert made[0].chain.best == second.best


async def test_nodes_that_make_blocks_while_others_catch_up_agree_in_the_end() -> None:
    old = FakeChain()
    grow(old, 200)
    async with nodes(old, FakeChain(), FakeChain()) as (network, made):
        for number in range(10):
            maker = made[number % 3]
            await maker.chain.import_block(next_block(maker.chain.best, number), b"")
            await network.passes_s(2)
        await agree(network, made, 60)
        assert old.best.number >= 204
