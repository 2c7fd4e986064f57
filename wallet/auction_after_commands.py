"""`wattchain market auction`: what follows a clearing (proofs, settlements, money), and the auction's rules."""

from collections.abc import Sequence

import click

from contracts.auction import OrderState, Pricing, Side
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount
from wallet.auction import AUCTION, SIDES, Slot, read_slot
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent, ask, ask_one, require_contract, the_event
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    ledger_time_s,
    parse_account,
    send_planned,
    sending_options,
)
from wallet.key_directory import KeyDirectory
from wallet.payout import payout_options, send_payout
from wallet.quantities import counted, format_duration, format_energy, format_time, parse_duration_s, parse_time_s
from wallet.signed_readings import readings_around

PRICING_WORDS = {"pay-as-clear": Pricing.PAY_AS_CLEAR, "pay-as-bid": Pricing.PAY_AS_BID}


@click.group(cls=PlainGroup)
def auction() -> None:
    """What follows an auction's clearing, and its rules.

    When a slot is over: prove what the meters showed, settle the trades, release what orders did not need, and take
    the money. Anybody may do the first three for everybody.

      wattchain market auction prove '2026-12-01 18:30' 0x...

      wattchain market auction settle '2026-12-01 18:30' 1 1
    """


@auction.command()
@click.argument("slot")
@click.argument("meter")
@click.option("--end", "is_end", is_flag=True, help="The registers at the end of the slot, not at its beginning.")
@sending_options
def prove(slot: str, meter: str, is_end: bool, sending: Sending) -> None:
    """Prove what a METER showed when a SLOT began, or when it ended.

    Both are needed of seller and buyer to settle a trade. The signed readings before and after that moment are looked
    for on the ledger.
    """
    slot_s, address = parse_time_s(slot), parse_account(meter, sending.keys)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        found = await read_slot(client, slot_s)
        time_s = found.book.end_s if is_end else slot_s
        import_wh, export_wh, is_proven = await ask_one(client, AUCTION, "registersAt", [address, time_s])
        if is_proven:
            raise UserError(
                f"That is proven already: {format_energy(import_wh)} taken, {format_energy(export_wh)} given."
            )
        earlier, later = await readings_around(client, address, time_s)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            values = the_event(events, "RegistersProven", meter=address).values
            result = {"import_wh": values["importWh"], "export_wh": values["exportWh"]}
            text = f"It showed {format_energy(values['importWh'])} taken and {format_energy(values['exportWh'])} given."
            return Outcome(result, text)

        return Plan(
            call=ContractCall(AUCTION, "proveRegisters", (time_s, earlier.arguments, later.arguments)),
            lines=[
                ("Meter", to_checksum_address(address)),
                ("At", format_time(time_s)),
                ("By", f"its readings {earlier.fields[1]} and {later.fields[1]}"),
            ],
            outcome=outcome,
            question="Prove this?",
            result={"meter": to_checksum_address(address), "time": time_s, "import_wh": None, "export_wh": None},
        )

    send_planned(sending, plan)


@auction.command()
@click.argument("slot")
@click.argument("bid", type=WholeNumber(1, 65_535))
@click.argument("ask", type=WholeNumber(1, 65_535))
@sending_options
def settle(slot: str, bid: int, ask: int, sending: Sending) -> None:
    """Settle the trade of a BID with an ASK in a SLOT that is over.

    By their numbers, as `wattchain market result` shows them. What both meters show is paid for; the rest goes back to
    the buyer, with a penalty for what the seller's meter does not show. Three days after the slot this is done without
    the proofs that are missing.
    """
    slot_s = parse_time_s(slot)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        found = await read_slot(client, slot_s)
        energy_wh = sum([one.energy_wh for one in found.trades() if (one.bid, one.ask) == (bid, ask)])

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            values = the_event(events, "TradeSettled", slot=slot_s).values
            delivered, returned, missing = values["delivery"]
            share, tax, refund, penalty, deposit = values["payment"]
            text = (
                f"{format_energy(delivered)} came: {format_amount(share)} to the seller, {format_amount(tax)} tax. "
                f"{format_amount(refund)} back to the buyer, {format_amount(penalty)} penalty to the buyer, "
                f"{format_amount(deposit)} deposit back to the seller."
            )
            result = {
                "delivered_wh": delivered, "returned_wh": returned, "missing_wh": missing, "share_wei": str(share),
                "tax_wei": str(tax), "refund_wei": str(refund), "penalty_wei": str(penalty),
                "deposit_wei": str(deposit),
            }  # fmt: skip
            return Outcome(result, text)

        return Plan(
            call=ContractCall(AUCTION, "settle", (slot_s, bid, ask)),
            lines=[("Slot", format_time(slot_s)), ("Trade", f"{format_energy(energy_wh)} of ask {ask} to bid {bid}")],
            outcome=outcome,
            question="Settle this?",
            result={"slot": slot_s, "bid": bid, "ask": ask, "delivered_wh": None},
        )

    send_planned(sending, plan)


@auction.command()
@click.argument("slot")
@click.argument("side", type=click.Choice(list(SIDES.values())))
@click.argument("numbers", type=WholeNumber(1, 65_535), nargs=-1)
@sending_options
def release(slot: str, side: str, numbers: tuple[int, ...], sending: Sending) -> None:
    """Give back what orders of a SLOT did not need.

    SIDE is bid or ask, NUMBERS those of the orders; without any, all of that side that have money left. What was not
    traded, and what was bid above the price, goes to the orders' accounts; of an order that was sealed and never
    revealed a tenth is kept.
    """
    slot_s, of_side = parse_time_s(slot), next(one for one, word in SIDES.items() if word == side)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        found = await read_slot(client, slot_s)
        chosen = list(numbers) or await _releasable(client, found, of_side)
        if not chosen:
            raise UserError(f"No money of a {side} of that slot is left to be released.")

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            released = [event.values for event in events if event.name == "OrderReleased"]
            refund = sum([values["refundWei"] for values in released])
            kept = sum([values["forfeitWei"] for values in released])
            text = f"{format_amount(refund)} went back to {counted(len(released), 'account')}."
            if kept:
                text += f" {format_amount(kept)} were kept for orders that were not revealed."
            return Outcome({"refund_wei": str(refund), "forfeit_wei": str(kept)}, text)

        return Plan(
            call=ContractCall(AUCTION, "release", (slot_s, of_side, chosen)),
            lines=[("Slot", format_time(slot_s)), ("Orders", f"{side} {', '.join([str(one) for one in chosen])}")],
            outcome=outcome,
            question="Release this?",
            result={"slot": slot_s, "side": side, "numbers": chosen, "refund_wei": None, "forfeit_wei": None},
        )

    send_planned(sending, plan)


@auction.command()
@click.argument("person")
@keystore_option
@node_option
@json_option
def account(person: str, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what a PERSON can take from the auction: an address or the name of one of your keys."""
    who = parse_account(person, keys)

    async def read(client: RpcClient) -> int:
        await require_contract(client, AUCTION)
        return int(await ask_one(client, AUCTION, "accountOf", [who]))

    wei = ask_node(node, read)
    shown = to_checksum_address(who)
    print_result({"account": shown, "account_wei": str(wei)}, f"{shown} has {format_amount(wei)} to take.", as_json)


@auction.command()
@payout_options
def payout(amount: str, to: str | None, sending: Sending) -> None:
    """Take money off your account on the auction: an AMOUNT, or all of it."""
    send_payout(AUCTION, "accountOf", amount, to, sending)


@auction.command()
@node_option
@json_option
def rules(node: str, as_json: bool) -> None:
    """Show the rules: how long slots are, whether orders are sealed, and what is paid."""

    async def read(client: RpcClient) -> tuple[tuple[int, bool, int], tuple[int, bool, int], int]:
        await require_contract(client, AUCTION)
        present = await ask_one(client, AUCTION, "rulesAt", [await ledger_time_s(client)])
        latest, from_s = await ask(client, AUCTION, "latestRules")
        return present, latest, from_s

    present, latest, from_s = ask_node(node, read)
    text = f"Slots of {_rules_text(*present)}."
    result = {**_rules_json(*present), "next": None}
    if present != latest:
        text += f"\nFrom {format_time(from_s)} on: slots of {_rules_text(*latest)}."
        result["next"] = {**_rules_json(*latest), "from": from_s}
    print_result(result, text, as_json)


@auction.command("set-rules")
@click.option("--length", default="15min", show_default=True, metavar="DURATION", help="Length of a slot.")
@click.option("--sealed/--open", "is_sealed", default=False, show_default=True, help="Whether orders are sealed.")
@click.option(
    "--pricing",
    type=click.Choice(list(PRICING_WORDS)),
    default="pay-as-clear",
    show_default=True,
    help="Whether all pay the one price at which the slot clears, or each buyer its own bid.",
)
@sending_options
def set_rules(length: str, is_sealed: bool, pricing: str, sending: Sending) -> None:
    """Set the rules for slots from about a day ahead on.

    For regulators. Orders that are there already are not touched.
    """
    length_s, how = parse_duration_s(length), PRICING_WORDS[pricing]

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            from_s = the_event(events, "RulesSet", regulator=sender).values["from"]
            return Outcome({"from": from_s}, f"It holds for slots from {format_time(from_s)} on.")

        return Plan(
            call=ContractCall(AUCTION, "setRules", (min(length_s, 65_535), is_sealed, how)),
            lines=[("Slots", _rules_text(length_s, is_sealed, how))],
            outcome=outcome,
            question="Set this?",
            result={**_rules_json(length_s, is_sealed, how), "from": None},
        )

    send_planned(sending, plan)


async def _releasable(client: RpcClient, found: Slot, side: Side) -> list[int]:
    """Numbers of the orders whose money is free by now."""
    book, time_s = found.book, await ledger_time_s(client)
    is_over = book.is_cleared or time_s >= book.end_s
    return [
        one.number
        for one in found.side(side)
        if (one.state is OrderState.OPEN and is_over)
        or (one.state is OrderState.SEALED and time_s >= book.book_until_s)
    ]


def _rules_text(length_s: int, is_sealed: bool, pricing: int) -> str:
    how = "one price for all" if pricing == Pricing.PAY_AS_CLEAR else "each buyer pays its bid"
    return f"{format_duration(length_s)}, {'sealed' if is_sealed else 'open'} orders, {how}"


def _rules_json(length_s: int, is_sealed: bool, pricing: int) -> dict[str, object]:
    word = next(word for word, one in PRICING_WORDS.items() if one == pricing)
    return {"length_s": length_s, "sealed": is_sealed, "pricing": word}
