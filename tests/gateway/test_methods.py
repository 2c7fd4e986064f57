"""Single methods where web3.py's tests do not look: block names, overrides, limits, refusals."""

from pathlib import Path
from typing import Any

import pytest

from chain.config import ZERO, ChainConfig
from gateway import logs as logs_module
from gateway.context import Context, WorkLimits
from gateway.dispatcher import Dispatcher
from gateway.methods.all import METHODS
from primitives.abi import decode, encode_call
from primitives.hexadecimal import to_data
from tests.gateway.conftest import ALICE, BOB, ETHER, SAMPLE, Rpc, address_of, signed
from tests.gateway.memory_ledger import (
    BLOCK_TIME_S,
    CHAIN_ID,
    GENESIS_TIME_S,
    KEPT_STATES,
    REORGANISATION_CAP,
    MemoryLedger,
)

LOOP = "0x5b600056"  # JUMPDEST PUSH1 0 JUMP
CONTRACT = "0x" + "c0de" * 10


def call_data(signature: str, *values: object) -> str:
    return to_data(encode_call(signature, list(values)))


async def deploy(ledger: MemoryLedger, rpc: Rpc) -> str:
    sent = await rpc("eth_sendRawTransaction", signed(ALICE, gas=1_000_000, data=SAMPLE["bytecode"] + "00" * 32))
    ledger.mine()
    return str((await rpc("eth_getTransactionReceipt", sent))["contractAddress"])


async def test_blocks_by_every_name(ledger: MemoryLedger, rpc: Rpc) -> None:
    head = ledger.mine(8)
    numbers = {
        "latest": 8, "pending": 8, "earliest": 0, "safe": 8 - REORGANISATION_CAP, "finalized": 8 - REORGANISATION_CAP,
        "0x3": 3,
    }  # fmt: skip
    for name, number in numbers.items():
        assert int((await rpc("eth_getBlockByNumber", name, False))["number"], 16) == number
    assert await rpc("eth_getBlockByNumber", "0x9", False) is None
    block = await rpc("eth_getBlockByHash", to_data(head.hash))
    assert block["hash"] == to_data(head.hash)
    assert block["totalDifficulty"] == "0x9"
    assert block["size"] == hex(len(head.encode()))
    assert (await rpc("eth_getUncleCountByBlockNumber", "latest")) == "0x0"
    assert (await rpc("eth_getUncleCountByBlockHash", "0x" + "00" * 32)) is None
    assert (await rpc("eth_getUncleByBlockNumberAndIndex", "latest", "0x0")) is None
    assert (await rpc("eth_getUncleByBlockHashAndIndex", to_data(head.hash), "0x0")) is None
    assert (await rpc("eth_getUncleCountByBlockHash", to_data(head.hash))) == "0x0"


async def test_states_by_every_name(ledger: MemoryLedger, rpc: Rpc) -> None:
    await rpc("eth_sendRawTransaction", signed(ALICE, to=BOB.address, value=ETHER))
    one, two = hex(ETHER), hex(2 * ETHER)
    block = ledger.mine()
    genesis = await rpc("eth_getBlockByNumber", "0x0", False)
    for name, balance in {"earliest": one, "0x0": one, "latest": two, "0x1": two, genesis["hash"]: one}.items():
        assert await rpc("eth_getBalance", BOB.address, name) == balance
    assert await rpc("eth_getBalance", BOB.address) == two
    assert await rpc("eth_getBalance", BOB.address, {"blockNumber": "0x0"}) == one
    assert await rpc("eth_getBalance", BOB.address, {"blockHash": to_data(block.hash)}) == two
    assert "header not found" in (await rpc.error("eth_getBalance", BOB.address, "0x2"))["message"]
    for wrong in ({}, {"blockNumber": "0x0", "blockHash": genesis["hash"]}, "newest", "0x00", 1, {"blockHash": "0x"}):
        assert (await rpc.error("eth_getBalance", BOB.address, wrong))["code"] == -32602
    ledger.take_off(1)
    ledger.mine(with_pool=False, coinbase=bytes(20))
    for extra in ({}, {"requireCanonical": True}):
        error = await rpc.error("eth_getBalance", BOB.address, {"blockHash": to_data(block.hash)} | extra)
        assert "not currently canonical" in error["message"]
    assert "not found" in (await rpc.error("eth_getBalance", BOB.address, "0x" + "12" * 32))["message"]


async def test_history_that_is_no_longer_kept_is_said_to_be(ledger: MemoryLedger, rpc: Rpc) -> None:
    ledger.mine(KEPT_STATES + 1)
    error = await rpc.error("eth_getBalance", BOB.address, "0x0")
    assert error == {"code": -32000, "message": "the state after block 0 is no longer kept"}


async def test_addresses_must_check_out(rpc: Rpc) -> None:
    assert await rpc("eth_getBalance", BOB.address.lower()) == hex(ETHER)
    mistyped = BOB.address.replace("a", "A").replace("b", "B")
    assert (await rpc.error("eth_getBalance", mistyped))["code"] == -32602


async def test_a_call_sees_its_own_block_and_an_estimate_the_next(ledger: MemoryLedger, rpc: Rpc) -> None:
    contract = await deploy(ledger, rpc)
    request = {"to": contract, "data": call_data("blockFacts()")}

    async def facts(*block: object) -> tuple[object, ...]:
        return decode(["uint256"] * 3, bytes.fromhex((await rpc("eth_call", request, *block))[2:]))

    assert (await facts())[:2] == (1, GENESIS_TIME_S + BLOCK_TIME_S)
    ledger.clock.advance_s(1_000)
    assert await facts("latest") == (1, GENESIS_TIME_S + BLOCK_TIME_S, 0)
    assert await facts("pending") == (2, GENESIS_TIME_S + BLOCK_TIME_S + 1_000, 0)
    # A price brings the base fee back.
    priced = request | {"from": ALICE.address, "gasPrice": hex(10**10), "gas": hex(100_000)}
    answer = await rpc("eth_call", priced, "pending")
    next_fee = (await rpc("eth_feeHistory", "0x1", "latest"))["baseFeePerGas"][1]
    assert decode(["uint256"] * 3, bytes.fromhex(answer[2:]))[2] == int(next_fee, 16)


async def test_overrides_hold_for_one_call(ledger: MemoryLedger, rpc: Rpc) -> None:
    contract = await deploy(ledger, rpc)
    value = {"to": contract, "data": call_data("value()")}
    slot = "0x" + "00" * 32
    override = {contract: {"stateDiff": {slot: "0x" + f"{77:064x}"}}}
    assert int(await rpc("eth_call", value, "latest", override), 16) == 77
    assert int(await rpc("eth_call", value, "latest", {contract: {"state": {}}}), 16) == 0
    assert int(await rpc("eth_call", value), 16) == 0
    # PUSH1 42 PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    code = {CONTRACT: {"code": "0x602a5f5260205ff3"}}
    assert int(await rpc("eth_call", {"to": CONTRACT}, "latest", code), 16) == 42
    assert await rpc("eth_call", {"to": CONTRACT}) == "0x"
    rich = {"from": CONTRACT, "to": BOB.address, "value": hex(500 * ETHER)}
    assert "insufficient funds" in (await rpc.error("eth_call", rich))["message"]
    assert await rpc("eth_call", rich, "latest", {CONTRACT: {"balance": hex(500 * ETHER)}}) == "0x"
    both = {CONTRACT: {"state": {}, "stateDiff": {}}}
    assert (await rpc.error("eth_call", value, "latest", both))["code"] == -32602


async def test_an_access_list_is_made_and_saves_gas(ledger: MemoryLedger, rpc: Rpc) -> None:
    contract = await deploy(ledger, rpc)
    request = {"from": ALICE.address, "to": contract, "data": call_data("store(uint256,string)", 9, "")}
    found = await rpc("eth_createAccessList", request)
    (entry,) = found["accessList"]
    assert entry["address"] == contract
    assert len(entry["storageKeys"]) == 2
    assert "error" not in found
    failing = request | {"data": call_data("store(uint256,string)", 13, "")}
    assert (await rpc("eth_createAccessList", failing))["error"] == "execution reverted: unlucky"


@pytest.mark.parametrize(
    ("data", "code", "message", "revert_data"),
    [
        (call_data("store(uint256,string)", 13, ""), 3, "execution reverted: unlucky", "0x08c379a0"),
        (
            call_data("store(uint256,string)", 17, ""),
            3,
            "execution reverted: panic: assertion failed (0x1)",
            "0x4e487b",
        ),
        (call_data("store(uint256,string)", 2000, ""), 3, "execution reverted", "0x"),
        ("0x", 3, "execution reverted", "0x"),
    ],
)
async def test_reverts(ledger: MemoryLedger, rpc: Rpc, data: str, code: int, message: str, revert_data: str) -> None:
    contract = await deploy(ledger, rpc)
    for method in ("eth_call", "eth_estimateGas"):
        error = await rpc.error(method, {"to": contract, "data": data})
        assert (error["code"], error["message"]) == (code, message)
        assert error["data"].startswith(revert_data)


async def test_halts_have_geths_words(ledger: MemoryLedger, rpc: Rpc) -> None:
    codes = {
        "0xfe": "invalid opcode",
        "0x50": "stack underflow",
        "0x600056": "invalid jump destination",
        "0x60006001fd5f": None,
    }
    for code, message in codes.items():
        if message is not None:
            error = await rpc.error("eth_call", {"to": CONTRACT}, "latest", {CONTRACT: {"code": code}})
            assert error == {"code": -32000, "message": message}
    endless = {CONTRACT: {"code": LOOP}}
    error = await rpc.error("eth_call", {"to": CONTRACT, "gas": "0x10000"}, "latest", endless)
    assert error == {"code": -32000, "message": "out of gas"}
    error = await rpc.error("eth_estimateGas", {"to": CONTRACT, "gas": "0x10000"}, "latest", endless)
    assert error == {"code": -32000, "message": "gas required exceeds allowance (65536)"}


async def test_a_call_that_takes_too_long_is_stopped(ledger: MemoryLedger) -> None:
    rpc = Rpc(Dispatcher(Context(ledger, WorkLimits(call_gas_cap=10**15, call_time_limit_s=0.1))))
    error = await rpc.error("eth_call", {"to": CONTRACT}, "latest", {CONTRACT: {"code": LOOP}})
    assert error["code"] == -32002
    assert error["message"].startswith("request timed out")
    # And the node goes on.
    assert await rpc("eth_call", {"to": CONTRACT}) == "0x"


async def test_calls_wait_for_their_turn_and_not_for_ever(ledger: MemoryLedger) -> None:
    limits = WorkLimits(max_simulations=0, simulation_wait_limit_s=0.01)
    rpc = Rpc(Dispatcher(Context(ledger, limits)))
    assert (await rpc.error("eth_call", {"to": CONTRACT}))["code"] == -32005
    assert await rpc("eth_blockNumber") == "0x0"


@pytest.mark.parametrize(
    "request_object",
    [
        "call me",
        {"to": "0x12"},
        {"data": "0x1"},
        {"data": "0x12", "input": "0x34"},
        {"gasPrice": "0x1", "maxFeePerGas": "0x1"},
        {"gas": "0x10000000000000000"},
        {"value": "-0x1"},
        {"blobVersionedHashes": ["0x01"]},
        {"accessList": {}},
        {"accessList": [{"address": "0x"}]},
        {"accessList": [{"address": CONTRACT, "storageKeys": ["0x1"]}]},
        {"accessList": [{"address": CONTRACT, "storageKeys": ["0x" + "00" * 32] * 10_000}]},
    ],
)
async def test_malformed_calls_are_refused(rpc: Rpc, request_object: Any) -> None:
    assert (await rpc.error("eth_call", request_object))["code"] == -32602


async def test_prices_of_calls_are_checked(ledger: MemoryLedger, rpc: Rpc) -> None:
    call = {"from": BOB.address, "to": CONTRACT}
    low = await rpc.error("eth_call", call | {"maxFeePerGas": "0x1"})
    assert low["message"].startswith("max fee per gas less than block base fee")
    tip = await rpc.error("eth_call", call | {"maxFeePerGas": hex(10**10), "maxPriorityFeePerGas": hex(10**11)})
    assert tip["message"].startswith("max priority fee per gas higher than max fee per gas")
    dear = await rpc.error("eth_call", call | {"gasPrice": hex(ETHER), "gas": hex(50_000)})
    assert dear["message"].startswith("insufficient funds for gas * price + value")
    # Where no gas is named, it gets what the sender can pay.
    assert await rpc("eth_call", call | {"gasPrice": hex(10**10)}) == "0x"
    other_chain = await rpc.error("eth_call", call | {"chainId": hex(CHAIN_ID + 1)})
    assert other_chain["code"] == -32000


async def test_ranges_and_amounts_of_logs_are_bounded(
    ledger: MemoryLedger, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = await deploy(ledger, rpc)
    for nonce in (1, 2, 3):
        data = call_data("store(uint256,string)", nonce, "")
        await rpc("eth_sendRawTransaction", signed(ALICE, nonce=nonce, to=contract, gas=200_000, data=data))
    block = ledger.mine()
    everything = {"fromBlock": "0x0", "toBlock": "0x2"}
    logs = await rpc("eth_getLogs", everything)
    assert [log["logIndex"] for log in logs] == ["0x0", "0x1", "0x2"]
    assert await rpc("eth_getLogs", {"blockHash": to_data(block.hash)}) == logs
    assert [log for receipt in await rpc("eth_getBlockReceipts", "0x2") for log in receipt["logs"]] == logs
    assert await rpc("eth_getLogs", {"fromBlock": "0x10", "toBlock": "0x20"}) == []
    topic = "0x" + f"{2:064x}"
    assert await rpc("eth_getLogs", everything | {"topics": [None, None, topic]}) == [logs[1]]
    assert await rpc("eth_getLogs", everything | {"topics": [[], None, [topic, "0x" + "ff" * 32]]}) == [logs[1]]
    assert await rpc("eth_getLogs", everything | {"topics": [None] * 4}) == []
    assert await rpc("eth_getLogs", everything | {"address": [contract, CONTRACT]}) == logs
    assert "unknown block" in (await rpc.error("eth_getLogs", {"blockHash": "0x" + "01" * 32}))["message"]
    for wrong in (
        {"fromBlock": "0x2", "toBlock": "0x1"},
        {"fromBlock": "0x0", "blockHash": to_data(block.hash)},
        {"topics": [None] * 5},
        {"topics": ["0x1"]},
        {"address": [contract] * 1_001},
    ):
        assert (await rpc.error("eth_getLogs", wrong))["code"] == -32602
    monkeypatch.setattr(logs_module, "MAX_LOGS", 2)
    assert (await rpc.error("eth_getLogs", everything))["code"] == -32005
    monkeypatch.setattr(logs_module, "MAX_LOG_BLOCKS", 2)
    assert "block range too large" in (await rpc.error("eth_getLogs", everything))["message"]


async def test_storage_slots_in_every_form(ledger: MemoryLedger, rpc: Rpc) -> None:
    contract = await deploy(ledger, rpc)
    for slot in ("0x0", "0x", "0x00", "0x" + "00" * 32):
        expected = -32602 if slot == "0x" else None
        answer = await rpc.ask("eth_getStorageAt", contract, slot, "latest")
        assert answer.get("error", {}).get("code") == expected
    for wrong in ("0x" + "00" * 33, "0xzz", "0", 0):
        assert (await rpc.error("eth_getStorageAt", contract, wrong))["code"] == -32602


async def test_a_network_without_fees_suggests_none(rpc: Rpc) -> None:
    ledger = MemoryLedger({address_of(ALICE): ETHER}, ChainConfig(CHAIN_ID, fee_rule=ZERO))
    ledger.mine()
    free = Rpc(Dispatcher(Context(ledger)))
    assert await free("eth_gasPrice") == "0x0"
    assert await free("eth_maxPriorityFeePerGas") == "0x0"
    assert (await free("eth_feeHistory", 1, "latest", [50]))["baseFeePerGas"] == ["0x0", "0x0"]


async def test_fee_history_is_bounded(ledger: MemoryLedger, rpc: Rpc) -> None:
    ledger.mine(2)
    assert (await rpc("eth_feeHistory", "0xffff", "0x1", []))["oldestBlock"] == "0x0"
    assert len((await rpc("eth_feeHistory", "0x2", "latest", []))["gasUsedRatio"]) == 2
    for wrong in ([50, 10], [101], [-1], ["1"], [True], [1] * 101, {}):
        assert (await rpc.error("eth_feeHistory", "0x1", "latest", wrong))["code"] == -32602


async def test_a_trace_is_bounded(ledger: MemoryLedger, rpc: Rpc) -> None:
    assert await rpc("debug_traceCall", {"to": BOB.address}) == {
        "gas": 21_000, "failed": False, "returnValue": "0x", "structLogs": []
    }  # fmt: skip
    creation = {"data": LOOP, "gas": hex(5_000_000)}
    assert (await rpc.error("debug_traceCall", creation))["code"] == -32005
    # PUSH2 0xffff MLOAD, then the loop: 65 KB of memory in every step.
    large = creation | {"data": "0x61ffff5150" + "5b600556"}
    assert (await rpc.error("debug_traceCall", large, "latest", {"enableMemory": True}))["code"] == -32005
    assert (await rpc.error("debug_traceCall", creation, "latest", {"tracer": "callTracer"}))["code"] == -32602
    short = await rpc("debug_traceCall", {"data": "0x6001fe", "gas": hex(100_000)}, "pending", {"disableStack": True})
    assert short["failed"]
    assert short["structLogs"][0]["op"] == "PUSH1"
    assert "error" in short["structLogs"][-1]


async def test_keys_are_not_here(rpc: Rpc) -> None:
    for method in ("eth_sendTransaction", "eth_sign", "personal_unlockAccount", "eth_signTransaction"):
        assert (await rpc.error(method, {}))["code"] == -32601


async def test_a_transaction_must_decode(rpc: Rpc) -> None:
    for encoded in ("0x", "0x03c0", "0xc0", "0x02" + "ff" * 20, "0xf8"):
        assert (await rpc.error("eth_sendRawTransaction", encoded))["code"] == -32000
    assert (await rpc.error("eth_sendRawTransaction", "f8"))["code"] == -32602


def test_every_method_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "json-rpc.md").read_text()
    assert [method.name for method in METHODS if f"`{method.name}`" not in page] == []
