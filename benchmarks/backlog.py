"""python -m benchmarks.backlog: a meter that was offline brings 10,000 readings to the ledger.

The node is a process of its own, as `wattchain node` starts it: a closed network of one validator, without fees. The
readings are signed beforehand and lie in a meter's outbox; the clock starts with the submitter's first question to the
node and stops when the ledger has the last reading, and again when the outbox is empty.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from benchmarks.backlog_place import CARRIER, METER, admit_carrier, fill, make_place
from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from meter.ledger import MeterLedger
from meter.outbox import Outbox
from meter.reading import ReadingDomain
from meter.submitter import Submitter, SubmitterSettings
from node.bench.network import BenchNetwork
from node.bench.usage import usage_of_process
from primitives.clock import SystemClock
from wallet.client import RpcClient

AIM_S = 120.0
LOOK_INTERVAL_S = 0.5
GIVE_UP_S = 900.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is measured."""

    readings: int
    spacing_s: int
    block_time_s: int
    pays_itself: bool
    """Without an account that has a whole block as its allowance: the meter's own, of a fifth of it, pays."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What was seen."""

    order: Order
    on_ledger_s: float
    """Until the ledger had the last reading."""
    outbox_empty_s: float
    blocks: int
    """That hold readings."""
    transactions: int
    most_gas: int
    """Of a block."""
    questions: dict[str, int]
    """To the node, by method."""
    node_cpu_s: float
    meter_cpu_s: float

    @property
    def is_reached(self) -> bool:
        return self.on_ledger_s <= AIM_S


class CountingNode(RpcClient):
    """Counts what is asked."""

    questions: Counter[str]

    async def request(self, method: str, *parameters: Any) -> Any:
        self.questions[method] += 1
        return await super().request(method, *parameters)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--readings", type=int, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--spacing", type=int, default=3600, metavar="SECONDS", help="between two (%(default)s)")
    parser.add_argument("--block-time", type=int, default=5, metavar="SECONDS", help="at least (%(default)s)")
    parser.add_argument("--pays-itself", action="store_true", help="no other account carries the meter's readings")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/backlog.json"))
    parser.add_argument("--verbose", action="store_true", help="show what the submitter logs")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if chosen.verbose else logging.WARNING)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="wattchain-backlog-"))
    try:
        order = Order(chosen.readings, chosen.spacing, chosen.block_time, chosen.pays_itself)
        backlog = asyncio.run(measure(folder, order))
    finally:
        shutil.rmtree(folder)
    Console().print(table(backlog))
    chosen.json.write_text(json.dumps(asdict(backlog), indent=1) + "\n")
    print(f"written to {chosen.json}")
    return 0 if backlog.is_reached else 1


async def measure(folder: Path, order: Order) -> Backlog:
    """Run it in a new folder. Raises UserError where the node ends by itself."""
    node, chain_id = make_place(folder, order.block_time_s, order.readings * order.spacing_s)
    domain = ReadingDomain(chain_id, METER_ADDRESS)
    outbox = Outbox.open(folder / "outbox.sqlite", domain, METER.address, METER)
    try:
        async with BenchNetwork([node]) as network:
            await network.start(lambda: None)
            async with CountingNode(node.rpc_url) as client, RpcClient(node.rpc_url) as watching:
                client.questions = Counter()
                if not order.pays_itself:
                    await admit_carrier(watching, chain_id)
                ledger = MeterLedger(client, METER_ADDRESS, EXHAUSTION_ADDRESS)
                settings = SubmitterSettings(confirmations=0)
                payer = METER if order.pays_itself else CARRIER
                submitter = Submitter(outbox, ledger, payer, SystemClock(), settings)
                await submitter.adopt()
                fill(outbox, order.readings, order.spacing_s)
                client.questions.clear()
                node_s, meter_s = usage_of_process(node.process.process_id).cpu_s, time.process_time()
                on_ledger_s, empty_s = await _carry(submitter, outbox, watching, order.readings)
                node_s = usage_of_process(node.process.process_id).cpu_s - node_s
                meter_s = time.process_time() - meter_s
                asked = dict(client.questions.most_common())
                return Backlog(order, on_ledger_s, empty_s, *await _blocks(watching), asked, node_s, meter_s)
    finally:
        outbox.close()


async def _carry(submitter: Submitter, outbox: Outbox, watching: RpcClient, readings: int) -> tuple[float, float]:
    """Seconds until the ledger has all, and until the outbox is empty."""
    ledger = MeterLedger(watching, METER_ADDRESS, EXHAUSTION_ADDRESS)
    begin_s = time.monotonic()
    task = asyncio.ensure_future(submitter.run())
    on_ledger_s: float | None = None
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                done, _ = await asyncio.wait((task,), timeout=LOOK_INTERVAL_S)
                if done:
                    await task
                passed_s = time.monotonic() - begin_s
                if on_ledger_s is None and (await ledger.last_reading(outbox.meter)).sequence == readings:
                    on_ledger_s = passed_s
                if on_ledger_s is not None and outbox.count() == 0:
                    return on_ledger_s, passed_s
    finally:
        task.cancel()


async def _blocks(client: RpcClient) -> tuple[int, int, int]:
    """Blocks with readings, the transactions in them, and the most gas that one of them used."""
    event = load_artifact("Meter").abi.event("ReadingAccepted")
    last = await client.block_number()
    transactions, numbers = set(), set()
    for number in range(last + 1):
        for log in await client.logs([METER_ADDRESS], [event.topic], number, number):
            transactions.add(log.transaction_hash)
            numbers.add(log.block_number)
    most = 0
    for number in numbers:
        block = cast(dict[str, str], await client.request("eth_getBlockByNumber", hex(number), False))
        most = max(most, int(block["gasUsed"], 16))
    return len(numbers), len(transactions), most


def table(backlog: Backlog) -> Table:
    order = backlog.order
    shown = Table(title=f"{order.readings:,} readings {order.spacing_s} s apart, a block every {order.block_time_s} s")
    shown.add_column("")
    shown.add_column("", justify="right")
    rows = [
        ("until the ledger has the last", f"{backlog.on_ledger_s:.1f} s"),
        ("until the outbox is empty", f"{backlog.outbox_empty_s:.1f} s"),
        ("readings a second", f"{order.readings / backlog.on_ledger_s:.0f}"),
        ("blocks with readings", f"{backlog.blocks:,}"),
        ("transactions", f"{backlog.transactions:,}"),
        ("most gas in a block", f"{backlog.most_gas:,}"),
        *((f"asked: {method}", f"{count:,}") for method, count in backlog.questions.items()),
        ("processor time of the node", f"{backlog.node_cpu_s:.1f} s"),
        ("processor time of the meter", f"{backlog.meter_cpu_s:.1f} s"),
    ]
    for row in rows:
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    sys.exit(main())
