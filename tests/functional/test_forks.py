"""Proof of work on a network that is cut in two: both halves go on, and afterwards all follow the heavier branch.

Shows with real miners that the lighter branch is given up and its transactions come again, that of two branches of
equal work each node keeps its own, and that the next block decides between them.
"""

from pathlib import Path

import pytest

from tests.functional.running_network import (
    RICH,
    RICH_KEY,
    NetworkNode,
    RunningNetwork,
    block_hash,
    block_number,
    until,
)
from wallet.client import RpcClient
from wallet.transfer import build_transfer, sign_and_send

EASY = ("--difficulty", 1, "--difficulty-rule", "fixed")
"""A block as often as the nodes' own minimum period allows."""
SOMEBODY = b"\x77" * 20


@pytest.mark.slow
async def test_the_heavier_branch_wins_and_the_transactions_of_the_other_come_again(tmp_path: Path) -> None:
    network = RunningNetwork(tmp_path, 2, "pow", *EASY, cuttable=True)
    slow, fast = network.nodes
    slow.set_mining(minimum_block_period_s=2)
    async with network:
        await network.until_connected(peers=1)
        await network.until_block(2)
        await network.cut([slow], [fast])
        async with slow.client() as client:
            transaction = await pay(client)
            receipt = await client.wait_for_receipt(transaction, 30)
        assert not await has_block(fast, await block_hash(slow, receipt.block_number), receipt.block_number)
        await until("one branch is longer", lambda: is_ahead(fast, slow, 3))

        network.mend()
        await until("both are on one branch", lambda: agree(slow, fast))
        async with slow.client() as client:
            again = await client.wait_for_receipt(transaction, 30)
        assert again.succeeded
        await until("both hold it", lambda: has_receipt(fast, transaction))
        assert await has_block(fast, await block_hash(slow, again.block_number), again.block_number)
        assert "Traceback" not in slow.log + fast.log


@pytest.mark.slow
async def test_of_two_branches_of_equal_work_the_next_block_decides(tmp_path: Path) -> None:
    network = RunningNetwork(tmp_path, 2, "pow", *EASY, cuttable=True)
    one, other = network.nodes
    async with network:
        await network.cut([one], [other])
        await network.until_block(3)
        await network.kill(one, other)
        for node in network.nodes:
            node.set_mining(enabled="false")
        await make_equal(network, one, other)
        number = await block_number(one)
        before = [await block_hash(node, number) for node in (one, other)]
        assert before[0] != before[1]
        network.mend()
        await network.until_connected(peers=1)
        assert [await block_hash(node, number) for node in (one, other)] == before  # each keeps what it had first

        await network.kill(one)
        one.set_mining(enabled="true")
        await network.start(one)
        await until("the next block decides", lambda: agree(one, other, above=number))
        assert await block_hash(other, number) == before[0]


async def make_equal(network: RunningNetwork, one: NetworkNode, other: NetworkNode) -> None:
    """Have the shorter branch mined on alone until both are equally long; then nobody mines."""
    await network.start(one, other)
    while (difference := await block_number(one) - await block_number(other)) != 0:
        shorter = other if difference > 0 else one
        goal = await block_number(shorter) + abs(difference)
        await network.kill(shorter)
        shorter.set_mining(enabled="true")
        await network.start(shorter)
        await network.until_block(goal, shorter)
        await network.kill(shorter)
        shorter.set_mining(enabled="false")
        await network.start(shorter)


async def pay(client: RpcClient) -> bytes:
    transaction = await build_transfer(client, RICH, SOMEBODY, 10**18)
    return await sign_and_send(client, transaction, RICH_KEY)


async def is_ahead(one: NetworkNode, other: NetworkNode, blocks: int) -> bool:
    return await block_number(one) >= await block_number(other) + blocks


async def agree(one: NetworkNode, other: NetworkNode, above: int = 0) -> bool:
    """Whether the lower of both heads is a block of both."""
    number = min(await block_number(one), await block_number(other))
    return number > above and await block_hash(one, number) == await block_hash(other, number)


async def has_block(node: NetworkNode, wanted: str, number: int) -> bool:
    async with node.client() as client:
        block = await client.block(number)
    return block is not None and block.hash.hex() == wanted


async def has_receipt(node: NetworkNode, transaction: bytes) -> bool:
    async with node.client() as client:
        return await client.receipt(transaction) is not None
