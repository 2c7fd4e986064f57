"""Runs the transactions of blocks in py-evm, in memory. Started by benchmarks/readings.py with the peer's own Python.

Standard input: JSON with alloc (geth's form), chain_id, and blocks of number, timestamp, gas_limit, base_fee,
difficulty, coinbase and transactions (hex). Standard output: JSON with seconds (processor time) and gas_used of each
block. Neither state roots nor receipts are made, nothing is written.
"""

import json
import sys
import time
from typing import Any

# The environment of the type checker has no py-evm.
from eth.constants import BLANK_ROOT_HASH  # type: ignore[import-not-found]
from eth.db.atomic import AtomicDB  # type: ignore[import-not-found]
from eth.vm.execution_context import ExecutionContext  # type: ignore[import-not-found]
from eth.vm.forks.cancun import CancunVM  # type: ignore[import-not-found]
from eth.vm.forks.cancun.state import CancunState  # type: ignore[import-not-found]


def main() -> None:
    request = json.load(sys.stdin)
    database = AtomicDB()
    state = CancunState(database, _context(request["blocks"][0], request["chain_id"]), BLANK_ROOT_HASH)
    for name, account in request["alloc"].items():
        address = bytes.fromhex(name[2:])
        state.set_balance(address, int(account["balance"], 16))
        state.set_nonce(address, int(account.get("nonce", "0x0"), 16))
        state.set_code(address, bytes.fromhex(account.get("code", "0x")[2:]))
        for slot, value in account.get("storage", {}).items():
            state.set_storage(address, int(slot, 16), int(value, 16))
    state.persist()
    answers = []
    for block in request["blocks"]:
        state = CancunState(database, _context(block, request["chain_id"]), state.state_root)
        encoded = [bytes.fromhex(transaction) for transaction in block["transactions"]]
        started = time.process_time()
        gas_used = sum(_run(state, transaction) for transaction in encoded)
        answers.append({"seconds": time.process_time() - started, "gas_used": gas_used})
        state.persist()
    print(json.dumps(answers))


def _run(state: Any, encoded: bytes) -> int:
    transaction = CancunVM.get_transaction_builder().decode(encoded)
    state.lock_changes()
    computation = state.apply_transaction(transaction)
    if computation.is_error:
        raise SystemExit(f"py-evm failed: {computation.error!r}")
    used = transaction.gas - computation.get_gas_remaining()
    return int(used - min(computation.get_gas_refund(), used // 5))


def _context(block: dict[str, Any], chain_id: int) -> Any:
    return ExecutionContext(
        coinbase=bytes.fromhex(block["coinbase"]),
        timestamp=block["timestamp"],
        block_number=block["number"],
        difficulty=block["difficulty"],
        mix_hash=block["difficulty"].to_bytes(32, "big"),
        gas_limit=block["gas_limit"],
        prev_hashes=(),
        chain_id=chain_id,
        base_fee_per_gas=block["base_fee"],
        excess_blob_gas=0,
    )


if __name__ == "__main__":
    main()
