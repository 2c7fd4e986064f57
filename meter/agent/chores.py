"""What follows on an order or a trade: reveal, clear, prove, settle, take back, pay out. Pure.

Anybody may do most of it for everybody, so two agents would do it twice: who has the greater interest goes first, the
other waits a while.
"""

from collections.abc import Iterator

from contracts.auction import CLEARING_LEAD_S, READING_GRACE_S, REVEAL_S, OrderState, Pricing, Side
from meter.agent.action import Action, Decision, Prove, slot_text
from meter.agent.dealings import OwnOrder, OwnTrade
from meter.agent.limits import Limits
from meter.agent.situation import AuctionView, MarketView, Situation, SlotView
from primitives.hexadecimal import to_checksum_address
from primitives.keccak import keccak256
from wallet.amounts import format_amount
from wallet.auction import AUCTION, Order
from wallet.auction_matching import Trade
from wallet.contract_call import ContractCall
from wallet.market import MARKET
from wallet.quantities import counted, format_energy, format_price, format_time

CLEARING_GAS_MARGIN = 100_000
SPREAD_S = 240
"""Agents of one slot clear it at different moments; there are 15 minutes and the slot for it."""
BUYER_WAITS_S = 600
"""The seller, who is paid, settles first."""
OTHERS_PROOF_S = 3_600
"""So long a meter's own side has time to prove what it showed."""


def chores(situation: Situation, limits: Limits) -> Iterator[Decision]:
    """The urgent ones first."""
    if situation.auction is not None:
        yield from _reveals(situation, situation.auction)
        for view in situation.auction.unfinished:
            yield from _clearing(situation, view)
    if situation.market is not None:
        for trade in situation.dealings.trades:
            yield from _settlement(situation, trade)
        yield from _returns(situation)
    if situation.auction is not None:
        for view in situation.auction.unfinished:
            yield from _after_slot(situation, view)
    yield from _payouts(situation, limits, situation.market, situation.auction)


def is_finished(view: SlotView, own: OwnOrder, time_s: int) -> bool:
    """Whether nothing is left to be done for an order."""
    if time_s < view.slot.book.end_s:
        return False
    return not _refund_wei(view, own) and all((one.bid, one.ask) in own.settled for one in _trades(view, own))


def _reveals(situation: Situation, view: AuctionView) -> Iterator[Decision]:
    for own in situation.dealings.orders:
        from_s, until_s = own.slot_s - CLEARING_LEAD_S - REVEAL_S, own.slot_s - CLEARING_LEAD_S
        if not own.is_sealed or not from_s <= situation.time_s < until_s:
            continue
        if situation.own_time_s is not None and situation.own_time_s < from_s:
            continue  # who says that it is later would have the terms while bids are still taken
        secret = view.secrets.get(own.slot_s)
        if secret is None:
            text = f"The secret of the sealed order for {slot_text(own.slot_s)} is not here, so it cannot be revealed"
            yield Decision(f"secret lost {own.slot_s}", f"{text}; it costs a tenth of what came with it.")
            continue
        terms = (own.slot_s, secret.energy_wh, secret.price_wei_per_wh, secret.salt)
        what = f"{format_energy(secret.energy_wh)} at {format_price(secret.price_wei_per_wh)}"
        text = f"Reveal the order for {slot_text(own.slot_s)}, {what}: its bidding is over."
        yield Decision("reveal", text, Action(f"reveal {own.slot_s}", ContractCall(AUCTION, "reveal", terms)))


def _clearing(situation: Situation, view: SlotView) -> Iterator[Decision]:
    book = view.slot.book
    spread_s = int.from_bytes(keccak256(situation.account + book.slot_s.to_bytes(8, "big"))[:4], "big") % SPREAD_S
    if book.is_cleared or not book.book_until_s + spread_s <= situation.time_s < book.end_s:
        return
    clearing = view.slot.clearing()
    if not clearing.energy_wh:
        return  # its money is free when it is over
    terms = (book.slot_s, clearing.bids, clearing.asks, clearing.energy_wh, clearing.price_wei_per_wh)
    call = ContractCall(AUCTION, "clear", terms, 0, CLEARING_GAS_MARGIN)
    text = (
        f"Clear {slot_text(book.slot_s)}: {counted(len(clearing.bids), 'bid')} and "
        f"{counted(len(clearing.asks), 'ask')} trade {format_energy(clearing.energy_wh)}"
        f"{_at_one_price(book.pricing, clearing.price_wei_per_wh)}."
    )
    yield Decision("clear", text, Action(f"clear {book.slot_s}", call))


def _settlement(situation: Situation, trade: OwnTrade) -> Iterator[Decision]:
    due_s = trade.deliver_until_s + (0 if trade.is_sale else BUYER_WAITS_S)
    if trade.is_settled or situation.time_s < due_s:
        return
    what = f"{'sale' if trade.is_sale else 'purchase'} {trade.number} of {format_energy(trade.energy_wh)}"
    awaited_until_s = trade.deliver_until_s + READING_GRACE_S
    if situation.reading_time_s < trade.deliver_until_s and situation.time_s < awaited_until_s:
        text = f"The {what} waits for the own meter's reading of {format_time(trade.deliver_until_s)}."
        yield Decision("own reading awaited", text)
        return
    call = ContractCall(MARKET, "settle", (trade.number,))
    text = (
        f"Settle the {what} at {format_price(trade.price_wei_per_wh)}: its time was over at "
        f"{format_time(trade.deliver_until_s)}, and {format_energy(trade.open_wh)} of it are not paid; what both "
        "meters show is paid for now."
    )
    yield Decision("settle", text, Action(f"settle {trade.number}", call))


def _returns(situation: Situation) -> Iterator[Decision]:
    for advert in situation.dealings.adverts:
        if advert.unsold_wh and situation.time_s >= advert.until_s:
            call = ContractCall(MARKET, "withdrawAdvert", (advert.time_s,))
            text = (
                f"Take back the deposit for {format_energy(advert.unsold_wh)} that nobody bought of the advert of "
                f"{format_time(advert.time_s)}."
            )
            yield Decision("return", text, Action(f"return {advert.time_s}", call))


def _after_slot(situation: Situation, view: SlotView) -> Iterator[Decision]:
    own, book, time_s = situation.dealings.order_for(view.slot.book.slot_s), view.slot.book, situation.time_s
    if own is None:
        return
    is_over = time_s >= book.end_s
    for trade in _trades(view, own) if is_over else ():
        if (trade.bid, trade.ask) in own.settled:
            continue
        proofs = list(_proofs(situation, view, own, trade))
        yield from proofs
        is_ready = _is_proven(view, trade) or time_s >= book.end_s + READING_GRACE_S
        if is_ready and time_s >= book.end_s + (BUYER_WAITS_S if own.side is Side.BID else 0):
            call = ContractCall(AUCTION, "settle", (book.slot_s, trade.bid, trade.ask))
            price = _at_one_price(book.pricing, book.price_wei_per_wh)
            what = f"{format_energy(trade.energy_wh)} of ask {trade.ask} to bid {trade.bid}{price}"
            key = f"settle {book.slot_s} {trade.bid} {trade.ask}"
            text = f"Settle {what} in {slot_text(book.slot_s)}, by what the meters showed."
            yield Decision("settle", text, Action(key, call))
    refund_wei = _refund_wei(view, own)
    if refund_wei and (is_over or book.is_cleared):
        call = ContractCall(AUCTION, "release", (book.slot_s, own.side, [own.number]))
        traded = format_energy(view.slot.order(own.side, own.number).traded_wh)
        text = (
            f"Release {format_amount(refund_wei)} of the {format_amount(own.held_wei)} that came with the order for "
            f"{slot_text(book.slot_s)}: it trades {traded}."
        )
        yield Decision("release", text, Action(f"release {book.slot_s}", call))


def _proofs(situation: Situation, view: SlotView, own: OwnOrder, trade: Trade) -> Iterator[Decision]:
    book = view.slot.book
    for one in _sides(view, trade):
        is_own = one.account == situation.account
        for at_s in (book.slot_s, book.end_s):
            if (one.meter, at_s) in view.proven:
                continue
            is_due = situation.reading_time_s >= at_s if is_own else situation.time_s >= book.end_s + OTHERS_PROOF_S
            if is_due and situation.time_s < book.end_s + READING_GRACE_S:
                whose = "the own meter" if is_own else f"the meter {to_checksum_address(one.meter)}"
                text = f"Prove what {whose} showed at {format_time(at_s)}, for a trade of {slot_text(book.slot_s)}."
                yield Decision("prove", text, Action(f"prove {one.meter.hex()} {at_s}", Prove(one.meter, at_s)))


def _sides(view: SlotView, trade: Trade) -> list[Order]:
    return [view.slot.order(Side.BID, trade.bid), view.slot.order(Side.ASK, trade.ask)]


def _is_proven(view: SlotView, trade: Trade) -> bool:
    book = view.slot.book
    return all((one.meter, at_s) in view.proven for one in _sides(view, trade) for at_s in (book.slot_s, book.end_s))


def _trades(view: SlotView, own: OwnOrder) -> list[Trade]:
    """The own ones; none before the clearing."""
    if not view.slot.book.is_cleared:
        return []
    return [one for one in view.slot.trades() if (one.bid if own.side is Side.BID else one.ask) == own.number]


def _refund_wei(view: SlotView, own: OwnOrder) -> int:
    """What `release` gives back (or, of an order that was never revealed, could)."""
    book, order = view.slot.book, view.slot.order(own.side, own.number)
    if own.is_released or order.state is OrderState.RELEASED:
        return 0
    if order.state is OrderState.SEALED:
        return own.held_wei
    is_one_price = own.side is Side.BID and book.pricing is Pricing.PAY_AS_CLEAR
    paid = book.price_wei_per_wh if is_one_price else order.price_wei_per_wh
    needed_wei = book.needed_wei(own.side, order.energy_wh, order.price_wei_per_wh)
    return needed_wei - book.needed_wei(own.side, order.traded_wh, paid)


def _at_one_price(pricing: Pricing, price_wei_per_wh: int) -> str:
    return f" at {format_price(price_wei_per_wh)}" if pricing is Pricing.PAY_AS_CLEAR else ", each at its bid"


def _payouts(
    situation: Situation, limits: Limits, market: MarketView | None, auction: AuctionView | None
) -> Iterator[Decision]:
    for name, contract, view in (("market", MARKET, market), ("auction", AUCTION, auction)):
        if view is None or view.account_wei < max(1, limits.payout_from_wei):
            continue
        call = ContractCall(contract, "withdraw", (situation.account, view.account_wei))
        least = format_amount(limits.payout_from_wei)
        text = f"Pay out the {format_amount(view.account_wei)} on the account on the {name}, as from {least} on."
        yield Decision("pay out", text, Action(f"pay out {name}", call))
