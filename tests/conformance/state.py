"""State vectors (ethereum/tests GeneralStateTests): one transaction on a given state, judged by the rules of Cancun.

A case passes where the state root and the hash of the logs are those of the file, and where a transaction that must be
refused is refused. What a file says about other forks is not looked at.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chain.account import Account, StateChanges
from chain.execution import execute_transaction
from chain.state import State
from chain.transaction import Transaction, check_chain, decode_transaction, sender_or_refuse, sign_transaction
from chain.trie.root import state_root
from primitives import rlp
from primitives.errors import InvalidTransaction
from primitives.keccak import keccak256
from tests.conformance.vectors import Case, Mismatch, expect_equal, from_hex
from vm.host import BlockContext, Log

FORK = "Cancun"
MIN_BLOB_BASE_FEE = 1  # EIP-4844
BLOB_BASE_FEE_UPDATE_FRACTION = 3_338_477  # EIP-4844


class GivenState:
    """A state held in memory: a StateReader that changes can be applied to."""

    def __init__(self, pre: Mapping[str, Any]) -> None:
        self.accounts: dict[bytes, Account] = {}
        self.slots: dict[bytes, dict[int, int]] = {}
        self.codes: dict[bytes, bytes] = {}
        for address_hex, entry in pre.items():
            address, code = from_hex(address_hex), from_hex(entry["code"])
            self.codes[keccak256(code)] = code
            self.accounts[address] = Account(_number(entry["nonce"]), _number(entry["balance"]), keccak256(code))
            slots = {_number(slot): _number(value) for slot, value in entry["storage"].items()}
            self.slots[address] = {slot: value for slot, value in slots.items() if value}

    def account(self, address: bytes) -> Account | None:
        return self.accounts.get(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self.slots.get(address, {}).get(slot, 0)

    def code(self, code_hash: bytes) -> bytes:
        return self.codes[code_hash]

    def has_storage(self, address: bytes) -> bool:
        return bool(self.slots.get(address))

    def apply(self, changes: StateChanges) -> None:
        for address, account in changes.accounts.items():
            if account is None:
                del self.accounts[address]
                self.slots.pop(address, None)
            else:
                self.accounts[address] = account
        for address, slots in changes.storage.items():
            self.slots.setdefault(address, {}).update(slots)

    def root(self) -> bytes:
        return state_root(self.accounts, self.slots)


def read(file: Path) -> Iterator[Case]:
    for name, content in json.loads(file.read_text()).items():
        if not isinstance(content, dict) or "post" not in content:
            continue  # an index or notes beside the vectors
        for post in content["post"].get(FORK, []):
            at = post["indexes"]
            yield Case(f"{name} d{at['data']} g{at['gas']} v{at['value']}", {**content, "post": post})


def check(case: Case) -> None:
    content, post = case.content, case.content["post"]
    given = GivenState(content["pre"])
    state = State(given)
    chain_id = _number(content.get("config", {}).get("chainid", "0x01"))
    block = block_of(content["env"], chain_id)
    logs: tuple[Log, ...] = ()
    refusal = None
    try:
        transaction = _transaction_of(content, post)
        if transaction.chain_id is not None:
            check_chain(transaction, chain_id)
        logs = execute_transaction(state, block, transaction, sender_or_refuse(transaction)).logs
    except InvalidTransaction as error:
        refusal = error
    if refusal is None and "expectException" in post:
        raise Mismatch(f"must be refused: {post['expectException']}")
    if refusal is not None and "expectException" not in post:
        raise Mismatch(f"must be accepted, was refused: {refusal}")
    # The tests' block gives its coinbase a reward of nothing, which touches it (EIP-161).
    state.add_balance(block.coinbase, 0)
    state.end_transaction()
    given.apply(state.changes())
    expect_equal("the state root", given.root(), from_hex(post["hash"]))
    expect_equal("the hash of the logs", keccak256(_encode_logs(logs)), from_hex(post["logs"]))


def block_of(env: Mapping[str, str], chain_id: int) -> BlockContext:
    """The block that a vector's `env` describes."""
    return BlockContext(
        number=_number(env["currentNumber"]),
        timestamp_s=_number(env["currentTimestamp"]),
        coinbase=from_hex(env["currentCoinbase"]),
        gas_limit=_number(env["currentGasLimit"]),
        prev_randao=_number(env.get("currentRandom", "0x0")),
        base_fee=_number(env["currentBaseFee"]),
        blob_base_fee=blob_base_fee(_number(env.get("currentExcessBlobGas", "0x0"))),
        chain_id=chain_id,
        block_hash=lambda number: keccak256(str(number).encode()),
    )


def blob_base_fee(excess_blob_gas: int) -> int:
    """Wei per blob gas: e to the excess by a Taylor series in whole numbers (EIP-4844, fake_exponential)."""
    total, term, i = 0, MIN_BLOB_BASE_FEE * BLOB_BASE_FEE_UPDATE_FRACTION, 1
    while term > 0:
        total += term
        term = term * excess_blob_gas // (BLOB_BASE_FEE_UPDATE_FRACTION * i)
        i += 1
    return total // BLOB_BASE_FEE_UPDATE_FRACTION


def _transaction_of(content: Mapping[str, Any], post: Mapping[str, Any]) -> Transaction:
    """The transaction of one case: its bytes, or in files older than these, its fields and the key that signs."""
    if "txbytes" in post:
        return decode_transaction(from_hex(post["txbytes"]), allow_blob=True)
    fields, at = content["transaction"], post["indexes"]
    access_lists = fields.get("accessLists")
    price = fields.get("gasPrice")
    transaction = Transaction(
        type=(0 if access_lists is None else 1) if price is not None else 2,
        chain_id=None if access_lists is None and price is not None else 1,
        nonce=_number(fields["nonce"]),
        max_priority_fee_per_gas=_number(price or fields["maxPriorityFeePerGas"]),
        max_fee_per_gas=_number(price or fields["maxFeePerGas"]),
        gas_limit=_number(fields["gasLimit"][at["gas"]]),
        to=from_hex(fields["to"]) or None,
        value=_number(fields["value"][at["value"]]),
        data=from_hex(fields["data"][at["data"]]),
        access_list=tuple(
            (from_hex(entry["address"]), tuple(_number(slot) for slot in entry["storageKeys"]))
            for entry in (access_lists[at["data"]] if access_lists else None) or []
        ),
    )
    return sign_transaction(transaction, from_hex(fields["secretKey"]))


def _encode_logs(logs: tuple[Log, ...]) -> bytes:
    return rlp.encode([[log.address, list(log.topics), log.data] for log in logs])


def _number(text: str) -> int:
    return int(text, 16) if text not in ("", "0x") else 0
