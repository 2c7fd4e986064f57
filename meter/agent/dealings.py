"""What one account has begun on the two markets, and what has become of it: told by the contracts' own events.

Pure: from a list of events to adverts, trades and orders, and from these to what counts against a day's limits. So the
limits rest on the ledger alone and nothing that a restart could lose.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from contracts.auction import MAX_LENGTH_S, MAX_ORDER_WH, Side
from contracts.market import ADVERT_S

MARKET, AUCTION = "Market", "Auction"


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """An event in which the account is named, with the time of its block."""

    contract: str
    name: str
    values: Mapping[str, Any]
    time_s: int
    block_number: int = 0


@dataclass(frozen=True, slots=True)
class OwnAdvert:
    number: int
    time_s: int
    energy_wh: int
    price_wei_per_wh: int
    sold_wh: int = 0
    returned_wh: int = 0

    @property
    def until_s(self) -> int:
        return self.time_s + ADVERT_S

    @property
    def unsold_wh(self) -> int:
        return self.energy_wh - self.sold_wh - self.returned_wh

    def offered_wh(self, time_s: int) -> int:
        """What can be bought of it at a time."""
        return self.unsold_wh if time_s < self.until_s else 0


@dataclass(frozen=True, slots=True)
class OwnTrade:
    """A sale or a purchase on the market."""

    number: int
    is_sale: bool
    other: bytes
    energy_wh: int
    price_wei_per_wh: int
    cost_wei: int
    """With the tax."""
    deliver_until_s: int
    time_s: int
    delivered_wh: int = 0
    is_settled: bool = False

    @property
    def open_wh(self) -> int:
        return 0 if self.is_settled else self.energy_wh - self.delivered_wh


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """An order in the auction; while it is sealed the ledger does not know its energy and price (0)."""

    slot_s: int
    side: Side
    number: int
    meter: bytes
    energy_wh: int
    price_wei_per_wh: int
    held_wei: int
    time_s: int
    is_sealed: bool
    matched_wh: int = 0
    is_released: bool = False
    settled: frozenset[tuple[int, int]] = frozenset()
    """Its trades that are settled: (bid, ask)."""

    def bound_wh(self, time_s: int) -> int:
        """What it trades or may still trade. Slots end within an hour."""
        if self.matched_wh or time_s >= self.slot_s + MAX_LENGTH_S:
            return self.matched_wh
        return MAX_ORDER_WH if self.is_sealed and not self.energy_wh else self.energy_wh


@dataclass(frozen=True, slots=True)
class Dealings:
    """Each in the order in which they were begun."""

    adverts: tuple[OwnAdvert, ...] = ()
    trades: tuple[OwnTrade, ...] = ()
    orders: tuple[OwnOrder, ...] = ()

    def on_offer(self, time_s: int) -> OwnAdvert | None:
        """The newest advert that can be bought from."""
        return next((one for one in reversed(self.adverts) if one.offered_wh(time_s)), None)

    def open_trades(self, *, sales: bool) -> list[OwnTrade]:
        return [one for one in self.trades if one.is_sale is sales and one.open_wh]

    def order_for(self, slot_s: int) -> OwnOrder | None:
        return next((one for one in self.orders if one.slot_s == slot_s), None)

    def count_since(self, from_s: int) -> int:
        """How many adverts, purchases and orders were begun since then."""
        purchases_s = [one.time_s for one in self.trades if not one.is_sale]
        others_s = [*[one.time_s for one in self.adverts], *[one.time_s for one in self.orders]]
        return len([time_s for time_s in (*purchases_s, *others_s) if time_s >= from_s])

    def committed_wh(self, from_s: int, time_s: int) -> int:
        """Energy that is sold or bought, or may still be, by what was begun since `from_s`.

        Of an advert that found no buyer nothing counts once it is over, nor of an order that matched nothing.
        """
        adverts = [one.sold_wh + one.offered_wh(time_s) for one in self.adverts if one.time_s >= from_s]
        purchases = [one.energy_wh for one in self.trades if not one.is_sale and one.time_s >= from_s]
        orders = [one.bound_wh(time_s) for one in self.orders if one.time_s >= from_s]
        return sum(adverts) + sum(purchases) + sum(orders)

    def spent_wei(self, from_s: int) -> int:
        """Money put up for purchases and bids since then, whatever has come back of it."""
        purchases = [one.cost_wei for one in self.trades if not one.is_sale and one.time_s >= from_s]
        bids = [one.held_wei for one in self.orders if one.side is Side.BID and one.time_s >= from_s]
        return sum(purchases) + sum(bids)


@dataclass(slots=True)
class _Book:
    adverts: dict[int, OwnAdvert] = field(default_factory=dict)
    trades: dict[int, OwnTrade] = field(default_factory=dict)
    orders: dict[int, OwnOrder] = field(default_factory=dict)


def dealings_of(account: bytes, events: Iterable[OwnEvent]) -> Dealings:
    """From the events in the order of the chain. What follows on something before the first event is left out."""
    book = _Book()
    for event in events:
        if event.contract == MARKET:
            _market_event(book, account, event)
        elif event.contract == AUCTION:
            _auction_event(book, account, event)
    return Dealings(tuple(book.adverts.values()), tuple(book.trades.values()), tuple(book.orders.values()))


def _market_event(book: _Book, account: bytes, event: OwnEvent) -> None:
    values = event.values
    advert, trade = book.adverts.get(values.get("advert", 0)), book.trades.get(values.get("trade", 0))
    match event.name:
        case "EnergyAdvertised":
            number = values["advert"]
            book.adverts[number] = OwnAdvert(number, values["time"], values["energyWh"], values["minPriceWeiPerWh"])
        case "EnergyReturned" if advert is not None:
            book.adverts[advert.number] = replace(advert, returned_wh=advert.returned_wh + values["energyWh"])
        case "EnergySold":
            _sold(book, account, event)
        case "EnergyDelivered" if trade is not None:
            delivered_wh = min(values["deliveredWh"], trade.energy_wh)
            book.trades[trade.number] = replace(trade, delivered_wh=delivered_wh)
        case "TradeSettled" if trade is not None:
            book.trades[trade.number] = replace(trade, is_settled=True)


def _sold(book: _Book, account: bytes, event: OwnEvent) -> None:
    values = event.values
    is_sale, energy_wh = values["producer"] == account, values["energyWh"]
    book.trades[values["trade"]] = OwnTrade(
        number=values["trade"],
        is_sale=is_sale,
        other=values["consumer" if is_sale else "producer"],
        energy_wh=energy_wh,
        price_wei_per_wh=values["unitPriceWeiPerWh"],
        cost_wei=values["shareWei"] + values["taxWei"],
        deliver_until_s=values["deliverUntil"],
        time_s=event.time_s,
    )
    advert = book.adverts.get(values["advert"])
    if is_sale and advert is not None:
        book.adverts[advert.number] = replace(advert, sold_wh=advert.sold_wh + energy_wh)


def _auction_event(book: _Book, account: bytes, event: OwnEvent) -> None:
    values = event.values
    slot_s = values.get("slot", 0)
    order = book.orders.get(slot_s)
    match event.name:
        case "OrderSealed":
            book.orders[slot_s] = OwnOrder(
                slot_s, Side(values["side"]), values["number"], values["meter"], 0, 0, values["depositWei"],
                event.time_s, is_sealed=True,
            )  # fmt: skip
        case "OrderPlaced":
            # A revealed order was begun, and its money put up, when it was sealed.
            time_s, held_wei = (order.time_s, order.held_wei) if order else (event.time_s, values["heldWei"])
            book.orders[slot_s] = OwnOrder(
                slot_s, Side(values["side"]), values["number"], values["meter"], values["energyWh"],
                values["priceWeiPerWh"], held_wei, time_s, is_sealed=False,
            )  # fmt: skip
        case "OrderMatched" if order is not None:
            book.orders[slot_s] = replace(order, matched_wh=values["tradedWh"])
        case "OrderReleased" if order is not None:
            book.orders[slot_s] = replace(order, is_released=True)
        case "TradeSettled" if order is not None:
            pair = values["bidNumber"], values["askNumber"]
            book.orders[slot_s] = replace(order, settled=order.settled | {pair})
