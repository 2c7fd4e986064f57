"""Filters over reorganisations, and their bounds."""

from typing import Any

import pytest

from chain.header import Header
from gateway import filters as filters_module
from gateway.errors import RpcError
from gateway.filters import FILTER_LIFETIME_S, MAX_FILTERS, Filter, FilterRegistry, block_changes, position_of_head
from primitives.abi import encode_call
from primitives.hexadecimal import to_data
from tests.gateway.conftest import ALICE, SAMPLE, Rpc, signed
from tests.gateway.memory_ledger import MemoryLedger


async def store(rpc: Rpc, contract: str, nonce: int, value: int) -> str:
    data = to_data(encode_call("store(uint256,string)", [value, ""]))
    return str(await rpc("eth_sendRawTransaction", signed(ALICE, nonce=nonce, to=contract, gas=200_000, data=data)))


async def deploy(ledger: MemoryLedger, rpc: Rpc) -> str:
    sent = await rpc("eth_sendRawTransaction", signed(ALICE, gas=1_000_000, data=SAMPLE["bytecode"] + "00" * 32))
    ledger.mine()
    return str((await rpc("eth_getTransactionReceipt", sent))["contractAddress"])


def told(logs: list[dict[str, Any]]) -> list[tuple[int, bool]]:
    """(value, removed) of Stored events."""
    return [(int(log["topics"][2], 16), log["removed"]) for log in logs]


async def test_a_reorganisation_takes_logs_back_and_brings_others(ledger: MemoryLedger, rpc: Rpc) -> None:
    contract = await deploy(ledger, rpc)
    logs = await rpc("eth_newFilter", {"address": contract})
    blocks = await rpc("eth_newBlockFilter")
    for nonce, value in ((1, 101), (2, 102)):
        await store(rpc, contract, nonce, value)
        ledger.mine()
    assert told(await rpc("eth_getFilterChanges", logs)) == [(101, False), (102, False)]
    assert len(await rpc("eth_getFilterChanges", blocks)) == 2

    ledger.take_off(1)
    await store(rpc, contract, 2, 103)
    first = ledger.mine()
    second = ledger.mine()
    assert told(await rpc("eth_getFilterChanges", logs)) == [(102, True), (103, False)]
    assert await rpc("eth_getFilterChanges", blocks) == [to_data(first.hash), to_data(second.hash)]
    assert await rpc("eth_getFilterChanges", logs) == []
    assert told(await rpc("eth_getFilterLogs", logs)) == []
    everything = {"address": contract, "fromBlock": "0x0"}
    assert told(await rpc("eth_getLogs", everything)) == [(101, False), (103, False)]


async def test_what_nobody_remembers_any_more_does_not_stop_a_filter(ledger: MemoryLedger) -> None:
    ledger.mine(5)
    position = position_of_head(ledger.view)
    ledger.take_off(3)
    ledger.mine(6, coinbase=bytes(20))

    class Forgetful(type(ledger.view)):  # type: ignore[misc]
        def header_by_hash(self, block_hash: bytes) -> Header | None:
            return super().header_by_hash(block_hash) if self.is_canonical(block_hash) else None

    view = Forgetful(ledger.config, ledger._canonical, ledger._known)
    position, hashes = block_changes(view, position)
    assert position == position_of_head(view)
    assert hashes == [to_data(ledger.view.header_by_number(number).hash) for number in range(5, 9)]


async def test_a_filter_of_a_range_tells_of_that_range_alone(ledger: MemoryLedger, rpc: Rpc) -> None:
    contract = await deploy(ledger, rpc)
    narrow = await rpc("eth_newFilter", {"address": contract, "fromBlock": "0x3", "toBlock": "0x3"})
    for nonce, value in ((1, 101), (2, 102), (3, 103)):
        await store(rpc, contract, nonce, value)
        ledger.mine()
    assert told(await rpc("eth_getFilterChanges", narrow)) == [(102, False)]


async def test_a_long_answer_comes_in_parts(ledger: MemoryLedger, rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = await deploy(ledger, rpc)
    logs, blocks = await rpc("eth_newFilter", {}), await rpc("eth_newBlockFilter")
    for nonce, value in ((1, 101), (2, 102), (3, 103)):
        await store(rpc, contract, nonce, value)
        ledger.mine()
    monkeypatch.setattr(filters_module, "MAX_LOGS", 2)
    monkeypatch.setattr(filters_module, "MAX_LOG_BLOCKS", 2)
    assert told(await rpc("eth_getFilterChanges", logs)) == [(101, False), (102, False)]
    assert told(await rpc("eth_getFilterChanges", logs)) == [(103, False)]
    assert [len(await rpc("eth_getFilterChanges", blocks)) for _ in range(3)] == [2, 1, 0]


def test_filters_are_bounded_and_forgotten() -> None:
    now_s = 0.0
    registry = FilterRegistry(lambda: now_s)
    ids = [registry.install(Filter()) for _ in range(MAX_FILTERS)]
    assert len(set(ids)) == MAX_FILTERS
    with pytest.raises(RpcError, match="too many filters"):
        registry.install(Filter())
    now_s = FILTER_LIFETIME_S - 1
    registry.find(ids[0])
    now_s = FILTER_LIFETIME_S + 1
    assert registry.find(ids[0])
    with pytest.raises(RpcError, match="filter not found"):
        registry.find(ids[1])
    assert len(registry) == 1
    assert registry.uninstall(ids[0])
    assert not registry.uninstall(ids[0])


async def test_filters_of_blocks_and_logs_are_not_mixed_up(ledger: MemoryLedger, rpc: Rpc) -> None:
    blocks = await rpc("eth_newBlockFilter")
    assert "filter not found" in (await rpc.error("eth_getFilterLogs", blocks))["message"]
    assert "filter not found" in (await rpc.error("eth_getFilterChanges", "0x1"))["message"]
    assert (await rpc.error("eth_getFilterChanges", "latest"))["code"] == -32602
    assert (await rpc.error("eth_newFilter", {"blockHash": "0x" + "00" * 32}))["code"] == -32000
    assert await rpc("eth_uninstallFilter", blocks) is True
    assert await rpc("eth_uninstallFilter", blocks) is False
