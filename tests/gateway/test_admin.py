"""What an operator asks and does, its forms, and that nobody else gets an answer."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from web3 import AsyncHTTPProvider, AsyncWeb3

from gateway.backend import PeerInfo, SyncProgress
from gateway.caller import Caller, identify
from gateway.context import Context
from gateway.dispatcher import Dispatcher
from gateway.methods.all import METHODS
from gateway.server import Gateway, GatewaySettings
from tests.gateway.conftest import ALICE, BOB, Rpc, signed
from tests.gateway.memory_ledger import CHAIN_ID, GENESIS_TIME_S, NODE, MemoryLedger

ANNA = bytes.fromhex("a0" * 20)
ANNA_URL = "wattchain://0xA0a0a0A0A0A0a0a0A0A0a0A0a0A0a0A0A0A0a0a0@192.168.1.8:30403"
PEER = PeerInfo(
    node_id=ANNA,
    url=ANNA_URL,
    client_version="wattchain/0.1.0/linux-aarch64/python3.11",
    protocol_version=1,
    local_address="192.168.1.7:41234",
    remote_address="192.168.1.8:30403",
    is_outbound=True,
    is_static=True,
    is_validator=False,
    connected_s=77,
    ping_ms=12,
    head_number=5,
    head_hash=b"\x05" * 32,
    total_difficulty=6,
)


class OperatorRpc(Rpc):
    async def raw(self, body: bytes) -> object:
        answer = await self.dispatcher.answer(body, Caller.OPERATOR)
        return None if answer is None else json.loads(answer)


@pytest.fixture
async def operator(ledger: MemoryLedger) -> OperatorRpc:
    return OperatorRpc(Dispatcher(Context(ledger)))


# What is answered


async def test_peers_have_geths_form_and_ours(ledger: MemoryLedger, operator: Rpc) -> None:
    assert await operator("admin_peers") == []
    ledger.connected = [PEER, replace(PEER, is_outbound=False, is_static=False, is_validator=True, ping_ms=None)]
    first, second = await operator("admin_peers")
    assert first == {
        "enode": ANNA_URL,
        "id": ANNA_URL[len("wattchain://") :].partition("@")[0],
        "name": PEER.client_version,
        "caps": ["wattchain/1"],
        "network": {
            "localAddress": "192.168.1.7:41234",
            "remoteAddress": "192.168.1.8:30403",
            "inbound": False,
            "trusted": False,
            "static": True,
        },
        "protocols": {"wattchain": {"version": 1, "number": 5, "head": "0x" + "05" * 32, "difficulty": 6}},
        "validator": False,
        "pingMilliseconds": 12,
        "connectedSeconds": 77,
    }
    assert (second["network"]["inbound"], second["validator"], second["pingMilliseconds"]) == (True, True, None)
    assert await operator("net_peerCount") == "0x2"


async def test_peers_are_named_and_forgotten(ledger: MemoryLedger, operator: Rpc) -> None:
    assert await operator("admin_addPeer", ANNA_URL) is True
    assert ledger.named == [ANNA_URL]
    assert await operator("admin_addPeer", NODE.url) is False
    assert await operator("admin_removePeer", ANNA_URL) is True
    assert await operator("admin_removePeer", ANNA_URL) is False


@pytest.mark.parametrize("method", ["admin_addPeer", "admin_removePeer"])
async def test_what_is_no_url(operator: Rpc, method: str) -> None:
    for value in (None, 1, [], {}, "x" * 513):
        error = await operator.error(method, value)
        assert error["code"] == -32602
    error = await operator.error("admin_addPeer", "pi.local")
    assert error == {"code": -32000, "message": "'pi.local' is no node"}


async def test_the_node_itself(ledger: MemoryLedger, operator: Rpc) -> None:
    head = ledger.mine(2)
    info = await operator("admin_nodeInfo")
    assert info == {
        "id": "0xc0FFee0000000000000000000000000000000000",
        "name": "wattchain/test",
        "enode": f"enode://{'01' * 64}@192.168.1.7:30403",
        "url": NODE.url,
        "ip": "192.168.1.7",
        "ports": {"discovery": 0, "listener": 30_403},
        "listenAddr": "0.0.0.0:30403",
        "protocols": {
            "wattchain": {
                "version": 1,
                "network": CHAIN_ID,
                "genesis": "0x" + ledger.view.header_by_number(0).hash.hex(),  # type: ignore[union-attr]
                "consensus": "pow",
                "head": "0x" + head.hash.hex(),
                "difficulty": 3,
            }
        },
    }


async def test_a_node_that_does_not_listen(ledger: MemoryLedger, operator: Rpc) -> None:
    ledger.node = replace(NODE, url="", listen_host="::", listen_port=0)
    info = await operator("admin_nodeInfo")
    assert (info["enode"], info["url"], info["ip"], info["listenAddr"]) == ("", "", "", "")
    ledger.node = replace(NODE, url="wattchain://0x00@[fd00::7]:1", listen_host="::", listen_port=1)
    info = await operator("admin_nodeInfo")
    assert (info["ip"], info["listenAddr"]) == ("fd00::7", "[::]:1")


async def test_the_state_of_the_node_on_one_page(ledger: MemoryLedger, rpc: Rpc) -> None:
    await rpc("eth_sendRawTransaction", signed(ALICE, to=BOB.address))
    await rpc("eth_sendRawTransaction", signed(ALICE, to=BOB.address, nonce=2))
    head = ledger.mine(7, with_pool=False)
    ledger.clock.advance_s(3)
    assert await rpc("wattchain_status") == {
        "version": "wattchain/test",
        "nodeId": "0xc0FFee0000000000000000000000000000000000",
        "url": NODE.url,
        "chainId": CHAIN_ID,
        "network": "production",
        "genesisHash": "0x" + ledger.view.header_by_number(0).hash.hex(),  # type: ignore[union-attr]
        "consensus": "pow",
        "blockTimeSeconds": 15,
        "emptyBlockPeriodSeconds": None,
        "head": {
            "number": 7,
            "hash": "0x" + head.hash.hex(),
            "timestamp": GENESIS_TIME_S + 7 * 15,
            "ageSeconds": 3,
        },
        "finalized": 2,
        "validators": [],
        "isValidator": False,
        "isValidating": False,
        "round": 0,
        "listening": False,
        "peers": 0,
        "sync": None,
        "pool": {"pending": 1, "queued": 1},
        "mining": True,
        "hashesPerSecond": 1_000,
        "coinbase": "0xc0FFee0000000000000000000000000000000000",
        "uptimeSeconds": 60 + 7 * 15 + 3,
    }
    ledger.node = replace(NODE, validators=(ANNA, NODE.node_id), is_validating=True)
    ledger.sync = SyncProgress(1, 5, 10)
    ledger.connected = [PEER]
    status = await rpc("wattchain_status")
    assert len(status["validators"]) == 2
    assert (status["isValidator"], status["isValidating"], status["peers"]) == (True, True, 1)
    assert status["sync"] == {"startingBlock": 1, "currentBlock": 5, "highestBlock": 10}
    ledger.node = replace(NODE, validators=(ANNA,))
    assert (await rpc("wattchain_status"))["isValidator"] is False


async def test_a_clock_that_was_set_back_gives_no_negative_ages(ledger: MemoryLedger, rpc: Rpc) -> None:
    ledger.mine()
    ledger.clock.now_s = GENESIS_TIME_S - 1_000
    status = await rpc("wattchain_status")
    assert (status["head"]["ageSeconds"], status["uptimeSeconds"]) == (0, 0)


# Who is answered


async def test_strangers_learn_nothing_of_peers_and_add_none(ledger: MemoryLedger, rpc: Rpc) -> None:
    ledger.connected = [PEER]
    for name in [method.name for method in METHODS if method.name.startswith("admin_")]:
        error = await rpc.error(name, ANNA_URL)
        assert error["code"] == -32601
        assert "only programs on the node's own computer" in error["message"]
    batch = [{"jsonrpc": "2.0", "id": 1, "method": "admin_addPeer", "params": [ANNA_URL]}]
    (answer,) = await rpc.raw(json.dumps(batch).encode())
    assert answer["error"]["code"] == -32601
    assert ledger.named == []


def caller(remote: str | None, host: str, extra: Mapping[str, str] | None = None) -> Caller:
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: (
        (remote, 1) if name == "peername" and remote is not None else default
    )
    headers = {"Host": host} | dict(extra or {})
    return identify(make_mocked_request("POST", "/", headers=headers, transport=transport))


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8545", "127.0.0.1:8545", "127.0.0.1", "[::1]:8545", "[::1]"])
def test_programs_on_this_computer_are_the_operators(remote: str, host: str) -> None:
    assert caller(remote, host) is Caller.OPERATOR


@pytest.mark.parametrize(
    ("remote", "host"),
    [
        ("192.168.1.8", "127.0.0.1:8545"),
        ("192.168.1.8", "192.168.1.7:8545"),
        ("::ffff:192.168.1.8", "localhost"),
        ("fe80::1%eth0", "localhost"),
        (None, "localhost"),
        ("", "localhost"),
        ("127.0.0.1", "192.168.1.7:8545"),  # this computer, by the name it has on the network
        ("127.0.0.1", "pi.example"),
        ("127.0.0.1", "localhost.example"),
        ("127.0.0.1", "127.0.0.1.example:8545"),
        ("127.0.0.1", "0.0.0.0:8545"),
        ("127.0.0.1", ""),
        ("127.0.0.1", "[::1]x"),
    ],
)
def test_all_others_are_anybody(remote: str | None, host: str) -> None:
    assert caller(remote, host) is Caller.ANYBODY


@pytest.mark.parametrize(
    "header", ["Origin", "Forwarded", "Via", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto", "X-Real-IP"]
)
@pytest.mark.parametrize("value", ["", "null", "127.0.0.1", "http://localhost:8545"])
def test_what_a_proxy_or_a_web_page_passes_on_is_anybodys(header: str, value: str) -> None:
    assert caller("127.0.0.1", "localhost", {header: value}) is Caller.ANYBODY


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def ask(session: aiohttp.ClientSession, gateway: Gateway, headers: Mapping[str, str] | None = None) -> object:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "admin_addPeer", "params": [ANNA_URL]})
    headers = {"Content-Type": "application/json"} | dict(headers or {})
    async with session.post(gateway.url, data=body, headers=headers) as response:
        answer = await response.json()
        return answer.get("result", answer.get("error", {}).get("code"))


async def test_the_gateway_tells_them_apart(
    gateway: Gateway, session: aiohttp.ClientSession, ledger: MemoryLedger
) -> None:
    assert await ask(session, gateway, {"Host": "10.0.0.1"}) == -32601
    assert await ask(session, gateway, {"X-Forwarded-For": "10.0.0.1"}) == -32601
    assert ledger.named == []
    assert await ask(session, gateway) is True
    assert ledger.named == [ANNA_URL]


async def test_a_page_that_may_call_the_gateway_is_not_the_operator(
    ledger: MemoryLedger, session: aiohttp.ClientSession
) -> None:
    async with Gateway(ledger, GatewaySettings(port=0, cors_origins=("*",))) as gateway:
        assert await ask(session, gateway, {"Origin": "https://evil.example"}) == -32601
    assert ledger.named == []


async def test_an_owner_may_switch_it_off(ledger: MemoryLedger, session: aiohttp.ClientSession) -> None:
    async with Gateway(ledger, GatewaySettings(port=0, answers_operator=False)) as gateway:
        assert await ask(session, gateway) == -32601


async def test_web3_asks_as_an_operator(
    gateway: Gateway, w3: AsyncWeb3[AsyncHTTPProvider], ledger: MemoryLedger
) -> None:
    ledger.connected = [PEER]
    (peer,) = await w3.geth.admin.peers()
    assert peer["id"].lower() == "0x" + ANNA.hex()
    info = await w3.geth.admin.node_info()
    assert info["ports"]["listener"] == 30_403
    assert await w3.geth.admin.add_peer(ANNA_URL) is True
    assert await w3.net.peer_count == 1


async def test_modules_name_them(rpc: Rpc) -> None:
    modules = await rpc("rpc_modules")
    assert {"admin", "net", "wattchain"} <= set(modules)
    assert {method.name.partition("_")[0] for method in METHODS} == set(modules)
