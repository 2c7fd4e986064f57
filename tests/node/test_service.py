"""The ledger as the event loop sees it, where whoever asked is gone before the answer."""

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

import pytest

from chain.builder import BlockBuilder, BuilderSettings
from chain.importer import UnknownParent
from chain.pool.pool import TransactionPool
from node.service import LedgerService
from tests.chain.ledger_world import COINBASE, World, reseal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.open(tmp_path)


def service(world: World) -> LedgerService:
    ledger = world.ledger
    pool = TransactionPool(ledger.config, ledger.latest_accounts, ledger.head(), world.clock)
    builder = BlockBuilder(
        ledger.config, ledger.engine, world.clock, ledger.blocks, ledger.state, BuilderSettings(COINBASE)
    )
    return LedgerService(ledger, pool, builder)


async def begun() -> None:
    """Until what was just started has got as far as the chain thread."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_block_is_imported_though_nobody_waits_any_more(world: World) -> None:
    async with service(world) as running:
        importing = asyncio.ensure_future(running.import_block(world.build()))
        await begun()
        importing.cancel()
        await running.build()
        assert running.head.number == 1
    world.ledger.close()


async def test_a_block_that_is_refused_when_nobody_waits_any_more_is_no_trouble(world: World) -> None:
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: troubles.append(context))
    block = world.build()
    orphan = reseal(block, replace(block.header, parent_hash=b"\x01" * 32, _hash=None))
    async with service(world) as running:
        with pytest.raises(UnknownParent):
            await running.import_block(orphan)
        importing = asyncio.ensure_future(running.import_block(orphan))
        await begun()
        importing.cancel()
        await running.build()
        del importing
    gc.collect()
    assert troubles == []
    world.ledger.close()
