"""Many homes in one process: a whole meter daemon each, with a key, an outbox and a connection of its own.

Started by benchmarks.fleet with a JSON object on the command line; runs until SIGTERM, then prints how many readings
each home has signed. A daemon that ends by itself takes all down.
"""

import asyncio
import contextlib
import json
import logging
import random
import signal
import sys
from pathlib import Path

from benchmarks.fleet_place import FleetPlan, home_key, home_name, home_settings, memory_folder
from meter.assembly import NODE_CONNECTIONS, build_daemon
from meter.daemon import MeterDaemon
from meter.signer import KeySigner
from wallet.client import RpcClient


async def run_homes(folder: Path, numbers: range, chain_id: int, node_url: str, plan: FleetPlan) -> dict[str, int]:
    """Until SIGTERM; the last sequence of each home. Raises what a daemon raised."""
    daemons = {}
    async with contextlib.AsyncExitStack() as stack:
        runtime = stack.enter_context(memory_folder("wattchain-fleet-"))
        for number in numbers:
            settings = home_settings(folder, runtime, number, chain_id, node_url, plan)
            client = await stack.enter_async_context(RpcClient(node_url, connections=NODE_CONNECTIONS))
            key = KeySigner(home_key(number))
            daemons[number] = build_daemon(settings, client, settings.clock.make(), key, key)
            stack.callback(daemons[number].outbox.close)
        running = asyncio.gather(*[_switch_on(daemon, plan) for daemon in daemons.values()])
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        print(json.dumps({"homes": len(daemons)}), flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await running
        heads = {number: daemon.outbox.head() for number, daemon in daemons.items()}
        return {home_name(number): 0 if head is None else head.sequence for number, head in heads.items()}


async def _switch_on(daemon: MeterDaemon, plan: FleetPlan) -> None:
    """Homes are not switched on in the same moment, and so do not ask in the same moments."""
    await asyncio.sleep(random.uniform(0, plan.poll_interval_s))
    await daemon.run()


def main() -> None:
    order = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    numbers = range(order["first"], order["first"] + order["count"])
    plan = FleetPlan(**order["plan"])
    print(json.dumps(asyncio.run(run_homes(Path(order["folder"]), numbers, order["chain_id"], order["node"], plan))))


if __name__ == "__main__":
    main()
