"""`wattchain meter override`: a person decides on the supply for some time (meter/override.py)."""

import os
import pwd
import re
from dataclasses import asdict
from pathlib import Path

import click

from meter.commands import settings_option
from meter.override import MAX_REASON_CHARACTERS, Override, override_path, write_override
from meter.settings import load_settings
from primitives.errors import UserError
from wallet.command_line import json_option, print_result

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,6})([smhd])")
STATES: dict[str, bool | None] = {"on": True, "off": False, "auto": None}


@click.command()
@click.argument("state", type=click.Choice(list(STATES)))
@settings_option
@click.option("--for", "duration", default="2h", show_default=True, metavar="TIME", help="How long: 30m, 2h, 1d.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in the meter's journal.")
@json_option
def override(state: str, settings_path: Path, duration: str, reason: str, as_json: bool) -> None:
    """Switch the supply by hand to STATE: ON or OFF for some time, or AUTO to leave it to the ledger.

    The order is kept in the meter's journal with your name, and every reading that it touches says so. A meter that
    runs obeys within seconds, one that does not as soon as it is started.
    """
    settings = load_settings(settings_path)
    is_on = STATES[state]
    longest_s = settings.relay.longest_override_s
    duration_s = 0 if is_on is None else duration_in_s(duration)
    if is_on is not None and not 0 < duration_s <= longest_s:
        raise UserError(f"an override holds from 1 s to {longest_s} s (relay.longest_override_s), not {duration_s} s")
    if len(reason) > MAX_REASON_CHARACTERS:
        raise UserError(f"a reason has at most {MAX_REASON_CHARACTERS} characters")
    if not settings.relay.enabled:
        raise UserError("relay.enabled is false in the meter's settings: there is no relay to override")
    now_s = settings.clock.make().time_s()
    order = Override(is_on, person(), now_s, now_s + duration_s, reason)
    write_override(override_path(settings.meter.outbox), order)
    print_result(asdict(order), f"{order.text()[:1].upper()}{order.text()[1:]}.", as_json)


def duration_in_s(text: str) -> int:
    """Raises UserError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{text!r} is no length of time: write 90s, 30m, 2h or 1d")
    return int(found[1]) * _UNITS_S[found[2]]


def person() -> str:
    """Who gives the order, by the account that runs this program and the one that called sudo."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"user {os.getuid()}"
    caller = os.environ.get("SUDO_USER", "")
    return f"{name} for {caller}" if caller and caller != name else name
