"""`wattchain agent`: sell and buy automatically, within limits that the owner sets."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import click

from meter.agent.assembly import make_asker, make_liveness, open_agent, open_client, open_journal, owner_address
from meter.agent.backtest import backtest
from meter.agent.decisions import budget_of, decide
from meter.agent.history import Direction, history_of_rows
from meter.agent.journal import Sent, Told
from meter.agent.settings import AgentSettings, load_agent_settings
from meter.agent.shown import (
    backtest_json,
    backtest_text,
    plan_json,
    plan_text,
    status_json,
    status_text,
)
from meter.agent.situation import Situation, with_signed
from meter.drivers.measured_csv import Column, CsvFormat, read_rows
from meter.table_options import table_options
from primitives.errors import UserError
from wallet.client import InvalidAnswer, RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, print_result, say, service

DEFAULT_SETTINGS = "agent.toml"
MAX_SHOWN = 1_000

_T = TypeVar("_T")

settings_option = click.option(
    "--settings",
    "settings_path",
    envvar="WATTCHAIN_AGENT",
    default=DEFAULT_SETTINGS,
    show_default=True,
    type=click.Path(path_type=Path),
    help="The agent's settings file (or set WATTCHAIN_AGENT).",
)


@click.group(cls=PlainGroup)
def agent() -> None:
    """Sell your surplus, or buy what you need, automatically.

    The agent looks at what your meter gave to the grid or took from it in the last weeks, forecasts the coming day from
    that, and advertises, bids and buys for you: never below the least price, above the greatest price, or beyond the
    energy and the money a day that you set in its settings file. It says why for all that it does, and does not do.

    Begin with a trial, in which nothing is sent; it is what the settings file says until you set dry_run = false.

      wattchain agent plan

      wattchain agent run
    """


@agent.command()
@settings_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done, whatever the settings say.")
@json_option
@service
def run(settings_path: Path, dry_run: bool, as_json: bool) -> None:
    """Run the agent until it is stopped with Ctrl-C.

    After a restart it goes on where it was: the ledger knows what was ordered, and what was being sent is sent again.
    """
    settings = load_agent_settings(settings_path)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    is_trial = dry_run or settings.agent.dry_run
    if is_trial:
        say("This is a trial: nothing is sent. With dry_run = false in the settings file it trades.")
    asyncio.run(_run(settings, is_trial))
    decisions, _ = _book(settings, 1)
    last = None if not decisions else decisions[0].text
    print_result({"trial": is_trial, "last_decision": last}, "Stopped.", as_json)


@agent.command()
@settings_option
@json_option
def plan(settings_path: Path, as_json: bool) -> None:
    """Show the forecast for tomorrow, and what the agent would do now and why. Nothing is sent."""
    settings = load_agent_settings(settings_path)
    situation = _with_signed(settings, _ask(settings, lambda client: _look(settings, client)))
    decisions, limits = decide(situation, settings.limits()), settings.limits()
    print_result(plan_json(situation, limits, decisions), plan_text(situation, limits, decisions), as_json)


@agent.command()
@settings_option
@click.option("-n", "count", type=WholeNumber(1, MAX_SHOWN), default=10, show_default=True, help="How many lines.")
@json_option
def status(settings_path: Path, count: int, as_json: bool) -> None:
    """Show what the agent has done and decided, newest first, and what is left of the limits of 24 hours."""
    settings = load_agent_settings(settings_path)
    decisions, sent = _book(settings, count)
    situation, trouble = None, ""
    try:
        situation = _with_signed(settings, _ask(settings, lambda client: _look(settings, client)))
    except (UserError, InvalidAnswer) as error:
        trouble = str(error)
    budget = None if situation is None else budget_of(situation, settings.limits())
    values = (owner_address(settings), settings.agent.dry_run, situation, budget, trouble, decisions, sent)
    print_result(status_json(*values), status_text(*values), as_json)


_MEASURED: Mapping[str, object] = {
    "load_column": "non_shiftable_load",
    "load_unit": "kWh",
    "generation_unit": "W",
    "generation_scale": Decimal(1),
    "row_interval_s": 3_600,
    "delimiter": ",",
}
"""As the measured homes that the demo brings along."""


@agent.command("backtest")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@settings_option
@table_options(_MEASURED)
@json_option
def backtest_command(
    file: Path | None,
    settings_path: Path,
    load_column: str,
    load_unit: str,
    generation_column: str | None,
    generation_unit: str,
    generation_scale: Decimal,
    row_interval_s: int,
    delimiter: str,
    as_json: bool,
) -> None:
    """Compare the forecast with what came, day by day, beside two naive guesses.

    Of your own meter's last weeks on the ledger; or of a CSV FILE of measurements, which needs no settings.
    """
    if file is None:
        settings = load_agent_settings(settings_path)
        hours = dict(_ask(settings, lambda client: _look(settings, client)).history.hours)
    else:
        generation = None
        if generation_scale <= 0:
            raise UserError(
                f"--generation-scale multiplies what the column has: give a number above 0, not {generation_scale}."
            )
        if generation_column is not None:
            generation = Column(generation_column, generation_unit, Fraction(generation_scale))
        form = CsvFormat(Column(load_column, load_unit), generation, row_interval_s, delimiter)
        hours = history_of_rows([row.net_wh for row in read_rows(file, form)], row_interval_s)
    found = [backtest(hours, direction) for direction in Direction]
    print_result([backtest_json(one) for one in found], "\n".join([backtest_text(one) for one in found]), as_json)


async def _run(settings: AgentSettings, is_trial: bool) -> None:
    liveness = make_liveness()
    async with open_agent(settings, dry_run=is_trial, note=liveness.note) as runner:
        telling, task = asyncio.ensure_future(liveness.run()), asyncio.ensure_future(runner.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            say("Stopping; what is under way is followed after the next start.")
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


async def _look(settings: AgentSettings, client: RpcClient) -> Situation:
    return await make_asker(settings).situation(client, settings.clock.make().time_s())


def _ask(settings: AgentSettings, ask: Callable[[RpcClient], Awaitable[_T]]) -> _T:
    async def asked() -> _T:
        async with open_client(settings) as client:
            return await ask(client)

    return asyncio.run(asked())


def _with_signed(settings: AgentSettings, situation: Situation) -> Situation:
    """As the running agent counts: with what its book has."""
    if not settings.agent.state.exists():
        return situation
    with open_journal(settings) as journal:
        return with_signed(situation, journal, settings.clock.make().time_s())


def _book(settings: AgentSettings, count: int) -> tuple[list[Told], list[Sent]]:
    """Newest decisions and transactions; none where the agent never ran."""
    if not settings.agent.state.exists():
        return [], []
    with open_journal(settings) as journal:
        return journal.decisions(count), journal.newest(count)
