"""`wattchain network validators` and `vote`, cast through a real gateway on the real contract."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.genesis import parse_genesis
from gateway.server import Gateway, GatewaySettings
from node.cli import main
from node.new_network import NetworkPlan, genesis_document
from node.node_key import NODE_KEY_FILE, write_node_key
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from tests.gateway.memory_ledger import CHAIN_ID, MemoryLedger
from tests.node.test_peer_commands import liar

KEYS = [bytes([number]) * 32 for number in (1, 2, 3)]
VALIDATORS = [to_checksum_address(address_of(key)) for key in KEYS]
STRANGER_KEY = b"\x09" * 32
STRANGER = to_checksum_address(address_of(STRANGER_KEY))
POLL_S = 0.01


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WATTCHAIN_NODE", "WATTCHAIN_DATA"):
        monkeypatch.delenv(name, raising=False)
    for number, key in enumerate([*KEYS, STRANGER_KEY]):
        (tmp_path / str(number)).mkdir()
        write_node_key(tmp_path / str(number) / NODE_KEY_FILE, key)


@pytest.fixture
def ledger() -> MemoryLedger:
    """One whose first state holds the contract, as a genesis file has it; votes pay a fee here."""
    addresses = tuple(address_of(key) for key in KEYS)
    plan = NetworkPlan(b"\x11" * 20, CHAIN_ID, consensus="qbft", validators=addresses)
    genesis = parse_genesis(genesis_document(plan)).state
    made = MemoryLedger({address_of(key): 10**18 for key in [*KEYS, STRANGER_KEY]})
    state = made.view.state_at(0)
    state.accounts.update({address: account for address, account in genesis.accounts.items() if account is not None})
    state.slots.update(genesis.storage)
    state.codes.update(genesis.codes)
    return made


@pytest.fixture
async def url(ledger: MemoryLedger) -> AsyncIterator[str]:
    """Of a gateway on a ledger that makes a block as soon as something is waiting."""

    async def make_blocks() -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if ledger.pool_status().pending:
                ledger.mine()

    async with Gateway(ledger, GatewaySettings(port=0)) as gateway:
        making = asyncio.create_task(make_blocks())
        yield gateway.url
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making


async def run(*arguments: object) -> Result:
    words = ["network", *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, main, words, catch_exceptions=False)


async def output(*arguments: object) -> str:
    result = await run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


async def refused(*arguments: object) -> str:
    result = await run(*arguments)
    assert result.exit_code == 2, result.output
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return sentence.removeprefix("Error: ")


async def test_who_the_validators_are(url: str) -> None:
    facts = json.loads(await output("validators", "--node", url, "--json"))
    assert facts == {"validators": VALIDATORS, "votesNeeded": 2, "openVotes": []}
    assert (await output("validators", "--node", url)).splitlines() == [
        "3 validators; a decision needs 2 votes:",
        *(f"  {address}" for address in VALIDATORS),
    ]


async def test_two_of_three_vote_a_node_in_and_out_again(url: str) -> None:
    text = await output("vote", "add", STRANGER, "--data-dir", "0", "--node", url)
    assert text.splitlines()[-3:] == ["Open votes:", f"  add {STRANGER}: 1 of 2", f"    by {VALIDATORS[0]}"]
    facts = json.loads(await output("vote", "add", STRANGER, "--data-dir", "1", "--node", url, "--json"))
    assert facts["validators"] == [*VALIDATORS, STRANGER]
    assert (facts["votesNeeded"], facts["openVotes"], len(facts["transaction"])) == (3, [], 66)
    for voter in (3, 0, 1):
        facts = json.loads(await output("vote", "remove", VALIDATORS[2], "--data-dir", voter, "--node", url, "--json"))
    assert facts["validators"] == [VALIDATORS[0], VALIDATORS[1], STRANGER]


async def test_a_vote_is_withdrawn(url: str) -> None:
    await output("vote", "remove", VALIDATORS[1], "--data-dir", "0", "--node", url)
    facts = json.loads(await output("validators", "--node", url, "--json"))
    assert facts["openVotes"] == [{"voter": VALIDATORS[0], "subject": VALIDATORS[1], "vote": "remove"}]
    text = await output("vote", "withdraw", VALIDATORS[1], "--data-dir", "0", "--node", url)
    assert "Open votes" not in text


async def test_votes_that_the_contract_does_not_take(url: str) -> None:
    for action, address, voter, sentence in (
        ("add", STRANGER, 3, "This node is not a validator, so it has no vote"),
        ("add", VALIDATORS[1], 0, "That node is a validator already"),
        ("add", "0x" + "00" * 20, 0, "The address 0 cannot be a validator"),
        ("remove", STRANGER, 0, "That node is not a validator"),
        ("withdraw", STRANGER, 0, "This node has cast no such vote"),
    ):
        assert sentence in await refused("vote", action, address, "--data-dir", voter, "--node", url)
    await output("vote", "add", STRANGER, "--data-dir", "0", "--node", url)
    assert "others have to vote as well" in await refused("vote", "add", STRANGER, "--data-dir", "0", "--node", url)


async def test_votes_that_are_not_cast(url: str, tmp_path: Path) -> None:
    assert "There is no node's key in nowhere" in await refused("vote", "add", STRANGER, "--data-dir", "nowhere")
    assert "ADDRESS: expected 20 bytes" in await refused("vote", "add", "0x12", "--data-dir", "0", "--node", url)
    (tmp_path / "0" / NODE_KEY_FILE).chmod(0o644)
    assert "chmod 600" in await refused("vote", "add", STRANGER, "--data-dir", "0", "--node", url)


async def test_a_vote_is_handed_in_without_waiting(url: str) -> None:
    text = await output("vote", "add", STRANGER, "--data-dir", "0", "--node", url, "--wait", 0)
    assert "is handed in as 0x" in text
    assert "not in a block yet" in text


async def test_a_network_of_miners_has_none() -> None:
    async with Gateway(MemoryLedger({}), GatewaySettings(port=0)) as gateway:
        assert "This network has no validators" in await refused("validators", "--node", gateway.url)


@pytest.mark.parametrize("result", ["0x00", "0x" + "ff" * 64, "0x" + "00" * 32])
async def test_a_node_that_lies(result: str) -> None:
    async with liar(result) as url:
        assert "malformed" in await refused("validators", "--node", url)
