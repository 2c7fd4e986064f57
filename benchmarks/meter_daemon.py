"""python -m benchmarks.meter_daemon: what the meter daemon alone takes of memory and processor at a sample a second.

The daemon is `wattchain meter run`, in a process of its own as on a Pi, beside a node in another; a reading is signed
and carried to the ledger every minute, the relay follows every block. Measured after a warm-up, from /proc.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.fleet_place import FleetPlan, home_key, home_name, make_place, memory_folder
from meter.pseudo_terminal import PseudoTerminal
from meter.virtual_board import VirtualBoard, rows_power
from node.bench.network import BenchNetwork
from node.bench.usage import usage_of_process
from node.processes import CommandProcess
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.p1_frames import sealed
from tests.meter.p1_telegrams import LUXEMBOURG, telegram
from wallet.client import RpcClient
from wallet.key_directory import write_private_file
from wallet.keystore import encrypt_key

AIM_MB = 60.0
AIM_CPU_PERCENT = 3.0
WARM_UP_S = 10.0
"""Behind the first reading on the ledger: then everything has been loaded that is needed."""
START_TIMEOUT_S = 180.0
POLL_INTERVAL_S = 0.5
LOOK_INTERVAL_S = 1.0
READING_INTERVAL_S = 60
PORT, KEY_FILE = "board", "p1.key"
P1_KEY = bytes(range(16))
MIB_TO_MB = 2**20 / 10**6


@dataclass(frozen=True, slots=True)
class DaemonUsage:
    """What was seen; MB are 10^6 bytes."""

    driver: str
    seconds: float
    memory_mb: float
    """Resident, the most that was seen after the warm-up."""
    growth_mb: float
    """From the warm-up to the end."""
    cpu_percent: float
    """Of one core, after the warm-up."""
    start_cpu_s: float
    """Until the end of the warm-up."""
    readings: int
    """On the ledger at the end."""
    kib_written: float
    """To the disk, after the warm-up."""

    @property
    def is_reached(self) -> bool:
        return self.memory_mb < AIM_MB and self.cpu_percent < AIM_CPU_PERCENT


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.meter_daemon", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="after the warm-up (%(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/meter_daemon.json"))
    chosen = parser.parse_args(arguments)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    try:
        usages = []
        for driver in DRIVERS:
            with tempfile.TemporaryDirectory(prefix="wattchain-meter-") as folder:
                usages.append(asyncio.run(measure(driver, chosen.seconds, Path(folder))))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    Console().print(table(usages))
    chosen.json.write_text(json.dumps([asdict(usage) for usage in usages], indent=1) + "\n")
    print(f"written to {chosen.json}")
    return 0 if all(usage.is_reached for usage in usages) else 1


@dataclass(frozen=True, slots=True)
class DriverUnderTest:
    name: str
    section: str
    """[driver] of the meter's settings; BOARD stands for the pseudo-terminal."""
    device: Callable[[Path], AbstractAsyncContextManager[None]] | None = None
    """What is at the other end of the pseudo-terminal."""


@contextlib.asynccontextmanager
async def _board(port: Path) -> AsyncIterator[None]:
    """A virtual board, in this process; a line a second."""
    clock = SystemClock()
    powers_w = [Fraction(300 + number * 137 % 2_000) for number in range(600)]
    board = VirtualBoard(PseudoTerminal(port), rows_power(powers_w, 60, clock.time_s()), clock, 1.0)
    async with _running(board.run()):
        yield


@contextlib.asynccontextmanager
async def _encrypting_meter(port: Path) -> AsyncIterator[None]:
    """A P1 port of Luxembourg, in this process; a telegram a second, and 1 Wh with each."""
    terminal = PseudoTerminal(port)
    terminal.plug()

    async def tell() -> None:
        for number in itertools.count(1):
            content = telegram(LUXEMBOURG | {"1-0:1.8.0": f"({number / 1000:010.3f}*kWh)"})
            terminal.send_now(sealed(content, P1_KEY, number))
            await asyncio.sleep(1)

    async with _running(tell()):
        yield
    terminal.unplug()


@contextlib.asynccontextmanager
async def _running(device: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(device)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


DRIVERS = (
    DriverUnderTest("simulated home", 'kind = "simulated-home"\ninterval_s = 1\nsource = "power"'),
    DriverUnderTest("RPICT3V1", 'kind = "rpict"\nport = "BOARD"\ninterval_s = 1', _board),
    DriverUnderTest(
        "P1, encrypted",
        'kind = "dsmr"\nport = "BOARD"\ninterval_s = 1\nencrypted = true\nkey_file = "p1.key"',
        _encrypting_meter,
    ),
)


async def measure(driver: DriverUnderTest, seconds: float, folder: Path) -> DaemonUsage:
    """Run it in a new folder. Raises UserError where a process ends by itself."""
    node, chain_id = make_place(folder, FleetPlan(homes=1))
    async with contextlib.AsyncExitStack() as stack:
        network = await stack.enter_async_context(BenchNetwork([node]))
        await network.start(lambda: None)
        runtime = stack.enter_context(memory_folder("wattchain-meter-"))
        settings_path = _write_settings(folder, runtime, chain_id, node.rpc_url, driver)
        if driver.device is not None:
            await stack.enter_async_context(driver.device(folder / PORT))
        process = CommandProcess("The meter", ["meter", "run", "--settings", str(settings_path)], folder / "meter.log")
        client = await stack.enter_async_context(RpcClient(node.rpc_url))
        async with process:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await _transactions(client):  # noqa: ASYNC110 - a question to another process
                    await asyncio.sleep(POLL_INTERVAL_S)
            usages = await _watch(process, seconds)
            readings = await _transactions(client)
    first, last = usages[0], usages[-1]
    return DaemonUsage(
        driver.name,
        last.time_s - first.time_s,
        max(one.memory_mib for one in usages) * MIB_TO_MB,
        (last.memory_mib - first.memory_mib) * MIB_TO_MB,
        100 * (last.cpu_s - first.cpu_s) / (last.time_s - first.time_s),
        first.cpu_s,
        readings,
        (last.written_bytes - first.written_bytes) / 1024,
    )


async def _transactions(client: RpcClient) -> int:
    """That the meter has sent and that are in a block."""
    return int(str(await client.request("eth_getTransactionCount", home_name(0), "latest")), 16)


@dataclass(frozen=True, slots=True)
class _Look:
    time_s: float
    memory_mib: float
    cpu_s: float
    written_bytes: int


async def _watch(process: CommandProcess, seconds: float) -> list[_Look]:
    """What the daemon takes, second by second, after the warm-up."""
    await asyncio.sleep(WARM_UP_S)
    looks = []
    end_s = time.monotonic() + seconds
    while True:
        looks.append(_look(process.process_id))
        if looks[-1].time_s >= end_s:
            return looks
        await asyncio.sleep(LOOK_INTERVAL_S)


def _look(process_id: int) -> _Look:
    try:
        return _Look(
            time.monotonic(), usage_of_process(process_id).memory_mib, _cpu_s(process_id), _written_bytes(process_id)
        )
    except OSError as error:
        raise UserError("The meter ended by itself; its log says why.") from error


def _cpu_s(process_id: int) -> float:
    """Of all its threads, to the nanosecond: work of a millisecond now and then escapes the ticks of `stat`."""
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 10**9


def _written_bytes(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/io").read_text().splitlines()
    return next(int(line.split(": ")[1]) for line in lines if line.startswith("write_bytes"))


def _write_settings(folder: Path, runtime: Path, chain_id: int, node_url: str, driver: DriverUnderTest) -> Path:
    write_private_file(folder / "password", "benchmark\n")
    write_private_file(folder / "key.json", encrypt_key(home_key(0), "benchmark"))
    write_private_file(folder / KEY_FILE, P1_KEY.hex() + "\n")
    path = folder / "meter.toml"
    path.write_text(
        f"""\
[meter]
key = "key.json"
password_file = "password"
outbox = "outbox.sqlite"
reading_interval_s = {READING_INTERVAL_S}
runtime_folder = "{runtime}"

[ledger]
chain_id = {chain_id}
node = "{node_url}"
confirmations = 0

[driver]
{driver.section.replace("BOARD", str(folder / PORT))}
"""
    )
    return path


def table(usages: Sequence[DaemonUsage]) -> Table:
    shown = Table(title="the meter daemon alone, a sample a second")
    shown.add_column("")
    for usage in usages:
        shown.add_column(usage.driver, justify="right")
    rows = [
        ("resident, MB at most (aim: below 60)", "memory_mb", ".1f"),
        ("grown meanwhile, MB", "growth_mb", ".2f"),
        ("of one core, % (aim: below 3)", "cpu_percent", ".2f"),
        ("to start, s of processor time", "start_cpu_s", ".2f"),
        ("written to the disk, KiB", "kib_written", ",.0f"),
        ("transactions with readings", "readings", ","),
        ("seconds", "seconds", ".0f"),
    ]
    for name, field, form in rows:
        shown.add_row(name, *(format(getattr(usage, field), form) for usage in usages))
    return shown


if __name__ == "__main__":
    sys.exit(main())
