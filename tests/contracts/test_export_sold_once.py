"""What a producer's meter exports is sold on the market or in the auction, never in both."""

import random
import re
from typing import Any

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, MARKET_ADDRESS
from contracts.auction import AuctionRules, Side
from contracts.roles import Role
from tests.contracts.auction_stage import (
    BUYER,
    END,
    GRACE_S,
    LENGTH_S,
    MARKET,
    REGULATOR,
    SALT,
    SELLER,
    SELLER_2,
    SLOT,
    STRANGER,
    SUPPLIER,
    AuctionStage,
)
from tests.contracts.ledgers import GENESIS_TIME_S, Result
from tests.contracts.neighbourhood import POINT_OF_SUPPLY, Device

PRICE = 2 * 10**14
KWH = 1_000
DAY_S = 86_400
BOTH = (SELLER, BUYER)
SEALED_WEI = 10**18
FOREVER = 2**48 - 1
QUARTERS = 32


def shown(address: bytes) -> str:
    return "0x" + address.hex()


class Street:
    """A seller and a buyer with meters that are read now, and both ways to trade."""

    def __init__(self, rules: AuctionRules | None = None) -> None:
        self.auction = AuctionStage(rules)
        self.meter = self.auction.meters[SELLER]
        for trader in BOTH:
            self.read(trader)
            assert self.market(trader, "chooseMeter", self.auction.meters[trader]).success

    @property
    def now(self) -> int:
        return self.auction.ledger.time_s

    def at(self, time_s: int) -> None:
        """Both meters are read then."""
        self.auction.ledger.time_s = time_s
        for trader in BOTH:
            self.read(trader)

    def read(self, trader: bytes, import_wh: int = 0, export_wh: int = 0) -> None:
        self.auction.ledger.time_s += self.auction.devices[trader].time_s == self.now
        self.auction.measure(trader, self.now, import_wh, export_wh)

    def market(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        data = MARKET.abi.encode_call(function, arguments)
        return self.auction.ledger.transact(sender, MARKET_ADDRESS, data, value)

    def ask_market(self, function: str, *arguments: object) -> Any:
        data = MARKET.abi.encode_call(function, arguments)
        return MARKET.abi.decode_result(function, self.auction.ledger.call(STRANGER, MARKET_ADDRESS, data).output)[0]

    def sold_until(self) -> tuple[int, int]:
        """By the market, and by the auction."""
        return self.ask_market("exportSoldUntil", self.meter), self.auction.view("exportSoldUntil", self.meter)

    def advertise(self, energy_wh: int = KWH) -> str | None:
        """None where it was accepted, else the error."""
        deposit = self.ask_market("depositFor", energy_wh, PRICE)
        result = self.market(SELLER, "availableEnergyAdvert", energy_wh, PRICE, value=deposit)
        return None if result.success else re.sub(r"\w+=", "", str(MARKET.abi.revert_reason(result.output)))

    def buy(self, energy_wh: int = KWH) -> bool:
        """Of the advert of now."""
        value = energy_wh * PRICE
        return self.market(BUYER, "requestForEnergy", energy_wh, self.now, PRICE, SELLER, value=value).success

    def refused_ask(self, slot: int) -> str:
        value = self.auction.needed(Side.ASK, KWH, PRICE, slot)
        return self.auction.refused(SELLER, "placeOrder", slot, Side.ASK, self.meter, KWH, PRICE, value=value)


def test_what_is_offered_in_a_slot_cannot_be_advertised_before_a_reading_of_its_end() -> None:
    street = Street()
    street.auction.ask(SELLER, KWH, PRICE)
    assert street.sold_until() == (0, END)
    for time_s in (SLOT - 3_600, SLOT, END - 61, END + 30):  # in the last case, the last reading is of before the end
        if time_s < END:
            street.at(time_s)
        read_s = street.auction.devices[SELLER].time_s
        street.auction.ledger.time_s = max(time_s, street.now)
        expected = f"MeterSellsInAuction({shown(street.meter)}, {END}, {read_s})"
        assert street.advertise() == expected
    street.read(SELLER)
    assert street.advertise() is None


def test_a_reading_of_the_very_end_of_the_slot_is_enough() -> None:
    street = Street()
    street.auction.ask(SELLER, KWH, PRICE)
    street.auction.ask(SELLER, KWH, PRICE, SLOT - LENGTH_S)  # an earlier one frees nothing
    assert street.sold_until() == (0, END)
    street.auction.measure(SELLER, END - 1)
    assert str(street.advertise()).startswith("MeterSellsInAuction")
    street.auction.measure(SELLER, END)
    assert street.advertise() is None


def test_a_sealed_ask_holds_as_an_open_one_also_if_it_is_never_revealed() -> None:
    street = Street(AuctionRules(is_sealed=True))
    assert street.auction.seal(SELLER, Side.ASK, KWH, PRICE, SEALED_WEI).success
    assert str(street.advertise()).startswith("MeterSellsInAuction")
    street.at(SLOT - 1_200)
    assert str(street.advertise()).startswith("MeterSellsInAuction")
    street.auction.ok(SELLER, "reveal", SLOT, KWH, PRICE, SALT)
    street.at(SLOT)
    assert str(street.advertise()).startswith("MeterSellsInAuction")
    street.at(END)
    assert street.advertise() is None


def test_while_an_advert_lives_the_meter_has_no_asks() -> None:
    for rules in (AuctionRules(), AuctionRules(is_sealed=True)):
        street = Street(rules)
        assert street.advertise() is None
        time_s = street.now
        assert street.sold_until() == (FOREVER, 0)
        expected = f"MeterSellsOnMarket({shown(street.meter)})"
        later = SLOT + 3 * 3_600
        if rules.is_sealed:
            result = street.auction.seal(SELLER, Side.ASK, KWH, PRICE, SEALED_WEI, later)
            assert not result.success
        else:
            assert street.refused_ask(later) == expected
            street.auction.ledger.time_s = time_s + 3 * 3_600 - 1
            assert street.refused_ask(later) == expected
            street.auction.ledger.time_s += 1  # over, though nobody has returned it
            assert street.sold_until() == (0, 0)
            street.auction.ask(SELLER, KWH, PRICE, later)
            continue
        assert street.market(SELLER, "withdrawAdvert", time_s).success
        assert street.auction.seal(SELLER, Side.ASK, KWH, PRICE, SEALED_WEI, later).success


def test_an_open_trade_holds_until_it_is_settled_which_anybody_can_do_in_the_end() -> None:
    """Also where both keep their readings back."""
    street = Street()
    assert street.advertise() is None
    assert street.buy()
    until = street.now + DAY_S
    for time_s in (street.now + 3 * 3_600, until + GRACE_S):
        street.auction.ledger.time_s = time_s
        assert street.refused_ask(time_s // 3_600 * 3_600 + 7_200) == f"MeterSellsOnMarket({shown(street.meter)})"
    assert street.market(STRANGER, "settle", 1).success
    street.auction.ask(SELLER, KWH, PRICE, street.now // 3_600 * 3_600 + 7_200)


def test_nobody_else_can_bind_a_producers_meter() -> None:
    street = Street()
    auction = street.auction
    deposit = auction.needed(Side.ASK, KWH, PRICE)
    for other in (SELLER_2, BUYER, STRANGER):
        assert not auction.send(other, "placeOrder", SLOT, Side.ASK, street.meter, KWH, PRICE, value=deposit).success
        assert not street.market(other, "chooseMeter", street.meter).success
    auction.bid(BUYER, KWH, PRICE)  # what a buyer's meter exports is not sold by it
    assert auction.view("exportSoldUntil", auction.meters[BUYER]) == 0
    assert not auction.send(SELLER, "placeOrder", SLOT, Side.ASK, street.meter, 0, PRICE).success
    assert street.sold_until() == (0, 0)
    assert street.advertise() is None


def test_another_meter_of_the_same_producer_has_registers_of_its_own() -> None:
    street = Street()
    auction = street.auction
    auction.ask(SELLER, KWH, PRICE)
    auction.devices[SELLER] = Device("second roof", time_s=street.now)
    auction.meters[SELLER] = second = auction.devices[SELLER].address
    auction.registry(SUPPLIER, "installMeter", second, SELLER, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0)
    street.read(SELLER)
    assert street.market(SELLER, "chooseMeter", second).success
    assert street.advertise() is None
    auction.change_role(SELLER, Role.SUPPLIER)  # whose meter sells, whatever becomes of the seller
    assert street.ask_market("exportSoldUntil", second) == FOREVER


@pytest.mark.parametrize("seed", [0, 4])
def test_no_more_is_paid_for_than_was_exported_whatever_is_tried(seed: int) -> None:
    """A producer who tries both for eight hours, with a partner whose meter has always taken enough."""
    chance = random.Random(seed)
    street = Street()
    auction = street.auction
    assert street.market(REGULATOR, "setDeliveryTime", 3_600).success
    first_wh, slots, trades = auction.devices[SELLER].export_wh, set[int](), 0
    begin = GENESIS_TIME_S // LENGTH_S * LENGTH_S + LENGTH_S
    readings: dict[bytes, dict[int, Any]] = {trader: {} for trader in BOTH}
    for time_s in range(begin, begin + QUARTERS * LENGTH_S, LENGTH_S):
        exported = chance.choice([0, 300, 700])
        for trader in BOTH:
            wh = {"import_wh": 5_000} if trader == BUYER else {"export_wh": exported}
            readings[trader][time_s] = auction.measure(trader, time_s, **wh)
        for slot in [one for one in slots if one - LENGTH_S == time_s]:
            auction.clear(slot)
        for trade in range(1, trades + 1):
            street.market(STRANGER, "settle", trade)  # refused while it is too early
        favourite, other = ("advertise", "ask")[:: (-1) ** ((time_s - begin) // (8 * LENGTH_S))]
        for tried in (favourite, other) if chance.random() < 0.25 else (favourite,):
            if tried == "advertise" and street.advertise() is None:
                trades += street.buy()
            elif tried == "ask":
                slot = time_s + LENGTH_S * chance.randint(2, 4)
                value = auction.needed(Side.ASK, KWH, PRICE, slot)
                sent = auction.send(SELLER, "placeOrder", slot, 1, street.meter, KWH, PRICE, value=value)
                if sent.success:
                    auction.bid(BUYER, KWH, PRICE, slot)
                    slots.add(slot)
    market_wh, auction_wh = street_sums(street, readings, [one for one in slots if one + LENGTH_S <= street.now])
    assert 0 < market_wh + auction_wh <= auction.devices[SELLER].export_wh - first_wh
    assert market_wh
    assert auction_wh


def street_sums(street: Street, readings: dict[bytes, dict[int, Any]], slots: list[int]) -> tuple[int, int]:
    """What was paid for on the market, and in slots of the auction, all of which are proven and settled here."""
    data = MARKET.abi.encode_call("energyOf", [SELLER])
    answer = street.auction.ledger.call(STRANGER, MARKET_ADDRESS, data).output
    delivered = MARKET.abi.decode_result("energyOf", answer)[0]
    assert isinstance(delivered, tuple)
    auction_wh = 0
    for slot in slots:
        for signed in readings.values():
            for time_s in (slot, slot + LENGTH_S):
                street.auction.ok(STRANGER, "proveRegisters", time_s, signed[time_s - LENGTH_S], signed[time_s])
        for trade in street.auction.trades(slot):
            auction_wh += street.auction.settle(trade, slot)["delivery"][0]
    return int(delivered[1]), auction_wh
