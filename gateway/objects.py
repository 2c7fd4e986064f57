"""Blocks, transactions, receipts and logs as JSON-RPC objects (execution-apis), as web3.py and ethers read them."""

from collections.abc import Sequence
from dataclasses import dataclass

from chain.block import Block
from chain.header import Header
from chain.receipt import Receipt
from chain.transaction import ACCESS_LIST, DYNAMIC_FEE, LEGACY, AccessList, Transaction
from gateway.methods.table import Json
from primitives.hexadecimal import to_data, to_quantity
from vm.host import Log

JsonObject = dict[str, Json]


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where a log stands in the chain."""

    header: Header
    transaction_hash: bytes
    transaction_index: int
    log_index: int
    """In the block."""
    is_removed: bool = False
    """The block was taken off the canonical chain again."""


def block_object(block: Block, total_difficulty: int | None, with_transactions: bool) -> JsonObject:
    """A block with its transactions, or with their hashes alone."""
    header = block.header
    transactions: list[Json] = (
        [mined_transaction_object(transaction, header, at) for at, transaction in enumerate(block.transactions)]
        if with_transactions
        else [to_data(transaction.hash) for transaction in block.transactions]
    )
    answer: JsonObject = {
        "number": to_quantity(header.number),
        "hash": to_data(header.hash),
        "parentHash": to_data(header.parent_hash),
        "sha3Uncles": to_data(header.ommers_hash),
        "miner": to_data(header.coinbase),
        "stateRoot": to_data(header.state_root),
        "transactionsRoot": to_data(header.transactions_root),
        "receiptsRoot": to_data(header.receipts_root),
        "logsBloom": to_data(header.logs_bloom),
        "difficulty": to_quantity(header.difficulty),
        "gasLimit": to_quantity(header.gas_limit),
        "gasUsed": to_quantity(header.gas_used),
        "timestamp": to_quantity(header.timestamp_s),
        "extraData": to_data(header.extra_data),
        "mixHash": to_data(header.mix_hash),
        "nonce": to_data(header.nonce),
        "baseFeePerGas": to_quantity(header.base_fee_per_gas),
        "size": to_quantity(len(block.encode())),
        "transactions": transactions,
        "uncles": [],
    }
    if total_difficulty is not None:
        answer["totalDifficulty"] = to_quantity(total_difficulty)
    return answer


def mined_transaction_object(transaction: Transaction, header: Header, index: int) -> JsonObject:
    tip = min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - header.base_fee_per_gas)
    return _transaction_object(transaction, header.base_fee_per_gas + tip) | {
        "blockHash": to_data(header.hash),
        "blockNumber": to_quantity(header.number),
        "blockTimestamp": to_quantity(header.timestamp_s),
        "transactionIndex": to_quantity(index),
    }


def pending_transaction_object(transaction: Transaction) -> JsonObject:
    return _transaction_object(transaction, transaction.max_fee_per_gas) | {
        "blockHash": None,
        "blockNumber": None,
        "blockTimestamp": None,
        "transactionIndex": None,
    }


def receipt_objects(block: Block, receipts: Sequence[Receipt]) -> list[JsonObject]:
    """All receipts of a block, in order."""
    answers = []
    first_log_index = 0
    for index, (transaction, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
        answers.append(_receipt_object(block.header, transaction, index, receipt, first_log_index))
        first_log_index += len(receipt.logs)
    return answers


def log_object(log: Log, place: LogPlace) -> JsonObject:
    return {
        "address": to_data(log.address),
        "topics": [to_data(topic) for topic in log.topics],
        "data": to_data(log.data),
        "blockNumber": to_quantity(place.header.number),
        "blockHash": to_data(place.header.hash),
        "blockTimestamp": to_quantity(place.header.timestamp_s),
        "transactionHash": to_data(place.transaction_hash),
        "transactionIndex": to_quantity(place.transaction_index),
        "logIndex": to_quantity(place.log_index),
        "removed": place.is_removed,
    }


def access_list_object(access_list: AccessList) -> list[Json]:
    return [
        {"address": to_data(address), "storageKeys": [to_data(slot.to_bytes(32, "big")) for slot in slots]}
        for address, slots in access_list
    ]


def _receipt_object(
    header: Header, transaction: Transaction, index: int, receipt: Receipt, first_log_index: int
) -> JsonObject:
    logs: list[Json] = [
        log_object(log, LogPlace(header, transaction.hash, index, first_log_index + at))
        for at, log in enumerate(receipt.logs)
    ]
    contract = receipt.contract_address
    return {
        "transactionHash": to_data(transaction.hash),
        "transactionIndex": to_quantity(index),
        "blockHash": to_data(header.hash),
        "blockNumber": to_quantity(header.number),
        "from": to_data(transaction.sender),
        "to": None if transaction.to is None else to_data(transaction.to),
        "type": to_quantity(receipt.type),
        "status": to_quantity(int(receipt.succeeded)),
        "cumulativeGasUsed": to_quantity(receipt.cumulative_gas_used),
        "gasUsed": to_quantity(receipt.gas_used),
        "effectiveGasPrice": to_quantity(receipt.effective_gas_price),
        "contractAddress": None if contract is None else to_data(contract),
        "logs": logs,
        "logsBloom": to_data(receipt.bloom),
    }


def _transaction_object(transaction: Transaction, gas_price: int) -> JsonObject:
    answer: JsonObject = {
        "type": to_quantity(transaction.type),
        "hash": to_data(transaction.hash),
        "nonce": to_quantity(transaction.nonce),
        "from": to_data(transaction.sender),
        "to": None if transaction.to is None else to_data(transaction.to),
        "value": to_quantity(transaction.value),
        "gas": to_quantity(transaction.gas_limit),
        "gasPrice": to_quantity(gas_price),
        "input": to_data(transaction.data),
        "r": to_quantity(transaction.r),
        "s": to_quantity(transaction.s),
        "v": to_quantity(_v(transaction)),
    }
    if transaction.chain_id is not None:
        answer["chainId"] = to_quantity(transaction.chain_id)
    if transaction.type in (ACCESS_LIST, DYNAMIC_FEE):
        answer["yParity"] = to_quantity(transaction.y_parity)
        answer["accessList"] = access_list_object(transaction.access_list)
    if transaction.type == DYNAMIC_FEE:
        answer["maxFeePerGas"] = to_quantity(transaction.max_fee_per_gas)
        answer["maxPriorityFeePerGas"] = to_quantity(transaction.max_priority_fee_per_gas)
    return answer


def _v(transaction: Transaction) -> int:
    """Of a legacy signature as in EIP-155, of the others the parity alone."""
    if transaction.type != LEGACY:
        return transaction.y_parity
    if transaction.chain_id is None:
        return 27 + transaction.y_parity
    return 35 + 2 * transaction.chain_id + transaction.y_parity
