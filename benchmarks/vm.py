"""python -m benchmarks.vm: how fast contract code runs, here and in py-evm, on compiled Solidity in the same run.

Prints a table and writes JSON. py-evm lives in an environment of its own (.venv-peers, made when absent), since its
pins clash with ours. Both run the same bytecode with the same call data and must give the same output and use the same
gas. Opcodes are counted once, by a tracer, outside the measured runs; each figure is the best of several, in processor
time, which other processes on the machine disturb least.
"""

import argparse
import json
import subprocess
import sys
import time
import venv
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chain.state import EmptyState, State
from primitives.errors import UserError
from vm.frame import Frame
from vm.host import BlockContext, TransactionContext
from vm.interpreter import run
from vm.message import Message
from vm.opcodes import Opcode
from vm.tracer import Tracer

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".venv-peers"
PEER_REQUIREMENT = "py-evm==0.12.1b1"
TARGET_RATIO = 8

GAS = 1_000_000_000
REPETITIONS = 5
PEER_REPETITIONS = 3
PEER_TIMEOUT_S = 600

SENDER, TARGET, COINBASE = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20

# Contract, argument of its run(uint256), what it does.
PROGRAMS = (
    ("Tokens", 2_000, "token transfers in a loop"),
    ("Hashing", 3_000, "hashing in a loop"),
    ("Arithmetic", 600, "checked arithmetic"),
    ("Sorting", 1_000, "quicksort in memory"),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One program in one interpreter."""

    seconds: float
    output: str
    gas_used: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One program in both; the peer's columns are None where it was left out."""

    program: str
    opcodes: int
    gas_used: int
    ns_per_opcode: float
    gas_per_s: float
    peer_ns_per_opcode: float | None
    peer_gas_per_s: float | None
    ratio: float | None


class OpcodeCounter:
    """A tracer that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def enter_frame(self, frame: Frame) -> None:
        pass

    def leave_frame(self, frame: Frame, success: bool, halt: str | None) -> None:
        pass

    def before_step(self, frame: Frame, pc: int, opcode: Opcode) -> None:
        self.count += 1

    def after_step(self, frame: Frame, gas_before: int, halt: str | None) -> None:
        pass


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vm", description="Contract code, here and in py-evm.")
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    parser.add_argument("--json", type=Path, default=Path("results/vm.json"), help="where to write (results/vm.json)")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        peer = None if chosen.no_peers else peer_python(console)
        comparisons = [compare(name, argument, what, peer) for name, argument, what in PROGRAMS]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    console.print(table(comparisons))
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps([asdict(comparison) for comparison in comparisons], indent=1) + "\n")
    console.print(f"written to {chosen.json}")
    ratios = [comparison.ratio for comparison in comparisons if comparison.ratio is not None]
    return 1 if ratios and min(ratios) < TARGET_RATIO else 0


def peer_python(console: Console) -> Path:
    """The interpreter of the peers' environment, which is made where it is not there yet. Raises UserError."""
    python = PEERS / "bin" / "python"
    check = [str(python), "-c", "import eth.vm.forks.cancun"]
    if python.exists() and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return python
    console.print(f"installing {PEER_REQUIREMENT} into {PEERS.name} ...")
    venv.create(PEERS, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", PEER_REQUIREMENT]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        raise UserError(
            f"pip could not install {PEER_REQUIREMENT}: {installed.stderr.strip()[-300:]}\n"
            "Measure ours alone with: python -m benchmarks.vm --no-peers"
        )
    return python


def compare(name: str, argument: int, what: str, peer: Path | None) -> Comparison:
    """One program in both interpreters. Raises UserError where they disagree."""
    artifact = json.loads((HERE / "contracts" / "artifacts" / f"{name}.json").read_text())
    code = bytes.fromhex(artifact["deployedBytecode"][2:])
    data = bytes.fromhex(artifact["methodIdentifiers"]["run(uint256)"]) + argument.to_bytes(32, "big")
    counter = OpcodeCounter()
    measure(code, data, counter)
    ours = min((measure(code, data) for _ in range(REPETITIONS)), key=lambda measurement: measurement.seconds)
    theirs = measure_peer(peer, code, data) if peer is not None else None
    if theirs is not None and (theirs.output, theirs.gas_used) != (ours.output, ours.gas_used):
        raise UserError(f"{name}: ours and py-evm disagree: {ours} and {theirs}")
    return Comparison(
        program=what,
        opcodes=counter.count,
        gas_used=ours.gas_used,
        ns_per_opcode=ours.seconds * 1e9 / counter.count,
        gas_per_s=ours.gas_used / ours.seconds,
        peer_ns_per_opcode=theirs.seconds * 1e9 / counter.count if theirs else None,
        peer_gas_per_s=theirs.gas_used / theirs.seconds if theirs else None,
        ratio=theirs.seconds / ours.seconds if theirs else None,
    )


def measure(code: bytes, data: bytes, tracer: Tracer | None = None) -> Measurement:
    """One run over a fresh state, without what a transaction adds. Raises UserError where the code fails."""
    state = State(EmptyState())
    state.set_balance(SENDER, 10**18)
    state.set_code(TARGET, code)
    state.begin_transaction([SENDER, TARGET])
    block = BlockContext(1, 1_000, COINBASE, GAS, 0, 0, 1, 1, lambda number: bytes(32))
    message = Message(SENDER, TARGET, 0, data, GAS)
    started = time.process_time()
    outcome = run(state, block, TransactionContext(SENDER, 0), message, tracer)
    seconds = time.process_time() - started
    if not outcome.success:
        raise UserError(f"the benchmark's code failed: {outcome.halt or outcome.output.hex()}")
    return Measurement(seconds, outcome.output.hex(), GAS - outcome.gas_left)


def measure_peer(python: Path, code: bytes, data: bytes) -> Measurement:
    """The same in py-evm, timed inside its own process. Raises UserError."""
    request = {"code": code.hex(), "data": data.hex(), "gas": GAS, "repetitions": PEER_REPETITIONS}
    finished = subprocess.run(
        [str(python), str(HERE / "peers" / "py_evm.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=PEER_TIMEOUT_S,
        check=False,
    )
    if finished.returncode != 0:
        raise UserError(f"py-evm failed: {finished.stderr.strip()[-300:]}")
    answer = json.loads(finished.stdout)
    return Measurement(answer["seconds"], answer["output"], answer["gas_used"])


def table(comparisons: list[Comparison]) -> Table:
    shown = Table(title=f"Contract code, ours and {PEER_REQUIREMENT.replace('==', ' ')}, same run")
    shown.add_column("program")
    for column in ("opcodes", "ns/opcode", "Mgas/s", "py-evm ns/opcode", "py-evm Mgas/s", "times as fast"):
        shown.add_column(column, justify="right")
    for row in comparisons:
        shown.add_row(
            row.program,
            f"{row.opcodes:,}",
            f"{row.ns_per_opcode:.1f}",
            f"{row.gas_per_s / 1e6:.1f}",
            "-" if row.peer_ns_per_opcode is None else f"{row.peer_ns_per_opcode:.0f}",
            "-" if row.peer_gas_per_s is None else f"{row.peer_gas_per_s / 1e6:.2f}",
            "-" if row.ratio is None else f"{row.ratio:.1f}",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
