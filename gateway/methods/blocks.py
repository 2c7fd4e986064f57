"""Blocks and what they hold: the methods that read history."""

from gateway import parameters
from gateway.backend import ChainView
from gateway.methods.lookup import find_block, find_header
from gateway.methods.table import Json, Parameter, Table
from gateway.objects import block_object, mined_transaction_object, receipt_objects
from gateway.parameters import BlockReference
from primitives.hexadecimal import to_quantity

TABLE = Table()

_BLOCK_HASH = Parameter("block hash", parameters.hash32)
_BLOCK_NUMBER = Parameter("block number", parameters.block_number)
_BLOCK = Parameter("block", parameters.block_reference)
_INDEX = Parameter("index", parameters.index)
_HYDRATED = Parameter("full transactions", parameters.boolean, False)


@TABLE.read("eth_blockNumber")
def block_number(chain: ChainView) -> Json:
    return to_quantity(chain.head().number)


@TABLE.read("eth_getBlockByNumber", _BLOCK_NUMBER, _HYDRATED)
def get_block_by_number(chain: ChainView, reference: BlockReference, hydrated: bool) -> Json:
    return _block(chain, reference, hydrated)


@TABLE.read("eth_getBlockByHash", _BLOCK_HASH, _HYDRATED)
def get_block_by_hash(chain: ChainView, block_hash: bytes, hydrated: bool) -> Json:
    return _block(chain, BlockReference(hash=block_hash), hydrated)


@TABLE.read("eth_getBlockTransactionCountByNumber", _BLOCK_NUMBER)
def get_block_transaction_count_by_number(chain: ChainView, reference: BlockReference) -> Json:
    return _transaction_count(chain, reference)


@TABLE.read("eth_getBlockTransactionCountByHash", _BLOCK_HASH)
def get_block_transaction_count_by_hash(chain: ChainView, block_hash: bytes) -> Json:
    return _transaction_count(chain, BlockReference(hash=block_hash))


@TABLE.read("eth_getUncleCountByBlockNumber", _BLOCK_NUMBER)
def get_uncle_count_by_block_number(chain: ChainView, reference: BlockReference) -> Json:
    return None if find_header(chain, reference) is None else "0x0"


@TABLE.read("eth_getUncleCountByBlockHash", _BLOCK_HASH)
def get_uncle_count_by_block_hash(chain: ChainView, block_hash: bytes) -> Json:
    return None if chain.header_by_hash(block_hash) is None else "0x0"


@TABLE.read("eth_getUncleByBlockNumberAndIndex", _BLOCK_NUMBER, _INDEX)
def get_uncle_by_block_number_and_index(chain: ChainView, reference: BlockReference, index: int) -> Json:
    return None


@TABLE.read("eth_getUncleByBlockHashAndIndex", _BLOCK_HASH, _INDEX)
def get_uncle_by_block_hash_and_index(chain: ChainView, block_hash: bytes, index: int) -> Json:
    return None


@TABLE.read("eth_getTransactionByBlockNumberAndIndex", _BLOCK_NUMBER, _INDEX)
def get_transaction_by_block_number_and_index(chain: ChainView, reference: BlockReference, index: int) -> Json:
    return _transaction(chain, reference, index)


@TABLE.read("eth_getTransactionByBlockHashAndIndex", _BLOCK_HASH, _INDEX)
def get_transaction_by_block_hash_and_index(chain: ChainView, block_hash: bytes, index: int) -> Json:
    return _transaction(chain, BlockReference(hash=block_hash), index)


@TABLE.read("eth_getTransactionReceipt", Parameter("transaction hash", parameters.hash32))
def get_transaction_receipt(chain: ChainView, transaction_hash: bytes) -> Json:
    found = chain.find_transaction(transaction_hash)
    if found is None:
        return None
    block, index = found
    receipts = chain.receipts(block.hash)
    return None if receipts is None else receipt_objects(block, receipts)[index]


@TABLE.read("eth_getBlockReceipts", _BLOCK)
def get_block_receipts(chain: ChainView, reference: BlockReference) -> Json:
    block = find_block(chain, reference)
    receipts = None if block is None else chain.receipts(block.hash)
    if block is None or receipts is None:
        return None
    return list(receipt_objects(block, receipts))


def _block(chain: ChainView, reference: BlockReference, hydrated: bool) -> Json:
    block = find_block(chain, reference)
    return None if block is None else block_object(block, chain.total_difficulty(block.hash), hydrated)


def _transaction_count(chain: ChainView, reference: BlockReference) -> Json:
    block = find_block(chain, reference)
    return None if block is None else to_quantity(len(block.transactions))


def _transaction(chain: ChainView, reference: BlockReference, index: int) -> Json:
    block = find_block(chain, reference)
    if block is None or index >= len(block.transactions):
        return None
    return mined_transaction_object(block.transactions[index], block.header, index)
