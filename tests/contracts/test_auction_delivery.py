"""Delivery of what an auction traded: registers proven by signed readings, money by what came, time limits, attacks."""

from typing import Any

import pytest

from contracts.addresses import AUCTION_ADDRESS, METER_ADDRESS
from contracts.auction import AuctionRules, Pricing, Side
from contracts.market import MarketRules
from contracts.roles import Role
from tests.contracts.auction_stage import (
    ATTACKER,
    ATTACKER_ADDRESS,
    AUCTION,
    BUYER,
    BUYER_2,
    END,
    GRACE_S,
    PEOPLE,
    RELAY,
    SELLER,
    SELLER_2,
    SLOT,
    STRANGER,
    SUPPLIER,
    TREASURY,
    AuctionStage,
    clear_arguments,
    reason,
)
from tests.contracts.neighbourhood import SignedReading, key_of
from wallet.auction_matching import Trade

TAX = MarketRules(tax_bps=1_000)
UNIT = 10**11
"""Of prices and money here, in wei: 1000 of them a Wh are 0.1 WATT a kWh."""
LEAST_DEPOSIT = 10**13
ONLY = Trade(1, 1, 0, 1_000)


def shown(address: bytes) -> str:
    return "0x" + address.hex()


def traded() -> AuctionStage:
    """1000 Wh of SELLER to BUYER at the middle, 2000 units, with 10 % tax and deposit; the slot is over."""
    stage = AuctionStage(trade=TAX)
    stage.bid(BUYER, 1_000, 3_000 * UNIT)
    stage.ask(SELLER, 1_000, 1_000 * UNIT)
    assert stage.clear().trades == (ONLY,)
    stage.ledger.time_s = END + 60
    return stage


def accounts(stage: AuctionStage) -> tuple[int, int, int]:
    """Of seller, buyer and treasury, in units."""
    seller, buyer, treasury = (in_units(stage.account(one)) for one in (SELLER, BUYER, TREASURY))
    return seller, buyer, treasury


def in_units(amount_wei: int) -> int:
    assert amount_wei % UNIT == 0
    return amount_wei // UNIT


def settled(stage: AuctionStage, trade: Trade = ONLY, caller: bytes = STRANGER) -> dict[str, Any]:
    """What the settlement told, money in units."""
    told = stage.settle(trade, caller=caller)
    return {**told, "payment": tuple([in_units(amount) for amount in told["payment"]])}


# What came is paid for


def test_all_that_came_is_paid_for_and_the_rest_of_the_bid_goes_back() -> None:
    stage = traded()
    stage.prove(SELLER, export_wh=1_200)
    stage.prove(BUYER, import_wh=1_000)
    told = settled(stage)
    assert told == {
        "slot": SLOT, "seller": SELLER, "buyer": BUYER, "bidNumber": 1, "askNumber": 1, "priceWeiPerWh": 2_000 * UNIT,
        "delivery": (1_000, 0, 0), "payment": (2_000_000, 200_000, 0, 0, 100_000),
    }  # fmt: skip
    assert accounts(stage) == (2_100_000, 0, 200_000)
    stage.release_all()
    assert accounts(stage) == (2_100_000, 3_300_000 - 2_200_000, 200_000)
    assert stage.balance() == sum(accounts(stage)) * UNIT
    assert stage.refused(STRANGER, "settle", SLOT, 1, 1) == f"AlreadySettled({SLOT}, 1, 1)"
    assert stage.view("isSettled", SLOT, 0)
    assert not stage.view("isSettled", SLOT, 1)


@pytest.mark.parametrize(
    ("sent", "taken", "delivery", "payment"),
    [
        (700, 1_000, (700, 0, 300), (1_400_000, 140_000, 660_000, 30_000, 70_000)),  # the seller falls short
        (1_000, 400, (400, 600, 0), (800_000, 80_000, 1_320_000, 0, 100_000)),  # the buyer takes less
        (800, 500, (500, 300, 200), (1_000_000, 100_000, 1_100_000, 20_000, 80_000)),
        (0, 0, (0, 0, 1_000), (0, 0, 2_200_000, 100_000, 0)),
    ],
)
def test_what_did_not_come_is_refunded_and_the_seller_pays_for_it(
    sent: int, taken: int, delivery: tuple[int, ...], payment: tuple[int, ...]
) -> None:
    stage = traded()
    stage.prove(SELLER, export_wh=sent)
    stage.prove(BUYER, import_wh=taken)
    told = settled(stage)
    assert (told["delivery"], told["payment"]) == (delivery, payment)
    stage.release_all()
    assert stage.balance() == sum(accounts(stage)) * UNIT


def test_pay_as_bid_takes_the_bids_own_price() -> None:
    stage = AuctionStage(AuctionRules(pricing=Pricing.PAY_AS_BID), TAX)
    stage.bid(BUYER, 600, 3_000 * UNIT)
    stage.bid(BUYER_2, 400, 2_500 * UNIT)
    stage.ask(SELLER, 1_000, 1_000 * UNIT)
    first, second = stage.clear().trades
    stage.ledger.time_s = END + 60
    stage.prove(SELLER, export_wh=1_000)
    stage.prove(BUYER, import_wh=600)
    stage.prove(BUYER_2, import_wh=400)
    assert settled(stage, second)["payment"] == (1_000_000, 100_000, 0, 0, 40_000)
    assert settled(stage, first)["payment"] == (1_800_000, 180_000, 0, 0, 60_000)
    stage.release_all()
    assert accounts(stage) == (2_900_000, 0, 280_000)
    assert stage.balance() == sum(accounts(stage)) * UNIT


def test_a_sellers_energy_fills_its_trades_in_the_order_of_the_clearing() -> None:
    """Whatever is settled first: each trade looks at its own part only."""
    for turned in (False, True):
        stage = AuctionStage(trade=TAX)
        stage.bid(BUYER, 333, 3_001)
        stage.bid(BUYER_2, 667, 3_001)
        stage.ask(SELLER, 500, 777)
        stage.ask(SELLER_2, 500, 777)
        trades = list(stage.clear().trades)
        assert trades == [Trade(1, 1, 0, 333), Trade(2, 1, 333, 167), Trade(2, 2, 500, 500)]
        stage.ledger.time_s = END + 60
        stage.prove(SELLER, export_wh=400)
        stage.prove(SELLER_2, export_wh=600)
        stage.prove(BUYER, import_wh=333)
        stage.prove(BUYER_2, import_wh=600)
        told = {trade: stage.settle(trade)["delivery"] for trade in (reversed(trades) if turned else trades)}
        assert [told[trade] for trade in trades] == [(333, 0, 0), (67, 0, 100), (433, 67, 0)]
        stage.release_all()
        everybody = (SELLER, SELLER_2, BUYER, BUYER_2, TREASURY)
        assert stage.balance() == sum([stage.account(one) for one in everybody])


# Time limits


def test_proofs_are_waited_for_and_then_the_seller_has_sent_nothing() -> None:
    stage = traded()
    stage.ledger.time_s = END - 1
    assert stage.refused(STRANGER, "settle", SLOT, 1, 1) == f"DeliveryNotOver({SLOT}, {END})"
    stage.ledger.time_s = END + GRACE_S - 1
    expected = f"RegistersAwaited({shown(stage.meters[SELLER])}, {SLOT}, {END}, {END + GRACE_S})"
    assert stage.refused(STRANGER, "settle", SLOT, 1, 1) == expected
    stage.prove(SELLER, export_wh=1_000)
    assert shown(stage.meters[BUYER]) in stage.refused(STRANGER, "settle", SLOT, 1, 1)
    stage = traded()
    stage.ledger.time_s = END + GRACE_S
    assert settled(stage)["payment"] == (0, 0, 2_200_000, 100_000, 0)


def test_a_buyer_who_keeps_readings_back_pays_for_what_the_seller_sent() -> None:
    stage = traded()
    stage.prove(SELLER, export_wh=900)
    stage.ledger.time_s = END + GRACE_S
    assert stage.settle(ONLY)["delivery"] == (900, 0, 100)


def test_a_meter_that_was_removed_brings_no_penalty() -> None:
    stage = traded()
    stage.remove_meter(SELLER)
    stage.ledger.time_s = END + GRACE_S
    assert settled(stage)["payment"] == (0, 0, 2_200_000, 0, 100_000)


def test_anybody_settles_and_releases_to_those_whose_money_it_is() -> None:
    for caller in (STRANGER, RELAY, SUPPLIER, SELLER):
        stage = traded()
        stage.ledger.time_s = END + GRACE_S
        stage.settle(ONLY, caller=caller)
        stage.ok(caller, "release", SLOT, Side.BID, [1])
        stage.ok(caller, "release", SLOT, Side.ASK, [1])
        assert accounts(stage) == (0, 3_300_000 + 100_000, 0)


def test_only_a_holder_withdraws_and_no_more_than_is_there() -> None:
    stage = traded()
    stage.ledger.time_s = END + GRACE_S
    stage.settle(ONLY)
    for caller in PEOPLE:
        if caller != BUYER:
            got = stage.refused(caller, "withdraw", caller, 1)
            assert got == f"AccountTooSmall({shown(caller)}, 1, 0)"
    assert stage.refused(BUYER, "withdraw", bytes(20), 1) == "ZeroAddress()"
    assert stage.refused(BUYER, "withdraw", BUYER, 0) == "AmountZero()"
    assert stage.refused(BUYER, "withdraw", METER_ADDRESS, 5) == f"WithdrawalFailed({shown(METER_ADDRESS)}, 5)"
    (told,) = stage.ok(BUYER, "withdraw", STRANGER, 2_300_000 * UNIT)
    assert told.arguments == {"account": BUYER, "to": STRANGER, "amountWei": 2_300_000 * UNIT}


# Registers


def test_registers_lie_on_the_line_between_two_readings() -> None:
    stage = AuctionStage()
    meter = stage.meters[SELLER]
    first = stage.measure(SELLER, SLOT - 100)
    second = stage.measure(SELLER, SLOT + 200, import_wh=10, export_wh=1_000)
    (told,) = stage.ok(STRANGER, "proveRegisters", SLOT, first, second)
    assert told.arguments == {"meter": meter, "time": SLOT, "importWh": 3, "exportWh": 333}
    assert stage.view("registersAt", meter, SLOT) == (3, 333, True)
    assert stage.view("registersAt", meter, SLOT + 1) == (0, 0, False)
    assert stage.ok(STRANGER, "proveRegisters", SLOT, first, second) == []
    stage.ok(STRANGER, "proveRegisters", SLOT + 200, first, second)
    assert stage.view("registersAt", meter, SLOT + 200) == (10, 1_000, True)


def test_only_two_successive_readings_prove_anything() -> None:
    stage = AuctionStage()
    meter, device = stage.meters[SELLER], stage.devices[SELLER]
    first = stage.measure(SELLER, SLOT - 100)
    second = stage.measure(SELLER, SLOT, export_wh=100)
    third = stage.measure(SELLER, SLOT + 100, export_wh=100)
    others = stage.measure(BUYER, SLOT + 100)

    def refused(earlier: SignedReading, later: SignedReading, time_s: int = SLOT - 50) -> str:
        return stage.refused(STRANGER, "proveRegisters", time_s, earlier, later)

    assert refused(first, third) == f"ReadingsNotSuccessive({shown(meter)}, 1, 3)"  # one between is kept back
    assert refused(second, first) == f"ReadingsNotSuccessive({shown(meter)}, 2, 1)"
    assert refused(first, first) == f"ReadingsNotSuccessive({shown(meter)}, 1, 1)"
    assert refused(first, others) == f"ReadingsNotSuccessive({shown(meter)}, 1, 1)"
    assert refused(first, second, SLOT - 100) == f"TimeNotBetween({SLOT - 100}, {SLOT - 100}, {SLOT})"
    assert refused(first, second, SLOT + 1) == f"TimeNotBetween({SLOT + 1}, {SLOT - 100}, {SLOT})"
    forged = device.sign(device.fields(sequence=2, time=SLOT, exportWh=900, previousHash=second[0][7]), key_of("thief"))
    assert refused(first, forged).startswith(f"SignatureInvalid({shown(meter)}")
    assert refused((first[0], bytes(32), bytes(32)), second) == f"SignatureInvalid({shown(meter)}, {shown(bytes(20))})"
    nobody = (bytes(20), *first[0][1:])
    unsigned = (nobody, bytes(32), bytes(32))
    assert refused(unsigned, unsigned).startswith("SignatureInvalid")
    future = device.sign(device.fields(sequence=4, time=SLOT + 200))
    assert refused(third, future, SLOT + 150) == f"ReadingNotAccepted({shown(meter)}, 4, 3)"
    greedy = device.sign(device.fields(sequence=3, time=SLOT + 100, exportWh=10**6, previousHash=third[0][7]))
    assert refused(second, greedy, SLOT + 50) == f"ReadingNotAccepted({shown(meter)}, 3, 3)"
    last_hash = device.previous_hash
    late = stage.measure(SELLER, SLOT + 100 + 3_601)
    assert late[0][7] == last_hash
    gap = f"ReadingsTooFarApart({shown(meter)}, {SLOT + 100}, {SLOT + 3_701}, 3600)"
    assert refused(third, late, SLOT + 900) == gap


# Attacks


def act(stage: AuctionStage, function: str, *arguments: object, value: int = 0) -> None:
    call = AUCTION.abi.encode_call(function, arguments)
    data = ATTACKER.abi.encode_call("act", [AUCTION_ADDRESS, call])
    result = stage.ledger.transact(STRANGER, ATTACKER_ADDRESS, data, value)
    assert result.success, reason(result)


def attacker_stage() -> AuctionStage:
    """The attacker's bid, which nobody clears."""
    stage = AuctionStage()
    meter = stage.enter(ATTACKER_ADDRESS, Role.CONSUMER)
    act(stage, "placeOrder", SLOT, Side.BID, meter, 10, 100, value=1_000)
    stage.bid(BUYER, 10, 100)
    stage.ledger.time_s = END
    stage.release_all()
    return stage


def prepare(stage: AuctionStage, again: bytes, refuses: bool) -> None:
    data = ATTACKER.abi.encode_call("prepare", [again, refuses])
    assert stage.ledger.transact(STRANGER, ATTACKER_ADDRESS, data).success


def test_who_is_paid_cannot_withdraw_again_meanwhile() -> None:
    stage = attacker_stage()
    prepare(stage, AUCTION.abi.encode_call("withdraw", [ATTACKER_ADDRESS, 500]), False)
    act(stage, "withdraw", ATTACKER_ADDRESS, 500)
    answer = stage.ledger.call(STRANGER, ATTACKER_ADDRESS, ATTACKER.abi.encode_call("reentered", []))
    assert ATTACKER.abi.decode_result("reentered", answer.output) == (False,)
    assert stage.account(ATTACKER_ADDRESS) == 500
    assert stage.balance() == 500 + 1_000


def test_who_refuses_money_holds_up_nobody() -> None:
    stage = AuctionStage()
    meter = stage.enter(ATTACKER_ADDRESS, Role.PRODUCER)
    prepare(stage, b"", True)
    act(stage, "placeOrder", SLOT, Side.ASK, meter, 10, 100, value=10 * LEAST_DEPOSIT)
    stage.bid(BUYER, 10, 100)
    found = stage.matching()
    stage.ledger.time_s = SLOT
    stage.ok(STRANGER, "clear", *clear_arguments(found))
    stage.ledger.time_s = END + GRACE_S
    stage.settle(found.trades[0])
    assert stage.account(BUYER) == 1_000 + 10 * LEAST_DEPOSIT


def test_an_offer_for_next_to_nothing_costs_its_seller_something_not_to_keep() -> None:
    """It pushes all others aside, whatever they ask."""
    stage = AuctionStage()
    stage.bid(BUYER, 5_000, 3_000 * UNIT)
    stage.bid(BUYER_2, 3_000, 3_000 * UNIT)
    stage.ask(SELLER_2, 8_000, 1_000 * UNIT)
    before_wei = stage.balance()
    stage.ask(SELLER, 10**9, 1)
    assert stage.balance() - before_wei == 10**9 * LEAST_DEPOSIT
    trades = stage.clear().trades
    assert [(one.ask, one.energy_wh) for one in trades] == [(2, 5_000), (2, 3_000)]
    stage.ledger.time_s = END + GRACE_S
    for trade in trades:
        payment = stage.settle(trade)["payment"]
        assert payment == (0, 0, trade.energy_wh, trade.energy_wh * LEAST_DEPOSIT, 0)
    stage.release_all()
    assert stage.account(SELLER) == (10**9 - 8_000) * LEAST_DEPOSIT


def test_money_by_itself_is_not_taken() -> None:
    stage = AuctionStage()
    assert not stage.ledger.transact(STRANGER, AUCTION_ADDRESS, b"", 1).success
