"""`python -m tests.soak.meter_kills [--kills 30] [--seed N]`: SIGKILL for a meter and its files, beside a node.

The home is one that does not exist (meter/drivers/simulated_home.py), with a register of its own, and its clock runs 60
times as fast, so that a sample comes every 83 ms and a reading every second. In the end the ledger has every reading
once, and each register is what the home had taken by then.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import cast

from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from meter.drivers.simulated_home import MJ_PER_MWH, Household, SimulatedHomeSettings
from meter.reading import Reading
from tests.functional.running_node import ProcessFailed, RunningCommand, free_port
from tests.soak.books import BooksDiffer
from tests.soak.place import Place, build_place
from wallet.client import RpcClient

READING_INTERVAL_S = 60
SAMPLE_S = 5
DAY_S = 86_400
SHORTEST_LIFE_S, LONGEST_LIFE_S = 0.1, 10.0
"""Starting takes more than a second: many die before they have measured anything."""
PROGRESS_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.2
ROUNDING_S = 2
"""Of the fast clock, between the home's time and that of the reading."""


async def kill_often(folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Readings on the ledger, and Wh taken. Raises ProcessFailed, BooksDiffer."""
    place = build_place(folder, seed, free_port())
    home = SimulatedHomeSettings(seed=seed, begin_s=int(place.clock.origin_s) - DAY_S, interval_s=SAMPLE_S)
    settings_path = _write_settings(place, home)
    randomness = random.Random(f"kills {seed}")
    node = RunningCommand(place.folder, folder / "node.log", "node", "--data-dir", place.node_folder, "--json")
    meter = RunningCommand(place.folder, folder / "meter.log", "meter", "run", "--settings", settings_path)
    async with node:
        await node.ready()
        async with RpcClient(place.url) as client:
            for _ in range(kills):
                await meter.start()
                await asyncio.sleep(randomness.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S))
                if meter.exit_status is not None:
                    raise ProcessFailed(f"the meter ended by itself with status {meter.exit_status}.{meter.log_tail()}")
                await meter.kill()
            await meter.start()
            await _until_at_work(client, place, meter)
            if (status := await meter.stop()) != 0:
                raise ProcessFailed(f"the meter was asked to stop and ended with status {status}.{meter.log_tail()}")
            readings = await _accepted(client, place)
    _check(readings, Household(home))
    return len(readings), readings[-1].import_wh


def _write_settings(place: Place, home: SimulatedHomeSettings) -> Path:
    """As those of `make soak`, but for the driver, and with a folder in memory for what is measured meanwhile."""
    text = (place.meter_folder / "meter.toml").read_text()
    before, _, rest = text.partition("[driver]")
    _, _, behind = rest.partition("[relay]")
    path = place.meter_folder / "home.toml"
    lines = "\n".join([f'kind = "{home.kind}"', f"seed = {home.seed}", f"interval_s = {home.interval_s}",
                       f"begin_s = {home.begin_s}"])  # fmt: skip
    before = before.replace("[meter]", f'[meter]\nruntime_folder = "{place.meter_folder}"')
    before = "\n".join(line for line in before.splitlines() if not line.startswith("reading_interval_s"))
    before = before.replace("[meter]", f"[meter]\nreading_interval_s = {READING_INTERVAL_S}", 1)
    path.write_text(f"{before}\n\n[driver]\n{lines}\n\n[relay]{behind}")
    return path


async def _until_at_work(client: RpcClient, place: Place, meter: RunningCommand) -> None:
    """Until the ledger has some more readings. Raises ProcessFailed."""
    first = len(await _accepted(client, place))
    try:
        async with asyncio.timeout(PROGRESS_TIMEOUT_S):
            while len(await _accepted(client, place)) < first + 5:
                if meter.exit_status is not None:
                    raise ProcessFailed(f"the meter ended by itself.{meter.log_tail()}")
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise ProcessFailed(f"no reading reaches the ledger.{meter.log_tail()}") from None


async def _accepted(client: RpcClient, place: Place) -> list[Reading]:
    event = load_artifact("Meter").abi.event("ReadingAccepted")
    logs = await client.logs([METER_ADDRESS], event.topics(meter=place.meter), 0, await client.block_number())
    readings = []
    for log in logs:
        _, _, *fields = event.decode_log(log.topics, log.data).values()
        readings.append(Reading(place.meter, *cast(list[int], fields)))  # type: ignore[arg-type]
    return readings


def _check(readings: list[Reading], household: Household) -> None:
    """Each once, each chained to the one before, each register that of the home. Raises BooksDiffer."""
    first = readings[0]
    for number, reading in enumerate(readings, 1):
        if reading.sequence != number:
            raise BooksDiffer(f"reading {reading.sequence} was accepted where {number} was due")
        if number > 1 and reading.previous_hash != readings[number - 2].hash:
            raise BooksDiffer(f"reading {number} does not follow on the one before")
        least, most = (
            [_taken_wh(household, first.time_s - late_s, reading.time_s + late_s, index) for index in (0, 1)]
            for late_s in (-ROUNDING_S, ROUNDING_S)
        )
        for name, value, low, high in zip(
            ("import", "export"), (reading.import_wh, reading.export_wh), least, most, strict=True
        ):
            if not low <= value <= high:
                raise BooksDiffer(f"reading {number}: {name} is {value} Wh, the home's {low} to {high} Wh")


def _taken_wh(household: Household, from_s: int, until_s: int, index: int) -> int:
    """What went one way in a time, as a register of whole mWh shows it."""
    if until_s <= from_s:
        return 0
    began, ended = (household.energy_mj(time_s)[index] // MJ_PER_MWH for time_s in (from_s, until_s))
    return (ended - began) // 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.meter_kills", description="Kill a meter at random.")
    parser.add_argument("--kills", type=int, default=30, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, help="repeats the kills of another run; random if not given")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="wattchain-kills-"))
    print(f"{arguments.kills} kills, seed {seed}, files in {folder}", flush=True)
    try:
        readings, import_wh = asyncio.run(kill_often(folder, arguments.kills, seed))
    except (ProcessFailed, BooksDiffer) as failure:
        print(f"FAILED: {failure}\nThe files are kept in {folder}.")
        return 1
    print(f"{readings} readings, each on the ledger once; {import_wh} Wh taken, as the home's register says")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
