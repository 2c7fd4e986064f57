"""`wattchain light`: each command as a person runs it, against the real gateway over a real ledger."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.server import Gateway, GatewaySettings
from primitives.hexadecimal import to_checksum_address, to_data
from tests.chain.ledger_world import ADDRESSES, FUNDS_WEI
from tests.chain.qbft.authority_world import CONTRACT, VALIDATORS, AuthorityWorld, authority_document, authority_genesis
from tests.wallet.light.light_world import LightNode
from wallet.light import commands, options
from wallet.light.commands import light

NOBODY = "0x" + "99" * 20
RICH = to_checksum_address(ADDRESSES[7])


class Person:
    """Runs `wattchain light` with a folder of their own, while the node answers in this very process."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        (folder / "genesis.json").write_text(json.dumps(authority_document()))
        self.environment = {
            "WATTCHAIN_NODE": url,
            "WATTCHAIN_GENESIS": str(folder),
            "WATTCHAIN_LIGHT": str(folder / "light"),
        }

    async def run(self, *arguments: str) -> Result:
        runner = CliRunner()
        return await asyncio.to_thread(runner.invoke, light, list(arguments), env=self.environment)

    async def json(self, *arguments: str) -> Any:
        result = await self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def error(self, *arguments: str) -> str:
        result = await self.run(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert "Traceback" not in result.output
        return result.stderr


class Place:
    """A ledger of three blocks, a node that serves it, and a person."""

    def __init__(self, world: AuthorityWorld, node: LightNode, person: Person) -> None:
        self.world = world
        self.node = node
        self.person = person


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    world = AuthorityWorld.open(tmp_path / "node", authority_genesis())
    world.grow(3, [world.transfer(0, 7, 5)])
    node = LightNode(world.ledger, world.clock)
    with world.ledger:
        async with Gateway(node.backend, GatewaySettings(port=0)) as gateway:
            yield Place(world, node, Person(tmp_path, gateway.url))


async def test_sync_follows_the_chain_and_status_remembers(place: Place) -> None:
    before = await place.person.json("status")
    assert before["block"]["number"] == 0
    assert (before["checked_s"], before["seals"]) == (None, None)

    head = place.world.ledger.head()
    synced = await place.person.json("sync")
    assert synced["block"] == {"number": 3, "hash": to_data(head.hash), "time_s": head.timestamp_s}
    assert synced["seals"] == {"given": 3, "validators": 4}
    assert synced["stale"]  # the ledger's clock stands still in 2023
    assert [(node["url"], node["verdict"]) for node in synced["nodes"]] == [
        (place.person.environment["WATTCHAIN_NODE"], "followed")
    ]
    after = await place.person.json("status")
    assert after["block"] == synced["block"]
    assert after["validators"] == [to_checksum_address(one) for one in VALIDATORS]
    assert (after["chain_id"], after["consensus"], after["total_difficulty"]) == (4242, "qbft", "4")
    assert 0 < after["file_bytes"] < 2**20
    assert Path(after["file"]).parent == place.person.folder / "light"


async def test_in_words(place: Place) -> None:
    result = await place.person.run("sync")
    assert re.fullmatch(r"Block 3  0x[0-9a-f]{64}  \d+ days old, sealed by 3 of 4 validators\n", result.stdout)
    assert "Warning: the newest proved block is" in result.stderr
    status = await place.person.run("status")
    assert "Validators  4, of whom 3 must seal a block" in status.stdout
    assert status.stderr == ""
    result = await place.person.run("balance", RICH)
    assert result.stdout == f"{RICH}  1000000.000000000000000005 WATT\n"
    assert "Proved after block 3, " in result.stderr
    assert "final; by http://127.0.0.1:" in result.stderr


async def test_balances_are_proved(place: Place) -> None:
    answer = await place.person.json("balance", RICH, NOBODY)
    assert answer["balances"] == [
        {"address": RICH, "wei": str(FUNDS_WEI + 5), "watt": "1000000.000000000000000005"},
        {"address": to_checksum_address(bytes.fromhex(NOBODY[2:])), "wei": "0", "watt": "0"},
    ]
    assert (answer["confirmations"], answer["final"]) == (1, True)
    assert answer["proved_by"] == place.person.environment["WATTCHAIN_NODE"]


async def test_an_account_and_one_that_is_not_there(place: Place) -> None:
    answer = await place.person.json("account", to_data(ADDRESSES[0]))
    assert (answer["exists"], answer["nonce"]) == (True, 1)
    text = (await place.person.run("account", NOBODY)).stdout
    assert "Balance  0 WATT\nNonce    0\n" in text
    assert text.endswith("It does not exist yet.\n")


async def test_slots_are_proved(place: Place) -> None:
    contract = to_data(CONTRACT)
    for slot, value in (("0", 4), ("0x00", 4), ("5", 0), (hex(2**256 - 1), 0)):
        assert int((await place.person.json("slot", contract, slot))["value"], 16) == value
    assert (await place.person.run("slot", contract, "0")).stdout == "0x" + "4".zfill(64) + "\n"
    for wrong in ("-1", "ten", hex(2**256), "0x", "1" * 100):
        assert "is no slot" in await place.person.error("slot", "--", contract, wrong)


async def test_credit_needs_the_contracts(place: Place) -> None:
    assert "This ledger has no contract Exhaustion" in await place.person.error("credit", NOBODY)


async def test_watch_prints_what_is_new(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, waits = asyncio.get_running_loop(), 0

    async def grow() -> None:
        place.world.grow(1 if waits % 2 else 0)

    class GrowingClock:
        """Each wait, seen from the command's thread, lasts until the ledger has or has not grown."""

        async def sleep_s(self, duration_s: float) -> None:
            nonlocal waits
            waits += 1
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(grow(), loop))

    monkeypatch.setattr(commands, "SystemClock", GrowingClock)
    result = await place.person.run("watch", "--count", "3", "--json")
    assert result.exit_code == 0, result.output
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["number"], line["below"]) for line in printed] == [(4, 3), (5, 4), (6, 5)]
    assert printed[-1]["hash"] == to_data(place.world.ledger.head().hash)
    assert waits == 5
    assert result.stderr.startswith("Block 3  0x")
    assert result.stderr.count("Warning: the newest proved block") == 1

    text = (await place.person.run("watch", "--count", "1")).stdout
    assert re.fullmatch(r"7  0x[0-9a-f]{64}  \d+ days old\n", text)


async def test_several_nodes_may_be_named(place: Place) -> None:
    url = place.person.environment["WATTCHAIN_NODE"]
    answer = await place.person.json("sync", "--node", "http://127.0.0.1:1", "--node", url, "--node", url + "/")
    assert {node["url"]: node["verdict"] for node in answer["nodes"]} == {
        "http://127.0.0.1:1": "unreachable",
        url: "followed",
    }
    place.person.environment["WATTCHAIN_NODE"] = f"http://127.0.0.1:1 {url}"
    result = await place.person.run("balance", RICH)
    assert result.exit_code == 0
    assert "Warning: No node answers at http://127.0.0.1:1" in result.stderr


async def test_nobody_to_ask(place: Place) -> None:
    place.person.environment["WATTCHAIN_NODE"] = "http://127.0.0.1:1"
    assert "No node could be followed. Warning: No node answers at" in await place.person.error("sync")
    assert "No node proves what was asked about block 0" in await place.person.error("balance", RICH)


async def test_what_is_wrong_is_said_plainly(place: Place) -> None:
    for command in ("balance", "account", "credit"):
        assert "is no address" in await place.person.error(command, "0x12")
    assert "must begin with http" in await place.person.error("sync", "--node", "localhost:8545")
    assert "in a way that you trust" in await place.person.error("sync", "--genesis", "/nowhere/genesis.json")
    other = place.person.folder / "other.json"
    other.write_text(json.dumps(authority_document(VALIDATORS[:3])))
    assert "keeps another chain" in await place.person.error("sync", "--genesis", str(other))


async def test_again_begins_from_the_first_block(place: Place) -> None:
    await place.person.json("sync")
    await place.person.error("sync", "--again", "--node", "http://127.0.0.1:1")
    assert (await place.person.json("status"))["block"]["number"] == 0
    assert (await place.person.json("sync", "--again"))["block"]["number"] == 3


def test_every_command_says_what_it_is_for() -> None:
    for name, command in light.commands.items():
        result = CliRunner().invoke(light, [name, "--help"])
        assert result.exit_code == 0
        assert command.help
        assert "--node URL" in result.stdout
        assert len(result.stdout) > 400
    assert options.DEFAULT_FOLDER in CliRunner().invoke(light, ["sync", "--help"]).stdout
