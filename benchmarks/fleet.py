"""python -m benchmarks.fleet: 200 homes with one node on this machine, a reading a minute each, for half an hour.

The node is a process of its own, as `wattchain node` starts it. The homes are whole meter daemons (simulated home,
signature, outbox on disk, JSON-RPC over a connection of their own), many in one process. Everything is judged by the
ledger afterwards: every reading that was signed is on it, and how many blocks came after its time until it was.
"""

import argparse
import asyncio
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from benchmarks.fleet_place import READING_INTERVAL_S, FleetPlan, make_place
from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from node.bench.network import BenchNetwork, BenchNode
from node.bench.usage import Usage, usage_of_process
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient

AIM_BLOCKS = 2
FLAT_MIB = 10.0
"""By so much the node may have grown from a third of the time to the end: caches fill, then nothing may."""
LOOK_INTERVAL_S = 10.0
SETTLE_TIME_S = 40.0
"""Behind a whole minute the last readings have to be on the ledger when so much has passed."""
BLOCKS_PER_QUESTION = 200
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What was seen."""

    plan: FleetPlan
    signed: int
    accepted: int
    missing: int
    """Signed, but not on the ledger; or there, and signed by nobody."""
    waits_blocks: dict[int, int]
    """Blocks after the reading's own time until it was accepted -> readings."""
    median_s: float
    """From the reading's time to that of its block."""
    longest_s: int
    blocks: int
    most_gas: int
    """Of a block."""
    node_mib: tuple[float, float, float]
    """After a third of the time, after two thirds, at the end."""
    node_cpu_percent: float
    """Of one core."""
    homes_mib: float
    """Of all processes with homes, at the end."""
    homes_cpu_percent: float
    troubles: int
    """Lines that the homes logged as warnings or errors."""

    @property
    def is_reached(self) -> bool:
        in_time = all(blocks <= AIM_BLOCKS for blocks in self.waits_blocks)
        return self.missing == 0 and in_time and self.node_mib[2] - self.node_mib[0] <= FLAT_MIB


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--homes", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--minutes", type=int, default=30, help="for how long (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="that hold the homes (%(default)s)")
    parser.add_argument("--block-time", type=int, default=15, metavar="SECONDS", help="at least (%(default)s)")
    parser.add_argument("--folder", type=Path, help="new folder for all files, which are then kept")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("results/fleet.json"))
    chosen = parser.parse_args(arguments)
    plan = FleetPlan(chosen.homes, chosen.minutes, chosen.processes, chosen.block_time)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    folder = (chosen.folder or Path(tempfile.mkdtemp(prefix="wattchain-fleet-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    try:
        fleet = asyncio.run(measure(plan, folder, console))
    except UserError as error:
        print(f"{error}\nThe files are kept in {folder}.", file=sys.stderr)
        return 2
    console.print(table(fleet))
    chosen.json.write_text(json.dumps(asdict(fleet), indent=1) + "\n")
    print(f"written to {chosen.json}")
    if chosen.folder is None and fleet.is_reached:
        shutil.rmtree(folder)
    else:
        print(f"The files are kept in {folder}.")
    return 0 if fleet.is_reached else 1


async def measure(plan: FleetPlan, folder: Path, console: Console) -> Fleet:
    """Run it in a new folder. Raises UserError where a process ends by itself."""
    node, chain_id = make_place(folder, plan)
    async with BenchNetwork([node]) as network:
        await network.start(lambda: None)
        homes = await _start_homes(plan, folder, chain_id, node.rpc_url)
        try:
            seen = await _watch(plan, node, homes, console)
            signed = await _stop_homes(homes)
        finally:
            for process in homes:
                if process.returncode is None:
                    process.kill()
        async with RpcClient(node.rpc_url) as client:
            return await _ask_and_judge(plan, client, signed, seen, _count_troubles(folder))


@dataclass(frozen=True, slots=True)
class _Look:
    """At a moment: the node, and all processes with homes together."""

    time_s: float
    node: Usage
    homes: Usage


async def _start_homes(plan: FleetPlan, folder: Path, chain_id: int, node_url: str) -> list[asyncio.subprocess.Process]:
    processes = []
    share = -(-plan.homes // plan.processes)
    for first in range(0, plan.homes, share):
        count = min(share, plan.homes - first)
        order = {"folder": str(folder), "first": first, "count": count, "chain_id": chain_id, "node": node_url,
                 "plan": asdict(plan)}  # fmt: skip
        with (folder / f"homes-{first}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.fleet_homes", json.dumps(order),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        processes.append(process)
    for process in processes:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise UserError("A process with homes could not start; its log says why.")
    return processes


async def _watch(
    plan: FleetPlan, node: BenchNode, homes: Sequence[asyncio.subprocess.Process], console: Console
) -> list[_Look]:
    """What the processes take, until the time is over and the last readings had the time to arrive."""
    end_s = time.time() + plan.minutes * 60
    end_s += READING_INTERVAL_S - end_s % READING_INTERVAL_S + SETTLE_TIME_S
    looks: list[_Look] = []
    while True:
        if any(process.returncode is not None for process in homes):
            raise UserError("A process with homes ended by itself; its log says why.")
        usages = [usage_of_process(process.pid) for process in homes]
        looks.append(_Look(time.time(), usage_of_process(node.process.process_id), sum(usages, Usage())))
        if len(looks) % 30 == 0:
            console.print(f"{(looks[-1].time_s - looks[0].time_s) / 60:.0f} min: {looks[-1].node.memory_mib:.1f} MiB")
        if looks[-1].time_s >= end_s:
            return looks
        await asyncio.sleep(min(LOOK_INTERVAL_S, max(end_s - time.time(), 0)))


async def _stop_homes(homes: Sequence[asyncio.subprocess.Process]) -> dict[str, int]:
    """The last sequence of each home."""
    signed: dict[str, int] = {}
    for process in homes:
        process.send_signal(signal.SIGTERM)
    for process in homes:
        assert process.stdout is not None
        async with asyncio.timeout(STOP_TIMEOUT_S):
            signed |= json.loads(await process.stdout.read())
            await process.wait()
    return signed


async def _ask_and_judge(
    plan: FleetPlan, client: RpcClient, signed: dict[str, int], looks: Sequence[_Look], troubles: int
) -> Fleet:
    blocks = [await client.block(number) for number in range(await client.block_number() + 1)]
    times_s = [block.time_s for block in blocks if block is not None]
    accepted = await _accepted(client, len(times_s) - 1)
    duration_s = looks[-1].time_s - looks[0].time_s
    third = len(looks) // 3
    return judge(
        plan,
        times_s,
        accepted,
        signed,
        most_gas=await _most_gas(client, {number for _, number in accepted.values()}),
        node_mib=(looks[third].node.memory_mib, looks[2 * third].node.memory_mib, looks[-1].node.memory_mib),
        node_cpu_percent=100 * (looks[-1].node.cpu_s - looks[0].node.cpu_s) / duration_s,
        homes_mib=looks[-1].homes.memory_mib,
        homes_cpu_percent=100 * (looks[-1].homes.cpu_s - looks[0].homes.cpu_s) / duration_s,
        troubles=troubles,
    )


def judge(
    plan: FleetPlan,
    times_s: Sequence[int],
    accepted: Mapping[tuple[str, int], tuple[int, int]],
    signed: Mapping[str, int],
    *,
    most_gas: int,
    node_mib: tuple[float, float, float],
    node_cpu_percent: float,
    homes_mib: float,
    homes_cpu_percent: float,
    troubles: int,
) -> Fleet:
    """By the times of all blocks, what is on the ledger ((home, sequence) -> time, block) and what was signed."""
    waits, seconds = Counter[int](), []
    for time_s, number in accepted.values():
        waits[max(number - bisect_right(times_s, time_s) + 1, 1)] += 1
        seconds.append(times_s[number] - time_s)
    wanted = {(home, sequence) for home, last in signed.items() for sequence in range(1, last + 1)}
    return Fleet(
        plan=plan,
        signed=len(wanted),
        accepted=len(accepted),
        missing=len(wanted ^ set(accepted)),
        waits_blocks=dict(sorted(waits.items())),
        median_s=statistics.median(seconds) if seconds else 0.0,
        longest_s=max(seconds, default=0),
        blocks=len(times_s) - 1,
        most_gas=most_gas,
        node_mib=node_mib,
        node_cpu_percent=node_cpu_percent,
        homes_mib=homes_mib,
        homes_cpu_percent=homes_cpu_percent,
        troubles=troubles,
    )


async def _accepted(client: RpcClient, head: int) -> dict[tuple[str, int], tuple[int, int]]:
    """(home, sequence) -> (the reading's time, number of its block), of all that the ledger has. Raises UserError."""
    event = load_artifact("Meter").abi.event("ReadingAccepted")
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for first in range(0, head + 1, BLOCKS_PER_QUESTION):
        last = min(first + BLOCKS_PER_QUESTION - 1, head)
        for log in await client.logs([METER_ADDRESS], [event.topic], first, last):
            values = event.decode_log(log.topics, log.data)
            key = to_checksum_address(cast(bytes, values["meter"])), cast(int, values["sequence"])
            if key in found:
                raise UserError(f"reading {key[1]} of {key[0]} is on the ledger twice")
            found[key] = cast(int, values["time"]), log.block_number
    return found


async def _most_gas(client: RpcClient, numbers: set[int]) -> int:
    most = 0
    for number in numbers:
        block = cast(dict[str, str], await client.request("eth_getBlockByNumber", hex(number), False))
        most = max(most, int(block["gasUsed"], 16))
    return most


def _count_troubles(folder: Path) -> int:
    lines = [line for path in folder.glob("homes-*.log") for line in path.read_text(errors="replace").splitlines()]
    return sum(" WARNING " in line or " ERROR " in line for line in lines)


def table(fleet: Fleet) -> Table:
    plan = fleet.plan
    shown = Table(title=f"{plan.homes} homes, a reading a minute, {plan.minutes} minutes, one node")
    shown.add_column("")
    shown.add_column("", justify="right")
    rows = [
        ("readings signed", f"{fleet.signed:,}"),
        ("on the ledger", f"{fleet.accepted:,}"),
        ("missing", f"{fleet.missing:,}"),
        *((f"in block {blocks} after their time", f"{count:,}") for blocks, count in fleet.waits_blocks.items()),
        ("from its time to that of its block, median", f"{fleet.median_s:.0f} s"),
        ("the longest", f"{fleet.longest_s} s"),
        ("blocks", f"{fleet.blocks:,}"),
        ("most gas in a block", f"{fleet.most_gas:,}"),
        ("node, MiB after a third, two thirds, at the end", " / ".join(f"{mib:.1f}" for mib in fleet.node_mib)),
        ("node, of one core", f"{fleet.node_cpu_percent:.1f} %"),
        (f"homes in {plan.processes} processes, MiB", f"{fleet.homes_mib:.0f}"),
        ("homes, of one core", f"{fleet.homes_cpu_percent:.1f} %"),
        ("warnings in the homes' logs", f"{fleet.troubles:,}"),
    ]
    for row in rows:
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    sys.exit(main())
