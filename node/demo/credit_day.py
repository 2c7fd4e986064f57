"""Prepaid credit in the demo: first payments, emergency credit by night, a home that goes dark until it pays, and what
the supplier gave for sun that went to neighbours."""

import asyncio
import time
from dataclasses import dataclass, field
from fractions import Fraction

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.consent_format import consent_hash
from contracts.reading_format import compact_signature
from node.demo.day import HOUR_S, Day
from node.demo.observation import HouseholdView, Observer, View
from node.demo.pricing import EXPORT_PRICE_WEI_PER_WH, cost_wei
from node.demo.screen import Screen, kwh, watt
from node.demo.stage import WATT, Household, Part, Stage
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of, sign
from wallet.contract_call import ContractCall, the_event
from wallet.credit import EXHAUSTION, Terms
from wallet.market import read_standing
from wallet.meter_contract import METER
from wallet.registry import REGISTRY

STREET = "Solar Street"
TARIFF_NUMBER = 1
"""The only one of the demo's genesis."""

SPARE_SHARE = Fraction(11, 10)
REST_SHARE = Fraction(13, 10)
"""Of what a home will still use by its plan when it pays: readings that are on their way belong to it as well."""
THRIFTY_SHARE = Fraction(7, 10)
"""Of what the thrifty home will use: its first credit, emergency credit included. Then it goes dark."""
EVENING_S = 3 * HOUR_S // 2
"""The home that lives on emergency credit by night has credit for so long."""
REPAYING_HOUR = 7.0
DARK_INTERVAL_S = 4.0
"""How long a home stays without supply before its owner pays, so that an onlooker sees it."""
SUPPLIER_DEPOSIT_WEI = 20 * WATT
"""For energy given to the grid at a time when nobody has paid for any yet."""


@dataclass
class CreditDay:
    """What homes and supplier pay."""

    stage: Stage
    observer: Observer
    screen: Screen
    day: Day
    deposited_wei: int = 0
    """By the supplier, and by sellers who gave back, into the supplier's account."""
    given_back_wei: dict[str, int] = field(default_factory=dict)
    """By sellers, by name."""
    _dark_since: dict[str, float] = field(default_factory=dict)
    _supplied: dict[str, bool] = field(default_factory=dict)
    _in_emergency: set[str] = field(default_factory=set)

    async def install_meters(self) -> None:
        """The supplier sets its local time, which it can do at once as long as it has no customers, and gets six."""
        # A reading of midnight belongs to the day before: the zone begins with the first one after it.
        zone = (self.day.zone_s, self.day.begin_s + 1)
        calls = [ContractCall(METER, "setZone", zone)]
        for home in self.stage.households:
            place = keccak256(f"{home.name}, {STREET}".encode())
            agreed = consent_hash(self.stage.chain_id, home.meter, address_of(self.stage.supplier_key))
            consent = compact_signature(*sign(agreed, home.meter_key))
            arguments = (home.meter, home.wallet, EXHAUSTION_ADDRESS, TARIFF_NUMBER, place, 0, 0, consent)
            calls.append(ContractCall(REGISTRY, "installMeter", arguments))
        await asyncio.gather(*[self.observer.act(self.stage.supplier_key, call) for call in calls])

    async def set_terms(self) -> None:
        """The supplier's emergency credit, and money for exports."""
        key = self.stage.supplier_key
        terms = Terms(self.stage.emergency_wei, 0, 0, 0, 0, 0, 100)
        await self.observer.act(key, ContractCall(EXHAUSTION, "setTerms", (terms.argument(),)))
        await self._deposit(key, SUPPLIER_DEPOSIT_WEI)
        self.screen.event(
            f"The supplier's tariff has four steps and a dearer evening; once credit is used up, it lends "
            f"{watt(self.stage.emergency_wei)} of emergency credit."
        )

    async def first_payment(self, household: Household) -> str:
        """What the screen says of it."""
        amount_wei = self._first_credit_wei(household)
        await self.observer.top_up(household, amount_wei)
        return f"{household.name} {watt(amount_wei)}"

    async def repay(self) -> None:
        """In the morning, the home that was below zero pays: what it owes first, the rest is credit."""
        home = self.stage.home(Part.EMERGENCY)
        await self.day.until(REPAYING_HOUR)
        overdrawn_wei = (await self.observer.look()).home(home).overdrawn_wei
        amount_wei = overdrawn_wei + self._rest_wei(home)
        told = the_event(await self.observer.top_up(home, amount_wei), "ToppedUp").values
        self.screen.event(
            f"{home.name} pays {watt(amount_wei)}: {watt(told['settledWei'])} repay the emergency credit first, "
            f"{watt(told['balanceWei'])} are credit."
        )

    async def follow(self, view: View) -> None:
        """Tell what relays do, and pay for a home whose supply has been off for a while."""
        for household, home in zip(self.stage.households, view.households, strict=True):
            if home.is_supplied is None:
                continue
            self._tell(home)
            if home.is_supplied or home.credit_wei:
                self._dark_since.pop(home.name, None)
            elif time.monotonic() - self._dark_since.setdefault(home.name, time.monotonic()) >= DARK_INTERVAL_S:
                amount_wei = home.overdrawn_wei + home.debt_wei + self._rest_wei(household)
                await self.observer.top_up(household, amount_wei)
                self._dark_since.pop(home.name)
                self.screen.event(f"{home.name} pays {watt(amount_wei)} from its wallet to its meter.")

    async def give_back(self, channel_wh: int) -> None:
        """The supplier has credited all that was given to the grid; what went to neighbours was paid by them."""
        sellers = self.stage.sellers
        for seller in sellers:
            sold_wh = (await read_standing(self.observer.client, seller.wallet)).delivered_wh
            sold_wh += channel_wh if seller is sellers[0] else 0
            if not sold_wh:
                continue
            self.given_back_wei[seller.name] = sold_wh * EXPORT_PRICE_WEI_PER_WH
            await self._deposit(seller.wallet_key, self.given_back_wei[seller.name])
            self.screen.event(
                f"{seller.name} has sold {kwh(sold_wh)} to neighbours, and gives the supplier back the "
                f"{watt(self.given_back_wei[seller.name])} that it had credited for them."
            )

    async def _deposit(self, key: bytes, amount_wei: int) -> None:
        await self.observer.act(key, ContractCall(EXHAUSTION, "deposit", (self.stage.supplier,), amount_wei))
        self.deposited_wei += amount_wei

    def _rest_wei(self, household: Household) -> int:
        """Enough for all that is to come."""
        past_wei = cost_wei(household.taken(0, self.day.now_s()))
        return max(int((household.cost_wei() - past_wei) * REST_SHARE), WATT)

    def _first_credit_wei(self, household: Household) -> int:
        if household.part is Part.EMERGENCY and self.stage.has_story:
            return max(cost_wei(household.taken(0, EVENING_S)), 1)
        if household.part is Part.THRIFTY:
            return max(household.cost_wei(THRIFTY_SHARE) - self.stage.emergency_wei, WATT // 10)
        return max(household.cost_wei(SPARE_SHARE), WATT)

    def _tell(self, home: HouseholdView) -> None:
        before = self._supplied.get(home.name)
        self._supplied[home.name] = bool(home.is_supplied)
        if before is True and not home.is_supplied:
            self._in_emergency.discard(home.name)
            self.screen.event(
                f"{home.name} has used up its credit and its emergency credit: its relay switches the supply OFF."
            )
        elif before is False and home.is_supplied:
            self.screen.event(f"{home.name}: the relay switches the supply back on.")
        elif home.is_supplied and home.overdrawn_wei and home.name not in self._in_emergency:
            self._in_emergency.add(home.name)
            self.screen.event(
                f"{home.name} has used up its credit; it goes on with emergency credit, {watt(home.overdrawn_wei)} "
                "below zero. The supply stays on."
            )
        elif home.credit_wei:
            self._in_emergency.discard(home.name)
