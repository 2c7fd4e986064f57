"""Attacks on the market: calls from within payments, refused money, crumbs, crowds, and lists that are full."""

import pytest

from contracts.addresses import MARKET_ADDRESS
from contracts.market import MarketRules
from contracts.roles import Role
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.market_stage import (
    ATTACKER,
    ATTACKER_ADDRESS,
    BUYER,
    BUYER_2,
    CONTROLLER,
    DAY_S,
    HOUR_S,
    KWH,
    MARKET,
    PRICE,
    REGULATOR,
    SELLER,
    SELLER_2,
    STRANGER,
    TAX,
    Stage,
    events,
    shown,
)


def act(stage: Stage, function: str, *arguments: object, value: int = 0) -> None:
    """The attacker, a contract, calls the market."""
    data = ATTACKER.abi.encode_call("act", [MARKET_ADDRESS, MARKET.abi.encode_call(function, arguments)])
    result = stage.ledger.transact(STRANGER, ATTACKER_ADDRESS, data, value)
    assert result.success, MARKET.abi.revert_reason(result.output[68:]) or result.output.hex()


def attacker(stage: Stage, function: str, *arguments: object) -> object:
    """Sets the attacker up, or asks it."""
    data = ATTACKER.abi.encode_call(function, arguments)
    if ATTACKER.abi.function(function).outputs.members:
        return ATTACKER.abi.decode_result(function, stage.ledger.call(STRANGER, ATTACKER_ADDRESS, data).output)[0]
    assert stage.ledger.transact(STRANGER, ATTACKER_ADDRESS, data).success
    return None


def arm(stage: Stage, function: str, *arguments: object, value: int = 0) -> None:
    attacker(stage, "prepare", MARKET_ADDRESS, MARKET.abi.encode_call(function, arguments), value)


def enter(stage: Stage, role: Role) -> None:
    """The attacker takes part, with a meter."""
    stage.enter(ATTACKER_ADDRESS, role)
    act(stage, "chooseMeter", stage.meter(ATTACKER_ADDRESS))


@pytest.mark.parametrize("pending", ["withdraw", "requestForEnergy", "withdrawAdvert"])
def test_money_that_arrives_cannot_be_used_to_be_paid_twice(pending: str) -> None:
    stage = Stage()
    enter(stage, Role.PRODUCER)
    act(stage, "availableEnergyAdvert", 8 * KWH, PRICE, value=8 * KWH * PRICE // 10)
    act(stage, "withdrawAdvert", GENESIS_TIME_S)
    time_s = stage.advertise(8 * KWH, PRICE)
    account = stage.account(ATTACKER_ADDRESS)
    arguments = {
        "withdraw": (ATTACKER_ADDRESS, account),
        "requestForEnergy": (KWH, time_s, PRICE, SELLER),
        "withdrawAdvert": (GENESIS_TIME_S,),
    }
    arm(stage, pending, *arguments[pending])
    before = stage.balance()
    act(stage, "withdraw", ATTACKER_ADDRESS, account // 2)
    assert attacker(stage, "attempted")
    assert not attacker(stage, "succeeded")
    assert stage.balance() == before - account // 2
    assert stage.account(ATTACKER_ADDRESS) == account - account // 2
    if pending != "withdrawAdvert":
        refusal = attacker(stage, "refusal")
        assert isinstance(refusal, bytes)
        assert MARKET.error_name(refusal) == "ReentrancyGuardReentrantCall"


def test_a_trade_that_is_settled_in_the_middle_of_its_own_request_changes_nothing() -> None:
    stage = Stage()
    time_s = stage.advertise(8 * KWH, PRICE)
    enter(stage, Role.CONSUMER)
    arm(stage, "requestForEnergy", 8 * KWH, time_s, PRICE, SELLER)
    act(stage, "requestForEnergy", 8 * KWH, time_s, PRICE, SELLER, value=8 * KWH * PRICE + 5)
    assert attacker(stage, "attempted")
    assert not attacker(stage, "succeeded")
    assert stage.balance() == 8 * KWH * (PRICE + PRICE // 10)
    assert stage.ask("tradeCount") == 1


@pytest.mark.parametrize("role", [Role.PRODUCER, Role.CONSUMER])
def test_who_refuses_money_holds_up_nobody(role: Role) -> None:
    stage = Stage(TAX)
    enter(stage, role)
    attacker(stage, "refuse", True)
    if role is Role.PRODUCER:
        act(stage, "availableEnergyAdvert", 4 * KWH, PRICE, value=10**18)
        surplus = 10**18 - 4 * KWH * PRICE // 10
        trade = stage.buy(4 * KWH, GENESIS_TIME_S, PRICE, BUYER, ATTACKER_ADDRESS)
    else:
        time_s = stage.advertise(4 * KWH, PRICE)
        act(stage, "requestForEnergy", 4 * KWH, time_s, PRICE, SELLER, value=10**18)
        surplus, trade = 10**18 - 4 * KWH * PRICE * 11 // 10, 1
    assert stage.account(ATTACKER_ADDRESS) == surplus  # kept for it, as it would not have it
    stage.ok(REGULATOR, "setTreasury", ATTACKER_ADDRESS)
    stage.wait(DAY_S)
    for trader in (SELLER, BUYER, ATTACKER_ADDRESS):
        stage.read(trader, import_wh=2 * KWH, export_wh=3 * KWH)
    stage.ok(STRANGER, "settle", trade)
    assert stage.account(SELLER if role is Role.CONSUMER else BUYER) > 0
    data = ATTACKER.abi.encode_call(
        "act", [MARKET_ADDRESS, MARKET.abi.encode_call("withdraw", [ATTACKER_ADDRESS, surplus])]
    )
    assert not stage.ledger.transact(STRANGER, ATTACKER_ADDRESS, data).success
    attacker(stage, "refuse", False)
    act(stage, "withdraw", STRANGER, surplus)


def test_crumbs_and_crowds_are_bounded() -> None:
    """A meter's lists, and what the worst delivery costs that has to look at all of them."""
    stage = Stage(MarketRules(least_wh=100))
    numbers = []
    for _ in range(32):
        stage.wait(1)
        stage.read(SELLER, export_wh=1)
        stage.read(BUYER, import_wh=1)
        time_s = stage.advertise(800, PRICE)
        numbers += [stage.buy(400, time_s, PRICE), stage.buy(400, time_s, PRICE)]
    stage.wait(1)
    assert stage.refused(SELLER, "availableEnergyAdvert", 800, PRICE, value=10**20) == (
        f"TooManyAdverts({shown(stage.meter(SELLER), 32)})"
    )
    time_s = stage.advertise(800, PRICE, SELLER_2)
    assert stage.refused(BUYER, "requestForEnergy", 400, time_s, PRICE, SELLER_2, value=10**18) == (
        f"TooManyTrades({shown(stage.meter(BUYER), 64)})"
    )
    stage.buy(400, time_s, PRICE, BUYER_2, SELLER_2)
    stage.read(SELLER, export_wh=400)
    stage.read(BUYER, import_wh=400)
    result = stage.market(CONTROLLER, "confirmDelivery", numbers[-2], 400)
    assert events(result)[-1].name == "TradeSettled"
    assert result.gas_used < 1_000_000
    stage.buy(400, time_s, PRICE, BUYER, SELLER_2)


def test_many_ended_adverts_go_back_in_steps_and_the_next_advert_takes_them_along() -> None:
    stage = Stage(MarketRules(least_wh=100, most_wh=7_000))
    for number in range(70):
        stage.wait(1)
        seller = (SELLER, SELLER_2)[number % 2]
        stage.read(seller)
        if number >= 4:
            stage.ok(seller, "withdrawAdvert", GENESIS_TIME_S + number - 3)
        stage.advertise(100, PRICE, seller)
    assert stage.stored_wh() == 400
    stage.wait(3 * HOUR_S)
    assert stage.refused(STRANGER, "returnExpired", 0) == "CountInvalid(0, 64)"
    assert stage.refused(STRANGER, "returnExpired", 65) == "CountInvalid(65, 64)"
    assert stage.ok(STRANGER, "returnExpired", 2) == []  # the first two were withdrawn
    assert stage.ask("firstLive") == 3
    stage.read(SELLER)
    told = stage.ok(SELLER, "availableEnergyAdvert", 100, PRICE, value=10**20)
    assert [event.name for event in told] == ["EnergyAdvertised", "SurplusReturned"]
    assert (stage.ask("firstLive"), stage.stored_wh()) == (19, 500)
    assert stage.ok(STRANGER, "returnExpired", 48) == []
    assert len(stage.ok(STRANGER, "returnExpired", 64)) == 4
    assert (stage.ask("firstLive"), stage.stored_wh()) == (71, 100)
    assert [advert[6] for advert in stage.ask("adverts", 70, 64)] == [0, 100]
