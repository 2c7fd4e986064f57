"""Any sequence of calls keeps the market's books: money to the wei, energy to the Wh, against a model in Python.

The model shares nothing with the contract but the rules: it keeps each meter's energy Wh by Wh, and takes for a
delivery the earliest ones that nobody has taken. Hypothesis draws adverts, requests, readings, confirmations,
settlements, withdrawals, new rules, and meters that are removed; after every step the market must say what the model
says.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.market import MAX_PARTS, MarketRules
from tests.contracts.market_stage import (
    BUYER,
    BUYER_2,
    CONTROLLER,
    DAY_S,
    GRACE_S,
    HOUR_S,
    REGULATOR,
    SELLER,
    SELLER_2,
    STRANGER,
    TREASURY,
    Stage,
)

SELLERS, BUYERS = (SELLER, SELLER_2), (BUYER, BUYER_2)
MOST_WH = 9_000

sellers, buyers = st.sampled_from(SELLERS), st.sampled_from(BUYERS)
prices = st.one_of(st.integers(1, 30), st.integers(1, 10**19))
numbers = st.integers(0, 2**16)


@dataclass
class Register:
    """A meter's register, Wh by Wh: which of them serve a trade."""

    taken: bytearray

    def free(self, from_wh: int) -> int:
        return self.taken.count(0, from_wh)

    def take(self, from_wh: int, energy_wh: int) -> None:
        position = from_wh
        for _ in range(energy_wh):
            position = self.taken.index(0, position)
            self.taken[position] = 1


@dataclass
class Device:
    imported: Register = field(default_factory=lambda: Register(bytearray(100_000)))
    exported: Register = field(default_factory=lambda: Register(bytearray(50_000)))
    last_s: int = 0
    active: bool = True


@dataclass
class Advert:
    seller: bytes
    time_s: int
    energy_wh: int
    price: int
    tax_bps: int
    deposit: int
    """For a Wh."""
    delivery_s: int
    from_wh: int
    unsold_wh: int
    swept: bool = False


@dataclass
class Trade:
    advert: Advert
    buyer: bytes
    energy_wh: int
    unit: int
    until_s: int
    from_wh: int
    delivered_wh: int = 0
    is_open: bool = True

    def tax(self, energy_wh: int) -> int:
        return energy_wh * self.unit * self.advert.tax_bps // 10_000

    @property
    def held(self) -> int:
        """In wei, with the producer's deposit."""
        if not self.is_open:
            return 0
        left = self.energy_wh - self.delivered_wh
        return left * (self.unit + self.advert.deposit) + self.tax(self.energy_wh) - self.tax(self.delivered_wh)


class Market(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.present = MarketRules(tax_bps=777, penalty_bps=1_500, delivery_s=4 * HOUR_S, least_wh=100, most_wh=MOST_WH)
        self.stage = Stage(self.present)
        self.devices = {trader: Device(last_s=self.now) for trader in (*SELLERS, *BUYERS)}
        self.adverts: list[Advert] = []
        self.trades: list[Trade] = []
        self.accounts: dict[bytes, int] = defaultdict(int)
        self.energy: dict[bytes, list[int]] = {seller: [0, 0, 0, 0] for seller in SELLERS}

    @property
    def now(self) -> int:
        return self.stage.ledger.time_s

    @rule(seller=sellers, energy_wh=st.integers(90, 2_500), price=prices, surplus=st.sampled_from((-1, 0, 0, 7)))
    def advertise(self, seller: bytes, energy_wh: int, price: int, surplus: int) -> None:
        self.stage.wait(1)
        rules, device = self.present, self.devices[seller]
        deposit = max(price * rules.penalty_bps // 10_000, 10**13) if rules.penalty_bps else 0
        ended = [one for one in self.adverts if self.now >= one.time_s + 3 * HOUR_S and not one.swept][:16]
        stored = self.stored_wh - sum(one.unsold_wh for one in ended)
        value = max(0, energy_wh * deposit + surplus)
        may = (
            energy_wh >= rules.least_wh
            and stored + energy_wh <= MOST_WH
            and device.active
            and device.last_s >= self.now - HOUR_S
            and value >= energy_wh * deposit
            and sum(one.seller == seller and self.is_open(one) for one in self.adverts if one not in ended) < 32
        )
        result = self.stage.market(seller, "availableEnergyAdvert", energy_wh, price, value=value)
        assert result.success == may
        if may:
            for one in ended:
                self.take_back(one)
            self.adverts.append(
                Advert(
                    seller,
                    self.now,
                    energy_wh,
                    price,
                    rules.tax_bps,
                    deposit,
                    rules.delivery_s,
                    len(device.exported.taken),
                    energy_wh,
                )
            )
            self.energy[seller][0] += energy_wh

    @precondition(lambda self: bool(self.adverts))
    @rule(buyer=buyers, number=numbers, part=numbers, surplus=st.sampled_from((-1, 0, 0, 13)))
    def request(self, buyer: bytes, number: int, part: int, surplus: int) -> None:
        advert = self.adverts[-1 - number % min(4, len(self.adverts))]
        energy_wh = part % (advert.unsold_wh + 2) if part % 3 else advert.unsold_wh
        device, age_s = self.devices[buyer], self.now - advert.time_s
        unit = advert.price + advert.price * (age_s // HOUR_S) // 10
        cost = energy_wh * unit + energy_wh * unit * advert.tax_bps // 10_000
        may = (
            age_s < 3 * HOUR_S
            and 0 < energy_wh <= advert.unsold_wh
            and (energy_wh == advert.unsold_wh or energy_wh * MAX_PARTS >= advert.energy_wh)
            and device.active
            and self.devices[advert.seller].active
            and device.last_s >= self.now - HOUR_S
            and surplus >= 0
        )
        arguments = (energy_wh, advert.time_s, advert.price, advert.seller)
        result = self.stage.market(buyer, "requestForEnergy", *arguments, value=max(0, cost + surplus))
        assert result.success == may
        if may:
            advert.unsold_wh -= energy_wh
            until_s = self.now + advert.delivery_s
            self.trades.append(Trade(advert, buyer, energy_wh, unit, until_s, len(device.imported.taken)))

    @rule(seller=sellers, buyer=buyers, sold_wh=st.integers(100, 600), parts=st.integers(1, 3), measured=numbers)
    def sell_and_measure(self, seller: bytes, buyer: bytes, sold_wh: int, parts: int, measured: int) -> None:
        """What makes trades overlap on both meters: energy before the sale, between, and after."""
        self.read(seller, 0, measured % 50)
        self.read(buyer, measured % 70, 0)
        self.advertise(seller, sold_wh, 10, 0)
        self.read(seller, 0, measured % 300)
        for _ in range(parts if self.adverts else 0):
            self.read(buyer, measured % 400, 0)
            self.request(buyer, 0, 1 + 3 * (sold_wh // parts // 3) if parts > 1 else 0, 0)

    @rule(trader=st.sampled_from((*SELLERS, *BUYERS)), import_wh=st.integers(0, 900), export_wh=st.integers(0, 900))
    def read(self, trader: bytes, import_wh: int, export_wh: int) -> None:
        device = self.devices[trader]
        if device.active:
            self.stage.read(trader, import_wh, export_wh)
            device.imported.taken += bytes(import_wh)
            device.exported.taken += bytes(export_wh)
            device.last_s = self.now

    @precondition(lambda self: bool(self.trades))
    @rule(number=numbers, part=numbers)
    def confirm(self, number: int, part: int) -> None:
        trade = self.pick(number)
        left = trade.energy_wh - trade.delivered_wh
        exported, imported = self.shown(trade)
        most = min(left, exported, imported)
        energy_wh = part % (most + 2) if part % 3 else most
        result = self.stage.market(CONTROLLER, "confirmDelivery", self.number(trade), energy_wh)
        assert result.success == (trade.is_open and 0 < energy_wh <= most)
        if result.success:
            self.deliver(trade, energy_wh, energy_wh)
            trade.is_open = trade.delivered_wh < trade.energy_wh

    @precondition(lambda self: bool(self.trades))
    @rule(number=numbers)
    def settle(self, number: int) -> None:
        trade = self.pick(number)
        seller, buyer = self.devices[trade.advert.seller], self.devices[trade.buyer]
        sent_all, took_all = (not one.active or one.last_s >= trade.until_s for one in (seller, buyer))
        over = self.now >= trade.until_s and ((sent_all and took_all) or self.now >= trade.until_s + GRACE_S)
        result = self.stage.market(STRANGER, "settle", self.number(trade))
        assert result.success == (trade.is_open and over)
        if not result.success:
            return
        exported, imported = self.shown(trade)
        left = trade.energy_wh - trade.delivered_wh
        sent = min(left, exported)
        came = min(sent, imported) if took_all else sent
        self.deliver(trade, came, min(came, imported))
        missing = left - sent
        penalty = missing * trade.advert.deposit if seller.active else 0
        back = (left - came) * trade.unit + trade.tax(trade.energy_wh) - trade.tax(trade.delivered_wh)
        self.accounts[trade.buyer] += back + penalty
        self.accounts[trade.advert.seller] += (left - came) * trade.advert.deposit - penalty
        self.energy[trade.advert.seller][2] += sent - came
        self.energy[trade.advert.seller][3] += missing
        trade.is_open = False

    @precondition(lambda self: bool(self.adverts))
    @rule(number=numbers)
    def withdraw_advert(self, number: int) -> None:
        advert = self.adverts[-1 - number % min(4, len(self.adverts))]
        result = self.stage.market(advert.seller, "withdrawAdvert", advert.time_s)
        assert result.success == (advert.unsold_wh > 0)
        unsold = advert.unsold_wh
        self.give_back(advert, unsold)

    @rule(most=st.integers(1, 64))
    def return_expired(self, most: int) -> None:
        assert self.stage.market(STRANGER, "returnExpired", most).success
        for one in [one for one in self.adverts if self.now >= one.time_s + 3 * HOUR_S and not one.swept][:most]:
            self.take_back(one)

    @rule(holder=st.sampled_from((*SELLERS, *BUYERS, TREASURY)), part=st.integers(0, 4))
    def withdraw(self, holder: bytes, part: int) -> None:
        account = self.accounts[holder]
        amount = account * part // 3 if part < 4 else account + 1
        result = self.stage.market(holder, "withdraw", b"\x77" * 20, amount)
        assert result.success == (0 < amount <= account)
        if result.success:
            self.accounts[holder] -= amount

    @rule(tax=st.integers(0, 3_000), penalty=st.integers(0, 10_000), delivery_s=st.integers(HOUR_S, 7 * DAY_S))
    def set_rules(self, tax: int, penalty: int, delivery_s: int) -> None:
        self.stage.ok(REGULATOR, "setTax", tax)
        self.stage.ok(REGULATOR, "setPenalty", penalty)
        self.stage.ok(REGULATOR, "setDeliveryTime", delivery_s)
        self.present = MarketRules(tax, penalty, delivery_s, 100, MOST_WH)

    @rule(trader=st.sampled_from((*SELLERS, *BUYERS)))
    def remove_or_reinstate(self, trader: bytes) -> None:
        device = self.devices[trader]
        device.active = not device.active
        (self.stage.reinstate if device.active else self.stage.remove)(trader)

    @rule(seconds=st.sampled_from((60, 60, 600, 1_800, HOUR_S, 3 * HOUR_S, DAY_S, GRACE_S)))
    def wait(self, seconds: int) -> None:
        self.stage.wait(seconds)

    @invariant()
    def books_balance(self) -> None:
        stage = self.stage
        for holder in (*SELLERS, *BUYERS, TREASURY):
            assert stage.account(holder) == self.accounts[holder]
        held = sum(one.unsold_wh * one.deposit for one in self.adverts) + sum(trade.held for trade in self.trades)
        assert stage.balance() == sum(self.accounts.values()) + held
        assert stage.stored_wh() == self.stored_wh
        for seller in SELLERS:
            advertised, delivered, returned, missing = self.energy[seller]
            assert list(stage.energy(seller).values()) == [advertised, delivered, returned, missing]
            here = sum(one.unsold_wh for one in self.adverts if one.seller == seller)
            here += sum(self.left(one) for one in self.trades if one.advert.seller == seller)
            assert advertised == here + delivered + returned + missing
        for trade in self.trades[-6:]:
            if trade.is_open:
                assert stage.ask("shownOf", self.number(trade)) == self.shown(trade)

    # The model

    @property
    def stored_wh(self) -> int:
        return sum(one.unsold_wh for one in self.adverts) + sum(self.left(one) for one in self.trades)

    @staticmethod
    def left(trade: Trade) -> int:
        return trade.energy_wh - trade.delivered_wh if trade.is_open else 0

    def pick(self, number: int) -> Trade:
        """An open trade, where there is one."""
        found = [one for one in self.trades if one.is_open] or self.trades
        return found[number % len(found)]

    def number(self, trade: Trade) -> int:
        return 1 + next(index for index, one in enumerate(self.trades) if one is trade)

    def is_open(self, advert: Advert) -> bool:
        return advert.unsold_wh > 0 or any(one.is_open and one.advert is advert for one in self.trades)

    def shown(self, trade: Trade) -> tuple[int, int]:
        seller, buyer = self.devices[trade.advert.seller], self.devices[trade.buyer]
        return seller.exported.free(trade.advert.from_wh), buyer.imported.free(trade.from_wh)

    def deliver(self, trade: Trade, energy_wh: int, imported_wh: int) -> None:
        seller = trade.advert.seller
        self.devices[seller].exported.take(trade.advert.from_wh, energy_wh)
        self.devices[trade.buyer].imported.take(trade.from_wh, imported_wh)
        before = trade.delivered_wh
        trade.delivered_wh += energy_wh
        self.accounts[TREASURY] += trade.tax(trade.delivered_wh) - trade.tax(before)
        self.accounts[seller] += energy_wh * (trade.unit + trade.advert.deposit)
        self.energy[seller][1] += energy_wh

    def take_back(self, advert: Advert) -> None:
        advert.swept = True
        self.give_back(advert, advert.unsold_wh)

    def give_back(self, advert: Advert, energy_wh: int) -> None:
        advert.unsold_wh -= energy_wh
        self.accounts[advert.seller] += energy_wh * advert.deposit
        self.energy[advert.seller][2] += energy_wh


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=42, stateful_step_count=50)
