"""A gateway over a ledger in memory, and ways to talk to it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils import to_checksum_address
from web3 import AsyncHTTPProvider, AsyncWeb3

from gateway.context import Context
from gateway.dispatcher import Dispatcher
from gateway.server import Gateway, GatewaySettings
from tests.gateway.memory_ledger import CHAIN_ID, MemoryLedger

ALICE = Account.from_key("0x" + "a1" * 32)
BOB = Account.from_key("0x" + "b0" * 32)
ETHER = 10**18
SAMPLE = json.loads((Path(__file__).parent / "sample" / "Sample.json").read_text())


def address_of(account: Any) -> bytes:
    return bytes.fromhex(account.address[2:])


@dataclass
class Rpc:
    """Asks a dispatcher as a transport would."""

    dispatcher: Dispatcher

    async def raw(self, body: bytes) -> Any:
        answer = await self.dispatcher.answer(body)
        return None if answer is None else json.loads(answer)

    async def ask(self, method: str, *parameters: object) -> dict[str, Any]:
        """The whole answer."""
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}
        answer = await self.raw(json.dumps(request).encode())
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 7
        return dict(answer)

    async def __call__(self, method: str, *parameters: object) -> Any:
        """The result; an error fails the test."""
        answer = await self.ask(method, *parameters)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, *parameters: object) -> dict[str, Any]:
        answer = await self.ask(method, *parameters)
        assert "result" not in answer, answer
        return dict(answer["error"])


def signed(account: Any, **fields: Any) -> str:
    """A signed transaction as 0x text; type 2 unless the fields say otherwise."""
    transaction = {"chainId": CHAIN_ID, "gas": 21_000, "value": 0, "nonce": 0} | fields
    if "to" in transaction:
        transaction["to"] = to_checksum_address(transaction["to"])
    if "gasPrice" not in transaction:
        transaction = {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9} | transaction
    return "0x" + bytes(account.sign_transaction(transaction).raw_transaction).hex()


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger({address_of(ALICE): 100 * ETHER, address_of(BOB): ETHER})


@pytest.fixture
async def rpc(ledger: MemoryLedger) -> Rpc:
    return Rpc(Dispatcher(Context(ledger)))


@pytest.fixture
async def gateway(ledger: MemoryLedger) -> AsyncIterator[Gateway]:
    async with Gateway(ledger, GatewaySettings(port=0)) as running:
        yield running


@pytest.fixture
async def w3(gateway: Gateway) -> AsyncIterator[AsyncWeb3]:
    provider = AsyncHTTPProvider(gateway.url)
    yield AsyncWeb3(provider)
    await provider.disconnect()
