"""`wattchain voucher short`: a supplier's short codes for keypads, each with the long voucher over the same money."""

import json
import secrets
import time
from pathlib import Path

import click

from contracts.openpaygo import MAX_LONG_VALUE, MAX_VALUE, CodeKind, CodeSecret, starting_code_of
from contracts.voucher_format import issue_voucher
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address, to_data
from wallet.amounts import format_amount, parse_amount
from wallet.command_line import PlainGroup, WholeNumber, json_option, print_result
from wallet.commands import keystore_option
from wallet.contract_commands import ask_node, parse_account
from wallet.key_directory import KeyDirectory, write_private_file
from wallet.paper_signing import PaperSigning, paper_signing_options
from wallet.quantities import parse_duration_s
from wallet.short_code_book import IssuedCode, Keypad, ShortCodeBook

DEFAULT_BOOK = "~/.wattchain/short-codes.db"
DEFAULT_UNIT = "0.1"
DEFAULT_LIFETIME = "365d"

book_option = click.option(
    "--book",
    envvar="WATTCHAIN_SHORT_CODES",
    default=DEFAULT_BOOK,
    show_default=True,
    metavar="FILE",
    callback=lambda _context, _option, value: Path(value).expanduser(),
    help="Your book of keypads and codes (or set WATTCHAIN_SHORT_CODES). Keep a copy of it, and keep it secret.",
)


@click.group(cls=PlainGroup)
def short() -> None:
    """Short codes for meters with a keypad and without a connection (OpenPAYGO).

    You give a meter a key once (new, then `wattchain meter keypad install` on the meter). Each code that you sell adds
    credit to that meter, once. With it comes a long voucher over the same amount for the ledger: redeem it, so that the
    ledger knows the money too.
    """


@short.command()
@click.argument("serial")
@click.option(
    "--meter",
    required=True,
    metavar="ACCOUNT",
    help="The meter on the ledger: its address, or the name of one of your keys.",
)
@click.option(
    "--unit", default=DEFAULT_UNIT, show_default=True, metavar="AMOUNT", help="What one unit of a code is worth."
)
@click.option("--four-digits", is_flag=True, help="The keypad has only the digits 1 to 4; codes are longer.")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Where to write what the meter needs to know; it holds the key.")  # fmt: skip
@book_option
@keystore_option
@json_option
def new(
    serial: str, meter: str, unit: str, four_digits: bool, output: Path, book: Path, keys: KeyDirectory, as_json: bool
) -> None:
    """Make the key of the keypad with this SERIAL number.

    wattchain voucher short new KP-0007 --meter 0x... --unit 0.1 --output kp-0007.json
    """
    key = secrets.token_bytes(16)
    keypad = Keypad(
        serial, parse_account(meter, keys), CodeSecret(key, starting_code_of(key), four_digits), parse_amount(unit)
    )
    settings = {
        "wattchain": "keypad",
        "serial": serial,
        "key": to_data(key),
        "starting_code": keypad.secret.starting_code,
        "four_digits": four_digits,
        "unit_wei": str(keypad.unit_wei),
        "count": keypad.count,
    }
    try:
        write_private_file(output, json.dumps(settings) + "\n")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}. No keypad was made.") from error
    try:
        with ShortCodeBook(book) as opened:
            opened.add(keypad)
    except UserError:
        output.unlink()
        raise
    text = f"Keypad {serial}: a unit is {format_amount(keypad.unit_wei)}. Give {output} to the meter, then delete it."
    print_result(_keypad_json(keypad), text, as_json)


@short.command()
@click.argument("serial")
@click.argument("amount", required=False)
@click.option("--kind", type=click.Choice([kind.value for kind in CodeKind]), default="add", show_default=True,
              help="add credit, set it, unlock the meter for good, or sync: void the codes before.")  # fmt: skip
@click.option(
    "--long", "is_long", is_flag=True, help=f"12 digits instead of 9: up to {MAX_LONG_VALUE} units, not {MAX_VALUE}."
)
@click.option("--expires", default=DEFAULT_LIFETIME, show_default=True, metavar="DURATION", help="Of the long voucher.")
@click.option("--chain-id", type=WholeNumber(1, 2**53 - 1), metavar="NUMBER", help="Instead of asking the node.")
@book_option
@paper_signing_options
def issue(
    serial: str,
    amount: str | None,
    kind: str,
    is_long: bool,
    expires: str,
    chain_id: int | None,
    book: Path,
    signing: PaperSigning,
) -> None:
    """As a supplier: make the next code of the keypad with this SERIAL number, over AMOUNT.

    The code goes to the customer; the long voucher is redeemed on the ledger (`wattchain voucher redeem`). A code that
    sets, unlocks or syncs changes the meter only and has no voucher.

      wattchain voucher short issue KP-0007 5 --from supplier
    """
    what = CodeKind(kind)
    has_amount = what in (CodeKind.ADD_TIME, CodeKind.SET_TIME)
    if has_amount != (amount is not None):
        raise UserError("A code that adds or sets needs an AMOUNT, the others have none.")
    with ShortCodeBook(book) as opened:
        value = 0 if amount is None else _units(opened.keypad(serial), amount)
        if what is not CodeKind.ADD_TIME:
            made = opened.issue(serial, what, value, is_long=is_long)
        else:
            if value == 0:
                raise UserError("A code that adds needs an AMOUNT above zero.")
            key = signing.key()
            chain = ask_node(signing.node, lambda client: client.chain_id()) if chain_id is None else chain_id
            expiry_s = int(time.time()) + parse_duration_s(expires)
            private_key = key.unlock(signing.password_file)

            def voucher(keypad: Keypad, wei: int, number: int) -> str:
                return issue_voucher(private_key, wei, number, expiry_s, chain, meter=keypad.meter).to_text()

            # Numbers by the clock, as those of other vouchers, so that they do not meet.
            first = time.time_ns() // 1_000_000
            made = opened.issue(serial, what, value, is_long=is_long, first_voucher_serial=first, make_voucher=voucher)
        keypad = opened.keypad(serial)
    print_result(_code_json(made, keypad), _code_text(made, keypad), signing.as_json)


@short.command("list")
@click.argument("serial", required=False)
@book_option
@json_option
def list_codes(serial: str | None, book: Path, as_json: bool) -> None:
    """Show your keypads, or all codes that were given out for the one with this SERIAL number."""
    with ShortCodeBook(book) as opened:
        if serial is None:
            keypads = opened.keypads()
            text = (
                "\n".join([_keypad_text(one) for one in keypads])
                or "No keypad yet; `wattchain voucher short new` makes one."
            )
            print_result([_keypad_json(one) for one in keypads], text, as_json)
            return
        keypad = opened.keypad(serial)
        codes = opened.codes(serial)
    text = "\n\n".join([_code_text(one, keypad) for one in codes]) or "No code was given out yet."
    print_result([_code_json(one, keypad) for one in codes], text, as_json)


def _units(keypad: Keypad, amount: str) -> int:
    units, rest = divmod(parse_amount(amount), keypad.unit_wei)
    if rest:
        raise UserError(
            f"The codes of {keypad.serial} count in steps of {format_amount(keypad.unit_wei)}; {amount.strip()} is "
            "between two of them."
        )
    return units


def _keypad_text(keypad: Keypad) -> str:
    meter = to_checksum_address(keypad.meter)
    return f"{keypad.serial}: meter {meter}, a unit is {format_amount(keypad.unit_wei)}, count {keypad.count}"


def _keypad_json(keypad: Keypad) -> dict[str, object]:
    return {
        "serial": keypad.serial,
        "meter": to_checksum_address(keypad.meter),
        "unit_wei": str(keypad.unit_wei),
        "four_digits": keypad.secret.keypad_1_to_4,
        "count": keypad.count,
    }


def _code_text(made: IssuedCode, keypad: Keypad) -> str:
    groups = " ".join([made.code[start : start + 3] for start in range(0, len(made.code), 3)])
    lines = [f"Keypad  {made.serial}", f"Code    {groups}", f"Does    {_deed(made, keypad)}"]
    if made.voucher is not None:
        lines += ["For the ledger, over the same amount:", made.voucher]
    return "\n".join(lines)


def _deed(made: IssuedCode, keypad: Keypad) -> str:
    worth = format_amount(made.value * keypad.unit_wei)
    return {
        CodeKind.ADD_TIME: f"adds {worth}",
        CodeKind.SET_TIME: f"sets the credit to {worth}",
        CodeKind.DISABLE_PAYG: "unlocks the meter for good",
        CodeKind.COUNTER_SYNC: "voids the codes before it",
    }[made.kind]


def _code_json(made: IssuedCode, keypad: Keypad) -> dict[str, object]:
    has_amount = made.kind in (CodeKind.ADD_TIME, CodeKind.SET_TIME)
    return {
        "serial": made.serial,
        "code": made.code,
        "kind": made.kind.value,
        "units": made.value if has_amount else None,
        "amount_wei": str(made.value * keypad.unit_wei) if has_amount else None,
        "count": made.count,
        "voucher": made.voucher,
    }
