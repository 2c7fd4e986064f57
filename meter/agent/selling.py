"""What a producer's agent offers: on the market one advert at a time, in the auction an order for each of the next
slots. Pure. Only energy that is likely to come is offered: the forecast's lower end, less the reserve, less what is
sold already and not sent yet.
"""

from collections.abc import Iterator

from contracts.auction import Side
from contracts.market import MAX_PAGE, deposit_wei_per_wh, price_wei_per_wh
from meter.agent.action import Action, Decision, forecast_text, slot_text
from meter.agent.dealings import OwnAdvert
from meter.agent.forecast import MAX_WINDOW_S, Forecast, TooLittleHistory, forecast
from meter.agent.history import DAY_S, Direction
from meter.agent.limits import AUCTION, MARKET, Budget, Limits
from meter.agent.ordering import (
    LEAST_ORDER_WH,
    TRIED_ORDERS,
    choose_meter,
    is_reading_too_old,
    kept_text,
    no_funds,
    open_books,
    order,
    orders_in_vain,
    reading_too_old,
    undelivered_wh,
)
from meter.agent.situation import AuctionView, MarketView, Situation
from wallet import market
from wallet.amounts import format_amount
from wallet.auction import Book
from wallet.contract_call import ContractCall
from wallet.quantities import format_energy, format_price, format_time

STEP_WH = 100
"""Adverts are of whole tenths of a kWh: a forecast knows no more."""

GREATEST_ASK = 10
"""Times the least price. The deposit is a share of the price, and lost for what does not come: so a node that invents
adverts that were sold out cannot make the agent put down all that the account has."""


def sell(situation: Situation, limits: Limits, budget: Budget) -> Iterator[Decision]:
    """On one market at a time, since a meter's energy is sold on one: the first named, or the second where nothing is
    bought on the first."""
    chosen, why = _choose(situation, limits)
    if why is not None:
        yield why
    if chosen == MARKET and situation.market is not None:
        yield _advertise(situation, situation.market, limits, budget)
    elif chosen == AUCTION and situation.auction is not None:
        yield from _ask(situation, situation.auction, limits, budget)
    else:
        yield Decision("no market", "This network has none of the markets that the settings name.")


def _is_in_vain(situation: Situation, name: str) -> bool:
    """Whether all that was offered there in the last day is over, and found no buyer."""
    since_s, time_s = situation.time_s - DAY_S, situation.time_s
    if name == MARKET:
        adverts = [one for one in situation.dealings.adverts if one.time_s > since_s]
        return len(adverts) >= TRIED_ORDERS and not any(one.sold_wh or one.offered_wh(time_s) for one in adverts)
    return orders_in_vain(situation, Side.ASK)


def _choose(situation: Situation, limits: Limits) -> tuple[str | None, Decision | None]:
    there = {MARKET: situation.market is not None, AUCTION: situation.auction is not None}
    usable = [name for name in limits.markets if there[name]]
    if len(usable) < 2 or not _is_in_vain(situation, usable[0]):
        return next(iter(usable), None), None
    first, second = usable
    text = f"In the last day {TRIED_ORDERS} or more offers on the {first} found no buyer, so the {second} has its turn."
    return second, Decision(f"{second} instead", text)


def _advertise(situation: Situation, view: MarketView, limits: Limits, budget: Budget) -> Decision:
    time_s = situation.time_s
    if view.meter != situation.meter:
        return choose_meter(situation, view)
    window_s = min(view.delivery_s, MAX_WINDOW_S)
    try:
        told = forecast(situation.history, Direction.GIVEN, time_s, time_s + window_s, limits.least_days)
    except TooLittleHistory as error:
        return Decision("too little history", str(error))
    sold_wh = undelivered_wh(situation, view, sales=True)
    own = situation.dealings.on_offer(time_s)
    if own is not None:
        return _about_own(own, told, sold_wh, time_s)
    if is_reading_too_old(situation):
        return reading_too_old(situation, "an advert")
    if situation.auction is not None and situation.reading_time_s < situation.auction.sells_until_s:
        until = format_time(situation.auction.sells_until_s)
        return Decision("bound in auction", f"What the meter gives until {until} is offered in the auction.")
    free_wh = limits.after_reserve(told.low_wh) - sold_wh
    energy_wh = min(free_wh, budget.energy_wh, view.room_wh) // STEP_WH * STEP_WH
    if view.room_wh < min(free_wh, budget.energy_wh) and view.ended_wh:
        call = ContractCall(market.MARKET, "returnExpired", (MAX_PAGE,))
        text = f"Give back the {format_energy(view.ended_wh)} of adverts that are over: they fill the market's store."
        return Decision("make room", text, Action("make room", call))
    numbers = (
        f"in the next {window_s // 3_600} hours {forecast_text(told)} are to be given; {kept_text(limits)} of the "
        f"lower end are kept back, {format_energy(sold_wh)} are sold and not sent yet, "
        f"{format_energy(budget.energy_wh)} are left of the limit of 24 hours"
    )
    if view.room_wh < min(free_wh, budget.energy_wh):
        numbers += f", the market's store has room for {format_energy(view.room_wh)}"
    if energy_wh < view.least_wh:
        least = f"an advert is of {format_energy(view.least_wh)} at least"
        return Decision("too little to advertise", f"Nothing to advertise ({least}): {numbers}.")
    price, why = _price(situation, view, limits)
    deposit_wei = energy_wh * deposit_wei_per_wh(price, view.penalty_bps)
    if deposit_wei > situation.balance_wei:
        return no_funds(situation, deposit_wei)
    call = ContractCall(market.MARKET, "availableEnergyAdvert", (energy_wh, price), deposit_wei)
    deposit = f"its deposit is {format_amount(deposit_wei)}"
    text = f"Advertise {format_energy(energy_wh)} at {format_price(price)}, {why}; {deposit}; {numbers}."
    return Decision("advertise", text, Action("advertise", call, energy_wh=energy_wh))


def _about_own(own: OwnAdvert, told: Forecast, sold_wh: int, time_s: int) -> Decision:
    offered_wh = own.offered_wh(time_s)
    if offered_wh + sold_wh > told.high_wh:
        call = ContractCall(market.MARKET, "withdrawAdvert", (own.time_s,))
        text = (
            f"Take back the {format_energy(offered_wh)} on offer: with the {format_energy(sold_wh)} that are sold it "
            f"is more than is to be given, {forecast_text(told)}."
        )
        return Decision("take back", text, Action(f"withdraw {own.time_s}", call))
    price = price_wei_per_wh(own.price_wei_per_wh, max(0, time_s - own.time_s))
    text = (
        f"{format_energy(offered_wh)} are on offer until {format_time(own.until_s)}, now at {format_price(price)}; one "
        "advert at a time is enough."
    )
    return Decision("on offer", text)


def _price(situation: Situation, view: MarketView, limits: Limits) -> tuple[int, str]:
    """The first price of an advert: a tenth below the last one's where nothing of it was sold, a tenth above where all
    was; just below the cheapest of others; never below the owner's least."""
    least = limits.least_ask_wei_per_wh
    last = next(iter(reversed(situation.dealings.adverts)), None)
    if last is None:
        price, why = least * 3 // 2, "half above the least price to begin with"
    elif last.sold_wh == 0:
        price, why = last.price_wei_per_wh * 9 // 10, "a tenth less than the last advert, which found no buyer"
    elif last.sold_wh == last.energy_wh:
        price, why = last.price_wei_per_wh * 11 // 10, "a tenth more than the last advert, which was sold out"
    else:
        price, why = last.price_wei_per_wh, "as the last advert, of which a part was sold"
    rival = next((one.price_at(situation.time_s) for one in view.offers), None)
    if rival is not None and rival <= price:
        price, why = rival * 99 // 100, f"below the cheapest of others, {format_price(rival)}"
    if price < least:
        price, why = least, "the least price that the owner allows"
    if price > least * GREATEST_ASK:
        price, why = least * GREATEST_ASK, f"{GREATEST_ASK} times the least price, the most that is asked for"
    return min(price, _MAX_PRICE_WEI_PER_WH), why


_MAX_PRICE_WEI_PER_WH = 10**19
"""Market, MAX_PRICE_WEI_PER_WH."""


def _ask(situation: Situation, view: AuctionView, limits: Limits, budget: Budget) -> Iterator[Decision]:
    for book in open_books(situation, view, Side.ASK):
        yield _ask_for(situation, book, limits, budget)


def _ask_for(situation: Situation, book: Book, limits: Limits, budget: Budget) -> Decision:
    if situation.market is not None and situation.market.sells_until_s > book.slot_s:
        text = "Something is for sale on the market, or sold there and not settled: no offer in the auction."
        return Decision("bound on market", text)
    try:
        told = forecast(situation.history, Direction.GIVEN, book.slot_s, book.end_s, limits.least_days)
    except TooLittleHistory as error:
        return Decision("too little history", str(error))
    energy_wh = min(limits.after_reserve(told.low_wh), budget.energy_wh)
    numbers = (
        f"in it {forecast_text(told)} are to be given; {kept_text(limits)} of the lower end are kept back, "
        f"{format_energy(budget.energy_wh)} are left of the limit of 24 hours"
    )
    if energy_wh < LEAST_ORDER_WH:
        return Decision("too little to offer", f"Nothing to offer for {slot_text(book.slot_s)}: {numbers}.")
    price = limits.least_ask_wei_per_wh
    text = (
        f"Offer {format_energy(energy_wh)} for {slot_text(book.slot_s)} at {format_price(price)}, the least price, "
        f"since what is paid comes of all orders: {numbers}."
    )
    return order(situation, book, Side.ASK, energy_wh, price, "offer", text)
