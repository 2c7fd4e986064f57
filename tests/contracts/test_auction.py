"""The auction: orders and who may give them, the one clearing of a book, what is refused, and its rules.

Prices are wei for a Wh here. Sealed orders are in test_auction_sealed.py, delivery and
money in test_auction_delivery.py.
"""

import pytest

from contracts.addresses import AUCTION_ADDRESS, MARKET_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.auction import AuctionRules, Pricing, Side, auction_storage
from contracts.market import MarketRules
from contracts.roles import Role
from primitives.errors import InvalidGenesis
from tests.contracts.auction_stage import (
    AUCTION,
    BUYER,
    BUYER_2,
    BUYER_3,
    BUYERS,
    END,
    LENGTH_S,
    PEOPLE,
    REGULATOR,
    RELAY,
    SALT,
    SELLER,
    SELLER_2,
    SELLER_3,
    SELLERS,
    SLOT,
    STRANGER,
    SUPPLIER,
    AuctionStage,
    clear_arguments,
    events,
    reason,
)
from tests.contracts.ledgers import GENESIS_TIME_S, make_ledger
from tests.contracts.neighbourhood import OPERATOR
from wallet.auction_matching import clear

PRICE = 2 * 10**14
BOOK_UNTIL = SLOT - 900
TAX = MarketRules(tax_bps=1_000)
WATT = 10**18
LEAST_DEPOSIT = 10**13  # wei per Wh


def shown(*values: object) -> str:
    return ", ".join(["0x" + one.hex() if isinstance(one, bytes) else str(int(str(one))) for one in values])


def filled(stage: AuctionStage, side: Side) -> list[tuple[int, int]]:
    """(from, energy) of each order by number."""
    return [(one.from_wh, one.traded_wh) for one in stage.orders(side).values()]


# Orders


def test_a_bid_and_an_ask_with_their_money() -> None:
    stage = AuctionStage(trade=TAX)
    opened, placed = stage.bid(BUYER, 2_000, PRICE)
    assert opened.name == "SlotOpened"
    assert opened.arguments == {
        "slot": SLOT, "lengthS": 900, "isSealed": False, "pricing": 0, "taxBps": 1_000, "penaltyBps": 1_000,
    }  # fmt: skip
    assert placed.name == "OrderPlaced"
    assert placed.arguments == {
        "slot": SLOT, "account": BUYER, "side": 0, "number": 1, "meter": stage.meters[BUYER], "energyWh": 2_000,
        "priceWeiPerWh": PRICE, "heldWei": 2_000 * PRICE * 11 // 10,
    }  # fmt: skip
    (asked,) = stage.ask(SELLER, 1_000, PRICE)
    assert (asked.arguments["side"], asked.arguments["number"]) == (1, 1)
    assert asked.arguments["heldWei"] == 1_000 * PRICE // 10
    assert stage.balance() == 2_000 * PRICE * 11 // 10 + 1_000 * PRICE // 10
    assert stage.view("placeOf", SLOT, BUYER) == (0, 1)
    assert stage.view("placeOf", SLOT, SELLER) == (1, 1)
    assert stage.view("placeOf", SLOT, STRANGER) == (0, 0)
    assert stage.view("timesOf", SLOT) == (BOOK_UNTIL, BOOK_UNTIL, SLOT, END)
    book = stage.view("slotOf", SLOT)
    assert book[3:7] == (1, 1, 1, 1)


def test_only_consumers_bid_and_only_producers_ask() -> None:
    stage = AuctionStage()
    for caller in PEOPLE:
        for side, role, error in ((Side.BID, BUYER, "NotConsumer"), (Side.ASK, SELLER, "NotProducer")):
            meter = stage.meters.get(caller, stage.meters[role])
            if caller in (BUYERS if side is Side.BID else SELLERS):
                continue
            got = stage.refused(caller, "placeOrder", SLOT, side, meter, 1, PRICE, value=PRICE)
            assert got == f"{error}({shown(caller)})"
            got = stage.refused(caller, "sealOrder", SLOT, side, meter, SALT, value=WATT)
            assert got == f"{error}({shown(caller)})"


def test_an_order_needs_the_own_active_meter_and_proper_terms() -> None:
    stage = AuctionStage()
    own, other = stage.meters[BUYER], stage.meters[BUYER_2]

    def refused(meter: bytes = own, energy: int = 10, price: int = PRICE, value: int = 10 * PRICE) -> str:
        return stage.refused(BUYER, "placeOrder", SLOT, Side.BID, meter, energy, price, value=value)

    assert refused(other) == f"NotMeterOwner({shown(other, BUYER)})"
    assert refused(energy=0, value=0) == "EnergyInvalid(0, 1000000000)"
    assert refused(energy=10**9 + 1) == "EnergyInvalid(1000000001, 1000000000)"
    assert refused(price=0, value=0) == "PriceZero()"
    assert refused(value=10 * PRICE - 1) == f"PaymentInvalid({10 * PRICE - 1}, {10 * PRICE})"
    assert refused(value=10 * PRICE + 1) == f"PaymentInvalid({10 * PRICE + 1}, {10 * PRICE})"
    stage.remove_meter(BUYER)
    assert refused() == f"MeterInactive({shown(own)})"
    assert stage.balance() == 0


def test_one_order_an_address_a_slot_so_nobody_trades_with_oneself() -> None:
    """Roles exclude each other, but they may change between two orders."""
    stage = AuctionStage()
    stage.bid(BUYER, 10, PRICE)
    assert (
        stage.refused(BUYER, "placeOrder", SLOT, Side.BID, stage.meters[BUYER], 5, PRICE, value=5 * PRICE)
        == f"AlreadyOrdered({SLOT}, {shown(BUYER)}, 0, 1)"
    )
    stage.change_role(BUYER, Role.PRODUCER)
    assert (
        stage.refused(BUYER, "placeOrder", SLOT, Side.ASK, stage.meters[BUYER], 5, PRICE, value=5 * PRICE // 10)
        == f"AlreadyOrdered({SLOT}, {shown(BUYER)}, 0, 1)"
    )
    stage.ask(BUYER, 5, PRICE, SLOT + LENGTH_S)


def test_orders_come_in_time_for_slots_that_exist() -> None:
    stage = AuctionStage()
    meter = stage.meters[BUYER]

    def refused(slot: int) -> str:
        return stage.refused(BUYER, "placeOrder", slot, Side.BID, meter, 1, PRICE, value=PRICE)

    assert refused(SLOT + 1) == f"SlotInvalid({SLOT + 1}, 900)"
    latest = GENESIS_TIME_S + 86_400
    too_far = latest // 900 * 900 + 900
    assert refused(too_far) == f"SlotTooFar({too_far}, {latest})"
    stage.bid(BUYER, 1, PRICE, latest // 900 * 900)
    stage.ledger.time_s = BOOK_UNTIL
    assert refused(SLOT) == f"OrdersOver({SLOT}, {BOOK_UNTIL})"
    assert refused(0) == "OrdersOver(0, 0)"
    stage.ledger.time_s = BOOK_UNTIL - 1
    stage.bid(BUYER, 1, PRICE)


# The clearing


def test_the_middle_of_all_prices_that_suit_everybody() -> None:
    stage = AuctionStage()
    stage.bid(BUYER, 1_000, 30)
    stage.bid(BUYER_2, 1_000, 25)
    stage.bid(BUYER_3, 1_000, 12)
    stage.ask(SELLER, 1_500, 10)
    stage.ask(SELLER_2, 500, 20)
    stage.ask(SELLER_3, 500, 23)
    found = stage.clear()
    assert (found.energy_wh, found.price_wei_per_wh) == (2_000, (20 + 23) // 2)
    assert filled(stage, Side.BID) == [(0, 1_000), (1_000, 1_000), (0, 0)]
    assert filled(stage, Side.ASK) == [(0, 1_500), (1_500, 500), (0, 0)]
    assert stage.trades() == list(found.trades)
    assert stage.view("slotOf", SLOT)[9:] == (True, 2_000, 21)


def test_who_is_served_in_part_sets_the_price() -> None:
    stage = AuctionStage()
    stage.bid(BUYER, 1_000, 30)
    stage.ask(SELLER, 400, 10)
    assert stage.clear().price_wei_per_wh == 30
    stage = AuctionStage()
    stage.bid(BUYER, 400, 30)
    stage.ask(SELLER, 1_000, 10)
    assert stage.clear().price_wei_per_wh == 10


def test_equal_prices_go_by_sequence() -> None:
    stage = AuctionStage()
    stage.ask(SELLER_2, 300, 20)
    stage.ask(SELLER, 300, 20)
    stage.bid(BUYER_3, 200, 20)
    stage.bid(BUYER, 200, 20)
    stage.bid(BUYER_2, 200, 20)
    stage.ledger.time_s = BOOK_UNTIL
    args = [SLOT, [1, 2, 3], [2, 1], 600, 20]
    assert stage.refused(STRANGER, "clear", *args) == "ClearingOutOfOrder(1, 2, 1)"
    args[1:3] = [[1, 3, 2], [1, 2]]
    assert stage.refused(STRANGER, "clear", *args) == "ClearingOutOfOrder(0, 3, 2)"
    stage.clear()
    assert filled(stage, Side.BID) == [(0, 200), (200, 200), (400, 200)]
    assert filled(stage, Side.ASK) == [(0, 300), (300, 300)]
    assert [(one.bid, one.ask, one.energy_wh) for one in stage.trades()] == [
        (1, 1, 200), (2, 1, 100), (2, 2, 100), (3, 2, 200),
    ]  # fmt: skip


def test_a_clearing_tells_of_each_order_that_trades() -> None:
    stage = AuctionStage()
    stage.bid(BUYER, 100, 30)
    stage.ask(SELLER, 60, 10)
    stage.ask(SELLER_2, 70, 40)
    stage.ledger.time_s = BOOK_UNTIL
    told = stage.ok(BUYER_2, "clear", SLOT, [1], [1, 2], 60, 30)
    assert [(event.name, event.arguments) for event in told] == [
        ("OrderMatched", {
            "slot": SLOT, "account": BUYER, "side": 0, "number": 1, "fromWh": 0, "tradedWh": 60,
        }),
        ("OrderMatched", {
            "slot": SLOT, "account": SELLER, "side": 1, "number": 1, "fromWh": 0, "tradedWh": 60,
        }),
        ("SlotCleared", {
            "slot": SLOT, "caller": BUYER_2, "pricing": 0, "tradedWh": 60, "priceWeiPerWh": 30,
        }),
    ]  # fmt: skip


def test_wrong_clearings_are_refused() -> None:
    stage = AuctionStage()
    stage.bid(BUYER, 1_000, 30)
    stage.bid(BUYER_2, 1_000, 25)
    stage.bid(BUYER_3, 500, 25)
    stage.ask(SELLER, 800, 10)
    stage.ask(SELLER_2, 900, 20)
    stage.ledger.time_s = BOOK_UNTIL
    bids, asks = [1, 2, 3], [1, 2]
    found = stage.matching()
    assert (found.energy_wh, found.price_wei_per_wh) == (1_700, 25)
    for wrong_bids, wrong_asks, energy_wh, price, error in (
        (bids[1:], asks, 1_700, 25, "ClearingIncomplete(0, 2, 3)"),  # a rival left out
        (bids, asks[:1], 800, 30, "ClearingIncomplete(1, 1, 2)"),
        ([], [], 0, 0, "ClearingIncomplete(0, 0, 3)"),  # nobody trades
        ([1, 2, 2], asks, 1_700, 25, "ClearingOutOfOrder(0, 2, 2)"),  # twice, another left out
        ([1, 1, 2], asks, 1_700, 25, "ClearingOutOfOrder(0, 1, 1)"),
        ([2, 1, 3], asks, 1_700, 25, "ClearingOutOfOrder(0, 2, 1)"),  # a worse bid before a better
        ([1, 3, 2], asks, 1_700, 25, "ClearingOutOfOrder(0, 3, 2)"),  # a tie turned round
        (bids, [2, 1], 1_700, 25, "ClearingOutOfOrder(1, 2, 1)"),
        ([1, 2, 4], asks, 1_700, 25, "OrderNotOpen(0, 4)"),  # none of that number
        ([0, 1, 2], asks, 1_700, 25, "OrderNotOpen(0, 0)"),
        ([*bids, 1], asks, 1_700, 25, "ClearingIncomplete(0, 4, 3)"),
        (bids, asks, 1_699, 25, "ClearingWrong(1699, 1700, 25, 25)"),
        (bids, asks, 1_701, 25, "ClearingWrong(1701, 1700, 25, 25)"),
        (bids, asks, 1_700, 24, "ClearingWrong(1700, 1700, 24, 25)"),
        (bids, asks, 1_700, 26, "ClearingWrong(1700, 1700, 26, 25)"),
    ):
        assert stage.refused(STRANGER, "clear", SLOT, wrong_bids, wrong_asks, energy_wh, price) == error
    stage.clear()
    assert stage.refused(STRANGER, "clear", *clear_arguments(found)) == f"AlreadyCleared({SLOT})"


def test_anybody_clears_but_only_in_time() -> None:
    for caller in (STRANGER, OPERATOR, SUPPLIER, RELAY, REGULATOR, BUYER, SELLER):
        stage = AuctionStage()
        stage.bid(BUYER, 10, 30)
        stage.ask(SELLER, 10, 20)
        args = clear_arguments(stage.matching())
        stage.ledger.time_s = BOOK_UNTIL - 1
        assert stage.refused(caller, "clear", *args) == f"BookNotComplete({SLOT}, {BOOK_UNTIL})"
        stage.ledger.time_s = END
        assert stage.refused(caller, "clear", *args) == f"ClearingOver({SLOT}, {END})"
        stage.ledger.time_s = END - 1
        stage.ok(caller, "clear", *args)
    assert stage.refused(STRANGER, "clear", SLOT + 900, [], [], 0, 0) == f"SlotUnknown({SLOT + 900})"


def test_a_book_without_a_trade_is_cleared_and_its_money_free() -> None:
    stage = AuctionStage()
    stage.bid(BUYER, 10, 19)
    stage.ask(SELLER, 10, 20)
    found = stage.clear()
    assert (found.energy_wh, found.price_wei_per_wh) == (0, 0)
    stage.release_all()
    assert (stage.account(BUYER), stage.account(SELLER)) == (190, 10 * LEAST_DEPOSIT)
    assert stage.refused(STRANGER, "settle", SLOT, 1, 1) == f"NoTrade({SLOT}, 1, 1)"


def test_a_slot_that_nobody_clears_frees_everyones_money() -> None:
    stage = AuctionStage(trade=TAX)
    stage.bid(BUYER, 1_000, 33)
    stage.ask(SELLER, 1_000, 20)
    stage.ledger.time_s = END - 1
    assert stage.refused(STRANGER, "release", SLOT, Side.BID, [1]) == f"NothingToRelease({SLOT}, 0, 1)"
    stage.ledger.time_s = END
    (told,) = stage.ok(STRANGER, "release", SLOT, Side.BID, [1])
    assert told.arguments == {
        "slot": SLOT, "account": BUYER, "side": 0, "number": 1, "refundWei": 36_300, "forfeitWei": 0,
    }  # fmt: skip
    stage.ok(STRANGER, "release", SLOT, Side.ASK, [1])
    assert stage.refused(STRANGER, "release", SLOT, Side.BID, [1]) == f"NothingToRelease({SLOT}, 0, 1)"
    assert stage.refused(STRANGER, "release", SLOT, Side.BID, [2]) == f"NothingToRelease({SLOT}, 0, 2)"
    assert stage.refused(STRANGER, "release", SLOT, Side.BID, [1] * 401) == "TooManyNumbers(401, 400)"
    assert stage.account(BUYER) == 36_300
    assert stage.account(SELLER) == 1_000 * LEAST_DEPOSIT
    before = stage.ledger.balance(STRANGER)
    stage.ok(BUYER, "withdraw", STRANGER, 36_300)
    assert stage.ledger.balance(STRANGER) == before + 36_300
    assert stage.refused(STRANGER, "settle", SLOT, 1, 1) == f"NotCleared({SLOT})"


# The rules


def test_only_regulators_set_rules_and_they_hold_for_later_slots_only() -> None:
    stage = AuctionStage()
    for caller in PEOPLE:
        if caller != REGULATOR:
            assert stage.refused(caller, "setRules", 1_800, True, 1) == f"NotRegulator({shown(caller)})"
    for length_s in (299, 3_601, 700, 7_200):
        assert stage.refused(REGULATOR, "setRules", length_s, True, 1) == f"SlotLengthInvalid({length_s}, 300, 3600)"
    stage.bid(BUYER, 10, PRICE)
    (told,) = stage.ok(REGULATOR, "setRules", 1_800, True, Pricing.PAY_AS_BID)
    start = (GENESIS_TIME_S + 86_400) // 3_600 * 3_600 + 3_600
    assert told.arguments == {
        "regulator": REGULATOR, "lengthS": 1_800, "isSealed": True, "pricing": 1, "from": start,
    }  # fmt: skip
    assert stage.view("rulesAt", start - 1) == (900, False, 0)
    assert stage.view("rulesAt", start) == (1_800, True, 1)
    assert stage.view("latestRules") == ((1_800, True, 1), start)
    stage.ledger.time_s = start - 1
    assert stage.refused(REGULATOR, "setRules", 900, True, 1) == f"RulesPending({start})"
    odd = start + 3_600 + 900
    assert (
        stage.refused(BUYER, "placeOrder", odd, Side.BID, stage.meters[BUYER], 1, PRICE, value=PRICE)
        == f"SlotInvalid({odd}, 1800)"
    )
    stage.ledger.time_s = start
    stage.ok(REGULATOR, "setRules", 3_600, False, 0)
    assert stage.view("slotOf", SLOT)[0] == 900  # orders of then keep the rules of then


def test_a_new_tax_touches_no_slot_that_has_orders() -> None:
    stage = AuctionStage()
    stage.bid(BUYER, 10, PRICE)
    stage.market(REGULATOR, "setTax", 2_000)
    stage.ok(BUYER_2, "placeOrder", SLOT, Side.BID, stage.meters[BUYER_2], 10, PRICE, value=10 * PRICE)
    later = stage.bid(BUYER, 10, PRICE, SLOT + 900)
    assert later[-1].arguments["heldWei"] == 12 * PRICE


# Where it stands


def test_a_deployed_auction_has_the_storage_of_a_genesis() -> None:
    ledger = make_ledger({"0x" + STRANGER.hex(): {"balance": hex(10**20)}})
    arguments = [REGISTRY_ADDRESS, METER_ADDRESS, MARKET_ADDRESS]
    deployed = ledger.transact(STRANGER, None, AUCTION.deployment(arguments))
    assert deployed.success
    expected = auction_storage()
    for slot in range(max(expected) + 2):
        assert ledger.storage(deployed.output, slot) == expected.get(slot, 0), slot
    for missing in range(3):
        wrong = [bytes(20) if index == missing else one for index, one in enumerate(arguments)]
        assert reason(ledger.transact(STRANGER, None, AUCTION.deployment(wrong))) == "ZeroAddress()"
    assert AUCTION_ADDRESS.hex().endswith("1009")


@pytest.mark.parametrize("length_s", [0, 299, 700, 3_601])
def test_a_genesis_takes_no_length_that_regulators_could_not_set(length_s: int) -> None:
    with pytest.raises(InvalidGenesis, match="whole number"):
        auction_storage(AuctionRules(length_s))


def test_events_and_matching_agree_on_an_empty_book() -> None:
    assert clear([], []) == clear([], ())
    stage = AuctionStage()
    stage.ask(SELLER, 1, PRICE)
    assert stage.clear().energy_wh == 0
    assert events(stage.send(STRANGER, "release", SLOT, Side.BID, [])) == []
