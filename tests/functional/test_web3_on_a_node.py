"""web3.py against a whole node: wired as `wattchain node` wires it, mining, with its store on disk, over HTTP.

What single methods answer is tested in tests/gateway; here it is shown that the parts fit: a transaction goes from
web3.py into the pool, a block, the trie and back out as receipt, log, filter and proof.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import ContractCustomError, ContractLogicError

from node.application import NodeFacts, run_node
from node.settings import ClockSettings, MiningSettings, NodeSettings, P2pSettings, RpcSettings
from primitives import rlp
from primitives.clock import SystemClock
from primitives.hexadecimal import parse_address, parse_data, parse_quantity
from primitives.keccak import keccak256

SAMPLE = json.loads((Path(__file__).parents[1] / "gateway" / "sample" / "Sample.json").read_text())
ALICE = Account.from_key("0x" + "a1" * 32)
BOB = Account.from_key("0x" + "b0" * 32)
CHAIN_ID = 1_337
GENESIS_TIME_S = 1_700_000_000
CLOCK_RATE = 100
"""Blocks come once a second of the node's clock."""
GENESIS = {
    "config": {"chainId": CHAIN_ID, "wattchain": {"network": "development", "blockTimeSeconds": 1}},
    "difficulty": "0x1",
    "gasLimit": "0x1c9c380",
    "timestamp": hex(GENESIS_TIME_S),
    "alloc": {ALICE.address[2:]: {"balance": str(100 * 10**18)}},
}


@pytest.fixture
async def w3(tmp_path: Path) -> AsyncIterator[AsyncWeb3]:
    (tmp_path / "genesis.json").write_text(json.dumps(GENESIS))
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[NodeFacts] = loop.create_future()
    settings = NodeSettings(
        tmp_path,
        rpc=RpcSettings(port=0),
        mining=MiningSettings(enabled=True, coinbase=BOB.address, cpu_share_percent=100, empty_block_period_s=3600),
        clock=ClockSettings(CLOCK_RATE, GENESIS_TIME_S, SystemClock().precise_time_s()),
        p2p=P2pSettings(enabled=False),
    )
    node = asyncio.create_task(run_node(settings, ready.set_result))
    await asyncio.wait({node, ready}, return_when=asyncio.FIRST_COMPLETED)
    if node.done():
        node.result()
    provider = AsyncHTTPProvider(ready.result().rpc_url)
    try:
        yield AsyncWeb3(provider)
    finally:
        await provider.disconnect()
        node.cancel()
        await asyncio.gather(node, return_exceptions=True)


async def send(w3: AsyncWeb3, transaction: Any) -> Any:
    encoded = ALICE.sign_transaction(transaction).raw_transaction
    return await w3.eth.wait_for_transaction_receipt(
        await w3.eth.send_raw_transaction(encoded), timeout=30, poll_latency=0.02
    )


async def base(w3: AsyncWeb3) -> dict[str, Any]:
    nonce = await w3.eth.get_transaction_count(ALICE.address, "pending")
    return {"from": ALICE.address, "nonce": nonce, "chainId": CHAIN_ID}


async def test_all_that_a_dapp_does(w3: AsyncWeb3) -> None:
    fields = await base(w3) | {"to": "0x" + "77" * 20, "value": 5}
    fields |= {"gas": await w3.eth.estimate_gas(fields), "gasPrice": await w3.eth.gas_price}
    receipt = await send(w3, fields)
    assert receipt["status"] == 1
    assert await w3.eth.get_balance("0x" + "77" * 20) == 5
    block = await w3.eth.get_block(receipt["blockNumber"], True)
    assert block["transactions"][0]["hash"] == receipt["transactionHash"]
    assert block["miner"] == BOB.address

    factory = w3.eth.contract(abi=SAMPLE["abi"], bytecode=SAMPLE["bytecode"])
    deployed = await send(w3, await factory.constructor(5).build_transaction(await base(w3)))
    contract = w3.eth.contract(deployed["contractAddress"], abi=SAMPLE["abi"])
    assert await contract.functions.value().call() == 5

    logs, blocks = await contract.events.Stored().create_filter(from_block="latest"), await w3.eth.filter("latest")
    stored = await send(w3, await contract.functions.store(9, "nine").build_transaction(await base(w3)))
    assert [event["args"]["value"] for event in await logs.get_new_entries()] == [9]
    assert stored["blockHash"] in await blocks.get_new_entries()
    (event,) = await contract.events.Stored().get_logs(from_block=0, argument_filters={"value": 9})
    assert event["args"]["note"] == "nine"
    assert await contract.functions.value().call() == 9
    assert await contract.functions.value().call(block_identifier=stored["blockNumber"] - 1) == 5

    with pytest.raises(ContractLogicError, match="unlucky"):
        await contract.functions.store(13, "").call({"from": ALICE.address})
    with pytest.raises(ContractCustomError):
        await contract.functions.store(2_000, "").estimate_gas({"from": ALICE.address})

    history = await w3.eth.fee_history(2, "latest", [50])
    assert len(history["reward"]) == 2
    async with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block(1))
        batch.add(w3.eth.get_balance(BOB.address))
        first, reward = await batch.async_execute()
    assert first["number"] == 1
    assert reward > 0
    await _check_proof(w3, contract.address)


async def _check_proof(w3: AsyncWeb3, address: str) -> None:
    """What eth_getProof says follows, by hashing alone, from the state root in the header."""
    proof = (await w3.provider.make_request("eth_getProof", [address, ["0x0"], "latest"]))["result"]
    head = await w3.eth.get_block("latest")
    storage_root = parse_data(proof["storageHash"], 32)
    account = rlp.decode(_prove(head["stateRoot"], keccak256(parse_address(address)), proof["accountProof"]))
    nonce, balance = parse_quantity(proof["nonce"]), parse_quantity(proof["balance"])
    assert account == [rlp.encode_int(nonce), rlp.encode_int(balance), storage_root, parse_data(proof["codeHash"])]
    (slot,) = proof["storageProof"]
    value = rlp.decode(_prove(storage_root, keccak256(bytes(32)), slot["proof"]))
    assert rlp.decode_int(value) == parse_quantity(slot["value"]) == 9


def _prove(root: bytes, key: bytes, nodes: list[str]) -> bytes:
    """The value that the nodes prove for the key (Yellow Paper, appendix D)."""
    expected, nibbles = bytes(root), key.hex()
    for encoded in map(parse_data, nodes):
        assert keccak256(encoded) == expected
        node: Any = rlp.decode(encoded)
        while isinstance(node, list):
            if len(node) == 17:
                node, nibbles = node[int(nibbles[0], 16)], nibbles[1:]
                continue
            prefix = node[0].hex()
            path = prefix[1:] if prefix[0] in "13" else prefix[2:]
            assert nibbles.startswith(path)
            nibbles = nibbles[len(path) :]
            if prefix[0] in "23":
                assert not nibbles
                return bytes(node[1])
            node = node[1]
        expected = node
    raise AssertionError("the proof ends before the value")
