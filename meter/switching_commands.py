"""`wattchain meter switchings`: what the relay did and why, and what people ordered (meter/switch_journal.py)."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import click

from meter.assembly import meter_address, reading_domain
from meter.commands import settings_option
from meter.outbox import Outbox
from meter.settings import load_settings
from meter.switch_journal import MAX_SWITCHINGS, Switching, SwitchJournal
from wallet.command_line import WholeNumber, json_option, print_result


@click.command()
@settings_option
@click.option(
    "-n", "count", type=WholeNumber(1, MAX_SWITCHINGS), default=20, show_default=True, help="How many at most."
)
@click.option("--orders", is_flag=True, help="Also the orders by hand, as they came and ended.")
@json_option
def switchings(settings_path: Path, count: int, orders: bool, as_json: bool) -> None:
    """Show when the supply was switched and why, newest first; by hand with who ordered it.

    An order by hand is no switching: it may wait, or be for what is already. With --orders each stands there too, with
    -- in place of the supply.
    """
    settings = load_settings(settings_path)
    outbox = Outbox.open_for_reading(settings.meter.outbox, reading_domain(settings), meter_address(settings))
    with contextlib.closing(outbox):
        found = SwitchJournal(outbox.database).newest(count, with_orders=orders)
    text = "\n".join(_text(one) for one in found) or "The relay has not switched yet."
    print_result([_json(one) for one in found], text, as_json)


def _json(one: Switching) -> dict[str, object]:
    return {
        "time_s": one.time_s,
        "is_on": one.is_on,
        "block": one.block_number,
        "reason": one.reason,
        "is_order": one.is_order,
    }


def _text(one: Switching) -> str:
    time = datetime.fromtimestamp(one.time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    state = "-- " if one.is_order else "on " if one.is_on else "OFF"
    return f"{time}  {state}  {one.reason}"
