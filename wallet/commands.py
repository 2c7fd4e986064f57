"""`wattchain wallet`: make, bring in, list and hand out keys, look at balances and send WATT.

Keys stay in encrypted files on this computer; a node only ever sees signed transactions.
"""

import asyncio
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from chain.transaction import Transaction
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address, to_checksum_address, to_data
from primitives.json_text import parse_json
from primitives.secp256k1 import address_of, private_key_is_valid
from wallet.amounts import format_amount, parse_amount, to_decimal
from wallet.answers import Receipt
from wallet.client import RpcClient
from wallet.command_line import (
    NumberInRange,
    PlainGroup,
    ask_secret,
    confirm,
    json_option,
    node_option,
    password_file_option,
    print_result,
    read_password,
    say,
)
from wallet.key_directory import (
    KeyDirectory,
    KeyFile,
    decode_key_file,
    parse_private_key,
    read_key_file,
    write_private_file,
)
from wallet.keystore import (
    LIGHT_COST,
    MAX_FILE_BYTES,
    STANDARD_COST,
    decrypt_key,
    encrypt_key,
    keystore_address,
    with_address,
)
from wallet.transfer import DEFAULT_MAX_FEE_WEI, build_transfer, highest_fee, sign_and_send

DEFAULT_KEYSTORE = "~/.wattchain/keystore"
# Blocks come every few seconds to a quarter of a minute; two minutes are many blocks.
DEFAULT_WAIT_S = 120.0

keystore_option = click.option(
    "--keystore",
    "keys",
    envvar="WATTCHAIN_KEYSTORE",
    default=DEFAULT_KEYSTORE,
    show_default=True,
    metavar="FOLDER",
    callback=lambda _context, _option, value: KeyDirectory(Path(value).expanduser()),
    help="The folder with your key files (or set WATTCHAIN_KEYSTORE).",
)
name_option = click.option("--name", help="A name for the key, such as home. Without one, its address is its name.")
light_option = click.option(
    "--light", is_flag=True, help="Protect the file with less work: faster on a small computer, weaker if it is stolen."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask, just do it.")
wait_option = click.option(
    "--wait",
    "wait_s",
    type=NumberInRange(min=0),
    default=DEFAULT_WAIT_S,
    show_default=True,
    help="Seconds to wait until it is in a block; 0 does not wait.",
)
max_fee_option = click.option(
    "--max-fee",
    metavar="AMOUNT",
    default=format_amount(DEFAULT_MAX_FEE_WEI),
    show_default=True,
    help="Refuse to send where the fee could be more.",
)


@click.group(cls=PlainGroup)
def wallet() -> None:
    """Your keys and your WATT.

    A key is kept in a file on this computer, locked with a password that only you know. Whoever has the file and the
    password can spend what is on the key's address; nobody can restore a lost file or password. Keep a copy.
    """


@wallet.command()
@name_option
@light_option
@keystore_option
@password_file_option
@json_option
def new(name: str | None, light: bool, keys: KeyDirectory, password_file: Path | None, as_json: bool) -> None:
    """Make a new key and print its address.

    Others pay you at the address. The password is asked twice and never shown.
    """
    password = read_password(password_file, "Password for the new key", is_new=True)
    private_key = secrets.token_bytes(32)
    while not private_key_is_valid(private_key):
        private_key = secrets.token_bytes(32)
    file = keys.add(encrypt_key(private_key, password, LIGHT_COST if light else STANDARD_COST), name)
    _print_key_file(file, "Made the key", as_json)


@wallet.command("import")
@click.argument("source", metavar="[FILE]", required=False)
@name_option
@light_option
@keystore_option
@password_file_option
@json_option
def import_key(
    source: str | None,
    name: str | None,
    light: bool,
    keys: KeyDirectory,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Bring in a key from elsewhere.

    FILE is a key file of another wallet (its password stays the password), or a text file with a private key of 64
    hexadecimal digits, or - to read either from a pipe. Without FILE the private key is asked and not shown.
    """
    if source is None:
        text = ask_secret("Private key (64 hexadecimal digits)", twice=False, otherwise="name a file, or - for a pipe")
    elif source == "-":
        text = decode_key_file(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "standard input")
    else:
        text = read_key_file(Path(source))
    if text.lstrip().startswith("{"):
        keystore_address(text)  # a file that is no key file is refused before a password is asked
        private_key = decrypt_key(text, read_password(password_file, "Password of the key file"))
        encrypted = with_address(text, address_of(private_key))
    else:
        private_key = parse_private_key(text)
        password = read_password(password_file, "Password to protect the key", is_new=True)
        encrypted = encrypt_key(private_key, password, LIGHT_COST if light else STANDARD_COST)
    _print_key_file(keys.add(encrypted, name), "Brought in the key", as_json)


@wallet.command("list")
@keystore_option
@json_option
def list_keys(keys: KeyDirectory, as_json: bool) -> None:
    """List your keys: name and address."""
    files = keys.files()
    text = "\n".join(f"{to_checksum_address(file.address)}  {file.name}" for file in files)
    if not files:
        text = f"No keys in {keys.path} yet. Make one with: wattchain wallet new"
    print_result([_described(file) for file in files], text, as_json)


@wallet.command()
@click.argument("accounts", metavar="[ACCOUNT]...", nargs=-1)
@keystore_option
@node_option
@json_option
def balance(accounts: Sequence[str], keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show how much WATT accounts have.

    ACCOUNT is the name of one of your keys, or any address. Without one, all your keys are shown.
    """
    wanted = [(name, _address_of(name, keys)) for name in accounts] or [(f.name, f.address) for f in keys.files()]
    if not wanted:
        raise UserError(f"No keys in {keys.path} yet; name an address, or make a key with: wattchain wallet new")
    balances = asyncio.run(_balances(node, [address for _, address in wanted]))
    rows = [
        {"name": name, "address": to_checksum_address(address), "wei": str(wei), "watt": to_decimal(wei)}
        for (name, address), wei in zip(wanted, balances, strict=True)
    ]
    text = "\n".join(f"{row['address']}  {row['watt']} WATT  {row['name']}" for row in rows)
    print_result(rows, text, as_json)


@wallet.command()
@click.argument("to")
@click.argument("amount")
@click.option(
    "--from", "sender", metavar="ACCOUNT", help="Name or address of the paying key; needed if you have several."
)
@wait_option
@max_fee_option
@yes_option
@keystore_option
@node_option
@password_file_option
@json_option
def send(
    to: str,
    amount: str,
    sender: str | None,
    wait_s: float,
    max_fee: str,
    yes: bool,
    keys: KeyDirectory,
    node: str,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Send WATT.

    TO is an address, or the name of one of your keys. AMOUNT is a number of WATT such as 1.5, or one with its unit:
    20mWATT, 7gwei, 100wei. You see what will be sent and what it costs at most before it happens.
    """
    payer = keys.find(sender) if sender else _only_key(keys)
    recipient, wei = _address_of(to, keys), parse_amount(amount)
    transaction = asyncio.run(_plan(node, payer.address, recipient, wei, parse_amount(max_fee)))
    fee = highest_fee(transaction)
    say(f"From    {to_checksum_address(payer.address)}  {payer.name}")
    say(f"To      {to_checksum_address(recipient)}")
    say(f"Amount  {format_amount(wei)}")
    say(f"Fee     {'none' if fee == 0 else 'at most ' + format_amount(fee)}")
    say(f"Chain   {transaction.chain_id}, by the node at {node}")
    confirm("Send this?", yes)
    private_key = decrypt_key(payer.read(), read_password(password_file, f"Password of {payer.name}"))
    transaction_hash, receipt = asyncio.run(_submit(node, transaction, private_key, wait_s))
    result: dict[str, object] = {
        "transaction": to_data(transaction_hash),
        "from": to_checksum_address(payer.address),
        "to": to_checksum_address(recipient),
        "wei": str(wei),
        "block": receipt and receipt.block_number,
        "fee_wei": receipt and str(receipt.gas_used * receipt.effective_gas_price),
    }
    if receipt is None:
        text = f"Handed in as {result['transaction']}; it is not in a block yet."
    else:
        text = f"Sent {format_amount(wei)} in block {receipt.block_number}, transaction {result['transaction']}."
    print_result(result, text, as_json)


@wallet.command()
@click.argument("account")
@click.option(
    "--private-key", "show_private_key", is_flag=True, help="Give the bare private key. Dangerous: see above."
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to a new file that only you can read."
)
@yes_option
@keystore_option
@password_file_option
@json_option
def export(
    account: str,
    show_private_key: bool,
    output: Path | None,
    yes: bool,
    keys: KeyDirectory,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Hand out a key for another wallet.

    ACCOUNT is the name or address of one of your keys. The key file stays locked with its password. With --private-key
    you get the bare key instead: whoever sees it can take everything, so only do that for a wallet that takes no files.
    """
    file = keys.find(account)
    if show_private_key:
        say("Warning: whoever sees the private key owns all that is on its address, for ever, without any password.")
        confirm("Take the private key out of its file?", yes)
        private_key = decrypt_key(file.read(), read_password(password_file, f"Password of {file.name}"))
        result: object = {**_described(file), "private_key": to_data(private_key)}
        text = to_data(private_key)
    else:
        text = file.read().rstrip("\n")
        result = parse_json(text)
    if output is None:
        print_result(result, text, as_json)
        return
    try:
        write_private_file(output, text + "\n")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from error
    print_result({**_described(file), "file": str(output)}, f"Written to {output}", as_json)


async def _balances(node: str, addresses: Sequence[bytes]) -> list[int]:
    async with RpcClient(node) as client:
        return [await client.balance(address) for address in addresses]


async def _plan(node: str, sender: bytes, to: bytes, wei: int, max_fee_wei: int) -> Transaction:
    async with RpcClient(node) as client:
        return await build_transfer(client, sender, to, wei, max_fee_wei)


async def _submit(
    node: str, transaction: Transaction, private_key: bytes, wait_s: float
) -> tuple[bytes, Receipt | None]:
    """Sign, hand in and wait; the hash, and the receipt where there is one in time."""
    async with RpcClient(node) as client:
        transaction_hash = await sign_and_send(client, transaction, private_key)
        if wait_s == 0:
            return transaction_hash, None
        with Console(stderr=True).status("Waiting for the block ..."):
            receipt = await client.wait_for_receipt(transaction_hash, wait_s)
    if not receipt.succeeded:
        raise UserError(
            f"The recipient refused the transfer {to_data(transaction_hash)} (block {receipt.block_number}); "
            "the amount stays with the sender, the fee is spent."
        )
    return transaction_hash, receipt


def _address_of(name_or_address: str, keys: KeyDirectory) -> bytes:
    """Any address, or that of a key of one's own by its name."""
    if name_or_address.lower().startswith("0x"):
        try:
            return parse_address(name_or_address)
        except InvalidHex as error:
            raise UserError(f"{name_or_address[:80]} is no address: {error}.") from error
    return keys.find(name_or_address).address


def _only_key(keys: KeyDirectory) -> KeyFile:
    files = keys.files()
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise UserError(f"Say with --from which key pays. Keys in {keys.path}: {names}.")
    return files[0]


def _described(file: KeyFile) -> dict[str, object]:
    return {"name": file.name, "address": to_checksum_address(file.address), "file": str(file.path)}


def _print_key_file(file: KeyFile, deed: str, as_json: bool) -> None:
    address = to_checksum_address(file.address)
    text = f"{deed} {file.name}.\nAddress  {address}\nFile     {file.path}\nKeep a copy of the file, and the password."
    print_result(_described(file), text, as_json)
