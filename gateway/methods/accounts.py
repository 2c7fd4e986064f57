"""Accounts: what the state after a block holds."""

from collections.abc import Sequence

from chain.account import EMPTY_ACCOUNT, Account
from gateway import parameters
from gateway.backend import ChainView
from gateway.context import Context
from gateway.methods.lookup import require_header, state_after
from gateway.methods.table import Json, Parameter, Table
from gateway.parameters import LATEST, BlockReference
from primitives.hexadecimal import to_data, to_quantity

TABLE = Table()

_ADDRESS = Parameter("address", parameters.address)
_BLOCK = Parameter("block", parameters.block_reference, LATEST)


@TABLE.read("eth_getBalance", _ADDRESS, _BLOCK)
def get_balance(chain: ChainView, address: bytes, block: BlockReference) -> Json:
    return to_quantity(_account(chain, address, block).balance)


@TABLE.answer("eth_getTransactionCount", _ADDRESS, _BLOCK)
async def get_transaction_count(context: Context, address: bytes, block: BlockReference) -> Json:
    """With `pending`: what the next transaction of the account must have, after those in the pool."""
    if block.tag == "pending":
        return to_quantity(context.backend.pending_nonce(address))
    return to_quantity(await context.read(lambda chain: _account(chain, address, block).nonce))


@TABLE.read("eth_getCode", _ADDRESS, _BLOCK)
def get_code(chain: ChainView, address: bytes, block: BlockReference) -> Json:
    state = state_after(chain, block)
    account = state.account(address)
    return "0x" if account is None else to_data(state.code(account.code_hash))


@TABLE.read("eth_getStorageAt", _ADDRESS, Parameter("slot", parameters.storage_slot), _BLOCK)
def get_storage_at(chain: ChainView, address: bytes, slot: int, block: BlockReference) -> Json:
    return to_data(state_after(chain, block).storage(address, slot).to_bytes(32, "big"))


@TABLE.read("eth_getProof", _ADDRESS, Parameter("slots", parameters.proof_slots), _BLOCK)
def get_proof(chain: ChainView, address: bytes, slots: Sequence[str], block: BlockReference) -> Json:
    """An account and slots of it with the trie nodes that prove them, in the latest state or one of the recent past."""
    block_number = require_header(chain, block).number
    state = chain.state_at(block_number)
    account = state.account(address) or EMPTY_ACCOUNT
    numbers = [parameters.storage_slot(slot) for slot in slots]
    return {
        "address": to_data(address),
        "nonce": to_quantity(account.nonce),
        "balance": to_quantity(account.balance),
        "codeHash": to_data(account.code_hash),
        "storageHash": to_data(chain.storage_root(address, block_number)),
        "accountProof": [to_data(node) for node in chain.prove_account(address, block_number)],
        "storageProof": [
            {
                "key": slot.lower(),
                "value": to_quantity(state.storage(address, number)),
                "proof": [to_data(node) for node in chain.prove_slot(address, number, block_number)],
            }
            for slot, number in zip(slots, numbers, strict=True)
        ],
    }


def _account(chain: ChainView, address: bytes, block: BlockReference) -> Account:
    return state_after(chain, block).account(address) or EMPTY_ACCOUNT
