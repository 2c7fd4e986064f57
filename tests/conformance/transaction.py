"""Transaction vectors (ethereum/tests TransactionTests): sender, hash and intrinsic gas, or refusal, on chain 1.

Judged by the rules of Cancun; a file that stops at an older fork is judged by its newest (such files hold malformed
bytes, which no fork accepts). Transactions without replay protection are valid here; only our ledger refuses them.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from chain.transaction import check_chain, decode_transaction, sender_or_refuse
from chain.validity import check_by_itself
from primitives.errors import InvalidTransaction
from tests.conformance.vectors import Case, Mismatch, expect_equal, from_hex

FORKS = ("Cancun", "Shanghai", "Paris", "London", "Berlin", "Istanbul", "Byzantium", "EIP158", "Homestead", "Frontier")
CHAIN_ID = 1


def read(file: Path) -> Iterator[Case]:
    for name, content in json.loads(file.read_text()).items():
        yield Case(name, content)


def check(case: Case) -> None:
    fork = next(fork for fork in FORKS if fork in case.content["result"])
    expected = case.content["result"][fork]
    try:
        sender, transaction_hash, gas = _judge(from_hex(case.content["txbytes"]))
    except InvalidTransaction as error:
        if "exception" not in expected:
            raise Mismatch(f"must be accepted under {fork}, was refused: {error}") from error
        return
    if "exception" in expected:
        raise Mismatch(f"must be refused under {fork}: {expected['exception']}")
    expect_equal("the sender", sender, from_hex(expected["sender"]))
    expect_equal("the hash", transaction_hash, from_hex(expected["hash"]))
    expect_equal("the intrinsic gas", gas, int(expected["intrinsicGas"], 16))


def _judge(encoded: bytes) -> tuple[bytes, bytes, int]:
    transaction = decode_transaction(encoded, allow_blob=True)
    if transaction.chain_id is not None:
        check_chain(transaction, CHAIN_ID)
    gas = check_by_itself(transaction)
    return sender_or_refuse(transaction), transaction.hash, gas
