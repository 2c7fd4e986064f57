"""Many homes in one process: a whole meter daemon each, with a key, an outbox and a connection of its own.

Started by benchmarks.fleet with a JSON object on the command line; runs until SIGTERM, then prints how many readings
each home has signed. A daemon that ends by itself takes all down.
"""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path

from benchmarks.fleet_place import FleetPlan, home_key, home_name, home_settings
from meter.assembly import build_daemon
from meter.signer import KeySigner
from wallet.client import RpcClient


async def run_homes(folder: Path, numbers: range, chain_id: int, node_url: str, plan: FleetPlan) -> dict[str, int]:
    """Until SIGTERM; the last sequence of each home. Raises what a daemon raised."""
    daemons = {}
    async with contextlib.AsyncExitStack() as stack:
        for number in numbers:
            settings = home_settings(folder, number, chain_id, node_url, plan)
            client = await stack.enter_async_context(RpcClient(node_url))
            key = KeySigner(home_key(number))
            daemons[number] = build_daemon(settings, client, settings.clock.make(), key, key)
            stack.callback(daemons[number].outbox.close)
        running = asyncio.gather(*[daemon.run() for daemon in daemons.values()])
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        print(json.dumps({"homes": len(daemons)}), flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await running
        heads = {number: daemon.outbox.head() for number, daemon in daemons.items()}
        return {home_name(number): 0 if head is None else head.sequence for number, head in heads.items()}


def main() -> None:
    order = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    numbers = range(order["first"], order["first"] + order["count"])
    plan = FleetPlan(**order["plan"])
    print(json.dumps(asyncio.run(run_homes(Path(order["folder"]), numbers, order["chain_id"], order["node"], plan))))


if __name__ == "__main__":
    main()
