"""The matching against every possible allocation of small books: worth, energy, and prices that suit everybody."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from wallet.auction_matching import Clearing, Offer, clear, trades_of

MAX_PRICE = 5


def books(most: int) -> st.SearchStrategy[list[Offer]]:
    terms = st.tuples(st.integers(1, MAX_PRICE), st.integers(1, 3))
    listed = st.lists(terms, max_size=most)
    return listed.map(lambda found: [Offer(number, *one) for number, one in enumerate(found, start=1)])


def filled(found: Clearing, side: str) -> dict[int, int]:
    sums: dict[int, int] = {}
    for trade in found.trades:
        number = trade.bid if side == "bid" else trade.ask
        sums[number] = sums.get(number, 0) + trade.energy_wh
    return sums


def best_of_all(bids: list[Offer], asks: list[Offer]) -> tuple[int, int]:
    """(worth, energy) of the best of all ways to serve the orders in whole Wh: first worth, then energy."""
    best = (0, 0)
    for bought in product(*[range(one.energy_wh + 1) for one in bids]):
        for sold in product(*[range(one.energy_wh + 1) for one in asks]):
            if sum(bought) != sum(sold):
                continue
            worth = sum([one.price_wei_per_wh * energy for one, energy in zip(bids, bought, strict=True)])
            worth -= sum([one.price_wei_per_wh * energy for one, energy in zip(asks, sold, strict=True)])
            best = max(best, (worth, sum(bought)))
    return best


def suits_everybody(price: int, bids: list[Offer], asks: list[Offer], found: Clearing) -> bool:
    """Whether at that price nobody wants to trade more or less than it does."""
    bought, sold = filled(found, "bid"), filled(found, "ask")
    for offers, served, sign in ((bids, bought, 1), (asks, sold, -1)):
        for one in offers:
            gain = (one.price_wei_per_wh - price) * sign
            energy = served.get(one.number, 0)
            if (gain > 0 and energy < one.energy_wh) or (gain < 0 and energy > 0):
                return False
    return True


def check_clearing(found: Clearing, bids: list[Offer], asks: list[Offer]) -> None:
    bid_price = {one.number: one.price_wei_per_wh for one in bids}
    ask_price = {one.number: one.price_wei_per_wh for one in asks}
    worth = sum([(bid_price[one.bid] - ask_price[one.ask]) * one.energy_wh for one in found.trades])
    assert (worth, found.energy_wh) == best_of_all(bids, asks)
    if found.energy_wh == 0:
        assert found.price_wei_per_wh == 0
        return
    suiting = [price for price in range(MAX_PRICE + 2) if suits_everybody(price, bids, asks, found)]
    assert found.price_wei_per_wh == (suiting[0] + suiting[-1]) // 2


@given(books(3), books(3))
def test_no_other_choice_is_worth_more_and_the_price_suits_everybody(bids: list[Offer], asks: list[Offer]) -> None:
    found = clear(bids, asks)
    check_clearing(found, bids, asks)
    assert found == clear(reversed(bids), reversed(asks))
    for offers, served in ((bids, filled(found, "bid")), (asks, filled(found, "ask"))):
        for one in offers:
            assert served.get(one.number, 0) <= one.energy_wh
            for other in offers:
                if (
                    other.price_wei_per_wh == one.price_wei_per_wh
                    and other.number < one.number
                    and one.number in served
                ):
                    assert served[other.number] == other.energy_wh  # equal prices by number


@given(books(6), books(6))
def test_trades_are_where_the_parts_of_bids_and_asks_overlap(bids: list[Offer], asks: list[Offer]) -> None:
    found = clear(bids, asks)
    parts = []
    for numbers, side in ((found.bids, "bid"), (found.asks, "ask")):
        served, start = filled(found, side), 0
        listed = []
        for number in numbers:
            listed.append((number, start, served.get(number, 0)))
            start += served.get(number, 0)
        parts.append(listed)
    assert trades_of(*parts) == list(found.trades)
    assert sum([trade.energy_wh for trade in found.trades]) == found.energy_wh
