"""Questions about old blocks over JSON-RPC: a node answers for its last 1,024 states, an archive for all."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.genesis import load_genesis
from node.application import NodeFacts, run_node
from node.settings import ChainSettings, NodeSettings, P2pSettings, RpcSettings
from tests.chain.ledger_world import COINBASE, START_S, World
from wallet.client import RpcClient, RpcError

BLOCKS = 1_030
REWARD_WEI = 7
GENESIS = {
    "config": {"chainId": 4242, "wattchain": {"blockRewardWei": str(REWARD_WEI)}},
    "difficulty": "0x1",
    "gasLimit": "0x1c9c380",
    "timestamp": hex(START_S),
    "alloc": {},
}


@contextlib.asynccontextmanager
async def running_node(folder: Path, archive: bool) -> AsyncIterator[RpcClient]:
    """A node in this process, wired as `wattchain node` wires it."""
    ready: asyncio.Future[NodeFacts] = asyncio.get_running_loop().create_future()
    settings = NodeSettings(folder, ChainSettings(archive=archive), RpcSettings(port=0), p2p=P2pSettings(enabled=False))
    node = asyncio.create_task(run_node(settings, ready.set_result))
    await asyncio.wait({node, ready}, return_when=asyncio.FIRST_COMPLETED)
    if node.done():
        node.result()
    try:
        async with RpcClient(ready.result().rpc_url) as client:
            yield client
    finally:
        node.cancel()
        await asyncio.gather(node, return_exceptions=True)


@pytest.mark.slow
async def test_old_balances(tmp_path: Path) -> None:
    folders = {archive: tmp_path / f"archive-{archive}" for archive in (False, True)}
    for archive, folder in folders.items():
        folder.mkdir()
        (folder / "genesis.json").write_text(json.dumps(GENESIS))
        world = World.open(folder, load_genesis(folder / "genesis.json"), archive=archive)
        with world.ledger as ledger:
            ledger.database.connection.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
            if archive:
                with World.open(folders[False], load_genesis(folder / "genesis.json")).ledger as made:
                    world.clock.now_s = made.head().timestamp_s
                    for number in range(1, BLOCKS + 1):
                        block = made.blocks.canonical_block(number)
                        assert block is not None
                        ledger.import_block(block)
            else:
                world.grow(BLOCKS, transfers=0)

    oldest = BLOCKS - 1_024
    async with running_node(folders[False], archive=False) as client:
        for number in (oldest, oldest + 1, BLOCKS):
            assert await client.balance(COINBASE, number) == number * REWARD_WEI
        for number in (0, oldest - 1):
            with pytest.raises(RpcError, match=f"the state of block {number} is no longer kept"):
                await client.balance(COINBASE, number)
        block = await client.block(1)  # blocks are kept, only their states are not
        assert block is not None
    async with running_node(folders[True], archive=True) as client:
        for number in (0, 1, oldest - 1, oldest, BLOCKS):
            assert await client.balance(COINBASE, number) == number * REWARD_WEI
