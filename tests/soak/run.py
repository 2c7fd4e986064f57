"""One soak from beginning to end: start, kill, let everything settle, compare the books."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from tests.functional.running_node import ProcessFailed, RunningCommand, free_port
from tests.soak.books import check_blocks, check_readings, check_transfers
from tests.soak.killing import POLL_INTERVAL_S, PROGRESS_TIMEOUT_S, Record, Soak
from tests.soak.place import Place, build_place
from tests.soak.transfers import Transfers
from wallet.client import RpcClient


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a soak that went well has shown."""

    record: Record
    blocks: int
    readings: int
    transfers: int
    charged_wh: int


async def soak(folder: Path, kills: int, seed: int, on_kill: Callable[[], None]) -> Outcome:
    """In a new folder, which keeps all files. Raises ProcessFailed or BooksDiffer where a promise was not kept."""
    place = build_place(folder, seed, free_port())
    transfers = Transfers(place.wallet_key, random.Random(f"transfers {seed}"))
    run = Soak(place, random.Random(f"kills {seed}"), transfers)
    try:
        await run.start()
        async with RpcClient(place.url) as client:
            await _while_working(run, transfers, client, kills, on_kill)
        async with RpcClient(place.url) as client:
            charged_wh = await _settle(run, transfers, client)
    finally:
        await run.close()
    blocks = check_blocks(place)
    check_transfers(place, blocks, transfers.hashes)
    readings = check_readings(place, blocks, run.record.readings, charged_wh)
    return Outcome(run.record, len(blocks), readings, len(transfers.hashes), charged_wh)


async def _while_working(
    run: Soak, transfers: Transfers, client: RpcClient, kills: int, on_kill: Callable[[], None]
) -> None:
    """All the kills, while a wallet pays and the chain's head is watched."""
    tasks = [asyncio.create_task(transfers.run(client)), asyncio.create_task(run.watch_head(client))]
    killing = asyncio.create_task(run.kill_many(kills, on_kill))
    try:
        done, _ = await asyncio.wait({*tasks, killing}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        transfers.stopping = True
        await tasks[0]
    finally:
        for task in (*tasks, killing):
            task.cancel()
        await asyncio.gather(*tasks, killing, return_exceptions=True)


async def _settle(run: Soak, transfers: Transfers, client: RpcClient) -> int:
    """Until everything that was promised is on the chain, then stop; the energy that was charged, in Wh."""
    place = run.place
    try:
        async with asyncio.timeout(PROGRESS_TIMEOUT_S):
            while await transfers.count_waiting(client):  # noqa: ASYNC110 - the node is another process
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise ProcessFailed("accepted transfers are in no block, though the node makes blocks") from None
    await _stop("meter", run.meter)
    last = RunningCommand(
        place.folder,
        place.folder / "meter.log",
        *("meter", "run", "--settings", place.meter_folder / "last.toml", "--until-settled", "--json"),
    )
    async with last:
        status = json.loads(await last.finish())
    if status["waiting"] or status["quarantined"]:
        raise ProcessFailed(f"readings were left over: {status}")
    charged_wh = await _charged_wh(client, place)
    await _stop("node", run.node)
    return charged_wh


async def _stop(name: str, process: RunningCommand) -> None:
    if (status := await process.stop()) != 0:
        raise ProcessFailed(f"the {name} was asked to stop and ended with status {status}.{process.log_tail()}")


async def _charged_wh(client: RpcClient, place: Place) -> int:
    """By the register up to which the ledger has charged; it began at zero."""
    abi = load_artifact("Meter").abi
    data = await client.call(METER_ADDRESS, abi.encode_call("lastReading", (place.meter,)))
    (last,) = abi.decode_result("lastReading", data)
    return cast(tuple[int, ...], last)[2]
