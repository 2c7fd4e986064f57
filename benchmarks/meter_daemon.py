"""python -m benchmarks.meter_daemon: what the meter daemon alone takes of memory and processor at a sample a second.

The daemon is `wattchain meter run`, in a process of its own as on a Pi, beside a node in another; a reading is signed
and carried to the ledger every minute, the relay follows every block. Measured after a warm-up, from /proc.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.fleet_place import FleetPlan, home_key, home_name, make_place
from node.bench.network import BenchNetwork
from node.bench.usage import Usage, usage_of_process
from node.processes import CommandProcess
from primitives.errors import UserError
from wallet.client import RpcClient
from wallet.key_directory import write_private_file
from wallet.keystore import encrypt_key

AIM_MB = 60.0
AIM_CPU_PERCENT = 3.0
WARM_UP_S = 20.0
LOOK_INTERVAL_S = 1.0
READING_INTERVAL_S = 60
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
        with tempfile.TemporaryDirectory(prefix="wattchain-meter-") as folder:
            usages = [asyncio.run(measure(SIMULATED_HOME, chosen.seconds, Path(folder)))]
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
    """[driver] of the meter's settings."""


SIMULATED_HOME = DriverUnderTest("simulated home", 'kind = "simulated-home"\ninterval_s = 1\nsource = "power"')


async def measure(driver: DriverUnderTest, seconds: float, folder: Path) -> DaemonUsage:
    """Run it in a new folder. Raises UserError where a process ends by itself."""
    node, chain_id = make_place(folder, FleetPlan(homes=1))
    async with BenchNetwork([node]) as network:
        await network.start(lambda: None)
        settings_path = _write_settings(folder, chain_id, node.rpc_url, driver)
        process = CommandProcess("The meter", ["meter", "run", "--settings", str(settings_path)], folder / "meter.log")
        async with process:
            usages = await _watch(process, seconds)
        async with RpcClient(node.rpc_url) as client:
            readings = int(str(await client.request("eth_getTransactionCount", home_name(0), "latest")), 16)
    first, last = usages[0], usages[-1]
    return DaemonUsage(
        driver.name,
        last.time_s - first.time_s,
        max(one.usage.memory_mib for one in usages) * MIB_TO_MB,
        (last.usage.memory_mib - first.usage.memory_mib) * MIB_TO_MB,
        100 * (last.usage.cpu_s - first.usage.cpu_s) / (last.time_s - first.time_s),
        first.usage.cpu_s,
        readings,
        (last.written_bytes - first.written_bytes) / 1024,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    time_s: float
    usage: Usage
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
        counters = Path(f"/proc/{process_id}/io").read_text().splitlines()
        written = next(int(line.split(": ")[1]) for line in counters if line.startswith("write_bytes"))
        return _Look(time.monotonic(), usage_of_process(process_id), written)
    except OSError as error:
        raise UserError("The meter ended by itself; its log says why.") from error


def _write_settings(folder: Path, chain_id: int, node_url: str, driver: DriverUnderTest) -> Path:
    write_private_file(folder / "password", "benchmark\n")
    write_private_file(folder / "key.json", encrypt_key(home_key(0), "benchmark"))
    path = folder / "meter.toml"
    path.write_text(
        f"""\
[meter]
key = "key.json"
password_file = "password"
outbox = "outbox.sqlite"
reading_interval_s = {READING_INTERVAL_S}

[ledger]
chain_id = {chain_id}
node = "{node_url}"
confirmations = 0

[driver]
{driver.section}
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
