"""`wattchain market`: offer energy of one's own to neighbours, buy theirs, and see it delivered and paid.

What is read is in wallet/market.py; here are the arguments, and what a person sees. Rules are in
wallet/market_rule_commands.py.
"""

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount
from wallet.auction_after_commands import auction
from wallet.auction_commands import AUCTION_COMMANDS
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ask_one
from wallet.contract_commands import (
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_planned,
    sending_options,
)
from wallet.key_directory import KeyDirectory
from wallet.market import (
    MARKET,
    percent,
    read_advert,
    read_offers,
    read_standing,
    read_trade,
    read_trades,
)
from wallet.market_rule_commands import rules, set_rule
from wallet.market_shown import (
    advert_outcome,
    delivery_outcome,
    meter_outcome,
    offers_json,
    offers_text,
    return_outcome,
    returns_outcome,
    sale_outcome,
    standing_json,
    standing_text,
    trade_json,
    trade_text,
)
from wallet.payout import payout_options, send_payout
from wallet.quantities import (
    format_energy,
    format_price,
    format_time,
    parse_energy_wh,
    parse_price_wei_per_wh,
    parse_time_s,
)

STEP_MARGIN_S = 600
"""A request that may be in a block only after the price has risen brings money for the risen price; what is more than
needed comes back at once."""


@click.group(cls=PlainGroup)
def market() -> None:
    """Sell your energy to neighbours, or buy theirs.

    A producer offers energy for three hours and sends it to the neighbourhood's store; its price rises by a tenth of
    the first one every hour. A consumer buys all of it or a part. The money is held until both meters show the energy;
    what does not come is paid back.

      wattchain market meter 0x... --from solar

      wattchain market advertise 5kWh --min-price 0.2 --from solar

      wattchain market request 2kWh 0x... --from home

    In the auction, bids and offers for a quarter of an hour are cleared together.

      wattchain market bid 2kWh --max-price 0.25 --from home

      wattchain market ask 3kWh --min-price 0.15 --from solar
    """


@market.command()
@click.argument("address", metavar="METER")
@sending_options
def meter(address: str, sending: Sending) -> None:
    """Say with which of your meters you trade.

    METER is its address or the name of one of your keys. Needed once, and again when the meter was swapped.
    """
    chosen = parse_account(address, sending.keys)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        return Plan(
            call=ContractCall(MARKET, "chooseMeter", (chosen,)),
            lines=[("Meter", to_checksum_address(chosen))],
            outcome=lambda events: meter_outcome(events, sender),
            question="Trade with this meter?",
            result={"meter": to_checksum_address(chosen)},
        )

    send_planned(sending, plan)


@market.command()
@click.argument("energy")
@click.option(
    "--min-price",
    required=True,
    metavar="WATT",
    help="Price a kWh in the first hour, for example 0.2; a tenth of it more in the second, and again in the third.",
)
@sending_options
def advertise(energy: str, min_price: str, sending: Sending) -> None:
    """Offer ENERGY for the next three hours, for example 5kWh.

    For producers. Your meter must have sent a reading within the last hour. You put down a deposit, which you get back
    with each kWh that your meter shows as sent; for what you sold but did not send, it goes to the buyer.
    """
    energy_wh, price = parse_energy_wh(energy), parse_price_wei_per_wh(min_price)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        deposit = await ask_one(client, MARKET, "depositFor", [energy_wh, price])
        return Plan(
            call=ContractCall(MARKET, "availableEnergyAdvert", (energy_wh, price), deposit),
            lines=[
                ("Offer", format_energy(energy_wh)),
                ("Price", f"{format_price(price)}, and a tenth of it more every hour"),
                ("Deposit", f"{format_amount(deposit)}, back with what you deliver"),
            ],
            outcome=lambda events: advert_outcome(events, sender),
            question="Offer this?",
            result={"energy_wh": energy_wh, "deposit_wei": str(deposit), "advert_time": None, "until": None},
        )

    send_planned(sending, plan)


@market.command("list")
@node_option
@json_option
def list_adverts(node: str, as_json: bool) -> None:
    """Show what can be bought now, the cheapest first."""
    offers = ask_node(node, read_offers)
    print_result(offers_json(offers), offers_text(offers), as_json)


@market.command()
@click.argument("energy")
@click.argument("producer")
@click.option(
    "--advert", metavar="TIME", help="Which advert, by its time as `list` shows it; else the producer's cheapest."
)
@sending_options
def request(energy: str, producer: str, advert: str | None, sending: Sending) -> None:
    """Buy ENERGY from a PRODUCER, an address that `wattchain market list` shows.

    For consumers. You pay the price of this hour and the tax. The money is held until both meters have shown the
    energy, and what does not come is paid back to your account on the market (`wattchain market account`), with a
    penalty if the producer did not send it. Your meter must have sent a reading within the last hour.
    """
    energy_wh, seller = parse_energy_wh(energy), parse_account(producer, sending.keys)
    time_s = None if advert is None else parse_time_s(advert)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        offer, now_s = await read_advert(client, seller, time_s)
        share, tax = offer.cost_at(now_s, energy_wh)
        most = max(share + tax, sum(offer.cost_at(min(now_s + STEP_MARGIN_S, offer.until_s - 1), energy_wh)))
        lines = [
            ("Buy", f"{format_energy(energy_wh)} of the {format_energy(offer.unsold_wh)} that are left"),
            ("From", to_checksum_address(seller)),
            ("Price", f"{format_price(offer.price_at(now_s))}, so {format_amount(share)}"),
            ("Tax", f"{format_amount(tax)} ({percent(offer.tax_bps)})"),
            ("Sum", format_amount(share + tax)),
        ]
        if most > share + tax:
            lines.append(
                ("Perhaps", f"{format_amount(most)}: the price is about to rise; what is not needed comes back")
            )
        return Plan(
            call=ContractCall(
                MARKET, "requestForEnergy", (energy_wh, offer.time_s, offer.first_price_wei_per_wh, seller), most
            ),
            lines=lines,
            outcome=lambda events: sale_outcome(events, sender),
            question="Buy this?",
            result={
                "producer": to_checksum_address(seller),
                "energy_wh": energy_wh,
                "trade": None,
                "share_wei": None,
                "tax_wei": None,
                "deliver_until": None,
            },
        )

    send_planned(sending, plan)


@market.command()
@click.argument("advert")
@sending_options
def withdraw(advert: str, sending: Sending) -> None:
    """Take back what is not sold of your advert.

    ADVERT is its time, as `wattchain market list` shows it. What is sold stays sold. The deposit for the rest is on
    your account on the market then.
    """
    time_s = parse_time_s(advert)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        offer, _ = await read_advert(client, sender, time_s)
        return Plan(
            call=ContractCall(MARKET, "withdrawAdvert", (time_s,)),
            lines=[("Back", format_energy(offer.unsold_wh)), ("Of", f"the advert of {format_time(time_s)}")],
            outcome=return_outcome,
            question="Take this back?",
            result={"advert_time": time_s, "energy_wh": None, "deposit_wei": None},
        )

    send_planned(sending, plan)


@market.command("return-ended")
@click.option("--most", type=WholeNumber(1, 64), default=64, show_default=True, help="How many adverts at most.")
@sending_options
def return_ended(most: int, sending: Sending) -> None:
    """Give the energy of adverts that are over back to their producers.

    Anybody may. New adverts do it by themselves; it is of use where the store is full of adverts that are over.
    """

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        return Plan(
            call=ContractCall(MARKET, "returnExpired", (most,)),
            lines=[("Return", "energy of adverts that are over, to their producers")],
            outcome=returns_outcome,
            result={"adverts": None, "energy_wh": None},
        )

    send_planned(sending, plan)


@market.command()
@click.argument("person", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Also those that are over.")
@keystore_option
@node_option
@json_option
def trades(person: str | None, all_of_them: bool, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what is sold and not delivered yet, the newest first.

    PERSON, an address or one of your keys, shows only those in which that one sells or buys.
    """
    who = None if person is None else parse_account(person, keys)
    found = ask_node(node, lambda client: read_trades(client, who, all_of_them=all_of_them))
    text = "\n".join([trade_text(one) for one in found]) or "There are none."
    print_result([trade_json(one) for one in found], text, as_json)


@market.command()
@click.argument("trade", type=WholeNumber(1, 2**64 - 1))
@click.argument("energy", required=False)
@sending_options
def deliver(trade: int, energy: str | None, sending: Sending) -> None:
    """Confirm that ENERGY of a TRADE has come, and so have it paid.

    For the grid controller. Without ENERGY: all of it that both meters show. Confirmed can only be what they show.
    """
    stated_wh = None if energy is None else parse_energy_wh(energy)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        sold = await read_trade(client, trade)
        shown = min(sold.open_wh, sold.exported_wh or 0, sold.imported_wh or 0)
        energy_wh = shown if stated_wh is None else stated_wh
        if energy_wh == 0 and sold.is_open:
            raise UserError(
                f"The meters show no energy for the trade {trade} yet: {format_energy(sold.exported_wh or 0)} sent, "
                f"{format_energy(sold.imported_wh or 0)} taken."
            )
        return Plan(
            call=ContractCall(MARKET, "confirmDelivery", (trade, energy_wh)),
            lines=[
                ("Came", f"{format_energy(energy_wh)} of the {format_energy(sold.open_wh)} still open"),
                ("Trade", f"{trade}, from {to_checksum_address(sold.advert.producer)}"),
                ("To", to_checksum_address(sold.consumer)),
            ],
            outcome=delivery_outcome,
            question="Confirm this?",
            result={"trade": trade, **_NOTHING_DELIVERED},
        )

    send_planned(sending, plan)


@market.command()
@click.argument("trade", type=WholeNumber(1, 2**64 - 1))
@sending_options
def settle(trade: int, sending: Sending) -> None:
    """End a TRADE whose time for delivery is over.

    Anybody may. What both meters show is paid; the rest goes back to the buyer, with a penalty for what the seller's
    meter does not show. The meters' readings of the end must be there, or three more days have passed.
    """

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        sold = await read_trade(client, trade)
        return Plan(
            call=ContractCall(MARKET, "settle", (trade,)),
            lines=[
                ("Trade", f"{trade}, from {to_checksum_address(sold.advert.producer)}"),
                ("To", to_checksum_address(sold.consumer)),
                ("Open", format_energy(sold.open_wh)),
            ],
            outcome=delivery_outcome,
            question="Settle this?",
            result={"trade": trade, **_NOTHING_DELIVERED},
        )

    send_planned(sending, plan)


@market.command()
@click.argument("person")
@keystore_option
@node_option
@json_option
def account(person: str, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what a PERSON has on the market: money to take, the meter, and what became of the energy.

    PERSON is an address or the name of one of your keys.
    """
    who = parse_account(person, keys)
    standing = ask_node(node, lambda client: read_standing(client, who))
    print_result({"account": to_checksum_address(who), **standing_json(standing)}, standing_text(standing), as_json)


@market.command()
@payout_options
def payout(amount: str, to: str | None, sending: Sending) -> None:
    """Take money off your account on the market: an AMOUNT, or all of it."""
    send_payout(MARKET, "accountOf", amount, to, sending)


for one in (*AUCTION_COMMANDS, auction):
    market.add_command(one)
market.add_command(rules)
market.add_command(set_rule)

_NOTHING_DELIVERED: dict[str, object] = {
    "delivered_wh": None,
    "paid_wei": None,
    "refund_wei": None,
    "penalty_wei": None,
    "settled": None,
}
