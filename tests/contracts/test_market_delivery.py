"""What was sold on the market: delivered by the readings of both meters, paid, refunded, punished."""

from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.market_stage import (
    BUYER,
    BUYER_2,
    CONTROLLER,
    DAY_S,
    GRACE_S,
    KWH,
    PRICE,
    SELLER,
    STRANGER,
    TAX,
    TREASURY,
    Stage,
    shown,
    sold,
)


def test_what_did_not_come_is_refunded_and_the_seller_pays_a_penalty() -> None:
    stage = Stage(TAX)
    trade = sold(stage)
    stage.read(SELLER, export_wh=3 * KWH)
    stage.read(BUYER, import_wh=4 * KWH)
    until = GENESIS_TIME_S + DAY_S
    assert stage.refused(STRANGER, "settle", trade) == f"DeliveryNotOver(1, {until})"
    stage.wait(DAY_S)
    for awaited in (SELLER, BUYER):
        assert stage.refused(STRANGER, "settle", trade) == (
            f"ReadingsAwaited({shown(1, stage.meter(awaited), until + GRACE_S)})"
        )
        stage.read(awaited)
    delivered, settled = stage.ok(STRANGER, "settle", trade)
    unit_tax = PRICE // 10
    assert delivered.arguments["shareWei"] == 3 * KWH * PRICE
    assert settled.arguments == {
        "trade": 1,
        "producer": SELLER,
        "consumer": BUYER,
        "deliveredWh": 3 * KWH,
        "returnedWh": 0,
        "missingWh": KWH,
        "refundWei": KWH * (PRICE + unit_tax),
        "penaltyWei": KWH * PRICE // 10,
        "depositWei": 0,
    }
    assert stage.account(BUYER) == KWH * (PRICE + unit_tax) + KWH * PRICE // 10
    assert stage.account(SELLER) == 3 * KWH * (PRICE + PRICE // 10)
    assert stage.account(TREASURY) == 3 * KWH * unit_tax
    assert stage.stored_wh() == 0
    assert stage.energy() == {"advertised": 4 * KWH, "delivered": 3 * KWH, "returned": 0, "missing": KWH}


def test_what_the_consumer_did_not_take_is_refunded_without_a_penalty() -> None:
    stage = Stage()
    trade = sold(stage)
    stage.wait(DAY_S)
    stage.read(SELLER, export_wh=3 * KWH)
    stage.read(BUYER, import_wh=KWH)
    _, settled = stage.ok(STRANGER, "settle", trade)
    assert (settled.arguments["returnedWh"], settled.arguments["missingWh"]) == (2 * KWH, KWH)
    assert settled.arguments["penaltyWei"] == KWH * PRICE // 10
    assert stage.account(BUYER) == 3 * KWH * PRICE + KWH * PRICE // 10
    assert stage.energy() == {"advertised": 4 * KWH, "delivered": KWH, "returned": 2 * KWH, "missing": KWH}


def test_who_never_shows_the_own_readings_gains_nothing() -> None:
    stage = Stage()
    trade = sold(stage)
    stage.wait(DAY_S)
    stage.read(SELLER, export_wh=4 * KWH)
    stage.wait(GRACE_S - 1)
    assert stage.refused(STRANGER, "settle", trade).startswith("ReadingsAwaited(")
    stage.wait(1)
    stage.ok(STRANGER, "settle", trade)  # the producer's meter alone decides
    assert stage.account(SELLER) == 4 * KWH * (PRICE + PRICE // 10)

    trade = sold(stage)
    stage.wait(DAY_S)
    stage.read(BUYER, import_wh=9 * KWH)
    stage.wait(GRACE_S)
    stage.ok(STRANGER, "settle", trade)  # the producer's shows nothing
    assert stage.account(BUYER) == 4 * KWH * (PRICE + PRICE // 10)
    assert stage.balance() == stage.account(SELLER) + stage.account(BUYER)


def test_readings_that_come_late_count_with_all_they_show() -> None:
    """`Meter` keeps the last reading only: a gateway that is off the network has the grace to deliver, or to take."""
    stage = Stage()
    trade = sold(stage)
    stage.wait(DAY_S)
    stage.read(BUYER)  # nothing was sent, and nothing taken
    stage.wait(GRACE_S - 1)
    stage.read(BUYER, import_wh=4 * KWH)
    stage.read(SELLER, export_wh=4 * KWH)
    delivered, _ = stage.ok(STRANGER, "settle", trade)
    assert delivered.arguments["deliveredWh"] == 4 * KWH


def test_a_removed_meter_has_shown_all_that_it_will_and_brings_no_penalty() -> None:
    stage = Stage()
    trade = sold(stage)
    stage.read(SELLER, export_wh=KWH)
    stage.remove(SELLER)
    stage.wait(DAY_S)
    stage.read(BUYER, import_wh=4 * KWH)
    _, settled = stage.ok(STRANGER, "settle", trade)
    assert settled.arguments["penaltyWei"] == 0
    assert stage.account(BUYER) == 3 * KWH * PRICE
    assert stage.account(SELLER) == KWH * PRICE + 4 * KWH * PRICE // 10


def test_a_swapped_meter_ends_its_part_of_a_trade_and_the_new_one_begins_with_new_trades() -> None:
    stage = Stage()
    trade, old = sold(stage), stage.meter(SELLER)
    stage.read(SELLER, export_wh=KWH)
    stage.swap(SELLER)
    stage.read(SELLER, export_wh=3 * KWH)  # by the new one: refunded, not punished
    assert stage.ask("shownOf", trade) == (KWH, 0)
    stage.wait(1)
    assert stage.refused(SELLER, "availableEnergyAdvert", KWH, PRICE, value=10**20) == f"MeterInactive({shown(old)})"
    stage.ok(SELLER, "chooseMeter", stage.meter(SELLER))
    stage.wait(DAY_S)
    stage.read(BUYER, import_wh=4 * KWH)
    _, settled = stage.ok(STRANGER, "settle", trade)
    assert (settled.arguments["deliveredWh"], settled.arguments["penaltyWei"]) == (KWH, 0)
    again = sold(stage)
    stage.read(SELLER, export_wh=2 * KWH)
    assert stage.ask("shownOf", again) == (2 * KWH, 0)


def test_a_wh_serves_one_trade_only_and_the_earliest_is_used_first() -> None:
    stage = Stage()
    first = sold(stage)
    stage.wait(60)
    stage.read(SELLER, export_wh=KWH)  # serves the first only: it came before the second was advertised
    stage.read(BUYER, import_wh=KWH)
    second = sold(stage)
    stage.read(SELLER, export_wh=4 * KWH)
    stage.read(BUYER, import_wh=4 * KWH)
    assert stage.ask("shownOf", first) == (5 * KWH, 5 * KWH)
    assert stage.ask("shownOf", second) == (4 * KWH, 4 * KWH)
    stage.ok(CONTROLLER, "confirmDelivery", second, 2 * KWH)
    assert stage.ask("shownOf", first) == (3 * KWH, 3 * KWH)
    assert stage.ask("shownOf", second) == (2 * KWH, 2 * KWH)
    stage.ok(CONTROLLER, "confirmDelivery", first, 2 * KWH)  # one of before the second, one of after
    assert stage.ask("shownOf", first) == (KWH, KWH)
    assert stage.ask("shownOf", second) == (KWH, KWH)
    stage.ok(CONTROLLER, "confirmDelivery", second, KWH)
    assert stage.refused(CONTROLLER, "confirmDelivery", first, 1) == "EnergyAboveReadings(1, 1, 0, 0)"


def test_energy_of_one_advert_sold_twice_over_is_not_counted_twice() -> None:
    stage = Stage()
    time_s = stage.advertise(8 * KWH, PRICE)
    one = stage.buy(4 * KWH, time_s, PRICE)
    stage.read(SELLER, export_wh=4 * KWH)
    stage.read(BUYER, import_wh=4 * KWH)
    stage.ok(CONTROLLER, "confirmDelivery", one, 4 * KWH)
    other = stage.buy(4 * KWH, time_s, PRICE, BUYER_2)  # after the first has ended
    stage.read(BUYER_2, import_wh=4 * KWH)
    assert stage.refused(CONTROLLER, "confirmDelivery", other, 1) == "EnergyAboveReadings(2, 1, 0, 4000)"
