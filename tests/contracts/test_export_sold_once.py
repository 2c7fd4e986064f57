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


class Day(Street):
    """Hours of a producer who tries both, with a partner whose meter has always taken enough."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.signed: dict[bytes, dict[int, Any]] = {trader: {} for trader in BOTH}
        self.slots: set[int] = set()
        self.counted: list[tuple[int, int]] = []
        """From when and until when the market counted for each trade; until 0 while it is open."""
        assert self.market(REGULATOR, "setDeliveryTime", 3_600).success

    def live(self) -> None:
        begin = GENESIS_TIME_S // LENGTH_S * LENGTH_S + LENGTH_S
        for quarter in range(QUARTERS):
            time_s = begin + quarter * LENGTH_S
            exported = self.chance.choice([0, 300, 700])
            self.signed[SELLER][time_s] = self.auction.measure(SELLER, time_s, export_wh=exported)
            self.signed[BUYER][time_s] = self.auction.measure(BUYER, time_s, import_wh=5_000)
            if time_s + LENGTH_S in self.slots:
                self.auction.clear(time_s + LENGTH_S)
            for number, (from_s, until_s) in enumerate(self.counted, start=1):
                if not until_s and self.market(STRANGER, "settle", number).success:  # refused while it is too early
                    self.counted[number - 1] = (from_s, time_s)
            both = [self.try_market, self.try_auction]
            favourite, other = both if quarter // 8 % 2 == 0 else both[::-1]
            favourite()
            if self.chance.random() < 0.25:
                other()

    def try_market(self) -> None:
        """As much as could ever come."""
        if self.advertise(5 * KWH) is None:
            assert self.buy(5 * KWH)
            self.counted.append((self.now, 0))

    def try_auction(self) -> None:
        slot = self.now + LENGTH_S * self.chance.randint(2, 4)
        value = self.auction.needed(Side.ASK, KWH, PRICE, slot)
        if self.auction.send(SELLER, "placeOrder", slot, 1, self.meter, KWH, PRICE, value=value).success:
            self.auction.bid(BUYER, KWH, PRICE, slot)
            self.slots.add(slot)

    def exported(self, from_s: int, until_s: int) -> int:
        first, last = (self.signed[SELLER][time_s][0] for time_s in (from_s, until_s))
        return int(last[4] - first[4])

    def settle_slot(self, slot: int) -> int:
        """What was paid for in it, in Wh."""
        for signed in self.signed.values():
            for time_s in (slot, slot + LENGTH_S):
                self.auction.ok(STRANGER, "proveRegisters", time_s, signed[time_s - LENGTH_S], signed[time_s])
        return sum([self.auction.settle(trade, slot)["delivery"][0] for trade in self.auction.trades(slot)])


@pytest.mark.parametrize("seed", [0, 2])
def test_no_more_is_paid_for_than_was_exported_whatever_is_tried(seed: int) -> None:
    day = Day(seed)
    day.live()
    slots_wh = {slot: day.settle_slot(slot) for slot in day.slots if slot + LENGTH_S <= day.now}
    trades_wh = 0
    for number, (from_s, until_s) in enumerate(day.counted, start=1):
        if until_s:
            (trade,) = day.ask_market("trades", number, 1)
            meanwhile = sum([wh for slot, wh in slots_wh.items() if from_s < slot + LENGTH_S and slot < until_s])
            assert trade[5] + meanwhile <= day.exported(from_s, until_s)
            trades_wh += trade[5]
    assert trades_wh
    assert sum(slots_wh.values())
