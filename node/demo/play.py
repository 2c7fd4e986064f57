"""The demo's story: two homes use prepaid electricity, one runs out, is switched off, is topped up, goes on; meanwhile
one of the four nodes that keep the ledger loses its power, and billing goes on.

Everything that happens is done by real processes over JSON-RPC; this file only decides when a wallet pays, and at the
end compares what the meters read with what the ledger charged.
"""

import asyncio
import contextlib
import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console

from node.demo.network import DemoNetwork
from node.demo.observation import Observer, View
from node.demo.outage import Outage
from node.demo.screen import BooksEntry, Screen
from node.demo.stage import RATE_WEI_PER_WH, DemoPlan, Household, Stage, build_stage, write_meter_settings
from node.new_network import random_chain_id
from node.processes import CommandProcess
from primitives.clock import SystemClock
from primitives.errors import UserError
from wallet.amounts import format_amount
from wallet.client import RpcClient

LOOK_INTERVAL_S = 0.5
DARK_INTERVAL_S = 4.0
"""How long a household stays without supply before its owner pays, so that an onlooker sees it."""
FIRST_CREDIT_SHARE = Fraction(2, 5)
"""Of what the second household will use: its first payment. The second pays for all the rest."""
AGREEMENT_TIMEOUT_S = 30.0
"""For the node that was off to catch up, on a slow machine."""
SPARE_SHARE = Fraction(11, 10)


async def play(plan: DemoPlan, console: Console) -> list[BooksEntry]:
    """Play the whole demo; what the books say at its end. Raises UserError."""
    clock = SystemClock()
    stage = build_stage(plan, random_chain_id(), clock.time_s(), clock.precise_time_s())
    with Screen(console) as screen:
        async with DemoNetwork(stage.nodes) as network:
            urls = network.rpc_urls(stage.nodes[0])
            screen.event(
                f"{len(stage.nodes)} nodes keep chain {stage.chain_id} together; three of them decide on a block. "
                f"The first answers at {urls[0]}."
            )
            async with RpcClient(urls[0]) as client:
                observer = Observer(stage, network, client)
                await _first_payments(stage, observer, screen)
                await _run_meters(stage, network, observer, screen)
                books = await _settle(stage, observer, screen)
            await network.stop()
            screen.event("All nodes were stopped and ended in order.")
    return books


async def _first_payments(stage: Stage, observer: Observer, screen: Screen) -> None:
    generous, thrifty = stage.households
    for household, share in ((generous, SPARE_SHARE), (thrifty, FIRST_CREDIT_SHARE)):
        amount_wei = _cost(household, share)
        await observer.top_up(household, amount_wei)
        screen.event(f"{household.name} pays {format_amount(amount_wei)} from its wallet to its meter.")


async def _run_meters(stage: Stage, network: DemoNetwork, observer: Observer, screen: Screen) -> None:
    """Until both meters have played their hours and the ledger has every reading."""
    outage = Outage(stage, network, screen)
    async with contextlib.AsyncExitStack() as stack:
        meters = []
        for household, node in zip(stage.households, stage.nodes, strict=False):
            write_meter_settings(stage, household, network.rpc_urls(node))
            arguments = ["meter", "run", "--settings", str(household.settings_path), "--until-settled", "--json"]
            process = CommandProcess(f"The meter of {household.name}", arguments, household.folder / "meter.log")
            meters.append(asyncio.create_task((await stack.enter_async_context(process)).result()))
        screen.event(
            "Both meters measure and sign, each at a node of its own; "
            f"an hour takes {3600 / stage.clock.rate:.2g} s here."
        )
        played = asyncio.Event()
        watching = asyncio.create_task(_watch(stage, observer, outage, screen, played))
        try:
            await _all_or_first_failure(meters, watching)
            # Not cut off: a payment that is on its way belongs into the books.
            played.set()
            await watching
        finally:
            for task in (watching, *meters):
                task.cancel()
            await asyncio.gather(watching, *meters, return_exceptions=True)
    await outage.end()
    screen.show(await observer.look())


async def _all_or_first_failure(meters: "list[asyncio.Task[Any]]", watching: "asyncio.Task[Any]") -> None:
    """Until all meters have ended; raises what the first failing task raised."""
    waiting = {*meters, watching}
    while waiting & {*meters}:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _watch(stage: Stage, observer: Observer, outage: Outage, screen: Screen, played: asyncio.Event) -> None:
    """Redraw, and pay for a household whose supply has been off for a while, until everything is played."""
    dark_since: dict[str, float] = {}
    supplied: dict[str, bool] = {}
    while not played.is_set():
        view = await observer.look()
        screen.show(view)
        await outage.follow(view)
        for household, home in zip(stage.households, view.households, strict=True):
            if home.is_supplied is None:
                continue
            if supplied.get(home.name) is not home.is_supplied:
                screen.event(_switched(home.name, home.is_supplied, home.name in supplied, view))
                supplied[home.name] = home.is_supplied
                dark_since.pop(home.name, None)
            if home.is_supplied or home.credit_wei:
                continue
            since = dark_since.setdefault(home.name, time.monotonic())
            if time.monotonic() - since >= DARK_INTERVAL_S:
                amount_wei = home.debt_wei + _cost(household, SPARE_SHARE)
                await observer.top_up(household, amount_wei)
                dark_since.pop(home.name)
                screen.event(f"{home.name} pays {format_amount(amount_wei)} from its wallet to its meter.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_INTERVAL_S):
                await played.wait()


def _switched(name: str, is_on: bool, is_change: bool, view: View) -> str:
    seen = f"(seen at block {view.block_number})"
    if not is_on:
        return f"{name} has used up its credit: its relay switches the supply OFF {seen}."
    return f"{name}: the relay switches the supply {'back ' if is_change else ''}on {seen}."


async def _settle(stage: Stage, observer: Observer, screen: Screen) -> list[BooksEntry]:
    """Have the supplier take its money, and compare both sides of everything."""
    view = await observer.look()
    before_wei = await observer.balance(stage.supplier)
    await observer.withdraw(view.supplier_account_wei)
    received_wei = await observer.balance(stage.supplier) - before_wei
    screen.event(f"The supplier withdraws {format_amount(received_wei)}.")
    view = await observer.look()
    books = [
        BooksEntry(f"{home.name}: energy read = energy charged", "Wh", home.read_wh, home.charged_wh)
        for home in view.households
    ]
    charged_wei = sum(home.charged_wh for home in view.households) * RATE_WEI_PER_WH
    debt_wei = sum(home.debt_wei for home in view.households)
    credit_wei = sum(home.credit_wei for home in view.households)
    genesis = json.loads((stage.nodes[0].folder / "genesis.json").read_text("utf-8"))
    funded_wei = {address: int(entry["balance"], 16) for address, entry in genesis["alloc"].items()}
    paid_wei = sum(
        funded_wei["0x" + household.wallet.hex()] - home.wallet_wei
        for household, home in zip(stage.households, view.households, strict=True)
    )
    books.append(
        BooksEntry("energy charged x rate = money received + debt", "wei", charged_wei, received_wei + debt_wei)
    )
    books.append(BooksEntry("money paid = money received + credit left", "wei", paid_wei, received_wei + credit_wei))
    agreeing = await observer.nodes_that_have(view.block_number, AGREEMENT_TIMEOUT_S)
    books.append(BooksEntry(f"nodes that hold the same block {view.block_number}", "nodes", agreeing, len(stage.nodes)))
    return books


def _cost(household: Household, share: Fraction) -> int:
    """Wei for a share of all that a household would use."""
    return int(sum(household.profile_wh) * share) * RATE_WEI_PER_WH


def prepare_folder(folder: Path) -> None:
    """Make the folder for the demo's files. Raises UserError where it cannot be made, or holds something."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    if not is_empty:
        raise UserError(f"The folder {folder} is not empty; name a new one for the demo's files.")
