"""Which orders of an auction's slot trade, and at what price: found off the chain, checked by the contract in one pass.

The one clearing that a book defines (contracts/src/Auction.sol): bids by falling and asks by rising price, equal prices
by number; the best bid takes from the best ask as long as it offers no less than is asked. That is worth the most to
those who trade, and of all that are worth as much it moves the most energy. Integers only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """An order whose terms are known: a bid with its highest, or an ask with its lowest price."""

    number: int
    price_wei_per_wh: int
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Trade:
    """Energy of one ask that goes to one bid, from a place on on the line of all traded energy."""

    bid: int
    ask: int
    from_wh: int
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Clearing:
    """What `clear` of the contract takes, and what comes of it."""

    bids: tuple[int, ...]
    """Numbers of all bids, in the order of the clearing."""
    asks: tuple[int, ...]
    energy_wh: int
    price_wei_per_wh: int
    """The middle, rounded down, of all prices at which nobody wants to trade more or less; 0 where nothing trades."""
    trades: tuple[Trade, ...]


def clear(bids: Iterable[Offer], asks: Iterable[Offer]) -> Clearing:
    """The clearing of a book."""
    sorted_bids = sorted(bids, key=lambda one: (-one.price_wei_per_wh, one.number))
    sorted_asks = sorted(asks, key=lambda one: (one.price_wei_per_wh, one.number))
    trades: list[Trade] = []
    bid_index = ask_index = energy_wh = 0
    bid_open_wh = ask_open_wh = 0
    while bid_index < len(sorted_bids) and ask_index < len(sorted_asks):
        bid, ask = sorted_bids[bid_index], sorted_asks[ask_index]
        if bid.price_wei_per_wh < ask.price_wei_per_wh:
            break
        bid_open_wh = bid_open_wh or bid.energy_wh
        ask_open_wh = ask_open_wh or ask.energy_wh
        traded_wh = min(bid_open_wh, ask_open_wh)
        trades.append(Trade(bid.number, ask.number, energy_wh, traded_wh))
        energy_wh += traded_wh
        bid_open_wh -= traded_wh
        ask_open_wh -= traded_wh
        bid_index += bid_open_wh == 0
        ask_index += ask_open_wh == 0
    return Clearing(
        bids=tuple([one.number for one in sorted_bids]),
        asks=tuple([one.number for one in sorted_asks]),
        energy_wh=energy_wh,
        price_wei_per_wh=_price(sorted_bids, sorted_asks, trades, bid_index, ask_index),
        trades=tuple(trades),
    )


def trades_of(bids: Iterable[tuple[int, int, int]], asks: Iterable[tuple[int, int, int]]) -> list[Trade]:
    """The trades of a cleared slot by what its orders trade: (number, from_wh, traded_wh) of each."""
    bid_parts = sorted([(start, number, energy) for number, start, energy in bids if energy])
    ask_parts = sorted([(start, number, energy) for number, start, energy in asks if energy])
    trades = []
    bid_index = ask_index = 0
    while bid_index < len(bid_parts) and ask_index < len(ask_parts):
        bid_start, bid, bid_wh = bid_parts[bid_index]
        ask_start, ask, ask_wh = ask_parts[ask_index]
        start, end = max(bid_start, ask_start), min(bid_start + bid_wh, ask_start + ask_wh)
        if start < end:
            trades.append(Trade(bid, ask, start, end - start))
        bid_index += end == bid_start + bid_wh
        ask_index += end == ask_start + ask_wh
    return trades


def _price(bids: Sequence[Offer], asks: Sequence[Offer], trades: Sequence[Trade], next_bid: int, next_ask: int) -> int:
    """`next_bid` and `next_ask` are the best orders that are not wholly served, where there are any."""
    if not trades:
        return 0
    price_of_bid = {one.number: one.price_wei_per_wh for one in bids}
    price_of_ask = {one.number: one.price_wei_per_wh for one in asks}
    low = max([price_of_ask[trades[-1].ask], *[one.price_wei_per_wh for one in bids[next_bid : next_bid + 1]]])
    high = min([price_of_bid[trades[-1].bid], *[one.price_wei_per_wh for one in asks[next_ask : next_ask + 1]]])
    return (low + high) // 2
