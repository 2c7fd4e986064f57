"""The options that say how a CSV file of measurements is to be read, shared by the commands that read one."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from wallet.command_line import NUMBER, WholeNumber

NO_DEFAULTS: Mapping[str, object] = {}


def table_options(defaults: Mapping[str, object] = NO_DEFAULTS) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options; None where not given, but for those that have a default here."""
    options: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
        (("--load-column",), {"metavar": "NAME", "help": "The column with the household's consumption."}),
        (("--load-unit",), {"metavar": "UNIT", "help": "What it is measured in: kWh, Wh, kW or W."}),
        (("--generation-column",), {"metavar": "NAME", "help": "The column with what the solar panel makes."}),
        (("--generation-unit",), {"metavar": "UNIT", "help": "What that is measured in: kWh, Wh, kW or W."}),
        (
            ("--generation-scale",),
            {
                "type": NUMBER,
                "metavar": "NUMBER",
                "help": "What to multiply it with: the panel's size in kW where the column is in W per kW of panel.",
            },
        ),
        (
            ("--row-interval", "row_interval_s"),
            {"type": WholeNumber(), "metavar": "SECONDS", "help": "Time from one row to the next."},
        ),
        (("--delimiter",), {"metavar": "CHARACTER", "help": "What stands between two columns: a comma, a semicolon."}),
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for names, settings in reversed(options):
            name = names[-1].lstrip("-").replace("-", "_")
            if name in defaults:
                settings = {**settings, "default": defaults[name], "show_default": True}
            command = click.option(*names, **settings)(command)
        return command

    return add
