"""Decisions without a node: whatever happens, the owner's limits hold, and each decision says why with its numbers."""

from dataclasses import replace
from typing import Any

import pytest

from contracts.auction import MIN_SEALED_WEI, Pricing, Side
from contracts.market import ADVERT_S, deposit_wei_per_wh
from contracts.roles import Role
from meter.agent.action import Decision, Seal
from meter.agent.dealings import AUCTION, MARKET, OwnEvent, dealings_of
from meter.agent.decisions import budget_of, decide
from meter.agent.history import HOUR_S, History
from meter.agent.ordering import undelivered_wh
from meter.agent.situation import AuctionView, Situation
from primitives.hexadecimal import to_checksum_address
from tests.meter.agent.made_up import (
    KWH,
    LIMITS,
    ME,
    METER,
    OTHER,
    PRICE,
    START_S,
    advert,
    advertised,
    book_of,
    history_of,
    situation_of,
    sold,
)
from wallet.amounts import format_amount
from wallet.contract_call import ContractCall
from wallet.market import Advert


def first_action(decisions: list[Decision]) -> Decision:
    return next(one for one in decisions if one.action is not None)


def call_of(decision: Decision) -> ContractCall:
    assert decision.action is not None
    assert isinstance(decision.action.call, ContractCall)
    return decision.action.call


# What a producer does


def test_an_advert_is_of_what_is_likely_to_come_less_the_reserve() -> None:
    found = first_action(decide(situation_of(), replace(LIMITS, greatest_energy_wh=100 * KWH)))
    call = call_of(found)
    assert call.function == "availableEnergyAdvert"
    assert call.arguments == (9_600, PRICE * 3 // 2)  # 24 times 500 Wh, less a fifth
    assert call.value_wei == 9_600 * deposit_wei_per_wh(PRICE * 3 // 2, 1_000)
    assert found.text == (
        "Advertise 9.6 kWh at 0.3 WATT a kWh, half above the least price to begin with; its deposit is 0.288 WATT; in "
        "the next 24 hours 12 kWh (12 kWh to 12 kWh in three of five cases, by 28 days) are to be given; 20 % of the "
        "lower end are kept back, 0 kWh are sold and not sent yet, 100 kWh are left of the limit of 24 hours."
    )


@pytest.mark.parametrize(
    ("sold_wh", "price", "why"),
    [
        (0, PRICE * 9 // 5, "a tenth less than the last advert, which found no buyer"),
        (4 * KWH, PRICE * 11 // 5, "a tenth more than the last advert, which was sold out"),
        (KWH, PRICE * 2, "as the last advert, of which a part was sold"),
    ],
)
def test_a_price_follows_on_the_last_advert_s_success(sold_wh: int, price: int, why: str) -> None:
    events = [advertised(1, START_S - 4 * HOUR_S)]
    events += [sold(1, 1, START_S - 3 * HOUR_S, sold_wh)] if sold_wh else []
    limits = replace(LIMITS, greatest_energy_wh=100 * KWH)
    found = [one for one in decide(situation_of(dealings=dealings_of(ME, events)), limits) if one.code == "advertise"]
    assert call_of(found[0]).arguments[1] == price
    assert why in found[0].text


def test_a_price_is_just_below_others_and_never_below_the_least() -> None:
    base = situation_of()
    assert base.market is not None
    cheap = replace(base, market=replace(base.market, offers=(advert(1, PRICE * 5 // 4),)))
    assert call_of(first_action(decide(cheap, LIMITS))).arguments[1] == PRICE * 5 // 4 * 99 // 100
    dumping = replace(base, market=replace(base.market, offers=(advert(1, 1),)))
    assert call_of(first_action(decide(dumping, LIMITS))).arguments[1] == PRICE


def test_what_is_sold_is_not_offered_again_until_it_was_sent() -> None:
    dealings = dealings_of(ME, [advertised(1, START_S - HOUR_S), sold(1, 1, START_S - HOUR_S, 4 * KWH)])
    limits = replace(LIMITS, greatest_energy_wh=100 * KWH)
    base = situation_of(dealings=dealings)
    assert base.market is not None
    assert call_of(first_action(decide(base, limits))).arguments[0] == 9_600 - 4_000
    shown = replace(base, market=replace(base.market, shown={1: (1_500, 0)}))
    assert call_of(first_action(decide(shown, limits))).arguments[0] == 9_600 - 2_500


def test_what_a_meter_shows_serves_one_trade_only() -> None:
    trades = [sold(number, 0, START_S - HOUR_S, 2 * KWH) for number in (1, 2, 3)]
    base = situation_of(dealings=dealings_of(ME, trades))
    assert base.market is not None
    # Three kWh since the first sale, one of them since the second, nothing since the third.
    view = replace(base.market, shown={1: (3 * KWH, 0), 2: (KWH, 0), 3: (0, 0)})
    assert undelivered_wh(base, view, sales=True) == 6 * KWH - 3 * KWH
    assert undelivered_wh(base, replace(view, shown={1: (9 * KWH, 0)}), sales=True) == 4 * KWH
    assert undelivered_wh(base, view, sales=False) == 0


def test_an_advert_that_cannot_be_kept_is_taken_back() -> None:
    dealings = dealings_of(ME, [advertised(1, START_S - HOUR_S)])
    less = situation_of(dealings=dealings, history=history_of(START_S, 100))
    found = first_action(decide(less, LIMITS))
    assert call_of(found).function == "withdrawAdvert"
    assert "it is more than is to be given, 2.4 kWh" in found.text
    enough = decide(situation_of(dealings=dealings), LIMITS)
    assert [one.code for one in enough] == ["on offer"]


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"reading_time_s": START_S - 3_600}, "reading too old", "an advert needs one of the last hour"),
        ({"reading_time_s": 0}, "reading too old", "is none"),
        ({"history": history_of(START_S, 10)}, "too little to advertise", "is of 1 kWh at least"),
        ({"history": History(0, {}, START_S // HOUR_S)}, "too little history", "readings of 0 days"),
        ({"balance_wei": 10}, "too little money", "The account has"),
        ({"market": None}, "no market", "has none of the markets"),
        ({"role": Role.SUPPLIER}, "no role", "neither as a producer nor as a consumer"),
    ],
)
def test_what_is_left_undone_has_its_reason(changed: dict[str, Any], code: str, says: str) -> None:
    (found,) = decide(situation_of(**changed), LIMITS)
    assert (found.code, found.action) == (code, None)
    assert says in found.text


@pytest.mark.parametrize(
    ("role", "limit", "setting"),
    [
        (Role.PRODUCER, "greatest_energy_wh", "agent.greatest_energy_per_day"),
        (Role.CONSUMER, "greatest_energy_wh", "agent.greatest_energy_per_day"),
        (Role.CONSUMER, "greatest_spend_wei", "agent.greatest_spend_per_day"),
    ],
)
def test_a_limit_that_was_never_set_is_named(role: Role, limit: str, setting: str) -> None:
    (found,) = decide(situation_of(role), replace(LIMITS, **{limit: 0}))  # type: ignore[arg-type]
    assert (found.code, found.action) == ("no limit", None)
    assert found.text == f"Nothing is traded: the settings allow nothing, {setting} is 0."


@pytest.mark.parametrize("role", [Role.PRODUCER, Role.CONSUMER])
def test_without_a_price_nothing_is_traded(role: Role) -> None:
    (found,) = decide(situation_of(role), replace(LIMITS, least_ask_wei_per_wh=0, greatest_bid_wei_per_wh=0))
    assert (found.code, found.action) == ("no price", None)


def test_a_market_without_buyers_gives_way_to_the_auction() -> None:
    events = []
    for number in range(1, 5):
        begun_s = START_S - (number + 1) * 4 * HOUR_S
        events.append(advertised(number, begun_s))
        values = {"advert": number, "energyWh": 4 * KWH}
        events.append(OwnEvent(MARKET, "EnergyReturned", values, begun_s + ADVERT_S))
    auction = AuctionView(0, (book_of(START_S + HOUR_S),))
    found = decide(situation_of(dealings=dealings_of(ME, events), auction=auction), LIMITS)
    assert [one.code for one in found] == ["auction instead", "offer"]
    assert call_of(found[1]).arguments == (START_S + HOUR_S, Side.ASK, METER, 100, PRICE)
    assert [one.code for one in decide(situation_of(auction=auction), LIMITS)] == ["advertise"]


def test_a_meter_that_is_bound_to_one_market_offers_nothing_on_the_other() -> None:
    auction = AuctionView(0, (book_of(START_S + HOUR_S),), sells_until_s=START_S)
    base = situation_of(auction=auction)
    assert [one.code for one in decide(base, LIMITS)] == ["bound in auction"]
    assert base.market is not None
    bound = replace(base, market=replace(base.market, sells_until_s=2**48 - 1))
    assert [one.code for one in decide(bound, replace(LIMITS, markets=("auction",)))] == ["bound on market"]


def test_what_decides_is_said_with_its_numbers() -> None:
    base = situation_of()
    assert base.market is not None
    unnamed = first_action(decide(replace(base, market=replace(base.market, meter=bytes(20))), LIMITS))
    assert unnamed.text.startswith(f"Name the meter {to_checksum_address(METER)} ")
    assert unnamed.text.endswith("for which none is named yet.")
    full = first_action(decide(replace(base, market=replace(base.market, room_wh=1_500)), LIMITS))
    assert full.text.startswith("Advertise 1.5 kWh")
    assert full.text.endswith("the market's store has room for 1.5 kWh.")
    auction = replace(LIMITS, markets=("auction",))
    offer = first_action(decide(replace(base, auction=AuctionView(0, (book_of(START_S + HOUR_S),))), auction))
    assert offer.action is not None
    assert offer.text.endswith(f" {format_amount(call_of(offer).value_wei)} are its deposit.")
    on_offer = decide(situation_of(dealings=dealings_of(ME, [advertised(1, START_S - HOUR_S)])), LIMITS)
    assert "now at 0.44 WATT a kWh" in on_offer[0].text


# What a consumer does


def buyer(*offers: Advert, **changed: Any) -> Situation:
    base = situation_of(Role.CONSUMER, **changed)
    assert base.market is not None
    return replace(base, market=replace(base.market, offers=offers))


def test_the_cheapest_that_fits_is_bought_with_money_for_a_risen_price() -> None:
    limits = replace(LIMITS, greatest_bid_wei_per_wh=PRICE * 2)
    found = first_action(decide(buyer(advert(7, PRICE, 3 * KWH)), limits))
    call = call_of(found)
    assert call.function == "requestForEnergy"
    assert call.arguments == (3 * KWH, START_S, PRICE, OTHER)
    assert found.action is not None
    assert found.action.spend_wei == call.value_wei == 3 * KWH * PRICE * 10_500 // 10_000
    assert "for 0.63 WATT at most with the tax" in found.text
    assert "20 % of that are left to the supplier" in found.text
    late = decide(buyer(advert(7, PRICE, 3 * KWH, START_S - 3_000)), limits)
    assert call_of(first_action(late)).value_wei == 3 * KWH * PRICE * 11 // 10 * 10_500 // 10_000


@pytest.mark.parametrize(
    "offer",
    [
        advert(1, PRICE + 1),
        advert(1, PRICE, time_s=START_S - 3_000),  # about to become dearer than allowed
        advert(1, 10**19),
        advert(1, 0),
        advert(1, PRICE, 10**9),  # an eighth is more than is wanted
        advert(1, PRICE, producer=ME),
        advert(1, PRICE, time_s=START_S - ADVERT_S + 60),
    ],
)
def test_what_does_not_fit_is_not_bought(offer: Advert) -> None:
    (found,) = decide(buyer(offer), LIMITS)
    assert (found.code, found.action) == ("nothing fits", None)
    assert "none of 1 adverts fits" in found.text


def test_a_bid_is_the_greatest_price_where_all_pay_one_and_feels_its_way_where_each_pays_its_own() -> None:
    auction_only = replace(LIMITS, markets=("auction",))
    one_price = situation_of(Role.CONSUMER, auction=AuctionView(0, (book_of(START_S + HOUR_S),)))
    assert call_of(first_action(decide(one_price, auction_only))).arguments[3:] == (100, PRICE)
    own_price = AuctionView(0, (book_of(START_S + HOUR_S, pricing=Pricing.PAY_AS_BID),))
    assert call_of(first_action(decide(situation_of(Role.CONSUMER, auction=own_price), auction_only))).arguments[4] == (
        PRICE * 3 // 4
    )
    placed = {
        "slot": START_S - HOUR_S, "side": Side.BID, "number": 1, "meter": METER, "energyWh": 100,
        "priceWeiPerWh": PRICE // 2, "heldWei": 1,
    }  # fmt: skip
    events = [OwnEvent(AUCTION, "OrderPlaced", placed, START_S - 2 * HOUR_S)]
    in_vain = situation_of(Role.CONSUMER, auction=own_price, dealings=dealings_of(ME, events))
    assert call_of(first_action(decide(in_vain, auction_only))).arguments[4] == PRICE // 2 * 11 // 10 + 1
    events.append(OwnEvent(AUCTION, "OrderMatched", {"slot": START_S - HOUR_S, "tradedWh": 50}, START_S))
    served = situation_of(Role.CONSUMER, auction=own_price, dealings=dealings_of(ME, events))
    assert call_of(first_action(decide(served, auction_only))).arguments[4] == PRICE // 2 * 19 // 20


@pytest.mark.parametrize("role", [Role.PRODUCER, Role.CONSUMER])
def test_after_orders_in_vain_it_tries_one_slot_an_hour(role: Role) -> None:
    side = Side.ASK if role is Role.PRODUCER else Side.BID
    events = [
        OwnEvent(AUCTION, "OrderPlaced", {"slot": START_S - 900 * number, "side": side, "number": 1, "meter": METER,
                 "energyWh": 100, "priceWeiPerWh": PRICE, "heldWei": 1}, START_S - 4 * HOUR_S)
        for number in range(1, 5)
    ]  # fmt: skip
    books = tuple([book_of(START_S + HOUR_S - 900 + 900 * number) for number in range(3)])
    auction_only = replace(LIMITS, markets=("auction",))

    def slots(past: list[OwnEvent]) -> list[object]:
        base = situation_of(role, dealings=dealings_of(ME, past), auction=AuctionView(0, books))
        return [call_of(one).arguments[0] for one in decide(base, auction_only) if one.action is not None]

    assert slots(events) == [START_S + HOUR_S]
    matched = OwnEvent(AUCTION, "OrderMatched", {"slot": START_S - 900, "tradedWh": 1}, START_S)
    assert slots([*events, matched]) == slots(events[1:]) == [one.slot_s for one in books]


def test_a_sealed_bid_brings_the_least_money_and_counts_as_that() -> None:
    view = AuctionView(0, (book_of(START_S + HOUR_S, is_sealed=True),))
    found = first_action(decide(situation_of(Role.CONSUMER, auction=view), replace(LIMITS, markets=("auction",))))
    assert found.action is not None
    seal = found.action.call
    assert isinstance(seal, Seal)
    assert found.action.spend_wei == seal.deposit_wei == max(MIN_SEALED_WEI, 100 * PRICE * 105 // 100)


def test_what_the_own_book_has_signed_counts_where_the_ledger_says_less() -> None:
    base = buyer(advert(1, PRICE))
    assert budget_of(replace(base, signed_wei=4 * 10**17), LIMITS).spend_wei == 6 * 10**17
    assert [one.code for one in decide(replace(base, signed_wei=10**18), LIMITS)] == ["nothing fits"]
    assert budget_of(replace(base, signed_wh=4 * KWH), LIMITS).energy_wh == 6 * KWH


@pytest.mark.parametrize("tax_bps", [0, 3_000, 2**16 - 1])
def test_no_tax_that_a_node_invents_is_money_for_a_higher_price(tax_bps: int) -> None:
    """The contract takes the price that an advert has risen to where the money does for it."""
    offer = replace(advert(1, PRICE, 2 * KWH), tax_bps=tax_bps)
    found = decide(buyer(offer, balance_wei=10**21), replace(LIMITS, greatest_spend_wei=10**20))
    for one in found:
        if one.action is not None:
            assert one.action.spend_wei <= call_of(one).arguments[0] * PRICE  # type: ignore[operator]
    dear = replace(LIMITS, greatest_spend_wei=10**20, greatest_bid_wei_per_wh=PRICE * 12 // 10)
    assert first_action(decide(buyer(offer, balance_wei=10**21), dear)).code == "buy"


def test_no_sale_that_a_node_invents_makes_a_price_and_a_deposit_without_bound() -> None:
    events = [advertised(1, START_S - 4 * HOUR_S, 4 * KWH, 10**18), sold(1, 1, START_S - 4 * HOUR_S, 4 * KWH)]
    found = first_action(decide(situation_of(dealings=dealings_of(ME, events)), LIMITS))
    assert call_of(found).arguments[1] == 10 * PRICE
    assert "10 times the least price, the most that is asked for" in found.text
