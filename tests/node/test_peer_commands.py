"""`wattchain peers` and `status` against a real gateway over a ledger in memory, and against one that lies."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from gateway.backend import PeerInfo, SyncProgress
from gateway.server import Gateway, GatewaySettings
from node.cli import main
from node.operator_answers import NodePage, PeerRow, Progress, as_duration, read_peers
from node.status_command import status_lines
from tests.gateway.memory_ledger import NODE, MemoryLedger
from wallet.client import InvalidAnswer, RpcClient

ANNA = bytes.fromhex("a0" * 20)
ANNA_URL = "wattchain://0xA0a0a0A0a0A0A0a0A0a0A0a0A0A0A0A0A0A0a0A0@192.168.1.8:30403".lower()
PEER = PeerInfo(
    node_id=ANNA,
    url=ANNA_URL,
    client_version="[red]\x1b[31mwattchain",
    protocol_version=1,
    local_address="",
    remote_address="192.168.1.8",
    is_outbound=True,
    is_static=True,
    is_validator=False,
    connected_s=3_700,
    ping_ms=12,
    head_number=5,
    head_hash=b"\x05" * 32,
    total_difficulty=6,
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATTCHAIN_NODE", raising=False)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger({})


@pytest.fixture
async def gateway(ledger: MemoryLedger) -> AsyncIterator[Gateway]:
    async with Gateway(ledger, GatewaySettings(port=0)) as running:
        yield running


async def run(*arguments: object) -> Result:
    """The command in a thread, while this loop answers it."""
    words = [str(argument) for argument in arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, words, catch_exceptions=False)


async def output(*arguments: object) -> str:
    result = await run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


async def refused(*arguments: object) -> str:
    result = await run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return sentence.removeprefix("Error: ")


# Peers


async def test_a_node_without_peers(gateway: Gateway) -> None:
    assert "connected with no other one" in await output("peers", "--node", gateway.url)
    assert json.loads(await output("peers", "--node", gateway.url, "--json")) == []


async def test_the_table_of_peers(gateway: Gateway, ledger: MemoryLedger) -> None:
    validator = replace(PEER, node_id=b"\x01" * 20, is_validator=True, is_outbound=False, ping_ms=None, connected_s=4)
    stranger = replace(PEER, node_id=b"\x02" * 20, is_static=False, remote_address="[bold]x", connected_s=90_000)
    ledger.connected = [stranger, PEER, validator]
    heading, *rows = (await output("peers", "--node", gateway.url)).splitlines()
    assert heading.split() == ["node", "address", "called", "by", "is", "block", "ping", "for"]
    assert rows[0].split() == ["0x0101...0101", "192.168.1.8", "it", "validator", "5", "4", "s"]
    assert rows[1].split()[1:] == ["192.168.1.8", "us", "named", "5", "12", "ms", "1", "h", "1", "min"]
    assert rows[2].split() == ["0x0202...0202", "[bold]x", "us", "5", "12", "ms", "1", "d", "1", "h"]
    everything = json.loads(await output("peers", "--json", "--node", gateway.url))
    assert [peer["is_inbound"] for peer in everything] == [False, False, True]
    assert {peer["total_difficulty"] for peer in everything} == {"6"}


async def test_naming_a_peer_and_forgetting_it(gateway: Gateway, ledger: MemoryLedger) -> None:
    told = await output("peers", "add", ANNA_URL, "--node", gateway.url)
    assert "is added. It is called now" in told
    (url,) = ledger.named
    assert url.lower() == ANNA_URL
    assert json.loads(await output("peers", "--node", gateway.url, "remove", ANNA_URL, "--json")) == {"removed": url}
    assert ledger.named == []
    assert "was neither named nor connected" in await refused("peers", "remove", ANNA_URL, "--node", gateway.url)
    assert "it is that node itself" in await refused("peers", "add", NODE.url.lower(), "--node", gateway.url)


async def test_what_is_no_url(gateway: Gateway, ledger: MemoryLedger) -> None:
    for command in ("add", "remove"):
        assert "is not of the form wattchain://" in await refused("peers", command, "pi.local", "--node", gateway.url)
    assert ledger.named == []


async def test_a_node_that_does_not_take_orders(ledger: MemoryLedger) -> None:
    async with Gateway(ledger, GatewaySettings(port=0, answers_operator=False)) as gateway:
        assert "only programs on the node's own computer may ask" in await refused("peers", "--node", gateway.url)


async def test_no_node_there() -> None:
    for command in ("peers", "status"):
        assert "No node answers at http://127.0.0.1:1" in await refused(command, "--node", "http://127.0.0.1:1")


# Status


async def test_the_page_of_a_node(gateway: Gateway, ledger: MemoryLedger) -> None:
    ledger.mine(7)
    text = await output("status", "--node", gateway.url)
    assert "newest block   7, 0 s old\n" in text
    assert "4711, production, proof of work\n" in text
    assert "peers          none; peer-to-peer is off\n" in text
    assert "mining         1,000 hashes a second\n" in text
    assert "validators" not in text
    answer = json.loads(await output("status", "--node", gateway.url, "--json"))
    assert (answer["head_number"], answer["chain_id"]) == (7, 4711)
    ledger.sync, ledger.connected = SyncProgress(1, 5, 10), [PEER]
    text = await output("status", "--node", gateway.url)
    assert "catching up    yes, block 5 of 10, 50 %\n" in text
    assert "peers          1 (`wattchain peers` shows them)\n" in text


async def page_of(ledger: MemoryLedger) -> NodePage:
    async with Gateway(ledger, GatewaySettings(port=0)) as gateway, RpcClient(gateway.url) as client:
        return NodePage.from_json(await client.request("wattchain_status"))


async def test_what_is_remarked(ledger: MemoryLedger) -> None:
    page = await page_of(ledger)

    def shown(**changes: Any) -> str:
        return "\n".join(status_lines(replace(page, **changes)))

    assert "long ago" in shown(head_age_s=300)
    assert "long ago" not in shown(head_age_s=299)
    assert "long ago" not in shown(head_age_s=10**6, sync=Progress(1, 2))
    assert "long ago" not in shown(head_age_s=300, empty_block_period_s=3_600)
    three = {"consensus": "qbft", "validators": ("0x1", "0x2", "0x3")}
    assert "3; this node is not one of them" in shown(**three)
    assert "3; this node is one of them\n" in shown(**three, is_validator=True, is_validating=True)
    assert "for the 3. time" in shown(**three, is_validator=True, is_validating=True, round=2)
    assert "but does not take part" in shown(**three, is_validator=True)
    assert "catching up    no, as new as its peers" in shown(peer_count=1)
    assert "peers          none\n" in shown(is_listening=True)
    assert "not at all: it does not listen" in shown(url="")
    assert "1 transaction, 2 held back" in shown(pending=1, queued=2)
    assert "0 of 0\n" in shown(sync=Progress(0, 0))
    assert "mining         at rest" in shown(hashes_per_second=0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_601, "1 h 1 s"), (90_061, "1 d 1 h"), (10**9, "11574 d 1 h")],
)
def test_durations(seconds: int, text: str) -> None:
    assert as_duration(seconds) == text


# A node that lies


@asynccontextmanager
async def liar(result: object) -> AsyncIterator[str]:
    """Answers every request with this result."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": result})

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("result", [None, 1, "x", [], {}, [1], [{}], {"head": 1}, [[]] * 2_000])
async def test_answers_that_are_none(result: object) -> None:
    async with liar(result) as url:
        assert "malformed" in await refused("status", "--node", url)
        if result != []:
            assert "answer" in await refused("peers", "--node", url)
        assert "neither true nor false" in await refused("peers", "add", ANNA_URL, "--node", url)


def changed(answer: Any, change: Callable[[Any], object]) -> Any:
    copy = json.loads(json.dumps(answer))
    change(copy)
    return copy


async def test_every_member_of_a_page_is_checked(ledger: MemoryLedger) -> None:
    async with Gateway(ledger, GatewaySettings(port=0)) as gateway, RpcClient(gateway.url) as client:
        answer: Any = await client.request("wattchain_status")
    for name in answer.keys() - {"coinbase", "sync", "emptyBlockPeriodSeconds"}:
        for wrong in (None, -1, 1.5, 2**63, [1], {"a": 1}):
            with pytest.raises(InvalidAnswer):
                NodePage.from_json(changed(answer, lambda copy, name=name, wrong=wrong: copy.update({name: wrong})))
    with pytest.raises(InvalidAnswer):
        NodePage.from_json(changed(answer, lambda copy: copy.update(validators=["0x"] * 1_025)))
    with pytest.raises(InvalidAnswer):
        NodePage.from_json(changed(answer, lambda copy: copy.update(sync={"currentBlock": 1})))
    page = NodePage.from_json(changed(answer, lambda copy: copy.update(version="\x1b[2Jx\n" + "y" * 1_000)))
    assert page.version.startswith("?[2Jx?y")
    assert len(page.version) == 512


async def test_every_member_of_a_peer_is_checked(gateway: Gateway, ledger: MemoryLedger) -> None:
    ledger.connected = [PEER]
    async with RpcClient(gateway.url) as client:
        answers: Any = await client.request("admin_peers")
    (answer,) = answers
    assert PeerRow.from_json(answer).ping_ms == 12
    for name in ("id", "network", "protocols", "validator", "connectedSeconds"):
        for wrong in (None, -1, [1], {"a": 1}):
            with pytest.raises(InvalidAnswer):
                read_peers([changed(answer, lambda copy, name=name, wrong=wrong: copy.update({name: wrong}))])
    hostile = changed(answer, lambda copy: copy["network"].update(remoteAddress="\x1b]0;gone\x07"))
    assert read_peers([hostile])[0].address == "?]0;gone?"
