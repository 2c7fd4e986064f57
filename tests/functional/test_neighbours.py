"""Two nodes with nothing but the same genesis file find each other, and their operator sees and names the other one.

Real processes on loopback, where they listen and look around; asked with `wattchain status` and `peers`.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from node.cli import main
from tests.functional.running_node import RunningCommand
from tests.p2p.test_local_discovery import has_multicast
from wallet.client import RpcClient

OPERATOR = "0x" + "11" * 20
TIME_LIMIT_S = 30.0
SETTINGS = '[p2p]\nhost = "127.0.0.1"\nport = 0\n[rpc]\nport = 0\n'


def told(*arguments: object) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def make(folder: Path, *options: object) -> Path:
    folder.mkdir()
    (folder / "wattchain.toml").write_text(SETTINGS)
    told("init", "--data-dir", folder, *options)
    return folder


def running(home: Path, folder: Path) -> RunningCommand:
    return RunningCommand(home, home / f"{folder.name}.log", "node", "--data-dir", folder, "--json")


async def have_a_peer(*nodes: dict[str, Any]) -> None:
    async with asyncio.timeout(TIME_LIMIT_S):
        for facts in nodes:
            async with RpcClient(facts["rpc"]) as client:
                while await client.request("net_peerCount") != "0x1":  # noqa: ASYNC110 - the node is another process
                    await asyncio.sleep(0.05)


@pytest.mark.skipif(not has_multicast(), reason="no multicast on the loopback interface here")
async def test_neighbours_find_each_other_with_no_settings_at_all(tmp_path: Path) -> None:
    first = make(tmp_path / "first", "--operator", OPERATOR, "--consensus", "qbft")
    second = make(tmp_path / "second", "--genesis", first / "genesis.json")
    async with running(tmp_path, first) as one, running(tmp_path, second) as two:
        facts, other = await one.ready(), await two.ready()
        await have_a_peer(facts, other)

        here = ("--node", other["rpc"])
        status = await asyncio.to_thread(told, "status", *here)
        assert (status["peer_count"], status["consensus"], status["url"]) == (1, "qbft", other["node"])
        validator = facts["node"].removeprefix("wattchain://").partition("@")[0]
        assert (status["is_validator"], status["validators"]) == (False, [validator])
        (peer,) = await asyncio.to_thread(told, "peers", *here)
        assert (peer["url"], peer["is_validator"], peer["is_static"]) == (facts["node"], True, False)
        assert await asyncio.to_thread(told, "peers", "add", facts["node"], *here) == {"added": facts["node"]}
        (peer,) = await asyncio.to_thread(told, "peers", *here)
        assert peer["is_static"] is True

        assert await two.stop() == 0
        assert await one.stop() == 0
