"""Runs contract code in py-evm and prints how long it took. Started by benchmarks/vm.py with the peer's own Python.

Standard input: JSON with code, data (hex), gas, repetitions. Standard output: JSON with seconds (best, in
processor time), output, gas_used.
"""

import json
import sys
import time
from typing import Any

# The environment of the type checker has no py-evm.
from eth.constants import BLANK_ROOT_HASH  # type: ignore[import-not-found]
from eth.db.atomic import AtomicDB  # type: ignore[import-not-found]
from eth.vm.execution_context import ExecutionContext  # type: ignore[import-not-found]
from eth.vm.forks.cancun.state import CancunState  # type: ignore[import-not-found]
from eth.vm.message import Message  # type: ignore[import-not-found]

SENDER, TARGET, COINBASE = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20


def main() -> None:
    request = json.load(sys.stdin)
    code, data = bytes.fromhex(request["code"]), bytes.fromhex(request["data"])
    best, computation = None, None
    for _ in range(request["repetitions"]):
        seconds, computation = _run(code, data, request["gas"])
        best = seconds if best is None else min(best, seconds)
    if computation is None or computation.is_error:
        raise SystemExit(f"py-evm failed: {computation and computation.error!r}")
    answer = {"seconds": best, "output": computation.output.hex(), "gas_used": computation.get_gas_used()}
    print(json.dumps(answer))


def _run(code: bytes, data: bytes, gas: int) -> tuple[float, Any]:
    context = ExecutionContext(
        coinbase=COINBASE,
        timestamp=1_000,
        block_number=1,
        difficulty=0,
        mix_hash=bytes(32),
        gas_limit=gas,
        prev_hashes=(),
        chain_id=1,
        base_fee_per_gas=0,
        excess_blob_gas=0,
    )
    state = CancunState(AtomicDB(), context, BLANK_ROOT_HASH)
    state.set_balance(SENDER, 10**18)
    state.set_code(TARGET, code)
    transaction_context = state.transaction_context_class(gas_price=0, origin=SENDER, blob_versioned_hashes=())
    message = Message(gas=gas, to=TARGET, sender=SENDER, value=0, data=data, code=code)
    state.mark_address_warm(SENDER)
    state.mark_address_warm(TARGET)
    started = time.process_time()
    computation = state.computation_class.apply_message(state, message, transaction_context)
    return time.process_time() - started, computation


if __name__ == "__main__":
    main()
