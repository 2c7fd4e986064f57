"""The HTTP side: who is let in, what is too large, and how it closes."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest

from gateway import server as server_module
from gateway.server import MAX_BODY_BYTES, Gateway, GatewaySettings
from primitives.errors import UserError
from tests.gateway.memory_ledger import CHAIN_ID, MemoryLedger

BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_a_post_is_answered(gateway: Gateway, session: aiohttp.ClientSession) -> None:
    async with session.post(gateway.url, data=BODY, headers=JSON) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert (await response.json())["result"] == hex(CHAIN_ID)
        assert "Access-Control-Allow-Origin" not in response.headers
    notification = b'{"jsonrpc":"2.0","method":"eth_chainId"}'
    async with session.post(gateway.url, data=notification, headers=JSON) as response:
        assert response.status == 204
        assert await response.read() == b""


async def test_other_verbs_paths_and_types_are_refused(gateway: Gateway, session: aiohttp.ClientSession) -> None:
    async with session.get(gateway.url) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST, OPTIONS"
    async with session.post(gateway.url + "/other", data=BODY, headers=JSON) as response:
        assert response.status == 404
    # What a page may send anywhere without asking first.
    async with session.post(gateway.url, data=BODY, headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 415
    async with session.post(gateway.url, data=BODY, headers=JSON | {"Content-Encoding": "gzip"}) as response:
        assert response.status == 415


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8545", 200),
        ("127.0.0.1:1", 200),
        ("192.168.7.7", 200),
        ("[::1]:8545", 200),
        ("[::1]", 200),
        ("pi.example", 200),
        ("pi.example:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8545", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
async def test_only_known_host_names(
    ledger: MemoryLedger, session: aiohttp.ClientSession, host: str, status: int
) -> None:
    async with (
        Gateway(ledger, GatewaySettings(port=0, allowed_hosts=("Pi.example",))) as gateway,
        session.post(gateway.url, data=BODY, headers=JSON | {"Host": host}) as response,
    ):
        assert response.status == status


async def test_browsers_are_let_in_from_named_origins_only(
    ledger: MemoryLedger, session: aiohttp.ClientSession
) -> None:
    async with Gateway(ledger, GatewaySettings(port=0, cors_origins=("https://app.example",))) as gateway:
        for origin, allowed in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
            async with session.options(gateway.url, headers={"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == allowed
            async with session.post(gateway.url, data=BODY, headers=JSON | {"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == allowed
                assert response.status == 200
    async with (
        Gateway(ledger, GatewaySettings(port=0, cors_origins=("*",))) as gateway,
        session.post(gateway.url, data=BODY, headers=JSON | {"Origin": "https://any.example"}) as response,
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_body_is_bounded(gateway: Gateway, session: aiohttp.ClientSession) -> None:
    async with session.post(gateway.url, data=BytesIO(b" " * (MAX_BODY_BYTES + 1)), headers=JSON) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == -32600
    async with session.post(
        gateway.url, data=BytesIO(BODY + b" " * (MAX_BODY_BYTES - 1_000)), headers=JSON
    ) as response:
        assert response.status == 200


async def test_a_body_that_does_not_come_gives_its_place_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "BODY_TIME_LIMIT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    assert b"408" in await reader.readline()
    writer.close()


async def test_requests_at_a_time_are_bounded(
    ledger: MemoryLedger, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONCURRENT_REQUESTS", 0)
    monkeypatch.setattr(server_module, "TURN_TIME_LIMIT_S", 0.02)
    async with (
        Gateway(ledger, GatewaySettings(port=0)) as gateway,
        session.post(gateway.url, data=BODY, headers=JSON) as response,
    ):
        assert response.status == 429
        assert (await response.json())["error"]["code"] == -32005


async def test_what_comes_at_once_is_answered_in_turn(gateway: Gateway) -> None:
    """200 meters sign with the same minute, each over a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> int:
            async with session.post(gateway.url, data=BODY, headers=JSON) as response:
                await response.read()
                return response.status

        assert set(await asyncio.gather(*[ask() for _ in range(200)])) == {200}


async def test_connections_at_a_time_are_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 1)
    first = await asyncio.open_connection("127.0.0.1", gateway.port)
    first[1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await first[0].readline()
    second = await asyncio.open_connection("127.0.0.1", gateway.port)
    assert await second[0].read() == b""
    for _, writer in (first, second):
        writer.close()


async def test_an_empty_host_does_not_open_the_gateway_to_everybody(ledger: MemoryLedger) -> None:
    with pytest.raises(UserError, match=r"rpc\.host is empty"):
        async with Gateway(ledger, GatewaySettings(host="", port=0)):
            pass


async def test_a_taken_port_is_a_message_for_a_person(gateway: Gateway, ledger: MemoryLedger) -> None:
    with pytest.raises(UserError, match=f"port {gateway.port}: it is taken"):
        async with Gateway(ledger, GatewaySettings(port=gateway.port)):
            pass


async def test_the_port_is_free_after_closing(ledger: MemoryLedger) -> None:
    async with Gateway(ledger, GatewaySettings(port=0)) as gateway:
        port = gateway.port
    async with Gateway(ledger, GatewaySettings(port=port)) as gateway:
        assert gateway.port == port
