"""`wattchain market bid | ask | reveal | clear | result`: trade the energy of a slot of time in an auction.

What is read is in wallet/auction.py; here are the arguments, and what a person sees. What follows a clearing is in
wallet/auction_after_commands.py.
"""

import secrets
from collections.abc import Callable, Sequence

import click

from contracts.auction import MIN_SEALED_WEI, SALT_BYTES, OrderState, Pricing, Side
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.auction import AUCTION, SIDES, Book, Slot, meter_of, next_slot, read_book, read_slot
from wallet.client import RpcClient
from wallet.command_line import json_option, node_option, print_result
from wallet.contract_call import ContractCall, ContractEvent, ask_one, the_event
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
from wallet.quantities import (
    format_energy,
    format_price,
    format_time,
    parse_energy_wh,
    parse_price_wei_per_wh,
    parse_time_s,
)
from wallet.sealed_orders import SealedOrder, SealedOrders

CLEARING_GAS_MARGIN = 100_000

slot_argument = click.argument("slot", metavar="SLOT")
PRICINGS = {Pricing.PAY_AS_CLEAR: "one price for all", Pricing.PAY_AS_BID: "each buyer pays its bid"}


def order_options(command: Callable[..., None]) -> Callable[..., None]:
    """What `bid` and `ask` have in common."""
    for option in (
        click.option(
            "--cover",
            metavar="WATT",
            help="Money to send with a sealed order: more than it needs hides how much that is; the rest comes back.",
        ),
        click.option("--meter", metavar="ACCOUNT", help="Your meter; else the one of `wattchain market meter`."),
        click.option("--slot", metavar="TIME", help="When it begins, for example '2026-12-01 18:30'; else the next."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("energy")
@click.option("--max-price", required=True, metavar="WATT", help="Highest price a kWh, without tax, for example 0.25.")
@order_options
@sending_options
def bid(energy: str, max_price: str, slot: str | None, meter: str | None, cover: str | None, sending: Sending) -> None:
    """Bid for ENERGY in a slot of time, for example 2kWh.

    For consumers. In an auction all bids and offers for a quarter of an hour are cleared together, at one price or at
    the bids' own. You never pay more than your highest price (and the tax on it), and may get less energy than you bid
    for. The money is held until delivery; what is not needed comes back to your account on the auction. A bid cannot
    be taken back.

    Where the auction is sealed, nobody sees your bid until the bidding is over. Then you have to reveal it (`wattchain
    market reveal`); else it takes no part and costs a tenth of the money that came with it.

      wattchain market bid 2kWh --max-price 0.25 --from home
    """
    _order(Side.BID, energy, max_price, slot, meter, cover, sending)


@click.command("ask")
@click.argument("energy")
@click.option("--min-price", required=True, metavar="WATT", help="Lowest price a kWh, for example 0.15.")
@order_options
@sending_options
def ask_for(
    energy: str, min_price: str, slot: str | None, meter: str | None, cover: str | None, sending: Sending
) -> None:
    """Offer ENERGY in a slot of time, for example 2kWh.

    For producers. You put down a deposit, which you get back with what your meter gives to the grid in the slot; for
    what you sold but did not send, it goes to the buyer. An offer cannot be taken back. Sealed auctions: see `wattchain
    market bid --help`.

      wattchain market ask 3kWh --min-price 0.15 --slot '2026-12-01 12:00' --from solar
    """
    _order(Side.ASK, energy, min_price, slot, meter, cover, sending)


def _order(
    side: Side, energy: str, price_text: str, slot: str | None, meter: str | None, cover: str | None, sending: Sending
) -> None:
    energy_wh, price = parse_energy_wh(energy), parse_price_wei_per_wh(price_text)
    cover_wei = None if cover is None else parse_amount(cover)
    slot_s = None if slot is None else parse_time_s(slot)
    meter_address = None if meter is None else parse_account(meter, sending.keys)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        book = await read_book(client, slot_s if slot_s is not None else await next_slot(client))
        own_meter = meter_address or await meter_of(client, sender)
        needed = book.needed_wei(side, energy_wh, price)
        lines = [
            ("Slot", f"{format_time(book.slot_s)} to {format_time(book.end_s)}, {PRICINGS[book.pricing]}"),
            (SIDES[side].capitalize(), f"{format_energy(energy_wh)} at {'most' if side is Side.BID else 'least'} "
             f"{format_price(price)}"),
            ("Meter", to_checksum_address(own_meter)),
        ]  # fmt: skip
        result: dict[str, object] = {
            "slot": book.slot_s,
            "side": SIDES[side],
            "energy_wh": energy_wh,
            "price_wei_per_wh": str(price),
            "sealed": book.is_sealed,
            "number": None,
            "held_wei": None,
        }
        if not book.is_sealed:
            if cover_wei is not None:
                raise UserError("Orders of this slot are open, so --cover hides nothing; leave it out.")
            return Plan(
                call=ContractCall(AUCTION, "placeOrder", (book.slot_s, side, own_meter, energy_wh, price), needed),
                lines=[*lines, _money_line(side, needed)],
                outcome=lambda events: _placed(events, sender),
                question="Give this order? It cannot be taken back.",
                result=result,
            )
        value = max(needed, MIN_SEALED_WEI) if cover_wei is None else cover_wei
        if value < needed:
            raise UserError(f"The order needs {format_amount(needed)}; --cover must be at least that.")
        chain_id = await client.chain_id()
        order = SealedOrder(chain_id, book.slot_s, sender, side, energy_wh, price, secrets.token_bytes(SALT_BYTES))
        path = SealedOrders(sending.keys.path).keep(order)
        return Plan(
            call=ContractCall(AUCTION, "sealOrder", (book.slot_s, side, own_meter, order.commitment), value),
            lines=[
                *lines,
                ("Sealed", f"reveal it from {format_time(book.orders_until_s)} to {format_time(book.book_until_s)}"),
                ("Cover", f"{format_amount(value)}, of which {format_amount(needed)} are needed"),
                ("Secret", str(path)),
            ],
            outcome=lambda events: _sealed(events, sender, book),
            question="Give this order? It cannot be taken back, and must be revealed in time.",
            result={**result, "reveal_from": book.orders_until_s, "reveal_until": book.book_until_s},
        )

    send_planned(sending, plan)


@click.command()
@slot_argument
@sending_options
def reveal(slot: str, sending: Sending) -> None:
    """Reveal your sealed order for a SLOT, when its bidding is over.

    Energy and price are where you sealed the order, in a file beside your keys. What came with it and is not needed
    goes to your account on the auction.
    """
    slot_s = parse_time_s(slot)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        await read_book(client, slot_s)
        commitment, _ = await ask_one(client, AUCTION, "sealOf", [slot_s, sender])
        if not any(commitment):
            raise UserError(f"{to_checksum_address(sender)} has no sealed order for that slot that could be revealed.")
        order = SealedOrders(sending.keys.path).find(slot_s, sender, commitment)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            placed = _placed(events, sender)
            back = the_event(events, "OrderRevealed", account=sender).values["refundWei"]
            text = f"{placed.text} {format_amount(back)} went back to your account on the auction."
            return Outcome({**placed.result, "refund_wei": str(back)}, text)

        terms = f"{format_energy(order.energy_wh)} at {format_price(order.price_wei_per_wh)}"
        return Plan(
            call=ContractCall(AUCTION, "reveal", (slot_s, order.energy_wh, order.price_wei_per_wh, order.salt)),
            lines=[("Slot", format_time(slot_s)), (SIDES[order.side].capitalize(), terms)],
            outcome=outcome,
            question="Reveal this?",
            result={"slot": slot_s, "number": None, "held_wei": None, "refund_wei": None},
        )

    send_planned(sending, plan)


@click.command("clear")
@slot_argument
@sending_options
def clear_slot(slot: str, sending: Sending) -> None:
    """Clear a SLOT whose book is complete: find out who trades, and at what price.

    Anybody may. What comes of it is settled by the orders alone: this computer finds it, and the contract takes nothing
    else. A slot that nobody clears until it is over trades nothing.
    """
    slot_s = parse_time_s(slot)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        found = await read_slot(client, slot_s)
        clearing = found.clearing()
        energy_wh, price = clearing.energy_wh, clearing.price_wei_per_wh

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            values = the_event(events, "SlotCleared", slot=slot_s).values
            result = {"traded_wh": values["tradedWh"], "price_wei_per_wh": str(values["priceWeiPerWh"])}
            return Outcome(result, _cleared_text(found.book, values["tradedWh"], values["priceWeiPerWh"]))

        return Plan(
            call=ContractCall(
                AUCTION, "clear", (slot_s, clearing.bids, clearing.asks, energy_wh, price), 0, CLEARING_GAS_MARGIN
            ),
            lines=[
                ("Slot", format_time(slot_s)),
                ("Orders", f"{_count(len(clearing.bids), 'bid')}, {_count(len(clearing.asks), 'ask')}"),
                ("Trades", _cleared_text(found.book, energy_wh, price)),
            ],
            outcome=outcome,
            question="Clear it?",
            result={"slot": slot_s, "traded_wh": None, "price_wei_per_wh": None},
        )

    send_planned(sending, plan)


@click.command()
@click.argument("slot", required=False, metavar="[SLOT]")
@node_option
@json_option
def result(slot: str | None, node: str, as_json: bool) -> None:
    """Show a SLOT's orders, and what they trade once it is cleared; the next one where none is given."""
    slot_s = None if slot is None else parse_time_s(slot)

    async def read(client: RpcClient) -> tuple[Slot, int]:
        chosen_s = slot_s if slot_s is not None else await next_slot(client)
        return await read_slot(client, chosen_s), await ledger_time_s(client)

    found, time_s = ask_node(node, read)
    print_result(_slot_json(found), _slot_text(found, time_s), as_json)


AUCTION_COMMANDS: tuple[click.Command, ...] = (bid, ask_for, reveal, clear_slot, result)
"""In the group `wattchain market`."""


def _placed(events: Sequence[ContractEvent], account: bytes) -> Outcome:
    values = the_event(events, "OrderPlaced", account=account).values
    side = SIDES[Side(values["side"])]
    text = f"It is the {side} number {values['number']}; {format_amount(values['heldWei'])} are held for it."
    return Outcome({"number": values["number"], "held_wei": str(values["heldWei"])}, text)


def _sealed(events: Sequence[ContractEvent], account: bytes, book: Book) -> Outcome:
    values = the_event(events, "OrderSealed", account=account).values
    side = SIDES[Side(values["side"])]
    text = (
        f"It is the {side} number {values['number']}; {format_amount(values['depositWei'])} are held for it.\n"
        f"Reveal it with `wattchain market reveal @{book.slot_s}`, from {format_time(book.orders_until_s)} to "
        f"{format_time(book.book_until_s)}."
    )
    return Outcome({"number": values["number"], "held_wei": str(values["depositWei"])}, text)


def _money_line(side: Side, needed_wei: int) -> tuple[str, str]:
    if side is Side.BID:
        return "Pay", f"{format_amount(needed_wei)} with the tax, at most; the rest comes back"
    return "Deposit", f"{format_amount(needed_wei)}, back with what you deliver"


def _cleared_text(book: Book, energy_wh: int, price_wei_per_wh: int) -> str:
    if energy_wh == 0:
        return "nothing is traded"
    if book.pricing is Pricing.PAY_AS_BID:
        return f"{format_energy(energy_wh)} are traded, each at its bid's price"
    return f"{format_energy(energy_wh)} are traded at {format_price(price_wei_per_wh)}"


def _slot_text(found: Slot, time_s: int) -> str:
    book = found.book
    lines = [f"{format_time(book.slot_s)} to {format_time(book.end_s)}, {PRICINGS[book.pricing]}."]
    if book.is_cleared:
        lines.append(f"Cleared: {_cleared_text(book, book.traded_wh, book.price_wei_per_wh)}.")
    elif time_s >= book.end_s:
        lines.append("It was not cleared in time, so nothing is traded.")
    elif time_s >= book.book_until_s:
        lines.append("Its book is complete; it can be cleared.")
    elif time_s >= book.orders_until_s:
        lines.append(f"Sealed orders are to be revealed until {format_time(book.book_until_s)}.")
    else:
        lines.append(f"Orders are taken until {format_time(book.orders_until_s)}.")
    for one in found.orders:
        terms = "sealed"
        if one.energy_wh:
            terms = f"{format_energy(one.energy_wh)} at {format_price(one.price_wei_per_wh)}"
        traded = f", {format_energy(one.traded_wh)} traded" if one.traded_wh else ""
        lines.append(f"{SIDES[one.side]} {one.number}  {to_checksum_address(one.account)}  {terms}{traded}")
    if not found.orders:
        lines.append("There are no orders.")
    lines += [
        f"trade  {format_energy(trade.energy_wh)} of ask {trade.ask} to bid {trade.bid}" for trade in found.trades()
    ]
    return "\n".join(lines)


def _slot_json(found: Slot) -> dict[str, object]:
    book = found.book
    return {
        "slot": book.slot_s,
        "until": book.end_s,
        "sealed": book.is_sealed,
        "pricing": book.pricing.name.lower().replace("_", "-"),
        "orders_until": book.orders_until_s,
        "book_until": book.book_until_s,
        "cleared": book.is_cleared,
        "traded_wh": book.traded_wh,
        "price_wei_per_wh": str(book.price_wei_per_wh),
        "orders": [
            {
                "side": SIDES[one.side],
                "number": one.number,
                "account": to_checksum_address(one.account),
                "meter": to_checksum_address(one.meter),
                "energy_wh": one.energy_wh or None,
                "price_wei_per_wh": str(one.price_wei_per_wh) if one.energy_wh else None,
                "traded_wh": one.traded_wh,
                "state": OrderState(one.state).name.lower(),
            }
            for one in found.orders
        ],
        "trades": [
            {"bid": one.bid, "ask": one.ask, "from_wh": one.from_wh, "energy_wh": one.energy_wh}
            for one in found.trades()
        ],
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
