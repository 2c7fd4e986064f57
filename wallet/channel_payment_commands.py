"""`wattchain channel pay`, `verify` and `agree`: what the parties sign and check off the chain.

Nothing here sends a transaction. What is signed or received is on the disk before it is shown or acknowledged.
"""

import io
import sys
from pathlib import Path

import click
import segno

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.channel import PAYMENT_CHANNEL, Place, read_channel, read_place
from wallet.channel_payment import (
    MAX_TEXT_BYTES,
    Kind,
    OpenChannel,
    SignedTotal,
    check_payment,
    encode_total,
    parse_total,
    sign_total,
)
from wallet.channel_store import ChannelKey, ChannelStore
from wallet.client import RpcClient
from wallet.command_line import WholeNumber, json_option, node_option, print_result, say
from wallet.commands import keystore_option
from wallet.contract_commands import ask_node, parse_account
from wallet.key_directory import KeyDirectory
from wallet.paper_signing import PaperSigning, paper_signing_options
from wallet.quantities import format_time, parse_duration_s
from wallet.signing_key import SigningKey

DEFAULT_STORE = "~/.wattchain/channels.db"
DEFAULT_MARGIN = "1h"

store_option = click.option(
    "--store",
    envvar="WATTCHAIN_CHANNELS",
    default=DEFAULT_STORE,
    show_default=True,
    metavar="FILE",
    callback=lambda _context, _option, value: Path(value).expanduser(),
    help="The file with your signed payments (or set WATTCHAIN_CHANNELS). Keep a copy of it.",
)
whose_option = click.option("--account", "whose", metavar="ACCOUNT", help="Whose channels, instead of all your keys'.")
output_option = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the signed text to a file as well."
)
qr_option = click.option("--qr", is_flag=True, help="Show it as a QR code on the terminal, to be photographed.")


@click.command()
@click.argument("number", type=WholeNumber(1))
@click.argument("amount", required=False)
@click.option("--again", is_flag=True, help="Show the last payment again instead of a new one.")
@click.option("--resume", is_flag=True, help="Go on from what was claimed, where you signed payments elsewhere before.")
@output_option
@qr_option
@store_option
@paper_signing_options
def pay(
    number: int,
    amount: str | None,
    again: bool,
    resume: bool,
    output: Path | None,
    qr: bool,
    store: Path,
    signing: PaperSigning,
) -> None:
    """Sign AMOUNT more for the producer of your channel NUMBER.

    What is printed is the payment: hand it over by any means, a message, a mail, a QR code. It names the total of all
    your payments in the channel, so the newest one replaces those before. No transaction is sent.

      wattchain channel pay 7 0.5
    """
    if again == (amount is not None):
        raise UserError("Give the AMOUNT of a new payment, or --again to see the last one.")

    async def read(client: RpcClient) -> tuple[Place, OpenChannel]:
        return await read_place(client), await read_channel(client, number)

    place, channel = ask_node(signing.node, read)
    with ChannelStore(store) as kept:
        name = ChannelKey(place.genesis_hash, number)
        last = kept.last_signed(name)
        if amount is None:
            if last is None:
                raise UserError(f"No payment of channel {number} was signed here.")
            _hand_over(last, channel, output, qr, signing.as_json)
            return
        key = signing.key()
        before_wei = _total_before(channel, last, resume)
        total_wei = _checked_total(channel, key, before_wei, parse_amount(amount), place.time_s)
        private_key = key.unlock(signing.password_file)
        payment = sign_total(
            Kind.PAYMENT, place.chain_id, PAYMENT_CHANNEL.address, number, channel.producer, total_wei, private_key
        )
        kept.keep_signed(name, payment)
    _hand_over(payment, channel, output, qr, signing.as_json)


@click.command()
@click.argument("payment")
@click.option("--margin", default=DEFAULT_MARGIN, show_default=True, metavar="DURATION",
              help="Refuse where less time than this is left to close.")  # fmt: skip
@click.option("--confirmations", type=WholeNumber(1, 100), default=1, show_default=True,
              help="Blocks that must have the channel's money; 6 where blocks are mined.")  # fmt: skip
@whose_option
@store_option
@keystore_option
@node_option
@json_option
def verify(
    payment: str,
    margin: str,
    confirmations: int,
    whose: str | None,
    store: Path,
    keys: KeyDirectory,
    node: str,
    as_json: bool,
) -> None:
    """As the producer, check a PAYMENT, keep it, and see what it is worth.

    PAYMENT is a file, the text itself, or - to read it from another program. When this says that the payment is good,
    it is on your disk, and you may deliver; keep a copy of that file. Close before the validity ends.
    """
    signed = parse_total(read_text(payment), Kind.PAYMENT)

    async def read(client: RpcClient) -> tuple[Place, OpenChannel]:
        place = await read_place(client, confirmations)
        return place, await read_channel(client, signed.channel, place.block_number)

    place, channel = ask_node(node, read)
    own = {parse_account(whose, keys)} if whose is not None else {file.address for file in keys.files()}
    if channel.producer not in own:
        raise UserError(
            f"Channel {channel.number} pays {to_checksum_address(channel.producer)}, which is none of your keys. Give "
            "--account with that address if it is yours all the same."
        )
    check_payment(signed, place.chain_id, PAYMENT_CHANNEL.address, channel, place.time_s, parse_duration_s(margin))
    with ChannelStore(store) as kept:
        name = ChannelKey(place.genesis_hash, channel.number)
        worth_wei = kept.keep_received(name, signed, channel.claimed_wei)
    left_wei = channel.deposit_wei - signed.total_wei
    result = {
        "channel": channel.number,
        "worth_wei": str(worth_wei),
        "total_wei": str(signed.total_wei),
        "left_wei": str(left_wei),
        "valid_until": channel.valid_until_s,
    }
    text = f"Good, and kept: {format_amount(worth_wei)} more, {format_amount(signed.total_wei)} in all. "
    text += f"{format_amount(left_wei)} are left in channel {channel.number}; close it before "
    text += f"{format_time(channel.valid_until_s)}."
    print_result(result, text, as_json)


@click.command()
@click.argument("number", type=WholeNumber(1))
@output_option
@qr_option
@store_option
@paper_signing_options
def agree(
    number: int,
    output: Path | None,
    qr: bool,
    store: Path,
    signing: PaperSigning,
) -> None:
    """As the producer, let the consumer close channel NUMBER at once.

    What is printed goes to the consumer, who closes with it (`wattchain channel close NUMBER --agreement FILE`) and so
    pays you the best total that you have. You take no more payments in this channel afterwards.
    """

    async def read(client: RpcClient) -> tuple[Place, OpenChannel]:
        return await read_place(client), await read_channel(client, number)

    place, channel = ask_node(signing.node, read)
    key = signing.key()
    if key.address != channel.producer:
        raise UserError(f"Only the producer of channel {number}, {to_checksum_address(channel.producer)}, can agree.")
    private_key = key.unlock(signing.password_file)
    with ChannelStore(store) as kept:
        name = ChannelKey(place.genesis_hash, number)
        best = kept.best_received(name)
        total_wei = max(channel.claimed_wei, best.total_wei if best else 0)
        closing = sign_total(
            Kind.CLOSING, place.chain_id, PAYMENT_CHANNEL.address, number, channel.consumer, total_wei, private_key
        )
        kept.keep_agreed(name, closing)
    _hand_over(closing, channel, output, qr, signing.as_json)


def read_text(source: str) -> str:
    """The text itself where it looks like one, else what is in the file, or for - comes in. Raises UserError."""
    if source.lstrip().startswith("{"):
        return source
    if not source:
        raise UserError("Give the signed text itself, the name of a file with it, or - to read it from standard input.")
    try:
        if source == "-":
            content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(MAX_TEXT_BYTES + 1)
        return content.decode()
    except OSError as error:
        raise UserError(f"The file {source[:80]} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The file {source[:80]} is not a text.") from error


def _total_before(channel: OpenChannel, last: SignedTotal | None, resume: bool) -> int:
    """The total that a new payment adds to. Raises UserError where the node tells of more than was signed here: a node
    that lies would have the consumer sign for what it never bought."""
    signed_wei = last.total_wei if last else 0
    if channel.claimed_wei > signed_wei and not resume:
        raise UserError(
            f"Of channel {channel.number}, {format_amount(channel.claimed_wei)} are claimed, but only "
            f"{format_amount(signed_wei)} were signed here. If you have signed the rest elsewhere, on another device "
            "or in a file that is lost, repeat this with --resume; if not, do not trust this node."
        )
    return max(channel.claimed_wei, signed_wei)


def _checked_total(channel: OpenChannel, key: SigningKey, before_wei: int, amount_wei: int, present_s: int) -> int:
    """The new total. Raises UserError where the producer would refuse it."""
    number = channel.number
    if key.address != channel.consumer:
        raise UserError(
            f"Channel {number} belongs to {to_checksum_address(channel.consumer)}; only its key can sign payments."
        )
    if amount_wei == 0:
        raise UserError("A payment needs an amount above zero.")
    total_wei = before_wei + amount_wei
    if total_wei > channel.deposit_wei:
        left_wei = channel.deposit_wei - before_wei
        raise UserError(
            f"Only {format_amount(left_wei)} are left in channel {number}. Add money with `wattchain channel top-up "
            f"{number} ...`."
        )
    if present_s >= channel.valid_until_s:
        raise UserError(
            f"The validity of channel {number} is over. Lengthen it with `wattchain channel extend {number}`, or close."
        )
    return total_wei


def _hand_over(signed: SignedTotal, channel: OpenChannel, output: Path | None, qr: bool, as_json: bool) -> None:
    text = encode_total(signed)
    if output is not None:
        try:
            output.write_text(text + "\n")
        except OSError as error:
            raise UserError(
                f"{output} cannot be written: {error.strerror}. What was signed is kept; see it with --again."
            ) from error
    if qr:
        drawn = io.StringIO()
        segno.make_qr(text).terminal(drawn, compact=True)
        say(drawn.getvalue())
    total, deposit = format_amount(signed.total_wei), format_amount(channel.deposit_wei)
    say(
        f"{total} in all of {deposit} in channel {channel.number}. "
        f"Hand this to {to_checksum_address(signed.counterparty)}:"
    )
    result = {"channel": signed.channel, "total_wei": str(signed.total_wei), signed.kind.value: text}
    print_result(result, text, as_json)
