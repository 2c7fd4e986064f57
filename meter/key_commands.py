"""`wattchain meter key`: make the key of a meter in a file or in a secure element, show it, and try it."""

import time
from functools import partial
from pathlib import Path

import click

from contracts.consent_format import consent_hash
from contracts.reading_format import compact_signature
from meter.assembly import meter_address, open_meter_key
from meter.bounded_signer import COMMAND_PATIENCE_S, do_within
from meter.commands import settings_option
from meter.pkcs11 import make_key, open_element, parse_id
from meter.qr_code import qr_text
from meter.settings import MeterSettings, load_settings
from meter.signer import TOKEN_PIN, Signer, make_key_file, read_secret
from primitives import secp256k1
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address, to_checksum_address, to_data
from primitives.keccak import keccak256
from wallet.command_line import PlainGroup, json_option, print_result, read_password

# Signed by `test`: the hash of a text that is neither a reading nor a transaction.
_TEST_HASH = keccak256(b"wattchain meter key test")


@click.group(cls=PlainGroup)
def key() -> None:
    """The key that makes a device the meter.

    Its address is what the supplier installs. A secure element never gives the key away; a key file is as safe as its
    password and the card that it lies on.
    """


@key.command()
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Keep the key in this new key file.")
@click.option("--module", type=click.Path(path_type=Path), metavar="LIBRARY", help="The element's PKCS #11 library.")
@click.option("--token", metavar="LABEL", help="The label of the element's token.")
@click.option(
    "--label",
    "key_label",
    metavar="LABEL",
    default="wattchain-meter",
    show_default=True,
    help="The label of the key in the element.",
)
@click.option(
    "--id", "key_id", metavar="HEX", default="01", show_default=True, help="The id of the key in the element."
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the key file's new password, or the element's PIN. Without it you are asked.",
)
@json_option
def new(
    file: Path | None,
    module: Path | None,
    token: str | None,
    key_label: str,
    key_id: str,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Make a new key, in a file or in a secure element, and say what to write into the settings.

    Nothing is overwritten. A key in an element cannot be copied: when the element is lost, the supplier swaps the meter
    for one with another key.
    """
    if (file is None) == (module is None or token is None):
        raise UserError("Say where the key is to be: --file FILE, or --module LIBRARY and --token LABEL.")
    if file is not None:
        address = make_key_file(file, read_password(password_file, "Password for the new key", is_new=True))
        lines = ["[meter]", f'key = "{file}"']
    else:
        assert module is not None
        assert token is not None
        pin, id_bytes = read_secret(TOKEN_PIN, password_file, f"PIN of the token {token}"), parse_id(key_id)
        making = partial(make_key, module, token, key_label, id_bytes, pin)
        address = do_within(f"the element {token}", making)
        lines = ["[pkcs11]", f'module = "{module}"', f'token = "{token}"', f'key_label = "{key_label}"']
        lines += [f'key_id = "{key_id}"', f'address = "{to_checksum_address(address)}"']
    text = "\n".join(
        [f"Made the key of {to_checksum_address(address)}. In the settings:", *(f"    {x}" for x in lines)]
    )
    print_result({"address": to_checksum_address(address), "settings": "\n".join(lines)}, text, as_json)


@key.command()
@settings_option
@json_option
def show(settings_path: Path, as_json: bool) -> None:
    """Show the address of the key in the settings, and where the key is. Asks for no password."""
    settings = load_settings(settings_path)
    address = to_checksum_address(meter_address(settings))
    if settings.pkcs11 is not None:
        where = f"the secure element {settings.pkcs11.token}"
    else:
        where = f"the file {settings.meter.key}"
    print_result({"address": address, "where": where}, f"{address} in {where}", as_json)


@key.command()
@settings_option
@json_option
def test(settings_path: Path, as_json: bool) -> None:
    """Sign once with the key and check it; the PIN of an element is asked.

    After a wrong PIN the meter does not try its element again until a right one was given here.
    """
    signer = _open_signer(load_settings(settings_path))
    begin_s = time.monotonic()
    signed = signer.sign(_TEST_HASH)
    duration_ms = (time.monotonic() - begin_s) * 1000
    if secp256k1.recover_address(_TEST_HASH, *signed) != signer.address:
        raise UserError("the signature is not that of the key: the element is defective")
    address = to_checksum_address(signer.address)
    print_result(
        {"address": address, "duration_ms": round(duration_ms, 1)},
        f"The key of {address} signs, in {duration_ms:.1f} ms.",
        as_json,
    )


@key.command()
@click.argument("supplier")
@settings_option
@json_option
def consent(supplier: str, settings_path: Path, as_json: bool) -> None:
    """Agree to be a meter of SUPPLIER: print what it needs to install this key, or to put it in another one's place.

    SUPPLIER is its address. The key signs once; a consent is good for this supplier on the network of the settings, and
    no secret: nobody else can use it, and a key is installed once. The QR code holds address and consent.
    """
    settings = load_settings(settings_path)
    try:
        supplier_address = parse_address(supplier)
    except InvalidHex as error:
        raise UserError(f"{supplier[:80]!r} is no address of a supplier; it looks like 0x and 40 digits") from error
    signer = _open_signer(settings)
    digest = consent_hash(settings.ledger.chain_id, signer.address, supplier_address)
    signed = signer.sign(digest)
    if secp256k1.recover_address(digest, *signed) != signer.address:
        raise UserError("the signature is not that of the key: the element is defective")
    address, agreed = to_checksum_address(signer.address), to_data(b"".join(compact_signature(*signed)))
    told = to_checksum_address(supplier_address)
    print_result(
        {"meter": address, "supplier": told, "chain_id": settings.ledger.chain_id, "consent": agreed},
        f"{qr_text(f'{address} {agreed}')}\n\n{address} {agreed}\n\n"
        f"That is the meter's address and its consent, for {told} alone. Scan it, or send it; the supplier types:\n"
        f"    wattchain meter install {address} {agreed} --owner 0xCUSTOMER --from supplier",
        as_json,
    )


def _open_signer(settings: MeterSettings) -> Signer:
    """Asks for an element's PIN. Raises UserError."""
    if settings.pkcs11 is not None:
        return open_element(settings.pkcs11, COMMAND_PATIENCE_S, asks=True)
    return open_meter_key(settings)
