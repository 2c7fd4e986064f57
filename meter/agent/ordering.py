"""What selling and buying have in common: orders in the auction, what is on its way, why nothing can be done. Pure."""

from collections.abc import Iterator

from contracts.auction import MAX_LENGTH_S, MIN_SEALED_WEI, Side
from meter.agent.action import Action, Decision, Seal
from meter.agent.history import DAY_S
from meter.agent.limits import Limits
from meter.agent.situation import AuctionView, MarketView, Situation
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount
from wallet.auction import AUCTION, Book
from wallet.contract_call import ContractCall
from wallet.market import MARKET
from wallet.quantities import format_time

LEAST_ORDER_WH = 50
"""An order of less is not worth its transactions."""
READING_MARGIN_S = 120
"""A reading must not be an hour old when the block of an advert or a purchase is made (Market, MAX_READING_AGE_S)."""
MAX_READING_AGE_S = 3_600
TRIED_ORDERS = 4
"""So many orders of a day in vain are enough to try something else."""


def is_reading_too_old(situation: Situation) -> bool:
    return situation.time_s - situation.reading_time_s > MAX_READING_AGE_S - READING_MARGIN_S


def reading_too_old(situation: Situation, what: str) -> Decision:
    read = "none" if not situation.reading_time_s else f"of {format_time(situation.reading_time_s)}"
    text = f"The meter's last reading on the ledger is {read}; {what} needs one of the last hour. Is the meter running?"
    return Decision("reading too old", text)


def choose_meter(situation: Situation, view: MarketView) -> Decision:
    before = f"instead of {to_checksum_address(view.meter)}" if any(view.meter) else "for which none is named yet"
    text = f"Name the meter {to_checksum_address(situation.meter)} for the account's trade on the market, {before}."
    call = ContractCall(MARKET, "chooseMeter", (situation.meter,))
    return Decision("choose meter", text, Action("choose meter", call))


def kept_text(limits: Limits) -> str:
    whole, tenth = divmod(limits.reserve_permille, 10)
    return f"{whole}{f'.{tenth}' if tenth else ''} %"


def undelivered_wh(situation: Situation, view: MarketView, *, sales: bool) -> int:
    """What is sold, or bought, on the market and not seen by the own meter yet.

    What the meter shows for a newer trade it shows for all older ones as well, but it serves one: the newer ones take
    theirs first, since the older ones have more to choose from.
    """
    trades = situation.dealings.open_trades(sales=sales)
    shown = [(view.shown.get(one.number, (0, 0))[0 if sales else 1], one.open_wh) for one in trades]
    served_wh = 0
    for shown_wh, open_wh in sorted(shown):
        served_wh += max(0, min(open_wh, shown_wh - served_wh))
    return sum([open_wh for _, open_wh in shown]) - served_wh


def orders_in_vain(situation: Situation, side: Side) -> bool:
    """Whether several orders of the last day are over, and none of that day traded."""
    since_s = situation.time_s - DAY_S
    orders = [one for one in situation.dealings.orders if one.time_s > since_s and one.side is side]
    over = [one for one in orders if one.slot_s <= situation.time_s]
    return len(over) >= TRIED_ORDERS and not any(one.matched_wh for one in orders)


def open_books(situation: Situation, view: AuctionView, side: Side) -> Iterator[Book]:
    """Of slots without an own order; one an hour only where all was in vain lately: each order costs transactions."""
    step_s = MAX_LENGTH_S if orders_in_vain(situation, side) else 1
    for book in view.next_books:
        if situation.dealings.order_for(book.slot_s) is None and book.slot_s % step_s == 0:
            yield book


def order(situation: Situation, book: Book, side: Side, energy_wh: int, price: int, code: str, text: str) -> Decision:
    """An order in the auction, open or sealed as the slot is. Of a bid all money counts as spent."""
    needed_wei = book.needed_wei(side, energy_wh, price)
    if book.is_sealed:
        needed_wei = max(needed_wei, MIN_SEALED_WEI)
    spend_wei = needed_wei if side is Side.BID else 0
    key = f"{code} {book.slot_s}"
    if not book.is_sealed:
        terms = (book.slot_s, side, situation.meter, energy_wh, price)
        action = Action(key, ContractCall(AUCTION, "placeOrder", terms, needed_wei), spend_wei, energy_wh)
    else:
        seal = Seal(book.slot_s, side, situation.meter, energy_wh, price, needed_wei)
        action = Action(key, seal, spend_wei, energy_wh)
    if needed_wei > situation.balance_wei:
        return no_funds(situation, needed_wei)
    use = "put up with it" if side is Side.BID else "its deposit"
    return Decision(code, f"{text} {format_amount(needed_wei)} are {use}.", action)


def no_funds(situation: Situation, needed_wei: int) -> Decision:
    text = f"The account has {format_amount(situation.balance_wei)}; {format_amount(needed_wei)} would be needed."
    return Decision("too little money", text)
