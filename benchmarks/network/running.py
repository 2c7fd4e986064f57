"""What all runs of real nodes have in common: starting, connecting, watching, waiting until nothing is left to do."""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

from node.bench.network import BenchNetwork, BenchNode
from node.bench.run import Progress
from primitives.errors import UserError
from wallet.client import RpcClient

SETTLE_TIME_S = 60.0
"""Until everything that was handed in is in a block, after the last one was."""
LOOK_INTERVAL_S = 0.25


async def start_and_connect(
    network: BenchNetwork, progress: Progress, links: Collection[tuple[int, int]] | None = None
) -> None:
    """Each with each, unless the pairs are named. Raises UserError."""
    started, count = 0, len(network.nodes)

    def on_started() -> None:
        nonlocal started
        started += 1
        progress("starting", started, count)

    progress("starting", 0, count)
    await network.start(on_started)
    progress("connecting", 0, 1)
    await network.connect(links)


async def unless_a_node_ends(network: BenchNetwork, work: Coroutine[Any, Any, None]) -> None:
    """Do the work. Raises UserError where a node ends before it is done."""
    working, watching = asyncio.create_task(work), asyncio.create_task(network.watch())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        # A node that ended is the cause of whatever else went wrong.
        if watching.done():
            watching.result()
        await working
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def until_settled(nodes: Sequence[BenchNode], progress: Progress) -> None:
    """Until nothing waits at any node and all have one head. Raises UserError where that does not come."""
    progress("waiting for the last blocks", 0, 1)
    try:
        async with asyncio.timeout(SETTLE_TIME_S):
            while not await _is_settled(nodes):  # noqa: ASYNC110 - questions to other processes
                await asyncio.sleep(LOOK_INTERVAL_S)
    except TimeoutError as error:
        raise UserError(
            f"{SETTLE_TIME_S:.0f} s after the last transfer was accepted some are in no block, or the nodes differ."
        ) from error


async def _is_settled(nodes: Sequence[BenchNode]) -> bool:
    heads = set()
    for node in nodes:
        async with RpcClient(node.rpc_url) as client:
            if await client.request("txpool_status") != {"pending": "0x0", "queued": "0x0"}:
                return False
            block = await client.block()
            heads.add(None if block is None else block.hash)
    return len(heads) == 1
