"""What follows on orders and trades: when it is due, who goes first, and when nothing is left."""

from dataclasses import replace
from typing import Any

import pytest

from contracts.auction import OrderState, Side
from contracts.roles import Role
from meter.agent.action import Prove
from meter.agent.chores import chores, is_finished
from meter.agent.dealings import AUCTION, MARKET, OwnEvent, dealings_of
from meter.agent.history import DAY_S, HOUR_S
from meter.agent.situation import AuctionView, Situation, SlotView
from tests.meter.agent.made_up import LIMITS, ME, METER, OTHER, PRICE, START_S, advertised, book_of, situation_of, sold
from wallet.auction import Order, Slot

OTHER_METER = b"\x04" * 20
SLOT_S = START_S + HOUR_S
END_S = SLOT_S + 900
PROOFS = frozenset([(meter, at_s) for meter in (METER, OTHER_METER) for at_s in (SLOT_S, END_S)])


def placed(side: Side = Side.ASK, energy_wh: int = 300) -> OwnEvent:
    values = {"slot": SLOT_S, "side": side, "number": 1, "meter": METER, "energyWh": energy_wh, "priceWeiPerWh": PRICE,
              "heldWei": 5}  # fmt: skip
    return OwnEvent(AUCTION, "OrderPlaced", values, START_S)


def slot(*, is_cleared: bool = True, my_side: Side = Side.ASK, traded_wh: int = 200) -> Slot:
    book = replace(book_of(SLOT_S), is_cleared=is_cleared, traded_wh=traded_wh, price_wei_per_wh=PRICE)
    sides = {my_side: (ME, METER, 300), Side(1 - my_side): (OTHER, OTHER_METER, 200)}
    orders = [
        Order(side, 1, sides[side][0], PRICE, sides[side][2], sides[side][1], 0, traded_wh if is_cleared else 0,
              OrderState.OPEN)
        for side in Side
    ]  # fmt: skip
    return Slot(book, tuple(orders))


def after(seconds: int, view: SlotView, *events: OwnEvent, side: Side = Side.ASK, **changed: Any) -> Situation:
    """So long after the end of the slot."""
    dealings = dealings_of(ME, [placed(side), *events])
    auction = AuctionView(0, (), (view,))
    role = Role.PRODUCER if side is Side.ASK else Role.CONSUMER
    return situation_of(role, END_S + seconds, dealings=dealings, auction=auction, market=None, **changed)


def codes(situation: Situation) -> list[str]:
    return [one.code for one in chores(situation, LIMITS)]


def test_the_own_side_is_proven_first_and_the_other_s_after_an_hour() -> None:
    view = SlotView(slot())
    mine = [one.action.call for one in chores(after(59, view), LIMITS) if one.action and one.code == "prove"]
    assert mine == [Prove(METER, SLOT_S)]  # a reading of the end is not there yet
    all_of_them = [one.action.call for one in chores(after(HOUR_S, view), LIMITS) if one.action and one.code == "prove"]
    assert sorted(one.meter + bytes([one.time_s == END_S]) for one in all_of_them if isinstance(one, Prove)) == [
        METER + b"\0", METER + b"\1", OTHER_METER + b"\0", OTHER_METER + b"\1",
    ]  # fmt: skip


def test_the_seller_settles_first() -> None:
    proven = SlotView(slot(), PROOFS)
    assert codes(after(60, proven)) == ["settle", "release"]
    as_buyer = SlotView(slot(my_side=Side.BID), PROOFS)
    assert codes(after(60, as_buyer, side=Side.BID)) == ["release"]
    assert codes(after(600, as_buyer, side=Side.BID)) == ["settle", "release"]


def test_after_three_days_it_is_settled_without_proofs() -> None:
    assert codes(after(3 * DAY_S, SlotView(slot()))) == ["settle", "release"]


def test_an_order_is_finished_when_its_money_is_back_and_its_trades_are_settled() -> None:
    view = SlotView(slot(), PROOFS)
    settled = OwnEvent(AUCTION, "TradeSettled", {"slot": SLOT_S, "bidNumber": 1, "askNumber": 1}, END_S)
    released = OwnEvent(AUCTION, "OrderReleased", {"slot": SLOT_S}, END_S)
    for events, done in (([], False), ([settled], False), ([released], False), ([settled, released], True)):
        situation = after(60, view, *events)
        own = situation.dealings.orders[0]
        assert is_finished(view, own, situation.time_s) is done
        assert not is_finished(view, own, END_S - 1)
        assert (codes(situation) == []) is done


def test_a_slot_is_cleared_where_it_trades_and_by_one_after_the_other() -> None:
    view = SlotView(slot(is_cleared=False))
    early = [codes(after(seconds, view)) for seconds in range(-1_800, -1_500, 30)]
    assert early[0] == []
    assert early[-1] == ["clear"]
    nobody = replace(view.slot, orders=view.slot.orders[1:])
    assert codes(after(-1_500, SlotView(nobody))) == []


@pytest.mark.parametrize(("is_sale", "wait_s"), [(True, 0), (False, 600)])
def test_a_trade_is_settled_when_its_time_is_over(is_sale: bool, wait_s: int) -> None:
    trade = sold(1, 0, START_S - DAY_S - wait_s, 2_000, is_sale=is_sale)
    due = situation_of(dealings=dealings_of(ME, [trade]), reading_time_s=START_S)
    assert codes(due) == ["settle"]
    assert codes(replace(due, time_s=START_S - 1)) == []
    assert codes(replace(due, reading_time_s=START_S - DAY_S)) == ["own reading awaited"]
    late = replace(due, reading_time_s=START_S - DAY_S, time_s=START_S + 3 * DAY_S)
    assert codes(late) == ["settle"]
    over = OwnEvent(MARKET, "TradeSettled", {"trade": 1}, START_S)
    assert codes(replace(due, dealings=dealings_of(ME, [trade, over]))) == []


def test_what_nobody_bought_is_taken_back_once() -> None:
    events = [advertised(1, START_S - 3 * HOUR_S)]
    assert codes(situation_of(dealings=dealings_of(ME, events))) == ["return"]
    returned = OwnEvent(MARKET, "EnergyReturned", {"advert": 1, "energyWh": 4_000}, START_S)
    assert codes(situation_of(dealings=dealings_of(ME, [*events, returned]))) == []


def test_accounts_are_paid_out_from_the_owner_s_sum_on() -> None:
    base = situation_of()
    assert base.market is not None
    for wei, paid in ((0, []), (LIMITS.payout_from_wei - 1, []), (LIMITS.payout_from_wei, ["pay out"])):
        assert codes(replace(base, market=replace(base.market, account_wei=wei))) == paid


def test_events_of_what_began_before_the_look_back_are_left_out() -> None:
    late = [
        OwnEvent(MARKET, "EnergyReturned", {"advert": 9, "energyWh": 1}, START_S),
        OwnEvent(MARKET, "EnergyDelivered", {"trade": 9, "deliveredWh": 1}, START_S),
        OwnEvent(MARKET, "TradeSettled", {"trade": 9}, START_S),
        OwnEvent(AUCTION, "OrderMatched", {"slot": 1, "tradedWh": 1}, START_S),
        OwnEvent(AUCTION, "Withdrawn", {"account": ME}, START_S),
    ]
    found = dealings_of(ME, late)
    assert (found.adverts, found.trades, found.orders) == ((), (), ())
