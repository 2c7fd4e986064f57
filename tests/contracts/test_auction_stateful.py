"""Any sequence of orders, clearings, proofs, settlements and withdrawals conserves money to the wei, energy to the Wh.

Hypothesis acts as everybody in three slots at once, at any time, also wrongly; what each step should do is reckoned
here, apart from the contract. In the end everything must be settled and free, and nothing be left behind.
"""

import random
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.auction import AuctionRules, Pricing, Side
from contracts.market import MarketRules
from tests.contracts.auction_stage import (
    BUYERS,
    END,
    GRACE_S,
    LENGTH_S,
    SALT,
    SELLERS,
    SLOT,
    STRANGER,
    TRADERS,
    TREASURY,
    AuctionStage,
    clear_arguments,
)
from tests.wallet.test_auction_matching import check_clearing

SLOTS = (SLOT, SLOT + LENGTH_S, SLOT + 2 * LENGTH_S)
PHASES_S = (-1_800, -900, 0, LENGTH_S, LENGTH_S + GRACE_S)
WATT = 10**18
slots = st.sampled_from(SLOTS)
traders = st.sampled_from(TRADERS)
energies = st.integers(1, 1_000)
PRICE_STEP = 10**12 + 1
"""Prices are 1 to 60 of them: some deposits are a quarter of the price, others the least one."""
prices = st.integers(1, 60).map(lambda steps: steps * PRICE_STEP)


class AuctionMachine(RuleBasedStateMachine):
    @initialize(
        is_sealed=st.booleans(),
        pricing=st.sampled_from(Pricing),
        tax_bps=st.sampled_from([0, 1, 777, 3_000]),
        seed=st.integers(0, 2**32),
    )
    def begin(self, is_sealed: bool, pricing: Pricing, tax_bps: int, seed: int) -> None:
        rules = AuctionRules(is_sealed=is_sealed, pricing=pricing)
        trade = MarketRules(tax_bps=tax_bps, penalty_bps=2_500)
        self.stage = AuctionStage(rules, trade)
        self.is_sealed, self.pricing, self.tax_bps = is_sealed, pricing, tax_bps
        self.paid_in = self.paid_out = 0
        self.ordered: dict[tuple[int, bytes], tuple[Side, int, int]] = {}
        self.settled_wh: dict[int, int] = dict.fromkeys(SLOTS, 0)
        chance = random.Random(seed)
        for slot in SLOTS:
            for trader in chance.sample(TRADERS, 5):
                self.order(
                    slot, trader, chance.randint(1, 1_000), chance.randint(1, 60) * PRICE_STEP, chance.randint(0, WATT)
                )

    @rule(slot=slots, trader=traders, energy_wh=energies, price=prices, more_wei=st.integers(0, WATT))
    def another_order(self, slot: int, trader: bytes, energy_wh: int, price: int, more_wei: int) -> None:
        self.order(slot, trader, energy_wh, price, more_wei)

    def order(self, slot: int, trader: bytes, energy_wh: int, price: int, more_wei: int) -> None:
        side = Side.BID if trader in BUYERS else Side.ASK
        needed = self.needed(side, energy_wh, price)
        until = slot - (1_800 if self.is_sealed else 900)
        if self.is_sealed:
            value = needed + 10**16 + more_wei
            done = self.stage.seal(trader, side, energy_wh, price, value, slot).success
        else:
            value, meter = needed, self.stage.meters[trader]
            arguments = (slot, side, meter, energy_wh, price)
            done = self.stage.send(trader, "placeOrder", *arguments, value=value).success
        assert done == (self.stage.ledger.time_s < until and (slot, trader) not in self.ordered)
        if done:
            self.paid_in += value
            self.ordered[slot, trader] = (side, energy_wh, price)

    @rule(slot=slots, absent=traders)
    def reveal_most(self, slot: int, absent: bytes) -> None:
        for (of, trader), (_, energy_wh, price) in self.ordered.items():
            if of == slot and trader != absent:
                self.stage.send(trader, "reveal", slot, energy_wh, price, SALT)

    @rule(slot=slots, seed=st.integers(0, 2**32))
    def clear_wrongly(self, slot: int, seed: int) -> None:
        """Shuffled, cut, or with another outcome: refused, whatever the time."""
        found, chance = self.stage.matching(slot), random.Random(seed)
        _, bids, asks, energy_wh, price = clear_arguments(found, slot)
        assert isinstance(bids, list)
        assert isinstance(asks, list)
        right = (list(bids), list(asks), energy_wh, price)
        chance.shuffle(bids)
        chance.shuffle(asks)
        if chance.random() < 0.3 and bids:
            bids.pop()
        if chance.random() < 0.3 and asks:
            asks.append(asks[0])
        wrong = (bids, asks, energy_wh, found.price_wei_per_wh + chance.choice([0, 0, 1]))
        if wrong != right:
            assert not self.stage.send(STRANGER, "clear", slot, *wrong).success

    @rule(slot=slots)
    def clear_rightly(self, slot: int) -> None:
        book = self.stage.view("slotOf", slot)
        found = self.stage.matching(slot)
        done = self.stage.send(STRANGER, "clear", *clear_arguments(found, slot)).success
        in_time = slot - 900 <= self.stage.ledger.time_s < slot + LENGTH_S
        assert done == (in_time and book[3] + book[4] > 0 and not book[9])

    @rule(slot=slots, trader=traders, came_wh=st.integers(0, 1_200))
    def prove(self, slot: int, trader: bytes, came_wh: int) -> None:
        device = self.stage.devices[trader]
        if device.time_s >= slot - 60 or self.stage.ledger.time_s < slot + LENGTH_S:
            return
        self.stage.prove(trader, came_wh, came_wh, slot)

    @rule(slot=slots)
    def prove_all(self, slot: int) -> None:
        for number, trader in enumerate(TRADERS):
            self.prove(slot, trader, slot // 900 * (number + 3) * 7919 % 1_200)

    @rule(slot=slots, bid=st.integers(1, 5), ask=st.integers(1, 5), is_traded=st.booleans())
    def settle(self, slot: int, bid: int, ask: int, is_traded: bool) -> None:
        trades = self.stage.trades(slot)
        if trades and is_traded:
            bid, ask = trades[bid % len(trades)].bid, trades[bid % len(trades)].ask
        result = self.stage.send(STRANGER, "settle", slot, bid, ask)
        if result.success:
            (trade,) = [one for one in self.stage.trades(slot) if (one.bid, one.ask) == (bid, ask)]
            self.settled_wh[slot] += trade.energy_wh

    @rule(slot=slots, side=st.sampled_from(Side), number=st.integers(0, 5))
    def release(self, slot: int, side: Side, number: int) -> None:
        self.stage.send(STRANGER, "release", slot, side, [number])

    @rule(trader=st.sampled_from((*TRADERS, TREASURY)), part=st.integers(1, 4))
    def withdraw(self, trader: bytes, part: int) -> None:
        amount = self.stage.account(trader) // part
        if amount:
            self.stage.ok(trader, "withdraw", STRANGER, amount)
            self.paid_out += amount

    @rule(busy=st.integers(0, 15), absent=traders)
    def wait(self, busy: int, absent: bytes) -> None:
        """Until the next phase of a slot, in which what belongs to it is mostly done."""
        now = self.stage.ledger.time_s
        ahead = [one + phase for one in SLOTS for phase in PHASES_S if one + phase > now]
        self.stage.ledger.time_s = now = min(ahead, default=now + LENGTH_S)
        for slot in SLOTS:
            if busy & 1 and self.is_sealed and now == slot - 1_800:
                self.reveal_most(slot, absent)
            if busy & 6 and now == slot - 900:
                self.clear_rightly(slot)
            if busy & 8 and now == slot + LENGTH_S:
                self.prove_all(slot)
                for number in range(busy % 4):
                    self.settle(slot, number, number, True)

    def needed(self, side: Side, energy_wh: int, price: int) -> int:
        if side is Side.ASK:
            return energy_wh * max(price // 4, 10**13)
        return energy_wh * price + energy_wh * price * self.tax_bps // 10_000

    @invariant()
    def money_is_where_it_was_paid(self) -> None:
        assert self.stage.balance() == self.paid_in - self.paid_out

    def teardown(self) -> None:
        """When all time is over, everything can be settled and released, and nothing is left behind."""
        if not hasattr(self, "stage"):
            return
        for slot in SLOTS:
            self.stage.ledger.time_s = max(self.stage.ledger.time_s, slot)
            self.clear_rightly(slot)
        self.stage.ledger.time_s = max(self.stage.ledger.time_s, END + 2 * LENGTH_S + GRACE_S)
        for slot in SLOTS:
            for trade in self.stage.trades(slot):
                if not self.stage.view("isSettled", slot, trade.from_wh):
                    told = self.stage.settle(trade, slot)
                    assert sum(told["delivery"]) == trade.energy_wh
                    self.settled_wh[slot] += trade.energy_wh
            assert self.settled_wh[slot] == self.stage.view("slotOf", slot)[10]
            self.stage.release_all(slot)
        holders = [self.stage.account(one) for one in (*TRADERS, TREASURY)]
        assert sum(holders) == self.stage.balance() == self.paid_in - self.paid_out


AuctionMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAuctionMachine = AuctionMachine.TestCase

small_books = st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(small_books)
def test_what_the_contract_accepts_is_the_best_of_all_choices(book: list[tuple[bool, int, int]]) -> None:
    stage = AuctionStage()
    free = {True: iter(BUYERS), False: iter(SELLERS)}
    for is_bid, price, energy_wh in book:
        trader = next(free[is_bid], None)
        if trader is not None:
            (stage.bid if is_bid else stage.ask)(trader, energy_wh, price)
    found = stage.clear()
    check_clearing(found, stage.offers(Side.BID), stage.offers(Side.ASK))
    assert stage.trades() == list(found.trades)
    parts = sorted([(one.from_wh, one.traded_wh) for one in stage.orders(Side.BID).values() if one.traded_wh])
    assert all(start + energy == following for (start, energy), (following, _) in pairwise(parts))
