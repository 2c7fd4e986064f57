"""Real validators on loopback that are killed one by one and all at once: blocks stay final, and come again.

Shows that a qbft network of four goes on without one and stops without two, that it never forks, and that it goes on
from where it was after all were killed in the same moment; and that seven go on without two.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.functional.running_network import NetworkNode, RunningNetwork, happens_within, heads, until

BLOCK_TIME_S = 1
FAST = ("--block-time", BLOCK_TIME_S, "--empty-block-period", BLOCK_TIME_S)


@pytest.mark.slow
async def test_four_validators_killed_one_by_one_and_all_at_once(tmp_path: Path) -> None:
    async with RunningNetwork(tmp_path, 4, "qbft", *FAST) as network:
        one, two, *others = network.nodes
        await network.until_block(2)

        await network.kill(one)
        (number,) = await heads([two])
        await network.until_block(number + 3)

        await network.kill(two)
        # Two of four decide nothing: both are in the next round, and wait there for a third.
        await until("both try again", lambda: _all_in_round(others, 1))
        final = max(await heads(others))
        await network.start(two)
        await network.until_block(final + 2, two, *others)
        await network.start(one)
        await network.until_block(final + 3)
        agreed = await network.agreed_block(final)

        final = max(await heads(network.nodes))
        await network.kill(*network.nodes)
        await network.start(*network.nodes)
        assert min(await heads(network.nodes)) >= final - 1
        await network.until_block(final + 3)
        assert await network.agreed_block(final + 3)
        assert agreed  # the same at all of them, before and after


@pytest.mark.slow
async def test_seven_validators_go_on_without_two(tmp_path: Path) -> None:
    async with RunningNetwork(tmp_path, 7, "qbft", *FAST) as network:
        await network.until_block(2)
        await network.kill(*network.nodes[:2])
        number = max(await heads(network.nodes[2:]))
        await network.until_block(number + 3)
        await network.start(*network.nodes[:2])
        await network.until_block(number + 4)
        await network.agreed_block(number + 4)


@pytest.mark.slow
async def test_two_halves_decide_nothing_and_a_majority_does(tmp_path: Path) -> None:
    async with RunningNetwork(tmp_path, 4, "qbft", *FAST, cuttable=True) as network:
        one, two, three, four = network.nodes
        await network.until_connected(peers=3)
        await network.until_block(2)

        await network.cut([one], [two, three, four])
        number = max(await heads([two, three, four]))
        await network.until_block(number + 2, two, three, four)
        await until("the one alone tries in vain", lambda: _all_in_round([one], 1))
        (left_behind,) = await heads([one])
        assert left_behind <= number
        network.mend()
        await network.until_block(number + 2, one)

        await network.cut([one, two], [three, four])
        await until("all try again", lambda: _all_in_round(network.nodes, 1))
        stopped = await heads(network.nodes)
        assert max(stopped) - min(stopped) <= 1
        # Longer than a round takes: without a quorum they wait in it, and make nothing.
        assert not await happens_within(4 * BLOCK_TIME_S, lambda: _moved_on(network.nodes, max(stopped)))
        network.mend()
        await network.until_block(max(stopped) + 2)
        await network.agreed_block(max(stopped) + 2)


async def _moved_on(nodes: Sequence[NetworkNode], number: int) -> bool:
    """Whether any of these has a block after that one."""
    return max(await heads(nodes)) > number


async def _all_in_round(nodes: Sequence[NetworkNode], round_: int) -> bool:
    """Whether all of these have tried so often to agree on their next block."""
    for node in nodes:
        async with node.client() as client:
            status = await client.request("wattchain_status")
        assert isinstance(status, dict)
        if status["round"] < round_:
            return False
    return True
