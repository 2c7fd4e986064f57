"""Every answer that execution-apis describes is held against its JSON Schema."""

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gateway.backend import SyncProgress
from gateway.methods.all import METHODS
from primitives.abi import encode_call
from primitives.hexadecimal import to_data
from tests.gateway.conftest import ALICE, BOB, SAMPLE, Rpc, signed
from tests.gateway.memory_ledger import MemoryLedger

ROOT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("WATTCHAIN_VECTORS", ROOT.parent / "shared" / "conformance"))
SPECIFICATION = VECTORS / "openrpc.json"

pytestmark = pytest.mark.skipif(
    not SPECIFICATION.exists(), reason=f"{SPECIFICATION} is absent: set WATTCHAIN_VECTORS to the folder of vectors"
)

# In the specification, but about blobs' and other forks' data that this ledger does not have, or about keys.
LEFT_OUT = {
    "debug_getBadBlocks", "debug_getRawBlockAccessList", "debug_traceBlockByHash", "debug_traceBlockByNumber",
    "eth_baseFee", "eth_capabilities", "eth_config", "eth_fillTransaction", "eth_getBlockAccessList",
    "eth_getStorageValues", "eth_sendTransaction", "eth_sign", "eth_signTransaction", "eth_simulateV1",
}  # fmt: skip


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    document = json.loads(SPECIFICATION.read_text())
    return {method["name"]: method["result"]["schema"] for method in document["methods"]}


async def fill(ledger: MemoryLedger, rpc: Rpc) -> dict[str, str]:
    """Blocks and a pool with something of everything; names of what can be asked for."""
    deployed = await rpc(
        "eth_sendRawTransaction", signed(ALICE, gas=1_000_000, data=SAMPLE["bytecode"] + "00" * 31 + "05")
    )
    ledger.mine()
    contract = (await rpc("eth_getTransactionReceipt", deployed))["contractAddress"]
    transactions = [
        signed(ALICE, nonce=1, to=contract, gas=200_000, data=STORE, value=5),
        signed(ALICE, nonce=2, to=BOB.address, gasPrice=2 * 10**9, value=1),
        signed(ALICE, nonce=3, to=BOB.address, gas=30_000, gasPrice=2 * 10**9, accessList=ACCESS_LIST),
    ]
    hashes = [await rpc("eth_sendRawTransaction", transaction) for transaction in transactions]
    block = ledger.mine()
    await rpc("eth_sendRawTransaction", signed(ALICE, nonce=4, to=BOB.address))
    await rpc("eth_sendRawTransaction", signed(ALICE, nonce=6, to=BOB.address))
    return {"contract": contract, "stored": hashes[0], "hash": "0x" + block.hash.hex()}


STORE = to_data(encode_call("store(uint256,string)", [9, "x"]))
ACCESS_LIST = [{"address": BOB.address, "storageKeys": ["0x" + "01" * 32]}]
NOBODY = "0x" + "77" * 32


async def test_every_answer_has_the_specified_shape(ledger: MemoryLedger, rpc: Rpc, schemas: dict[str, Any]) -> None:
    known = await fill(ledger, rpc)
    contract, stored, block_hash = known["contract"], known["stored"], known["hash"]
    call = {"from": ALICE.address, "to": contract, "data": STORE}
    logs = {"fromBlock": "earliest", "address": contract}
    filters = {"logs": await rpc("eth_newFilter", logs), "blocks": await rpc("eth_newBlockFilter")}
    ledger.mine(with_pool=False)
    questions: list[tuple[Any, ...]] = [
        ("debug_getRawBlock", "0x2"), ("debug_getRawHeader", "0x2"), ("debug_getRawReceipts", "0x2"),
        ("debug_getRawTransaction", stored), ("debug_traceTransaction", stored), ("eth_accounts",),
        ("debug_traceTransaction", stored, {"enableMemory": True, "disableStack": True}), ("eth_blobBaseFee",),
        ("eth_blockNumber",), ("eth_call", call), ("eth_call", call, {"blockHash": block_hash}), ("eth_chainId",),
        ("eth_coinbase",), ("eth_createAccessList", call), ("eth_estimateGas", call), ("eth_gasPrice",),
        ("eth_feeHistory", "0x3", "latest", [10, 50.5]), ("eth_feeHistory", "0x0", "latest", []),
        ("eth_getBalance", ALICE.address, "latest"), ("eth_getBalance", ALICE.address, "safe"),
        ("eth_getBlockByHash", block_hash, True), ("eth_getBlockByHash", NOBODY, True),
        ("eth_getBlockByNumber", "0x2", False), ("eth_getBlockByNumber", "0x1", True),
        ("eth_getBlockByNumber", "earliest", True), ("eth_getBlockReceipts", "0x2"), ("eth_getBlockReceipts", "0x99"),
        ("eth_getBlockTransactionCountByHash", block_hash), ("eth_getBlockTransactionCountByNumber", "0x2"),
        ("eth_getBlockTransactionCountByHash", NOBODY), ("eth_getCode", contract, "latest"),
        ("eth_getCode", BOB.address, "latest"), ("eth_getLogs", logs), ("eth_getFilterLogs", filters["logs"]),
        ("eth_getFilterChanges", filters["blocks"]), ("eth_getStorageAt", contract, "0x0", "latest"),
        ("eth_getTransactionByBlockHashAndIndex", block_hash, "0x0"),
        ("eth_getTransactionByBlockNumberAndIndex", "0x2", "0x1"),
        ("eth_getTransactionByBlockNumberAndIndex", "0x2", "0x9"), ("eth_getTransactionByHash", stored),
        ("eth_getTransactionByHash", NOBODY), ("eth_getTransactionCount", ALICE.address, "pending"),
        ("eth_getTransactionReceipt", stored), ("eth_getTransactionReceipt", NOBODY),
        ("eth_maxPriorityFeePerGas",), ("eth_newBlockFilter",), ("eth_newFilter", logs),
        ("eth_newPendingTransactionFilter",), ("eth_syncing",), ("eth_uninstallFilter", filters["blocks"]),
        ("eth_getProof", contract, ["0x0", "0x" + "00" * 32], "latest"), ("net_version",), ("txpool_content",),
        ("txpool_contentFrom", ALICE.address), ("txpool_status",),
        ("eth_sendRawTransaction", signed(ALICE, nonce=5, to=BOB.address)),
    ]  # fmt: skip
    for method, *parameters in questions:
        jsonschema.validate(await rpc(method, *parameters), schemas[method])
    ledger.sync = SyncProgress(0, 5, 10)
    jsonschema.validate(await rpc("eth_syncing"), schemas["eth_syncing"])
    asked = {question[0] for question in questions}
    assert asked | LEFT_OUT == set(schemas)
    assert asked <= {method.name for method in METHODS}


async def test_a_log_that_was_stored_is_in_every_answer_about_it(ledger: MemoryLedger, rpc: Rpc) -> None:
    known = await fill(ledger, rpc)
    receipt = await rpc("eth_getTransactionReceipt", known["stored"])
    assert receipt["status"] == "0x1"
    (log,) = receipt["logs"]
    assert log["topics"][2] == "0x" + f"{9:064x}"
    assert await rpc("eth_getLogs", {"fromBlock": "0x0"}) == [log]
    assert (await rpc("eth_getBlockReceipts", known["hash"]))[0] == receipt
    trace = await rpc("debug_traceTransaction", known["stored"])
    assert trace["gas"] == int(receipt["gasUsed"], 16)
    assert any(step["op"] == "SSTORE" and step["stack"][-2:] == ["0x9", "0x0"] for step in trace["structLogs"])
