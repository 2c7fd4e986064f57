"""The demo's story: a day in a neighbourhood of six homes, whose meters put their readings on a ledger of four nodes.

By night one home lives on emergency credit, and repays it in the morning; by day two homes with solar panels sell to
two others, and one pays by channel; in the evening one home runs out and goes dark until it pays. Meanwhile one of the
nodes loses its power, and billing goes on. Everything is done by real processes over JSON-RPC; here it is only decided
when somebody acts, and at the end the books are compared.
"""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from node.demo.books import Bookkeeper
from node.demo.channel_day import ChannelDay
from node.demo.credit_day import CreditDay
from node.demo.day import HOUR_S, Day
from node.demo.market_day import MarketDay
from node.demo.network import DemoNetwork
from node.demo.observation import Observer
from node.demo.outage import Outage
from node.demo.screen import BooksEntry, Screen, watt
from node.demo.stage import DemoPlan, Household, Stage, build_stage, write_meter_settings
from node.new_network import random_chain_id
from node.processes import CommandProcess
from primitives.clock import SystemClock
from primitives.errors import UserError
from wallet.client import RpcClient
from wallet.contract_call import ContractCall
from wallet.credit import EXHAUSTION

LOOK_INTERVAL_S = 1.0
SETTING_UP_S = 8.0
"""Of the wall's clock, from the moment at which all nodes run: for first payments, and for the meters to start."""
SETTING_UP_SHARE = 0.4
"""Of the time that the nodes took to start, on top of it: a slow machine needs longer for the meters too."""


async def play(plan: DemoPlan, console: Console) -> list[BooksEntry]:
    """Play the whole demo; what the books say at its end. Raises UserError."""
    clock = SystemClock()
    stage = build_stage(plan, random_chain_id(), clock.time_s(), clock.precise_time_s())
    started_s = time.monotonic()
    with Screen(console) as screen:
        async with DemoNetwork(stage.nodes) as network:
            urls = network.rpc_urls(stage.nodes[0])
            screen.event(
                f"{len(stage.nodes)} nodes keep chain {stage.chain_id} together; three of them decide on a block. "
                f"The first answers at {urls[0]}."
            )
            lead_s = SETTING_UP_S + SETTING_UP_SHARE * (time.monotonic() - started_s)
            day = Day.beginning_after(stage.clock.make(), lead_s * stage.clock.rate)
            async with RpcClient(urls[0]) as client:
                observer = Observer(stage, network, client)
                books = await _Play(stage, network, observer, screen, day).play()
            await network.stop()
            screen.day = None
            screen.event("All nodes were stopped and ended in order.")
    return books


class _Play:
    """Everything that happens while the nodes run."""

    def __init__(self, stage: Stage, network: DemoNetwork, observer: Observer, screen: Screen, day: Day) -> None:
        self._stage = stage
        self._network = network
        self._observer = observer
        self._screen = screen
        self._day = day
        self._credit = CreditDay(stage, observer, screen, day)
        self._market = MarketDay(stage, observer, screen, day)
        self._channel = ChannelDay(stage, observer, screen, day)
        self._outage = Outage(stage, network, screen)

    async def play(self) -> list[BooksEntry]:
        await self._prepare()
        await self._run_meters()
        return await self._close()

    async def _prepare(self) -> None:
        """What is to be on the ledger before the day begins."""
        stage = self._stage
        await self._credit.install_meters()
        self._screen.event("The supplier installs a meter in each of six homes.")
        payments = [self._credit.first_payment(household) for household in stage.households]
        *paid, _, _ = await asyncio.gather(*payments, self._credit.set_terms(), self._market.choose_meters())
        self._screen.event(f"First payments from wallets to meters: {', '.join(str(one) for one in paid)}.")
        if not stage.has_story:
            self._screen.event("At this rate hours are too short for trade; homes are billed, and that is all.")

    async def _run_meters(self) -> None:
        """Until all meters have played their hours and the ledger has every reading."""
        stage, day = self._stage, self._day
        async with contextlib.AsyncExitStack() as stack:
            meters = []
            for household in stage.households:
                urls = self._network.rpc_urls(stage.node_of(household))
                write_meter_settings(stage, household, urls, day.begin_s)
                on_a_board = household == stage.home_on_a_board
                if on_a_board:
                    await self._start_board(household, stack)
                # A board never ends; a file does.
                arguments = ["meter", "run", "--settings", str(household.settings_path), "--json"]
                arguments += [] if on_a_board else ["--until-settled"]
                process = CommandProcess(f"The meter of {household.name}", arguments, household.folder / "meter.log")
                await stack.enter_async_context(process)
                meter = self._until_played(household, process) if on_a_board else process.result()
                meters.append(asyncio.create_task(meter))
            self._screen.day = day
            self._screen.event(
                f"Six meters measure and sign every {stage.households[0].profile.interval_s // 60} minutes, each at a "
                f"node of its own or shared by two; an hour takes {3600 / stage.clock.rate:.2g} s here."
            )
            played = asyncio.Event()
            watching = asyncio.create_task(self._watch(played))
            story = asyncio.create_task(self._tell_story())
            try:
                await _all_or_first_failure([*meters, story], watching)
                # Not cut off: a payment that is on its way belongs into the books.
                played.set()
                await watching
            finally:
                for task in (watching, story, *meters):
                    task.cancel()
                await asyncio.gather(watching, story, *meters, return_exceptions=True)
        await self._outage.end()
        self._screen.show(await self._observer.look())

    async def _start_board(self, household: Household, stack: contextlib.AsyncExitStack) -> None:
        """The board that the home's meter reads, as a process of its own."""
        arguments = ["meter", "board", str(household.board_path), "--json"]
        process = CommandProcess(f"The board of {household.name}", arguments, household.folder / "board.log")
        port = (await (await stack.enter_async_context(process)).first_line())["port"]
        self._screen.event(f"{household.name} has a virtual RPICT board, which its meter reads from the port {port}.")

    async def _until_played(self, household: Household, process: CommandProcess) -> dict[str, object]:
        """Let a meter that reads a board measure all hours, and end it when the ledger has what it measured."""
        running = asyncio.create_task(process.result())
        end_s = self._day.begin_s + household.profile.hours * HOUR_S
        try:
            while not running.done():
                home = (await self._observer.look()).home(household)
                # From the end on the board tells 0 W, so what it has read stays the same.
                if home.charged_until_s >= end_s and home.charged_wh == home.read_wh:
                    await process.stop()
                    break
                await asyncio.wait((running,), timeout=LOOK_INTERVAL_S)
            return await running
        finally:
            running.cancel()

    async def _tell_story(self) -> None:
        """The day's trade and payments, each at its hour."""
        if not self._stage.has_story:
            return
        await asyncio.gather(self._credit.repay(), self._market.run(), self._channel.run())
        await self._credit.give_back(self._channel.total_wh)

    async def _watch(self, played: asyncio.Event) -> None:
        """Redraw, and follow what happens, until everything is played."""
        while not played.is_set():
            view = await self._observer.look()
            self._screen.show(view)
            await self._outage.follow(view)
            await self._credit.follow(view)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await played.wait()

    async def _close(self) -> list[BooksEntry]:
        """Have the supplier take its money, and compare both sides of everything."""
        stage, observer = self._stage, self._observer
        received_wei = (await observer.look()).supplier_account_wei
        call = ContractCall(EXHAUSTION, "withdraw", (stage.supplier, received_wei))
        await observer.act(stage.supplier_key, call)
        self._screen.event(f"The supplier withdraws {watt(received_wei)}.")
        return await Bookkeeper(stage, observer, self._credit).books(received_wei, self._channel.total_wh)


async def _all_or_first_failure(playing: "list[asyncio.Task[Any]]", watching: "asyncio.Task[Any]") -> None:
    """Until all that play have ended; raises what the first failing task raised."""
    waiting = {*playing, watching}
    while waiting & {*playing}:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def prepare_folder(folder: Path) -> None:
    """Make the folder for the demo's files. Raises UserError where it cannot be made, or holds something."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    if not is_empty:
        raise UserError(f"The folder {folder} is not empty; name a new one for the demo's files.")
