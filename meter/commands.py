"""`wattchain meter`: run a meter, look at it, and make up a household for a demo."""

import asyncio
import contextlib
import logging
import signal
from datetime import UTC, datetime
from pathlib import Path

import click

from meter.alterations import Alteration
from meter.assembly import meter_address, open_daemon, reading_domain
from meter.outbox import Outbox, StoredReading
from meter.profile import MAX_DAYS, write_profile
from meter.reading import flag_names
from meter.settings import MeterSettings, load_settings
from meter.status import MeterStatus, read_status
from meter.table_options import table_options
from primitives.hexadecimal import to_checksum_address, to_data
from wallet.command_line import LazyCommand, LazyGroup, WholeNumber, json_option, print_result, say, service
from wallet.quantities import counted

DEFAULT_SETTINGS = "meter.toml"
NO_READINGS = "No reading waits here. Those on the ledger: `wattchain meter export`."
# A screen or two; the outbox may hold a million.
MAX_SHOWN_READINGS = 10_000

SUPPLIER_COMMANDS = {
    "audit": LazyCommand("wallet.audit_commands:audit", "What the ledger says against a meter."),
    "apply-tariff": LazyCommand("wallet.installation_commands:apply_tariff", "Put an announced tariff in force."),
    "export": LazyCommand("meter.export_commands:export", "Readings and gaps of a time as a table (CSV)."),
    "board": LazyCommand("meter.board_command:board", "Play a load as a board on a serial port would, to try."),
    "calibrate": LazyCommand("meter.calibrate_command:calibrate", "Make the meter show what a reference shows."),
    "key": LazyCommand("meter.key_commands:key", "The meter's own key: in a file, or in a secure element."),
    "keypad": LazyCommand("meter.keypad_commands:keypad", "Codes that are typed on a meter without a connection."),
    "install": LazyCommand("wallet.installation_commands:install", "As a supplier: install a meter for a customer."),
    "override": LazyCommand("meter.override_commands:override", "Switch the supply by hand for some time."),
    "reinstate": LazyCommand("wallet.installation_commands:reinstate", "As a supplier: bring a removed meter back."),
    "remove": LazyCommand("wallet.installation_commands:remove", "As a supplier: accept no more readings."),
    "setup": LazyCommand("meter.setup.commands:setup", "Find the board, make the key, try the relay, write settings."),
    "show": LazyCommand("wallet.installation_commands:show", "What the registry knows about a meter."),
    "swap": LazyCommand("wallet.installation_commands:swap", "As a supplier: another device, or another key."),
    "switchings": LazyCommand("meter.switching_commands:switchings", "When the supply was switched, and why."),
    "tariff": LazyCommand("wallet.installation_commands:tariff", "As a supplier: announce another tariff for a meter."),
    "usage": LazyCommand("wallet.usage_commands:usage", "Energy by days, of a meter, a supplier or all."),
}
"""What the daemon does not need, and so does not load."""

settings_option = click.option(
    "--settings",
    "settings_path",
    envvar="WATTCHAIN_METER",
    default=DEFAULT_SETTINGS,
    show_default=True,
    type=click.Path(path_type=Path),
    help="The meter's settings file (or set WATTCHAIN_METER).",
)


@click.group(cls=LazyGroup, lazy_commands=SUPPLIER_COMMANDS)
def meter() -> None:
    """Your electricity meter: sign its readings and carry them to the ledger.

    Begin with `wattchain meter setup`: it finds the board, makes the meter's own key and writes a settings file. The
    supplier installs the meter under its address with `wattchain meter install`; then `wattchain meter run` does the
    rest, and goes on by itself after a power cut.
    """


@meter.command()
@settings_option
@click.option("--file", type=click.Path(path_type=Path), help="Play this CSV file of measurements.")
@table_options()
@click.option("--until-settled", is_flag=True, help="Stop when the file is played and the ledger has every reading.")
@json_option
@service
def run(settings_path: Path, until_settled: bool, as_json: bool, file: Path | None, **overrides: object) -> None:
    """Run the meter until it is stopped with Ctrl-C.

    Measurements become signed readings, are kept on this computer until the ledger has them for good, and the relay
    switches the supply as the ledger says. The other options replace what the settings file says about the
    measurements.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if file is not None:
        given["file"] = file.absolute()
    settings = load_settings(settings_path, given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    was_stopped = asyncio.run(_run(settings, until_settled))
    status = asyncio.run(read_status(settings, ask_node=False))
    print_result(status.to_json(), "Stopped." if was_stopped else "The ledger has every reading.", as_json)


@meter.command()
@settings_option
@json_option
def status(settings_path: Path, as_json: bool) -> None:
    """Show how the meter is doing: registers, readings that wait, the supply, the ledger."""
    answer = asyncio.run(read_status(load_settings(settings_path), ask_node=True))
    print_result(answer.to_json(), _status_text(answer), as_json)


@meter.command()
@settings_option
@click.option(
    "-n", "count", type=WholeNumber(1, MAX_SHOWN_READINGS), default=20, show_default=True, help="How many at most."
)
@json_option
def readings(settings_path: Path, count: int, as_json: bool) -> None:
    """Show the newest readings that are still on this computer, newest first.

    A reading leaves when the ledger has it for good, so an empty list means that nothing waits.
    """
    settings = load_settings(settings_path)
    outbox = Outbox.open_for_reading(settings.meter.outbox, reading_domain(settings), meter_address(settings))
    with contextlib.closing(outbox):
        found = outbox.newest(count)
    text = "\n".join(_reading_text(stored) for stored in found) or NO_READINGS
    print_result([_reading_json(stored) for stored in found], text, as_json)


@meter.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--days", type=WholeNumber(1, MAX_DAYS), default=365, show_default=True, help="How many days.")
@click.option("--seed", type=WholeNumber(), default=1, show_default=True, help="Another one makes another household.")
@click.option("--overwrite", is_flag=True, help="Put it in the place of a file that is there.")
@json_option
def profile(file: Path, days: int, seed: int, overwrite: bool, as_json: bool) -> None:
    """Make up a household: write FILE with its load in every hour, for demos and trials.

    The numbers are plausible, not measured.
    """
    rows = write_profile(file, days, seed, overwrite=overwrite)
    print_result({"file": str(file), "rows": rows, "seed": seed}, f"Wrote {rows} hours to {file}.", as_json)


async def _run(settings: MeterSettings, until_settled: bool) -> bool:
    """Whether the daemon was stopped by a signal."""
    async with open_daemon(settings) as daemon:
        task = asyncio.ensure_future(daemon.run(until_settled=until_settled))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            say("Stopping; what is not on the ledger yet stays in the outbox.")
            return True
    return False


def _status_text(status: MeterStatus) -> str:
    lines = [f"Meter     {to_checksum_address(status.meter)}"]
    lines += (
        [
            "Device    nothing heard from a running meter: `wattchain meter run` does not run, or has no folder to "
            "tell it in (meter.runtime_folder)"
        ]
        if status.running is None
        else status.running.lines()
    )
    if status.head is None:
        lines.append("Readings  none signed yet")
    else:
        registers = status.head.registers
        lines.append(
            f"Readings  {status.head.sequence} signed, the last at {_time_text(registers.time_s)}: "
            f"{registers.import_wh} Wh taken, {registers.export_wh} Wh given"
        )
    waiting, sent = counted(status.waiting, "reading"), counted(status.transactions, "transaction")
    lines.append(f"Waiting   {waiting}, {sent} under way")
    if status.quarantined:
        oldest = ", the oldest first" if status.set_aside > len(status.quarantined) else ""
        lines.append(f"SET ASIDE {counted(status.set_aside, 'reading')} that the ledger will not take{oldest}:")
        lines += [f"          {stored.signed.reading.sequence}: {stored.quarantined}" for stored in status.quarantined]
    if status.altered:
        lines.append(f"TAMPERING noticed, the newest first ({status.altered} in all):")
        lines += [f"          {one.what}{_told_text(one)}" for one in status.alterations]
    if status.calibration is not None:
        lines.append(f"Factors   {status.calibration}")
    if status.switching is not None:
        state = "on" if status.switching.is_on else "OFF"
        lines.append(f"Supply    {state} since {_time_text(status.switching.time_s)}: {status.switching.reason}")
    lines += status.supply.lines()
    if (gap := status.gap) is not None:
        until = "until now" if gap.until_s is None else f"to {_time_text(gap.until_s)}"
        lines.append(f"Missing   last from {_time_text(gap.from_s)} {until}: {gap.reason}")
    if status.ledger_sequence is None:
        lines.append(f"Ledger    not in reach: {status.trouble}")
    else:
        lines.append(f"Ledger    block {status.ledger_block}, last reading {status.ledger_sequence}")
    return "\n".join(lines)


def _told_text(alteration: Alteration) -> str:
    if alteration.told_sequence is None:
        return "; the next reading tells the supplier"
    return f"; reading {alteration.told_sequence} tells the supplier"


def _reading_json(stored: StoredReading) -> dict[str, object]:
    reading = stored.signed.reading
    return {
        "sequence": reading.sequence,
        "time_s": reading.time_s,
        "import_wh": reading.import_wh,
        "export_wh": reading.export_wh,
        "power_w": reading.power_w,
        "flags": list(flag_names(reading.flags)),
        "hash": to_data(reading.hash),
        "previous_hash": to_data(reading.previous_hash),
        "r": to_data(stored.signed.signature.r),
        "vs": to_data(stored.signed.signature.vs),
        "quarantined": stored.quarantined,
    }


def _reading_text(stored: StoredReading) -> str:
    reading = stored.signed.reading
    remarks = [*flag_names(reading.flags), *([f"SET ASIDE: {stored.quarantined}"] if stored.quarantined else [])]
    return (
        f"{reading.sequence:>8}  {_time_text(reading.time_s)}  {reading.import_wh:>10} Wh taken  "
        f"{reading.export_wh:>10} Wh given  {reading.power_w:>7} W  {', '.join(remarks)}"
    ).rstrip()


def _time_text(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
