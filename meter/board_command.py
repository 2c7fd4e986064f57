"""`wattchain meter board`: a virtual RPICT board on a pseudo-terminal, for demos and trials."""

import asyncio
import contextlib
import signal
from pathlib import Path

import click

from meter.drivers.replay import ReplaySettings
from meter.pseudo_terminal import PseudoTerminal
from meter.virtual_board import BoardSettings, VirtualBoard, profile_power
from primitives.errors import UserError
from wallet.command_line import json_option, print_json
from wallet.settings_file import ClockSettings, check_ranges, parse_sections, read_document

_SECTIONS = {"board": BoardSettings, "load": ReplaySettings, "clock": ClockSettings}


@click.command()
@click.argument("settings_path", metavar="SETTINGS", type=click.Path(path_type=Path))
@json_option
def board(settings_path: Path, as_json: bool) -> None:
    """Play a load as an RPICT board would, to a serial port that is none, until it is stopped with Ctrl-C.

    SETTINGS is a file with [board] (`port`, a name for the port that is made; `interval_s`), [load] (what a meter that
    replays has under [driver]: `file`, `load_column` and so on) and, for a demo, [clock].
    """
    try:
        document = read_document(settings_path)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {settings_path}: --help says what belongs into it") from error
    sections = parse_sections(document, _SECTIONS, settings_path)
    for name in ("board", "load"):
        if name not in sections:
            raise UserError(f"the file {settings_path} lacks the section [{name}]")
    settings, load = sections["board"], sections["load"]
    clock_settings = sections.get("clock", ClockSettings())
    check_ranges((*settings.ranges(), *clock_settings.ranges()))
    load.check()
    clock = clock_settings.make()
    power = profile_power(load.file, load.csv_format(), load.begin_s or clock.time_s())
    port = PseudoTerminal(settings.port)
    virtual = VirtualBoard(port, power, clock, float(settings.interval_s), settings.node_id)
    port.plug()
    if as_json:
        print_json({"port": str(port.path)}, on_one_line=True)
    else:
        click.echo(f"The board is at {port.path}.")
    asyncio.run(_run(virtual))


async def _run(virtual: VirtualBoard) -> None:
    task = asyncio.ensure_future(virtual.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
