"""The gateway as web3.py sees it, over HTTP on this machine: what a dapp's or a utility's scripts do all day."""

from typing import Any

import pytest
from web3 import AsyncWeb3
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
    Web3RPCError,
)

from primitives.abi import encode_call
from primitives.hexadecimal import to_data
from tests.gateway.conftest import ALICE, BOB, ETHER, SAMPLE
from tests.gateway.memory_ledger import CHAIN_ID, MemoryLedger


async def send(w3: AsyncWeb3, ledger: MemoryLedger, transaction: Any, account: Any = ALICE) -> Any:
    """Sign, send, have a block made; the receipt."""
    encoded = account.sign_transaction(transaction).raw_transaction
    sent = await w3.eth.send_raw_transaction(encoded)
    ledger.mine()
    return await w3.eth.wait_for_transaction_receipt(sent, timeout=1)


async def base(w3: AsyncWeb3, account: Any = ALICE) -> dict[str, Any]:
    return {
        "from": account.address,
        "nonce": await w3.eth.get_transaction_count(account.address, "pending"),
        "chainId": await w3.eth.chain_id,
    }


async def deploy(w3: AsyncWeb3, ledger: MemoryLedger) -> Any:
    factory = w3.eth.contract(abi=SAMPLE["abi"], bytecode=SAMPLE["bytecode"])
    receipt = await send(w3, ledger, await factory.constructor(5).build_transaction(await base(w3)))
    assert receipt["status"] == 1
    return w3.eth.contract(receipt["contractAddress"], abi=SAMPLE["abi"])


async def test_a_transfer_is_sent_found_and_paid_for(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    assert await w3.is_connected()
    before = await w3.eth.get_balance(ALICE.address)
    fields = await base(w3) | {"to": BOB.address, "value": 3 * ETHER, "maxFeePerGas": 2 * 10**9}
    transaction = fields | {"maxPriorityFeePerGas": 10**9, "gas": await w3.eth.estimate_gas(fields)}
    assert transaction["gas"] == 21_000

    sent = await w3.eth.send_raw_transaction(ALICE.sign_transaction(transaction).raw_transaction)
    pending = await w3.eth.get_transaction(sent)
    assert pending.get("blockHash") is None
    assert await w3.eth.get_transaction_count(ALICE.address) == 0
    assert await w3.eth.get_transaction_count(ALICE.address, "pending") == 1
    with pytest.raises(TransactionNotFound):
        await w3.eth.get_transaction_receipt(sent)

    ledger.mine()
    receipt = await w3.eth.get_transaction_receipt(sent)
    mined = await w3.eth.get_transaction(sent)
    assert receipt["status"] == 1
    assert receipt["gasUsed"] == 21_000
    assert mined["blockNumber"] == 1
    assert mined["from"] == ALICE.address
    assert mined["gasPrice"] == receipt["effectiveGasPrice"]
    price = receipt["effectiveGasPrice"]
    assert await w3.eth.get_balance(ALICE.address) == before - 3 * ETHER - 21_000 * price
    assert await w3.eth.get_balance(BOB.address) == 4 * ETHER
    assert await w3.eth.get_balance(BOB.address, 0) == ETHER


@pytest.mark.parametrize(
    "fees",
    [
        {"gasPrice": 2 * 10**9},
        {"gasPrice": 2 * 10**9, "accessList": [{"address": BOB.address, "storageKeys": ["0x" + "01" * 32]}], "type": 1},
        {"maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 10**9, "type": 2},
    ],
)
async def test_transactions_of_every_type(w3: AsyncWeb3, ledger: MemoryLedger, fees: dict[str, Any]) -> None:
    receipt = await send(w3, ledger, await base(w3) | {"to": BOB.address, "value": 1, "gas": 30_000} | fees)
    mined = await w3.eth.get_transaction(receipt["transactionHash"])
    assert mined["type"] == receipt["type"] == fees.get("type", 0)
    assert mined["chainId"] == CHAIN_ID
    assert mined["v"] in ((2 * CHAIN_ID + 35, 2 * CHAIN_ID + 36) if "type" not in fees else (0, 1))
    # web3.py can compute the hash again from what it was told.
    block = await w3.eth.get_block(1, True)
    assert block["transactions"][0] == mined


async def test_a_contract_is_deployed_called_and_changed(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    contract = await deploy(w3, ledger)
    assert len(await w3.eth.get_code(contract.address)) > 100
    assert await contract.functions.value().call() == 5
    # What a call would return, without a transaction.
    assert await contract.functions.store(9, "nine").call({"from": ALICE.address}) == 5
    receipt = await send(w3, ledger, await contract.functions.store(9, "nine").build_transaction(await base(w3)))
    assert receipt["status"] == 1
    assert await contract.functions.value().call() == 9
    assert await contract.functions.value().call(block_identifier=1) == 5
    assert int.from_bytes(await w3.eth.get_storage_at(contract.address, 0), "big") == 9
    (event,) = contract.events.Stored().process_receipt(receipt)
    assert event["args"] == {"by": ALICE.address, "value": 9, "note": "nine"}


async def test_reverts_tell_why(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    contract = await deploy(w3, ledger)
    with pytest.raises(ContractLogicError, match="unlucky"):
        await contract.functions.store(13, "").call({"from": ALICE.address})
    with pytest.raises(ContractLogicError, match="unlucky"):
        await contract.functions.store(13, "").estimate_gas({"from": ALICE.address})
    with pytest.raises(ContractPanicError, match="0x01"):
        await contract.functions.store(17, "").call({"from": ALICE.address})
    with pytest.raises(ContractCustomError) as caught:
        await contract.functions.store(2000, "").call({"from": ALICE.address})
    assert caught.value.data == to_data(encode_call("TooMuch(uint256,uint256)", [2000, 1000]))


async def test_an_estimate_is_enough_and_not_much_more(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    contract = await deploy(w3, ledger)
    estimated = await contract.functions.store(9, "nine").estimate_gas({"from": ALICE.address})
    fields = await base(w3) | {"gas": estimated}
    receipt = await send(w3, ledger, await contract.functions.store(9, "nine").build_transaction(fields))
    assert receipt["status"] == 1
    assert receipt["gasUsed"] <= estimated <= receipt["gasUsed"] * 102 // 100


async def test_logs_by_address_topic_and_range(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    contract = await deploy(w3, ledger)
    for value in (1, 2, 3):
        await send(w3, ledger, await contract.functions.store(value, "x").build_transaction(await base(w3)))
    events = await contract.events.Stored().get_logs(from_block=0)
    assert [event["args"]["value"] for event in events] == [1, 2, 3]
    events = await contract.events.Stored().get_logs(from_block=0, argument_filters={"value": 2})
    assert [event["blockNumber"] for event in events] == [3]
    events = await contract.events.Stored().get_logs(from_block=0, argument_filters={"value": [1, 3]})
    assert [event["args"]["value"] for event in events] == [1, 3]
    assert len(await contract.events.Stored().get_logs(from_block=3, to_block=4)) == 2
    assert await w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "address": BOB.address}) == []


async def test_filters_follow_logs_blocks_and_pending_transactions(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    contract = await deploy(w3, ledger)
    logs = await contract.events.Stored().create_filter(from_block="latest")
    blocks = await w3.eth.filter("latest")
    pending = await w3.eth.filter("pending")
    assert await logs.get_new_entries() == []
    receipt = await send(w3, ledger, await contract.functions.store(9, "x").build_transaction(await base(w3)))
    (event,) = await logs.get_new_entries()
    assert event["args"]["value"] == 9
    assert await logs.get_new_entries() == []
    assert await blocks.get_new_entries() == [receipt["blockHash"]]
    # Told although it was mined before anybody asked.
    assert await pending.get_new_entries() == [receipt["transactionHash"]]
    assert await w3.eth.uninstall_filter(blocks.filter_id)
    with pytest.raises(Web3RPCError, match="filter not found"):
        await blocks.get_new_entries()


async def test_fees_are_suggested_and_their_history_told(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    assert await w3.eth.max_priority_fee == 1
    transfer = {"to": BOB.address, "gas": 21_000, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 2 * 10**9}
    await send(w3, ledger, await base(w3) | transfer)
    head = await w3.eth.get_block("latest")
    assert await w3.eth.max_priority_fee == 2 * 10**9
    history = await w3.eth.fee_history(5, "latest", [25, 75])
    assert history["oldestBlock"] == 0
    assert history["reward"] == [[0, 0], [2 * 10**9, 2 * 10**9]]
    assert history["baseFeePerGas"][1] == head["baseFeePerGas"]
    assert history["gasUsedRatio"] == [0, 21_000 / 30_000_000]
    assert await w3.eth.gas_price == history["baseFeePerGas"][2] + 2 * 10**9


async def test_a_batch_is_answered_in_order(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    ledger.mine(3)
    async with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block(2))
        batch.add(w3.eth.get_balance(BOB.address))
        batch.add(w3.eth.get_block("latest"))
        second, balance, latest = await batch.async_execute()
    assert (second["number"], balance, latest["number"]) == (2, ETHER, 3)


async def test_what_the_node_says_of_itself(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    assert await w3.eth.chain_id == CHAIN_ID
    assert await w3.net.version == str(CHAIN_ID)
    assert await w3.client_version == "wattchain/test"
    assert await w3.eth.accounts == []
    assert await w3.eth.syncing is False


async def test_refusals_have_the_words_that_tools_look_for(w3: AsyncWeb3, ledger: MemoryLedger) -> None:
    transfer = await base(w3) | {"to": BOB.address, "gas": 21_000, "gasPrice": 2 * 10**9}

    async def refusal(**changed: Any) -> str:
        with pytest.raises(Web3RPCError) as caught:
            await w3.eth.send_raw_transaction(ALICE.sign_transaction(transfer | changed).raw_transaction)
        assert caught.value.rpc_response["error"]["code"] == -32000
        return str(caught.value.rpc_response["error"]["message"])

    assert (await refusal(gas=20_000)).startswith("intrinsic gas too low")
    assert (await refusal(value=1000 * ETHER)).startswith("insufficient funds for gas * price + value")
    assert (await refusal(gas=40_000_000)).startswith("exceeds block gas limit")
    assert "chain 1" in await refusal(chainId=1)
    await w3.eth.send_raw_transaction(ALICE.sign_transaction(transfer).raw_transaction)
    assert (await refusal()).startswith("already known")
    assert (await refusal(value=1)).startswith("replacement transaction underpriced")
    ledger.mine()
    assert (await refusal(value=1)).startswith("nonce too low")
