"""`wattchain meter keypad`: codes that are typed on a meter (meter/keypad.py)."""

import time
from pathlib import Path

import click

from contracts.openpaygo import CodeKind, ReadCode
from meter.keypad import MAX_FILE_BYTES, KeypadFile, KeypadSettings, KeypadState
from primitives.errors import UserError
from wallet.amounts import format_amount
from wallet.command_line import PlainGroup, json_option, print_result

DEFAULT_FILE = "~/.wattchain/keypad.db"

file_option = click.option(
    "--file",
    envvar="WATTCHAIN_KEYPAD",
    default=DEFAULT_FILE,
    show_default=True,
    metavar="FILE",
    callback=lambda _context, _option, value: Path(value).expanduser(),
    help="The keypad's file (or set WATTCHAIN_KEYPAD).",
)


@click.group(cls=PlainGroup)
def keypad() -> None:
    """Codes that are typed on a meter without a connection.

    Each code counts once, on this meter only.
    """


@keypad.command()
@click.argument("settings", type=click.Path(path_type=Path))
@file_option
@json_option
def install(settings: Path, file: Path, as_json: bool) -> None:
    """Give the meter its key: SETTINGS is the file that `wattchain voucher short new` wrote.

    Delete that file afterwards; who has it can make codes for this meter.
    """
    try:
        with settings.open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES + 1).decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"The keypad's settings {settings} cannot be read: {error.strerror}.") from error
    given = KeypadSettings.from_text(text[:MAX_FILE_BYTES])
    with KeypadFile(file) as keypad_file:
        keypad_file.install(given)
        state = keypad_file.state()
    print_result(_json(state), f"The meter {given.serial} takes codes now. Delete {settings}.", as_json)


@keypad.command()
@click.argument("code", nargs=-1, required=True)
@file_option
@json_option
def enter(code: tuple[str, ...], file: Path, as_json: bool) -> None:
    """Type a CODE.

    After three wrong ones the keypad waits, longer each time.
    """
    with KeypadFile(file) as keypad_file:
        read = keypad_file.enter("".join(code), int(time.time()))
        state = keypad_file.state()
    result = {"kind": read.kind.value, "value": read.value, **_json(state)}
    print_result(result, f"{_deed(read, state)} {_text(state)}", as_json)


@keypad.command()
@file_option
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show what codes have brought so far."""
    with KeypadFile(file) as keypad_file:
        state = keypad_file.state()
    print_result(_json(state), f"Meter {state.settings.serial}. {_text(state)}", as_json)


def _deed(read: ReadCode, state: KeypadState) -> str:
    worth = format_amount(read.value * state.settings.unit_wei)
    return {
        CodeKind.ADD_TIME: f"Added {worth}.",
        CodeKind.SET_TIME: f"Set to {worth}.",
        CodeKind.DISABLE_PAYG: "The meter is paid for.",
        CodeKind.COUNTER_SYNC: "The meter counts codes from here on.",
    }[read.kind]


def _text(state: KeypadState) -> str:
    if state.is_unlocked:
        return "It needs no more codes."
    return f"Codes have brought {format_amount(state.credit_wei)} in all."


def _json(state: KeypadState) -> dict[str, object]:
    return {
        "serial": state.settings.serial,
        "units": state.units,
        "credit_wei": str(state.credit_wei),
        "is_unlocked": state.is_unlocked,
        "count": state.counts.last,
    }
