"""Whatever happens on the two markets, and however often the agent is restarted, the owner's limits hold."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.auction import Side
from contracts.market import ADVERT_S
from contracts.roles import Role
from meter.agent.action import Action, Seal
from meter.agent.dealings import AUCTION, MARKET, OwnEvent, dealings_of
from meter.agent.decisions import decide
from meter.agent.history import DAY_S, HOUR_S
from meter.agent.limits import Limits
from meter.agent.situation import AuctionView, Situation
from tests.meter.agent.made_up import (
    LIMITS,
    ME,
    METER,
    PRICE,
    START_S,
    advert,
    advertised,
    book_of,
    history_of,
    situation_of,
    sold,
)
from wallet.contract_call import ContractCall
from wallet.market import Advert


@dataclass
class Weather:
    """A ledger of one account, in which anything may happen that the contracts allow. It keeps its own books."""

    role: Role
    limits: Limits
    time_s: int = START_S + 12 * HOUR_S
    events: list[OwnEvent] = field(default_factory=list)
    adverts: dict[int, dict[str, int]] = field(default_factory=dict)
    orders: dict[int, dict[str, int]] = field(default_factory=dict)
    bought: list[tuple[int, int, int]] = field(default_factory=list)
    """(time, energy, money) of purchases."""
    offers: list[Advert] = field(default_factory=list)
    is_sealed: bool = False
    count: int = 0

    def situation(self) -> Situation:
        slot_s = -(-(self.time_s + 1_860) // 900) * 900
        books = tuple([book_of(slot_s + 900 * number, is_sealed=self.is_sealed) for number in range(3)])
        # Only the ledger's events: as after a restart.
        dealings = dealings_of(ME, self.events)
        base = situation_of(self.role, self.time_s, dealings=dealings, auction=AuctionView(0, books))
        assert base.market is not None
        live = [one for one in self.offers if one.is_live(self.time_s)]
        live.sort(key=lambda one: one.price_at(self.time_s))
        return replace(base, market=replace(base.market, offers=tuple(live)), history=history_of(self.time_s, 3_000))

    def act(self, action: Action) -> None:
        call = action.call
        if isinstance(call, Seal):
            self._order(call.slot_s, call.side, call.energy_wh, call.price_wei_per_wh, call.deposit_wei, sealed=True)
            return
        assert isinstance(call, ContractCall)
        arguments: Any = call.arguments
        if call.function == "availableEnergyAdvert":
            self.count += 1
            energy_wh, price = arguments
            assert price >= self.limits.least_ask_wei_per_wh
            self.adverts[self.count] = {"time": self.time_s, "energy": energy_wh, "sold": 0}
            self.events.append(advertised(self.count, self.time_s, energy_wh, price))
        elif call.function == "requestForEnergy":
            energy_wh, _, first_price, _ = arguments
            assert first_price <= self.limits.greatest_bid_wei_per_wh
            self.count += 1
            self.bought.append((self.time_s, energy_wh, call.value_wei))
            event = sold(self.count, 0, self.time_s, energy_wh, is_sale=False)
            values = {**event.values, "shareWei": call.value_wei, "taxWei": 0}
            self.events.append(replace(event, values=values))
        elif call.function == "placeOrder":
            slot_s, side, _, energy_wh, price = arguments
            self._order(slot_s, side, energy_wh, price, call.value_wei, sealed=False)
        elif call.function == "withdrawAdvert":
            self.give_back(arguments[0])

    def _order(self, slot_s: int, side: Side, energy_wh: int, price: int, money_wei: int, *, sealed: bool) -> None:
        if side is Side.BID:
            assert price <= self.limits.greatest_bid_wei_per_wh
        else:
            assert price >= self.limits.least_ask_wei_per_wh
        assert slot_s not in self.orders
        spent = money_wei if side is Side.BID else 0
        self.orders[slot_s] = {"time": self.time_s, "energy": energy_wh, "money": spent, "side": side, "matched": -1}
        values = {"slot": slot_s, "side": side, "number": 1, "meter": METER, "energyWh": energy_wh,
                  "priceWeiPerWh": price, "heldWei": money_wei, "depositWei": money_wei}  # fmt: skip
        self.events.append(OwnEvent(AUCTION, "OrderSealed" if sealed else "OrderPlaced", values, self.time_s))

    def give_back(self, time_s: int) -> None:
        for number, one in self.adverts.items():
            unsold = one["energy"] - one["sold"]
            if one["time"] == time_s and unsold:
                one["energy"] = one["sold"]
                values = {"advert": number, "energyWh": unsold}
                self.events.append(OwnEvent(MARKET, "EnergyReturned", values, self.time_s))

    def happens(self, kind: str, number: int) -> None:
        getattr(self, f"_{kind}")(number)

    def _wait(self, number: int) -> None:
        self.time_s += 60 + number * 37 % (8 * HOUR_S)

    def _sale(self, number: int) -> None:
        for advert_number, one in reversed(self.adverts.items()):
            unsold = one["energy"] - one["sold"]
            if unsold and self.time_s < one["time"] + ADVERT_S:
                self.count += 1
                energy_wh = 1 + number % unsold
                one["sold"] += energy_wh
                self.events.append(sold(self.count, advert_number, self.time_s, energy_wh))
                return

    def _match(self, number: int) -> None:
        for slot_s, one in self.orders.items():
            if one["matched"] < 0 and slot_s - 900 <= self.time_s < slot_s + 900:
                one["matched"] = number % (one["energy"] + 1)
                values = {"slot": slot_s, "tradedWh": one["matched"]}
                if one["matched"]:
                    self.events.append(OwnEvent(AUCTION, "OrderMatched", values, self.time_s))
                return

    def _offer(self, number: int) -> None:
        price = [1, PRICE // 2, PRICE, PRICE * 3, 10**19][number % 5]
        self.offers.append(advert(number, price, 100 + number % 20_000, self.time_s))

    def _settle(self, number: int) -> None:
        open_trades = [one for one in dealings_of(ME, self.events).trades if not one.is_settled]
        if open_trades:
            chosen = open_trades[number % len(open_trades)]
            values = {"trade": chosen.number}
            self.events.append(OwnEvent(MARKET, "TradeSettled", values, self.time_s))

    def check(self) -> None:
        for day in range(START_S // DAY_S, self.time_s // DAY_S + 1):
            on = lambda time_s: time_s // DAY_S == day  # noqa: B023, E731
            energy = sum(
                one["energy"] if self.time_s < one["time"] + ADVERT_S else one["sold"]
                for one in self.adverts.values()
                if on(one["time"])
            )
            energy += sum(one[1] for one in self.bought if on(one[0]))
            for slot_s, order in self.orders.items():
                if on(order["time"]):
                    is_open = order["matched"] < 0 and self.time_s < slot_s + 900
                    energy += order["energy"] if is_open else max(order["matched"], 0)
            money = sum(one[2] for one in self.bought if on(one[0]))
            money += sum(order["money"] for order in self.orders.values() if on(order["time"]))
            assert energy <= self.limits.greatest_energy_wh
            assert money <= self.limits.greatest_spend_wei


@given(
    role=st.sampled_from([Role.PRODUCER, Role.CONSUMER]),
    markets=st.sampled_from([("market", "auction"), ("auction", "market"), ("auction",), ("market",)]),
    energy_wh=st.integers(0, 30_000),
    spend_wei=st.integers(0, 6 * 10**17),
    is_sealed=st.booleans(),
    days=st.lists(
        st.tuples(st.sampled_from(["wait", "sale", "match", "offer", "settle"]), st.integers(0, 100_000)), max_size=40
    ),
)
@settings(max_examples=100, deadline=None)
def test_no_sequence_of_events_brings_the_agent_beyond_its_limits(
    role: Role, markets: tuple[str, ...], energy_wh: int, spend_wei: int, is_sealed: bool, days: list[tuple[str, int]]
) -> None:
    limits = replace(LIMITS, markets=markets, greatest_energy_wh=energy_wh, greatest_spend_wei=spend_wei)
    weather = Weather(role, limits, is_sealed=is_sealed)
    for kind, number in days:
        weather.happens(kind, number)
        for _ in range(6):
            decisions = decide(weather.situation(), limits)
            assert all(one.text.endswith((".", "?")) for one in decisions)
            doable = [one for one in decisions if one.action is not None and one.code != "choose meter"]
            if not doable:
                break
            assert doable[0].action is not None
            weather.act(doable[0].action)
            weather.check()


@pytest.mark.parametrize("markets", [("market",), ("auction",)])
@pytest.mark.parametrize("role", [Role.PRODUCER, Role.CONSUMER])
def test_in_this_weather_the_limits_are_used_up(role: Role, markets: tuple[str, ...]) -> None:
    """So that the test above does not hold because nothing ever happens."""
    limits = replace(LIMITS, markets=markets, greatest_energy_wh=2_500)
    weather = Weather(role, limits)
    weather.happens("offer", 12_341)
    for _ in range(5):
        doable = [one for one in decide(weather.situation(), limits) if one.action is not None]
        if not doable or doable[0].action is None:
            break
        weather.act(doable[0].action)
    assert sum(one["energy"] for one in (*weather.adverts.values(), *weather.orders.values())) + sum(
        one[1] for one in weather.bought
    ) in (2_500, 3 * 600)
