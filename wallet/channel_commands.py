"""`wattchain channel`: what happens on the ledger - open, add to it, close - and how one's channels stand.

Signing and checking payments off the chain is wallet/channel_payment_commands.py.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from primitives.clock import SystemClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.channel import PAYMENT_CHANNEL, Place, read_channel, read_kept, read_place
from wallet.channel_payment import Kind, OpenChannel, check_closing, parse_total
from wallet.channel_payment_commands import agree, pay, read_text, store_option, verify, whose_option
from wallet.channel_standing import Standing, read_standing, read_standings, standing_json, standing_text
from wallet.channel_store import ChannelKey, ChannelStore
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, node_option, print_json, print_result, say
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent, the_event
from wallet.contract_commands import Outcome, Plan, Sending, ask_node, parse_account, send_planned, sending_options
from wallet.key_directory import KeyDirectory
from wallet.progress_bar import progress_bar
from wallet.quantities import format_time, parse_duration_s, parse_time_s

DEFAULT_VALIDITY = "7d"
DEFAULT_WARNING = "1d"
WATCH_INTERVAL_S = 60.0

number_argument = click.argument("number", type=WholeNumber(1))


@click.group(cls=PlainGroup)
def channel() -> None:
    """Pay a producer many times with two transactions.

    You put money aside for one producer (open). After each purchase you sign the total that is due so far and hand the
    signed text over by any means, such as a message (pay). The producer checks and keeps it (verify) and in the end
    takes the last total out of the channel (close); the rest comes back to you. If the producer has not closed when
    the validity is over, you close alone and all that was not claimed comes back.
    """


channel.add_command(pay)
channel.add_command(verify)
channel.add_command(agree)


@channel.command("open")
@click.argument("producer")
@click.argument("amount")
@click.option(
    "--for", "validity", metavar="DURATION", help=f"How long, such as 12h or 30d. Default: {DEFAULT_VALIDITY}."
)
@click.option("--until", metavar="TIME", help="Instead of --for, when it ends, such as '2026-12-31 18:00'.")
@sending_options
def open_channel(producer: str, amount: str, validity: str | None, until: str | None, sending: Sending) -> None:
    """Put AMOUNT aside for a PRODUCER.

    The producer can be sure of the money until the validity ends; what it does not get comes back to you.

      wattchain channel open 0x... 10 --for 7d
    """
    payee, amount_wei = parse_account(producer, sending.keys), parse_amount(amount)

    async def plan(client: RpcClient, consumer: bytes) -> Plan:
        end_s = _end_s(await read_place(client), validity, until)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            number = the_event(events, "Opened", consumer=consumer).values["channel"]
            return Outcome({"channel": number}, f"Channel {number} is open until {format_time(end_s)}.")

        return Plan(
            call=ContractCall(PAYMENT_CHANNEL, "open", (payee, end_s), value_wei=amount_wei),
            lines=[
                ("For", to_checksum_address(payee)),
                ("Amount", format_amount(amount_wei)),
                ("Until", format_time(end_s)),
            ],
            outcome=outcome,
            question="Open this channel?",
            result={
                "channel": None,
                "producer": to_checksum_address(payee),
                "deposit_wei": str(amount_wei),
                "valid_until": end_s,
            },
        )

    send_planned(sending, plan)


@channel.command("top-up")
@number_argument
@click.argument("amount")
@sending_options
def top_up(number: int, amount: str, sending: Sending) -> None:
    """Add AMOUNT to the money of your channel NUMBER."""
    amount_wei = parse_amount(amount)

    async def plan(client: RpcClient, consumer: bytes) -> Plan:
        found = await read_channel(client, number)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            deposit_wei = the_event(events, "ToppedUp", channel=number).values["depositWei"]
            return Outcome(
                {"deposit_wei": str(deposit_wei)}, f"Channel {number} holds {format_amount(deposit_wei)} in all."
            )

        return Plan(
            call=ContractCall(PAYMENT_CHANNEL, "topUp", (number,), value_wei=amount_wei),
            lines=[
                ("Channel", f"{number}, for {to_checksum_address(found.producer)}"),
                ("Amount", format_amount(amount_wei)),
            ],
            outcome=outcome,
            question="Add this?",
            result={"channel": number, "amount_wei": str(amount_wei), "deposit_wei": None},
        )

    send_planned(sending, plan)


@channel.command()
@number_argument
@click.option("--for", "validity", metavar="DURATION", help=f"How long from now on. Default: {DEFAULT_VALIDITY}.")
@click.option("--until", metavar="TIME", help="Instead of --for, when it ends.")
@sending_options
def extend(number: int, validity: str | None, until: str | None, sending: Sending) -> None:
    """Let your channel NUMBER be valid for longer."""

    async def plan(client: RpcClient, consumer: bytes) -> Plan:
        found = await read_channel(client, number)
        end_s = _end_s(await read_place(client), validity, until)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            told = the_event(events, "Extended", channel=number).values["validUntil"]
            return Outcome({"valid_until": told}, f"Channel {number} is valid until {format_time(told)}.")

        return Plan(
            call=ContractCall(PAYMENT_CHANNEL, "extend", (number, end_s)),
            lines=[
                ("Channel", f"{number}, until {format_time(found.valid_until_s)} so far"),
                ("Until", format_time(end_s)),
            ],
            outcome=outcome,
            question="Extend it?",
            result={"channel": number, "valid_until": None},
        )

    send_planned(sending, plan)


@channel.command()
@number_argument
@store_option
@sending_options
def claim(number: int, store: Path, sending: Sending) -> None:
    """As the producer, take what the best payment in channel NUMBER is worth; the channel stays open."""

    async def plan(client: RpcClient, producer: bytes) -> Plan:
        place, found = await read_place(client), await read_channel(client, number)
        with ChannelStore(store) as kept:
            best = kept.best_received(ChannelKey(place.genesis_hash, number))
        if best is None or best.total_wei <= found.claimed_wei:
            raise UserError(f"There is no payment of channel {number} in {store} that is not claimed yet.")

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            got_wei = the_event(events, "Claimed", channel=number).values["amountWei"]
            return Outcome({"amount_wei": str(got_wei)}, f"You got {format_amount(got_wei)} out of channel {number}.")

        return Plan(
            call=ContractCall(PAYMENT_CHANNEL, "claim", (number, best.total_wei, best.r, best.vs)),
            lines=[("Channel", str(number)), ("Claim", format_amount(best.total_wei - found.claimed_wei))],
            outcome=outcome,
            question="Claim this?",
            result={"channel": number, "amount_wei": None},
        )

    send_planned(sending, plan)


@channel.command()
@number_argument
@click.option(
    "--agreement",
    metavar="FILE",
    help="As the consumer, before the end: what the producer's `agree` wrote; - reads it.",
)
@store_option
@sending_options
def close(number: int, agreement: str | None, store: Path, sending: Sending) -> None:
    """Close channel NUMBER: the producer gets the last total, the consumer the rest.

    As the producer you can do it at any time; the best payment that `verify` has kept is presented. As the consumer you
    can do it when the validity is over, or with the producer's agreement.
    """

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        place, found = await read_place(client), await read_channel(client, number)
        call, total_wei = _closing_call(place, found, sender, agreement, store)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            told = the_event(events, "Closed", channel=number).values
            result = {"total_wei": str(told["totalWei"]), "returned_wei": str(told["returnedWei"])}
            text = f"Channel {number} is closed: {format_amount(told['totalWei'])} went to the producer in all, "
            text += f"{format_amount(told['returnedWei'])} back to the consumer."
            if kept := [event for event in events if event.name == "Kept"]:
                owners = ", ".join([to_checksum_address(event.values["party"]) for event in kept])
                text += f" {owners} did not take the money; `wattchain channel payout` gets it."
            return Outcome(result, text)

        return Plan(
            call=call,
            lines=[
                ("Channel", str(number)),
                ("Pays", f"{format_amount(total_wei)} in all to {to_checksum_address(found.producer)}"),
                ("Returns", f"{format_amount(found.deposit_wei - total_wei)} to {to_checksum_address(found.consumer)}"),
            ],
            outcome=outcome,
            question="Close it?",
            result={"channel": number, "total_wei": None, "returned_wei": None},
        )

    send_planned(sending, plan)


@channel.command()
@click.option("--to", "receiver", metavar="ACCOUNT", help="Who gets it; without it you do.")
@sending_options
def payout(receiver: str | None, sending: Sending) -> None:
    """Get money that the contract keeps because your account did not take it."""

    async def plan(client: RpcClient, party: bytes) -> Plan:
        to = party if receiver is None else parse_account(receiver, sending.keys)
        kept_wei = await read_kept(client, party)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            got_wei = the_event(events, "Withdrawn", party=party).values["amountWei"]
            return Outcome({"amount_wei": str(got_wei)}, f"{format_amount(got_wei)} went to {to_checksum_address(to)}.")

        return Plan(
            call=ContractCall(PAYMENT_CHANNEL, "withdraw", (to,)),
            lines=[("Amount", format_amount(kept_wei)), ("To", to_checksum_address(to))],
            outcome=outcome,
            question="Pay this out?",
            result={"amount_wei": None},
        )

    send_planned(sending, plan)


@channel.command("list")
@whose_option
@store_option
@keystore_option
@node_option
@json_option
def list_channels(whose: str | None, store: Path, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show the open channels of your keys, as consumer and as producer."""
    with progress_bar("Looking through blocks") as told:
        standings = ask_node(node, lambda client: read_standings(client, _parties(whose, keys), store, told))
    text = "\n\n".join([standing_text(one) for one in standings]) or "No open channel."
    _print_standings(standings, text, as_json)


@channel.command()
@number_argument
@store_option
@node_option
@json_option
def show(number: int, store: Path, node: str, as_json: bool) -> None:
    """Show channel NUMBER: its money, its validity, and the payments that are kept here."""

    async def read(client: RpcClient) -> Standing:
        return read_standing(await read_place(client), await read_channel(client, number), store)

    standing = ask_node(node, read)
    _warn([standing], parse_duration_s(DEFAULT_WARNING))
    print_result(standing_json(standing), standing_text(standing), as_json)


@channel.command()
@click.option(
    "--before", default=DEFAULT_WARNING, show_default=True, metavar="DURATION", help="How long before the end to warn."
)
@click.option("--once", is_flag=True, help="Look once instead of every minute; exit status 1 where there is a warning.")
@whose_option
@store_option
@keystore_option
@node_option
@json_option
def watch(
    before: str, once: bool, whose: str | None, store: Path, keys: KeyDirectory, node: str, as_json: bool
) -> None:
    """As a producer, be warned when a validity nears its end and money is not claimed yet.

    With --json every look prints one line: the numbers of the channels that are warned of.
    """
    before_s, parties = parse_duration_s(before), _parties(whose, keys)
    while True:
        standings = ask_node(node, lambda client: read_standings(client, parties, store))
        warned = _warn(standings, before_s)
        if as_json:
            print_json({"channels": warned}, on_one_line=True)
        if once:
            raise SystemExit(1 if warned else 0)
        asyncio.run(SystemClock().sleep_s(WATCH_INTERVAL_S))


def _closing_call(
    place: Place, found: OpenChannel, sender: bytes, agreement: str | None, store: Path
) -> tuple[ContractCall, int]:
    """How this party closes, and the total that the producer has had then."""
    number = found.number
    if sender == found.producer:
        with ChannelStore(store) as kept:
            best = kept.best_received(ChannelKey(place.genesis_hash, number))
        if best is None or best.total_wei < found.claimed_wei:
            say(f"No payment of channel {number} is in {store}: what was not claimed goes back to the consumer.")
            return ContractCall(PAYMENT_CHANNEL, "release", (number,)), found.claimed_wei
        return ContractCall(PAYMENT_CHANNEL, "close", (number, best.total_wei, best.r, best.vs)), best.total_wei
    if agreement is not None:
        closing = parse_total(read_text(agreement), Kind.CLOSING)
        check_closing(closing, place.chain_id, PAYMENT_CHANNEL.address, found)
        arguments = (number, closing.total_wei, closing.r, closing.vs)
        return ContractCall(PAYMENT_CHANNEL, "closeTogether", arguments), closing.total_wei
    return ContractCall(PAYMENT_CHANNEL, "closeExpired", (number,)), found.claimed_wei


def _end_s(place: Place, validity: str | None, until: str | None) -> int:
    if until is not None:
        if validity is not None:
            raise UserError("Give either --for or --until, not both.")
        return parse_time_s(until)
    return place.time_s + parse_duration_s(validity or DEFAULT_VALIDITY)


def _parties(whose: str | None, keys: KeyDirectory) -> set[bytes]:
    if whose is not None:
        return {parse_account(whose, keys)}
    parties = {file.address for file in keys.files()}
    if not parties:
        raise UserError(f"There is no key in {keys.path}; say whose channels with --account.")
    return parties


def _warn(standings: list[Standing], before_s: int) -> list[int]:
    """The numbers of the channels that are warned of."""
    warnings = {one.channel.number: text for one in standings if (text := one.warning(before_s)) is not None}
    for text in warnings.values():
        say(f"Warning: {text}")
    return list(warnings)


def _print_standings(standings: list[Standing], text: str, as_json: bool) -> None:
    _warn(standings, parse_duration_s(DEFAULT_WARNING))
    print_result([standing_json(one) for one in standings], text, as_json)
