"""python -m benchmarks.readings: meter readings executed and stored a second, one or fifty a transaction, on one core.

Another process makes the blocks first; this one takes their bytes and does all that a node does with a block from a
peer: decode, check, recover the senders, execute (which checks each meter's signature and charges its tariff), new
state root, write, commit to disk. py-evm runs the first of the same transactions in memory, without all of that but
senders and execution, beside our own execution of them in memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ledger import WARM_UP_BLOCKS, ImportRun
from benchmarks.reading_blocks import BATCH, BLOCK_TIME_S, CHAIN_ID, METERS, START_S, genesis_json, genesis_of
from benchmarks.transfer_blocks import read_blocks
from benchmarks.vm import PEER_REQUIREMENT, PEER_TIMEOUT_S, peer_python
from chain.block import Block, decode_block
from chain.block_execution import BlockExecution, block_context
from chain.ledger import Ledger
from chain.state import EmptyState, State
from chain.transaction import decode_transaction
from primitives.clock import ManualClock
from primitives.errors import UserError

AIMS = {1: 300, BATCH: 600}
"""Readings a transaction -> readings a second."""
PEER_BLOCKS = 2
"""The first fills slots and is not counted."""
PEER_SIGNATURES = "coincurve==21.0.0"
"""py-evm recovers signatures in plain Python without it."""


@dataclass(frozen=True, slots=True)
class ReadingSpeed:
    """One way to send readings; microseconds are means per reading. The peer's values are None where it is left out."""

    per_transaction: int
    readings: int
    readings_per_s: float
    readings_per_cpu_s: float
    """By the processor time of this process: what other processes take away, and waiting for the disk, left out."""
    aim_per_s: int
    gas_per_reading: int
    decode_us: float
    recover_us: float
    execute_us: float
    trie_us: float
    rows_us: float
    rest_us: float
    executed_per_cpu_s: float
    """In memory: senders and execution alone, as the peer does it."""
    peer_executed_per_cpu_s: float | None
    ratio: float | None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readings", description=__doc__)
    parser.add_argument(
        "--blocks", metavar="N", type=int, default=30, help="of 200 single or 300 batched readings (30)"
    )
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/readings.json"))
    chosen = parser.parse_args(arguments)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    Path("results").mkdir(exist_ok=True)
    console = Console()
    try:
        peer = None if chosen.no_peers else _peer(console)
        speeds = [measure(per_transaction, chosen.blocks, peer, console) for per_transaction in AIMS]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    console.print(table(speeds))
    chosen.json.write_text(json.dumps([asdict(speed) for speed in speeds], indent=1) + "\n")
    print(f"written to {chosen.json}")
    return 0 if all(speed.readings_per_s >= speed.aim_per_s for speed in speeds) else 1


def measure(per_transaction: int, blocks: int, peer: Path | None, console: Console) -> ReadingSpeed:
    """Import blocks that were made before into a ledger on disk, then run the first of them in memory."""
    console.print(f"making blocks of {METERS[per_transaction]} readings, {per_transaction} a transaction ...")
    encoded = _make_blocks(per_transaction, WARM_UP_BLOCKS + blocks)
    transactions = METERS[per_transaction] // per_transaction
    with tempfile.TemporaryDirectory(dir="results") as folder:
        clock = ManualClock(START_S + BLOCK_TIME_S * (len(encoded) + 1))
        with Ledger.open(Path(folder), genesis_of(per_transaction), clock) as ledger:
            run = ImportRun(METERS[per_transaction], transactions, ledger, encoded)
            cpu_started = time.process_time()
            run.import_some(blocks)
            cpu_s = time.process_time() - cpu_started
            speed = run.result()
    measured = [decode_block(block) for block in encoded]
    gas = sum(block.header.gas_used for block in measured[WARM_UP_BLOCKS:])
    readings = blocks * METERS[per_transaction]
    first = measured[:PEER_BLOCKS]
    ours = _executed(per_transaction, first)
    theirs = None if peer is None else _executed_by_peer(peer, per_transaction, first)
    stages = ("decode_us", "recover_us", "execute_us", "trie_us", "rows_us", "rest_us")
    return ReadingSpeed(
        per_transaction=per_transaction,
        readings=readings,
        readings_per_s=round(speed.transactions_per_s * per_transaction, 1),
        readings_per_cpu_s=round(readings / cpu_s, 1),
        aim_per_s=AIMS[per_transaction],
        gas_per_reading=gas // readings,
        executed_per_cpu_s=round(ours, 1),
        peer_executed_per_cpu_s=None if theirs is None else round(theirs, 1),
        ratio=None if theirs is None else round(ours / theirs, 2),
        **{stage: round(getattr(speed, stage) / per_transaction, 1) for stage in stages},
    )


def _executed(per_transaction: int, blocks: Sequence[Block]) -> float:
    """Readings a second of processor time, senders included, over a state in memory."""
    genesis = genesis_of(per_transaction)
    state = State(EmptyState())
    for address, account in genesis.state.accounts.items():
        assert account is not None
        state.set_balance(address, account.balance)
        state.set_nonce(address, account.nonce)
        state.set_code(address, genesis.state.codes.get(account.code_hash, b""))
        for slot, value in genesis.state.storage.get(address, {}).items():
            state.set_storage(address, slot, value)
    state.end_transaction()
    seconds = 0.0
    for block in blocks:
        encoded = [transaction.encoded for transaction in block.transactions]
        started = time.process_time()
        execution = BlockExecution(
            state, block_context(block.header, genesis.config, lambda number: bytes(32)), genesis.config
        )
        for transaction in encoded:
            execution.apply(decode_transaction(transaction))
        seconds = time.process_time() - started
        if execution.gas_used != block.header.gas_used:
            raise UserError("the execution in memory used other gas than the import")
    return METERS[per_transaction] / seconds


def _executed_by_peer(python: Path, per_transaction: int, blocks: Sequence[Block]) -> float:
    """The same in py-evm, timed inside its own process. Raises UserError where it disagrees about the gas."""
    request = {
        "alloc": genesis_json(per_transaction)["alloc"],
        "chain_id": CHAIN_ID,
        "blocks": [_peer_block(block) for block in blocks],
    }
    finished = subprocess.run(
        [str(python), str(Path(__file__).resolve().parent / "peers" / "py_evm_blocks.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=PEER_TIMEOUT_S,
        check=False,
    )
    if finished.returncode != 0:
        raise UserError(f"py-evm failed: {finished.stderr.strip()[-300:]}")
    answers = json.loads(finished.stdout)
    for block, answer in zip(blocks, answers, strict=True):
        if answer["gas_used"] != block.header.gas_used:
            raise UserError(f"py-evm used {answer['gas_used']} gas, ours {block.header.gas_used}")
    return float(METERS[per_transaction] / answers[-1]["seconds"])


def _peer_block(block: Block) -> dict[str, Any]:
    header = block.header
    return {
        "number": header.number,
        "timestamp": header.timestamp_s,
        "gas_limit": header.gas_limit,
        "base_fee": header.base_fee_per_gas,
        "difficulty": header.difficulty,
        "coinbase": header.coinbase.hex(),
        "transactions": [transaction.encoded.hex() for transaction in block.transactions],
    }


def table(speeds: Sequence[ReadingSpeed]) -> Table:
    shown = Table(title="signed readings, charged and stored")
    shown.add_column("")
    for speed in speeds:
        shown.add_column(
            f"{'one' if speed.per_transaction == 1 else speed.per_transaction} a transaction", justify="right"
        )
    rows: list[tuple[str, str, str]] = [
        ("readings a second", "readings_per_s", ",.0f"),
        ("aim", "aim_per_s", ",.0f"),
        ("readings a second of processor time", "readings_per_cpu_s", ",.0f"),
        ("gas a reading", "gas_per_reading", ",.0f"),
        ("decode, us a reading", "decode_us", ".1f"),
        ("recover the sender", "recover_us", ".1f"),
        ("execute", "execute_us", ".1f"),
        ("state root", "trie_us", ".1f"),
        ("rows", "rows_us", ".1f"),
        ("rules, other roots, commit", "rest_us", ".1f"),
        ("executed in memory a second of processor time", "executed_per_cpu_s", ",.0f"),
        (f"the same in {PEER_REQUIREMENT.replace('==', ' ')}", "peer_executed_per_cpu_s", ",.0f"),
        ("times as fast", "ratio", ".1f"),
    ]
    for name, field, form in rows:
        values = [getattr(speed, field) for speed in speeds]
        shown.add_row(name, *("-" if value is None else format(value, form) for value in values))
    return shown


def _make_blocks(per_transaction: int, blocks: int) -> list[bytes]:
    command = [sys.executable, "-m", "benchmarks.reading_blocks", f"--per-transaction={per_transaction}",
               f"--blocks={blocks}"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as producer:
        assert producer.stdout is not None
        encoded = list(read_blocks(producer.stdout))  # type: ignore[arg-type]
        if producer.wait() != 0:
            raise RuntimeError("the process that makes the blocks failed")
    return encoded


def _peer(console: Console) -> Path:
    python = peer_python(console)
    if subprocess.run([str(python), "-c", "import coincurve"], capture_output=True, check=False).returncode != 0:
        command = [str(python), "-m", "pip", "install", "--quiet", PEER_SIGNATURES]
        installed = subprocess.run(command, capture_output=True, text=True, check=False)
        if installed.returncode != 0:
            raise UserError(f"pip could not install {PEER_SIGNATURES}: {installed.stderr.strip()[-300:]}")
    return python


if __name__ == "__main__":
    sys.exit(main())
