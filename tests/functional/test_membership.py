"""A node joins a running network of validators, is voted in, takes part, and an old validator is voted out.

Shows with real processes and the real commands that a late node follows the chain, that its vote counts once a majority
has admitted it, and that the network goes on without the one that was dismissed.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from primitives.hexadecimal import to_checksum_address
from tests.functional.running_network import NetworkNode, RunningNetwork, block_number, heads, until
from tests.functional.running_node import run_command

FAST = ("--block-time", 1, "--empty-block-period", 1)


@pytest.mark.slow
async def test_a_newcomer_is_voted_in_and_an_old_validator_out(tmp_path: Path) -> None:
    async with RunningNetwork(tmp_path, 4, "qbft", *FAST) as network:
        founders = list(network.nodes)
        await network.until_block(3)
        newcomer = network.add_joiner()
        await network.start(newcomer)
        await network.until_block(4, newcomer)
        assert await validators(newcomer) == ids(founders)

        await all_vote(network, founders[:3], "add", newcomer)
        await until("the newcomer is a validator", lambda: _are(newcomer, [*founders, newcomer]))
        await all_vote(network, founders[1:], "remove", founders[0])
        await until("the first validator is none any more", lambda: _are(newcomer, [*founders[1:], newcomer]))

        # Three of the four that remain are needed now, so the newcomer's own vote is needed without one of them.
        await network.kill(founders[1], founders[0])
        number = await block_number(newcomer)
        await network.until_block(number + 3, newcomer, *founders[2:])
        await network.start(founders[0])
        await network.until_block(number + 4, founders[0])
        assert max(await heads([founders[0]])) >= number + 4
        await network.agreed_block(number + 4)


async def all_vote(network: RunningNetwork, voters: Sequence[NetworkNode], action: str, about: NetworkNode) -> None:
    """At once: each waits until its vote is in a block."""
    await asyncio.gather(*[asyncio.to_thread(vote, network, voter, action, about) for voter in voters])


def vote(network: RunningNetwork, voter: NetworkNode, action: str, about: NetworkNode) -> None:
    """As the operator of a validator does it."""
    voted = run_command(
        network.folder,
        *("validators", action, to_checksum_address(about.node_id), "--key-file", voter.folder / "node.key"),
        *("--node", voter.rpc_url, "--yes", "--json"),
    )
    assert voted.returncode == 0, voted.stderr
    assert json.loads(voted.stdout)


def ids(nodes: Sequence[NetworkNode]) -> set[str]:
    return {to_checksum_address(node.node_id) for node in nodes}


async def validators(node: NetworkNode) -> set[str]:
    async with node.client() as client:
        status = await client.request("wattchain_status")
    assert isinstance(status, dict)
    return set(status["validators"])


async def _are(node: NetworkNode, expected: Sequence[NetworkNode]) -> bool:
    return await validators(node) == ids(expected)
