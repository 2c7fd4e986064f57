"""The market: adverts, requests, the store, the rules, and who may do what."""

from contracts.market import price_wei_per_wh
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.market_stage import (
    BUYER,
    BUYER_2,
    CONTROLLER,
    DAY_S,
    FUNDS_WEI,
    HOUR_S,
    KWH,
    MARKET,
    PEOPLE,
    PRICE,
    REGULATOR,
    REGULATOR_2,
    SELLER,
    SELLER_2,
    STRANGER,
    TAX,
    TREASURY,
    Stage,
    reason,
    shown,
    sold,
)

# The thesis's example: 5.4.2 to 5.4.4


def test_the_price_rises_by_a_tenth_of_the_first_price_an_hour_for_three_hours() -> None:
    stage = Stage(TAX)
    first = 100
    time_s = stage.advertise(5 * KWH, first)
    for age_s, unit in (
        (0, 100),
        (HOUR_S - 1, 100),
        (HOUR_S, 110),
        (2 * HOUR_S - 1, 110),
        (2 * HOUR_S, 120),
        (3 * HOUR_S - 1, 120),
    ):
        stage.ledger.time_s = time_s + age_s
        # total price = producer's share + tax, the tax a tenth of the share here
        assert stage.ask("quote", KWH, time_s, SELLER) == (unit, unit * KWH, unit * KWH // 10)
        assert price_wei_per_wh(first, age_s) == unit
    stage.ledger.time_s = time_s + 3 * HOUR_S
    assert stage.refused(BUYER, "requestForEnergy", KWH, time_s, first, SELLER, value=10**18) == (
        f"AdvertEnded({shown(SELLER, time_s, time_s + 3 * HOUR_S)})"
    )


def test_after_three_hours_the_energy_returns_and_can_be_advertised_again() -> None:
    stage = Stage()
    time_s = stage.advertise(5 * KWH, PRICE)
    deposit = stage.balance()
    assert deposit == 5 * KWH * PRICE // 10
    stage.wait(3 * HOUR_S - 1)
    assert stage.ok(STRANGER, "returnExpired", 10) == []
    stage.wait(1)
    stage.read(SELLER)
    (returned,) = stage.ok(STRANGER, "returnExpired", 10)
    assert returned.name == "EnergyReturned"
    assert returned.arguments == {
        "advert": 1,
        "producer": SELLER,
        "energyWh": 5 * KWH,
        "depositWei": deposit,
        "expired": True,
    }
    assert stage.stored_wh() == 0
    assert stage.energy() == {"advertised": 5 * KWH, "delivered": 0, "returned": 5 * KWH, "missing": 0}
    assert stage.account(SELLER) == deposit
    again = stage.advertise(5 * KWH, PRICE)
    assert again == time_s + 3 * HOUR_S
    assert stage.stored_wh() == 5 * KWH


def test_the_store_takes_1000_kwh_and_an_advert_that_would_not_fit_is_refused() -> None:
    stage = Stage()
    stage.advertise(990 * KWH, PRICE)
    stage.ok(SELLER_2, "availableEnergyAdvert", 10 * KWH, PRICE, value=10**20)
    stage.wait(HOUR_S)
    for trader in (SELLER, SELLER_2):
        stage.read(trader)
    assert stage.refused(SELLER_2, "availableEnergyAdvert", KWH, PRICE, value=10**20) == (
        "StoreFull(1000, 1000000, 1000000)"
    )
    stage.ok(SELLER_2, "withdrawAdvert", GENESIS_TIME_S)
    assert stage.stored_wh() == 990 * KWH
    assert stage.refused(SELLER_2, "availableEnergyAdvert", 10 * KWH + 1, PRICE, value=10**20) == (
        "StoreFull(10001, 990000, 1000000)"
    )
    assert stage.refused(SELLER_2, "availableEnergyAdvert", KWH - 1, PRICE, value=10**20) == "EnergyTooSmall(999, 1000)"
    stage.wait(2 * HOUR_S)
    stage.read(SELLER_2)
    stage.advertise(1_000 * KWH, PRICE, SELLER_2)  # the 990 kWh have gone back by themselves


def test_a_sale_is_held_until_the_delivery_and_then_paid_with_its_tax() -> None:
    stage = Stage(TAX)
    time_s = stage.advertise(5 * KWH, PRICE)
    stage.wait(HOUR_S)
    unit = PRICE * 11 // 10
    share, tax = 5 * KWH * unit, 5 * KWH * unit // 10
    stage.read(BUYER)
    told = stage.ok(BUYER, "requestForEnergy", 5 * KWH, time_s, PRICE, SELLER, value=share + tax + 7)
    assert [event.name for event in told] == ["EnergySold", "SurplusReturned"]
    assert told[0].arguments == {
        "trade": 1,
        "producer": SELLER,
        "consumer": BUYER,
        "advert": 1,
        "energyWh": 5 * KWH,
        "unitPriceWeiPerWh": unit,
        "shareWei": share,
        "taxWei": tax,
        "deliverUntil": time_s + HOUR_S + DAY_S,
    }
    assert stage.ledger.balance(BUYER) == FUNDS_WEI - share - tax
    deposit = 5 * KWH * PRICE // 10
    assert stage.balance() == share + tax + deposit
    assert [stage.account(one) for one in (SELLER, TREASURY)] == [0, 0]
    assert stage.refused(SELLER, "withdrawAdvert", time_s) == "NothingToReturn(1)"

    stage.read(SELLER, export_wh=5 * KWH)
    assert stage.refused(CONTROLLER, "confirmDelivery", 1, 1) == "EnergyAboveReadings(1, 1, 5000, 0)"
    stage.read(BUYER, import_wh=2 * KWH)
    assert stage.refused(CONTROLLER, "confirmDelivery", 1, 2 * KWH + 1) == "EnergyAboveReadings(1, 2001, 5000, 2000)"
    stage.ok(CONTROLLER, "confirmDelivery", 1, 2 * KWH)
    assert stage.account(SELLER) == 2 * KWH * unit + deposit * 2 // 5
    assert stage.account(TREASURY) == tax * 2 // 5
    assert stage.stored_wh() == 3 * KWH
    stage.read(BUYER, import_wh=9 * KWH)
    assert stage.refused(CONTROLLER, "confirmDelivery", 1, 3 * KWH + 1) == "EnergyAboveSale(1, 3001, 3000)"
    delivered, settled = stage.ok(CONTROLLER, "confirmDelivery", 1, 3 * KWH)
    assert delivered.name == "EnergyDelivered"
    assert settled.name == "TradeSettled"
    assert (stage.account(SELLER), stage.account(TREASURY)) == (share + deposit, tax)
    assert stage.balance() == share + deposit + tax
    assert stage.refused(STRANGER, "settle", 1) == "TradeNotOpen(1)"

    for holder, amount in ((SELLER, share + deposit), (TREASURY, tax)):
        assert stage.refused(holder, "withdraw", holder, amount + 1).startswith("AccountTooSmall(")
        stage.ok(holder, "withdraw", holder, amount)
    assert stage.ledger.balance(SELLER) == FUNDS_WEI + share
    assert (stage.balance(), stage.stored_wh()) == (0, 0)
    assert stage.energy() == {"advertised": 5 * KWH, "delivered": 5 * KWH, "returned": 0, "missing": 0}


# Requests


def test_a_request_names_its_advert_by_time_and_first_price() -> None:
    stage = Stage()
    time_s = stage.advertise(8 * KWH, PRICE)
    money = 10**20

    def request(energy: int, at: int, price: int, seller: bytes = SELLER, value: int = money) -> str:
        return stage.refused(BUYER, "requestForEnergy", energy, at, price, seller, value=value)

    assert request(KWH, time_s + 1, PRICE) == f"AdvertUnknown({shown(SELLER, time_s + 1)})"
    assert request(KWH, time_s, PRICE, SELLER_2) == f"AdvertUnknown({shown(SELLER_2, time_s)})"
    assert request(KWH, time_s, PRICE + 1) == f"PriceMismatch({PRICE + 1}, {PRICE})"
    assert request(0, time_s, PRICE) == "EnergyZero()"
    assert request(8 * KWH + 1, time_s, PRICE) == "NotEnoughEnergy(8001, 8000)"
    assert request(KWH - 1, time_s, PRICE) == "PartTooSmall(999, 1000)"
    assert request(KWH, time_s, PRICE, value=KWH * PRICE - 1) == f"PaymentTooSmall({KWH * PRICE - 1}, {KWH * PRICE})"
    assert stage.refused(SELLER, "availableEnergyAdvert", KWH, PRICE, value=money) == (
        f"AlreadyAdvertised({shown(SELLER, time_s)})"
    )
    for _ in range(3):
        stage.buy(2 * KWH, time_s, PRICE)
    stage.buy(2 * KWH - 1, time_s, PRICE, BUYER_2)
    stage.buy(1, time_s, PRICE)  # all that is left may be less than a part
    assert request(1, time_s, PRICE) == "NotEnoughEnergy(1, 0)"
    page = stage.ask("trades", 2, 64)
    assert [trade[4] for trade in page] == [2 * KWH, 2 * KWH, 2 * KWH - 1, 1]
    assert stage.ask("trades", 6, 64) == ()
    assert stage.ask("openOf", stage.meter(BUYER)) == ((), (1, 2, 3, 5))


def test_only_what_is_not_sold_can_be_withdrawn() -> None:
    stage = Stage()
    time_s = stage.advertise(8 * KWH, PRICE)
    stage.buy(3 * KWH, time_s, PRICE)
    assert stage.refused(SELLER_2, "withdrawAdvert", time_s) == f"AdvertUnknown({shown(SELLER_2, time_s)})"
    (returned,) = stage.ok(SELLER, "withdrawAdvert", time_s)
    assert (returned.arguments["energyWh"], returned.arguments["expired"]) == (5 * KWH, False)
    assert stage.refused(SELLER, "withdrawAdvert", time_s) == "NothingToReturn(1)"
    assert stage.refused(BUYER, "requestForEnergy", KWH, time_s, PRICE, SELLER) == "NotEnoughEnergy(1000, 0)"
    assert stage.stored_wh() == 3 * KWH
    assert stage.account(SELLER) == 5 * KWH * PRICE // 10


def test_a_meter_must_be_the_own_active_and_read_of_late() -> None:
    stage = Stage(open_for_trade=False)
    meter, money = stage.meter(SELLER), 10**20
    advert = ("availableEnergyAdvert", KWH, PRICE)
    assert stage.refused(SELLER, *advert, value=money) == f"MeterNotChosen({shown(SELLER)})"
    assert stage.refused(STRANGER, "chooseMeter", meter) == f"NotMeterOwner({shown(meter, STRANGER)})"
    stage.ok(SELLER, "chooseMeter", meter)
    stage.read(SELLER)
    stage.wait(HOUR_S + 1)
    assert stage.refused(SELLER, *advert, value=money) == (
        f"ReadingTooOld({shown(meter, GENESIS_TIME_S, GENESIS_TIME_S + 1)})"
    )
    stage.read(SELLER)
    time_s = stage.advertise(8 * KWH, PRICE)
    for trader in (BUYER, BUYER_2):
        stage.read(trader)
        stage.ok(trader, "chooseMeter", stage.meter(trader))
    stage.remove(SELLER)
    request = ("requestForEnergy", KWH, time_s, PRICE, SELLER)
    assert stage.refused(BUYER, *request, value=money) == f"MeterInactive({shown(meter)})"
    stage.reinstate(SELLER)
    stage.remove(BUYER)
    assert stage.refused(BUYER, *request, value=money) == f"MeterInactive({shown(stage.meter(BUYER))})"
    stage.leave(SELLER)
    assert stage.refused(BUYER_2, *request, value=money) == f"NotProducer({shown(SELLER)})"
    stage.ok(SELLER, "withdrawAdvert", time_s)  # what is one's own can be had without any role


# Rules


def test_rules_have_bounds_and_hold_for_adverts_after_them() -> None:
    stage = Stage(TAX)
    time_s = stage.advertise(8 * KWH, PRICE)
    for function, arguments, error in (
        ("setTax", (3_001,), "TaxTooHigh(3001, 3000)"),
        ("setPenalty", (10_001,), "PenaltyTooHigh(10001, 10000)"),
        ("setDeliveryTime", (3_599,), "DeliveryTimeInvalid(3599, 3600, 604800)"),
        ("setDeliveryTime", (604_801,), "DeliveryTimeInvalid(604801, 3600, 604800)"),
        ("setStoreLimits", (99, 1_000), "StoreLimitsInvalid(99, 1000, 100, 1000000000)"),
        ("setStoreLimits", (1_001, 1_000), "StoreLimitsInvalid(1001, 1000, 100, 1000000000)"),
        ("setStoreLimits", (100, 10**9 + 1), "StoreLimitsInvalid(100, 1000000001, 100, 1000000000)"),
        ("setTreasury", (bytes(20),), "ZeroAddress()"),
    ):
        assert stage.refused(REGULATOR, function, *arguments) == error
    changes = [
        *stage.ok(REGULATOR, "setTax", 3_000),
        *stage.ok(REGULATOR_2, "setPenalty", 10_000),
        *stage.ok(REGULATOR, "setDeliveryTime", 7 * DAY_S),
        *stage.ok(REGULATOR, "setStoreLimits", 100, 8 * KWH),
    ]
    assert [event.name for event in changes] == ["TaxSet", "PenaltySet", "DeliveryTimeSet", "StoreLimitsSet"]
    assert stage.ask("rules") == (3_000, 10_000, 7 * DAY_S, 100, 8 * KWH)
    trade = stage.buy(8 * KWH, time_s, PRICE)
    assert stage.ask("trades", trade, 1)[0][1] == time_s + DAY_S
    assert stage.balance() == 8 * KWH * PRICE * 12 // 10
    assert stage.refused(SELLER_2, "availableEnergyAdvert", 100, PRICE, value=10**20) == "StoreFull(100, 8000, 8000)"
    assert stage.ask("depositFor", 100, PRICE) == 100 * PRICE
    assert stage.ask("depositFor", 100, 1) == 100 * 10**13  # the least one: 0.01 WATT a kWh
    stage.ok(REGULATOR, "setPenalty", 0)
    assert stage.ask("depositFor", 100, PRICE) == 0


def test_a_new_treasury_is_announced_a_day_before_and_takes_nothing_that_fell_due_earlier() -> None:
    stage = Stage(TAX)
    trades = [sold(stage, seller=seller) for seller in (SELLER, SELLER_2)]
    (announced,) = stage.ok(REGULATOR, "setTreasury", STRANGER)
    assert announced.arguments["from"] == GENESIS_TIME_S + DAY_S
    for trader in (SELLER, SELLER_2, BUYER):
        stage.read(trader, import_wh=8 * KWH, export_wh=4 * KWH)
    stage.wait(DAY_S - 1)
    stage.ok(CONTROLLER, "confirmDelivery", trades[0], 4 * KWH)
    assert (stage.ask("treasury"), stage.account(TREASURY)) == (TREASURY, 4 * KWH * PRICE // 10)
    stage.wait(1)
    stage.ok(CONTROLLER, "confirmDelivery", trades[1], 4 * KWH)
    assert (stage.ask("treasury"), stage.account(STRANGER)) == (STRANGER, 4 * KWH * PRICE // 10)
    assert stage.account(TREASURY) == 4 * KWH * PRICE // 10


ALLOWED = {
    "setTax": {REGULATOR, REGULATOR_2},
    "setPenalty": {REGULATOR, REGULATOR_2},
    "setDeliveryTime": {REGULATOR, REGULATOR_2},
    "setStoreLimits": {REGULATOR, REGULATOR_2},
    "setGridController": {REGULATOR, REGULATOR_2},
    "setTreasury": {REGULATOR, REGULATOR_2},
    "availableEnergyAdvert": {SELLER, SELLER_2},
    "requestForEnergy": {BUYER, BUYER_2},
    "withdrawAdvert": {SELLER},
    "confirmDelivery": {CONTROLLER},
    "settle": set(PEOPLE),
    "returnExpired": set(PEOPLE),
    "chooseMeter": {SELLER},
    "withdraw": {SELLER},
}


def test_every_role_is_tried_on_every_function() -> None:
    functions = {
        name
        for name, one in ((f["name"], f) for f in MARKET.abi_json if f["type"] == "function")
        if one["stateMutability"] in ("payable", "nonpayable")
    }
    assert functions == set(ALLOWED)
    for name, allowed in ALLOWED.items():
        for person in PEOPLE:
            # Every call on a stage where it would succeed for who may make it.
            stage = Stage(TAX)
            time_s = stage.advertise(8 * KWH, PRICE)
            stage.buy(KWH, time_s, PRICE)
            if name == "withdraw":
                stage.ok(SELLER, "withdrawAdvert", time_s)
            if name == "settle":
                stage.wait(DAY_S)
            if name in ("settle", "confirmDelivery"):
                stage.read(SELLER, export_wh=KWH)
                stage.read(BUYER, import_wh=KWH)
            if name == "availableEnergyAdvert":
                stage.wait(1)
            arguments: dict[str, tuple[object, ...]] = {
                "setTax": (1,),
                "setPenalty": (1,),
                "setDeliveryTime": (HOUR_S,),
                "setStoreLimits": (100, 200),
                "setGridController": (STRANGER,),
                "setTreasury": (STRANGER,),
                "availableEnergyAdvert": (KWH, PRICE),
                "requestForEnergy": (KWH, time_s, PRICE, SELLER),
                "withdrawAdvert": (time_s,),
                "confirmDelivery": (1, KWH),
                "settle": (1,),
                "returnExpired": (1,),
                "chooseMeter": (stage.meter(SELLER),),
                "withdraw": (person, 1),
            }
            value = 10**18 if name in ("availableEnergyAdvert", "requestForEnergy") else 0
            result = stage.market(person, name, *arguments[name], value=value)
            assert result.success == (person in allowed), (name, person.hex(), reason(result))
