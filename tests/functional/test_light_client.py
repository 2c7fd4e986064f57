"""A light client beside real nodes: it proves balances with any of them, and follows a change of the validators.

A network of one validator is joined by a second node, which is voted in; then both must seal. The client, which knows
the genesis file only, asks one node, then both, then none.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from primitives.hexadecimal import to_checksum_address
from tests.functional.running_network import RICH, RunningNetwork, block_number
from tests.functional.running_node import run_command

FAST = ("--block-time", 1, "--empty-block-period", 1)
MILLION_WATT = 10**24


@pytest.mark.slow
async def test_balances_are_proved_through_a_change_of_validators(tmp_path: Path) -> None:
    async with RunningNetwork(tmp_path, 1, "qbft", *FAST) as network:
        (founder,) = network.nodes
        rich = to_checksum_address(RICH)
        trusted = ("--genesis", founder.folder / "genesis.json", "--folder", tmp_path / "light", "--json")

        async def light(*arguments: object) -> Any:
            done = await asyncio.to_thread(run_light, *arguments, *trusted)
            assert done.exit_code == 0, done.output
            return json.loads(done.stdout)

        await network.until_block(2)
        first = await light("balance", rich, "--node", founder.rpc_url)
        assert [row["wei"] for row in first["balances"]] == [str(MILLION_WATT)]
        assert (first["final"], first["stale"], first["proved_by"]) == (True, False, founder.rpc_url)
        assert first["block"]["number"] >= 2

        newcomer = network.add_joiner()
        await network.start(newcomer)
        await network.until_block(await block_number(founder), newcomer)
        voted = run_command(
            network.folder,
            *("validators", "add", to_checksum_address(newcomer.node_id), "--key-file", founder.folder / "node.key"),
            *("--node", founder.rpc_url, "--yes", "--json"),
        )
        assert voted.returncode == 0, voted.stderr
        number = await block_number(founder)
        await network.until_block(number + 2)

        nodes = ("--node", founder.rpc_url, "--node", newcomer.rpc_url)
        synced = await light("sync", *nodes)
        assert synced["seals"] == {"given": 2, "validators": 2}
        assert {node["verdict"] for node in synced["nodes"]} <= {"followed", "behind"}
        ids = {to_checksum_address(node.node_id) for node in network.nodes}
        status = await light("status")
        assert set(status["validators"]) == ids
        proved = await light("balance", rich, "--node", newcomer.rpc_url)
        assert proved["proved_by"] == newcomer.rpc_url
        assert int(proved["balances"][0]["wei"]) == MILLION_WATT
        meter = await light("credit", to_checksum_address(founder.node_id), *nodes)
        assert (meter["status"], meter["supply_allowed"]) == ("unknown", False)

        # With one of two validators gone nothing is final any more: what was proved stays so, by whoever is left.
        await network.kill(newcomer)
        refused = await asyncio.to_thread(run_light, "balance", rich, *trusted, "--node", newcomer.rpc_url)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "No node proves what was asked" in refused.stderr
        last = await light("balance", rich, *nodes)
        assert (last["proved_by"], last["balances"][0]["wei"]) == (founder.rpc_url, str(MILLION_WATT))


def run_light(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["light", *map(str, arguments)])
