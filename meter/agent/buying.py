"""What a consumer's agent buys: adverts on the market, and bids for the next slots of the auction. Pure.

Wanted is what the meter is likely to take, less the reserve, less what is bought or bid for and not taken yet. Both
markets can be used at once: what one gives the other need not.
"""

from collections.abc import Iterator

from contracts.auction import BPS, MIN_SEALED_WEI, Pricing, Side
from contracts.market import MAX_PARTS
from meter.agent.action import Action, Decision, forecast_text, slot_text
from meter.agent.dealings import OwnOrder
from meter.agent.forecast import MAX_WINDOW_S, Forecast, TooLittleHistory, forecast
from meter.agent.history import Direction
from meter.agent.limits import AUCTION, Budget, Limits
from meter.agent.ordering import (
    LEAST_ORDER_WH,
    choose_meter,
    is_reading_too_old,
    kept_text,
    open_books,
    order,
    reading_too_old,
    undelivered_wh,
)
from meter.agent.situation import AuctionView, MarketView, Situation
from wallet import market
from wallet.amounts import format_amount
from wallet.auction import Book
from wallet.contract_call import ContractCall
from wallet.market import Advert
from wallet.quantities import format_energy, format_price

STEP_MARGIN_S = 600
"""A purchase may be in a block only after the advert's price has risen by a step."""
LEAST_PURCHASE_WH = 100


def buy(situation: Situation, limits: Limits, budget: Budget) -> Iterator[Decision]:
    time_s, market_view, auction_view = situation.time_s, situation.market, situation.auction
    usable = [name for name in limits.markets if (auction_view if name == AUCTION else market_view) is not None]
    if not usable:
        yield Decision("no market", "This network has none of the markets that the settings name.")
        return
    try:
        told = forecast(situation.history, Direction.TAKEN, time_s, time_s + MAX_WINDOW_S, limits.least_days)
    except TooLittleHistory as error:
        yield Decision("too little history", str(error))
        return
    bought_wh = undelivered_wh(situation, market_view, sales=False) if market_view is not None else 0
    bid_wh = sum([_bid_wh(one, time_s) for one in situation.dealings.orders])
    wanted_wh = max(0, limits.after_reserve(told.likely_wh) - bought_wh - bid_wh)
    numbers = (
        f"in the next 24 hours {forecast_text(told)} are to be taken, {kept_text(limits)} of that are left to the "
        f"supplier; {format_energy(bought_wh)} are bought and {format_energy(bid_wh)} bid for and not taken yet, "
        f"{format_energy(budget.energy_wh)} and {format_amount(budget.spend_wei)} are left of the limits of 24 hours"
    )
    for name in usable:
        if name == AUCTION and auction_view is not None:
            yield from _bid(situation, auction_view, limits, budget, wanted_wh, numbers)
        elif market_view is not None:
            yield _request(situation, market_view, limits, budget, wanted_wh, numbers)


def _bid_wh(one: OwnOrder, time_s: int) -> int:
    """Of a bid whose slot is to come or under way; a sealed one may be for anything, so it counts in its own way."""
    return one.energy_wh and one.bound_wh(time_s) if one.side is Side.BID and time_s < one.slot_s + 3_600 else 0


def _request(
    situation: Situation, view: MarketView, limits: Limits, budget: Budget, wanted_wh: int, numbers: str
) -> Decision:
    time_s = situation.time_s
    if view.meter != situation.meter:
        return choose_meter(situation, view)
    if is_reading_too_old(situation):
        return reading_too_old(situation, "a purchase")
    if min(wanted_wh, budget.energy_wh) < LEAST_PURCHASE_WH:
        return Decision("nothing wanted", f"Nothing to buy on the market: {numbers}.")
    left_out = f" {view.left_out} more were not looked at." if view.left_out else ""
    for advert in view.offers:
        found = _purchase(situation, advert, limits, budget, wanted_wh)
        if found is None:
            continue
        energy_wh, most_wei = found
        price = advert.price_at(time_s)
        terms = (energy_wh, advert.time_s, advert.first_price_wei_per_wh, advert.producer)
        call = ContractCall(market.MARKET, "requestForEnergy", terms, most_wei)
        text = (
            f"Buy {format_energy(energy_wh)} of advert {advert.number} at {format_price(price)}, the cheapest that "
            f"fits (at most {format_price(limits.greatest_bid_wei_per_wh)}), for {format_amount(most_wei)} at most "
            f"with the tax: {numbers}."
        )
        return Decision("buy", text, Action(f"buy of advert {advert.number}", call, most_wei, energy_wh))
    cheapest = next(iter(view.offers), None)
    offered = (
        "nothing is offered"
        if cheapest is None
        else f"none of {len(view.offers)} adverts fits, the cheapest is at {format_price(cheapest.price_at(time_s))}"
    )
    most = format_price(limits.greatest_bid_wei_per_wh)
    return Decision(
        "nothing fits",
        f"Nothing bought on the market, {offered} (at most {most}).{left_out} {numbers[0].upper()}{numbers[1:]}.",
    )


def _purchase(
    situation: Situation, advert: Advert, limits: Limits, budget: Budget, wanted_wh: int
) -> tuple[int, int] | None:
    """Energy and the money to send, where the advert fits; at the price that it may have risen to."""
    time_s = situation.time_s
    if advert.producer == situation.account or not advert.is_live(time_s + STEP_MARGIN_S):
        return None
    price = advert.price_at(time_s + STEP_MARGIN_S)
    if not 0 < price <= limits.greatest_bid_wei_per_wh:
        return None
    money_wei = min(budget.spend_wei, situation.balance_wei)
    affordable_wh = money_wei * BPS // (price * (BPS + advert.tax_bps))
    energy_wh = min(wanted_wh, budget.energy_wh, advert.unsold_wh, affordable_wh)
    if energy_wh < min(advert.unsold_wh, -(-advert.energy_wh // MAX_PARTS)) or energy_wh < LEAST_PURCHASE_WH:
        return None
    most_wei = sum(advert.cost_at(time_s + STEP_MARGIN_S, energy_wh))
    # Were the tax less than the node says, and the purchase late in a block, the money would do for a higher price.
    highest = min(advert.price_at(advert.until_s - 1), most_wei // energy_wh)
    if highest > limits.greatest_bid_wei_per_wh or most_wei > money_wei:
        return None
    return energy_wh, most_wei


def _bid(
    situation: Situation, view: AuctionView, limits: Limits, budget: Budget, wanted_wh: int, numbers: str
) -> Iterator[Decision]:
    for book in open_books(situation, view, Side.BID):
        yield _bid_for(situation, book, limits, budget, wanted_wh, numbers)


def _bid_for(
    situation: Situation, book: Book, limits: Limits, budget: Budget, wanted_wh: int, numbers: str
) -> Decision:
    told: Forecast = forecast(situation.history, Direction.TAKEN, book.slot_s, book.end_s, limits.least_days)
    price, why = _bid_price(situation, book, limits)
    # A sealed order takes a least sum, which counts as put up.
    if book.is_sealed and budget.spend_wei < MIN_SEALED_WEI:
        return Decision("money used up", f"No bid: {numbers}.")
    affordable_wh = budget.spend_wei * BPS // (price * (BPS + book.tax_bps))
    energy_wh = min(limits.after_reserve(told.likely_wh), wanted_wh, budget.energy_wh, affordable_wh)
    if energy_wh < LEAST_ORDER_WH:
        text = f"No bid for {slot_text(book.slot_s)}, in which {forecast_text(told)} are to be taken: {numbers}."
        return Decision("nothing to bid for", text)
    text = (
        f"Bid for {format_energy(energy_wh)} in {slot_text(book.slot_s)} at {format_price(price)}, {why}: in it "
        f"{forecast_text(told)} are to be taken; {numbers}."
    )
    return order(situation, book, Side.BID, energy_wh, price, "bid", text)


def _bid_price(situation: Situation, book: Book, limits: Limits) -> tuple[int, str]:
    """Where all pay one price, the owner's greatest: what is paid comes of all orders. Where each pays its bid: a tenth
    more than the last bid where that traded nothing, a twentieth less where it traded."""
    greatest = limits.greatest_bid_wei_per_wh
    if book.pricing is Pricing.PAY_AS_CLEAR:
        return greatest, "the greatest price, since what is paid comes of all orders"
    bids = [
        one
        for one in situation.dealings.orders
        if one.side is Side.BID and one.price_wei_per_wh and one.slot_s <= situation.time_s
    ]
    if not bids:
        return max(1, greatest * 3 // 4), "three quarters of the greatest price to begin with"
    last = bids[-1]
    if last.matched_wh:
        return max(1, min(greatest, last.price_wei_per_wh * 19 // 20)), "a twentieth less than the last, which traded"
    price = min(greatest, last.price_wei_per_wh * 11 // 10 + 1)
    return price, "a tenth more than the last, which traded nothing"
