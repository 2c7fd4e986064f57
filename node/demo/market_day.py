"""Trade in the demo's neighbourhood: two homes sell what their panels make beyond their own use, two others buy it.

Each is a real sender of real transactions; how much they offer and want is planned from their profiles, as a home knows
its habits and the weather report. What is delivered, the readings of both meters decide.
"""

import asyncio

from node.demo.day import HOUR_S, Day
from node.demo.observation import Observer
from node.demo.pricing import MILLI
from node.demo.screen import Screen, kwh, watt
from node.demo.stage import DELIVERY_S, Household, Part, Stage
from primitives.errors import UserError
from wallet.client import TransactionPending
from wallet.contract_call import ContractCall, ContractEvent, ask_one, the_event
from wallet.market import MARKET, Advert, Trade, read_offers, read_standing, read_trades
from wallet.meter_contract import METER

FRESH_S = 35 * 60
"""A reading may be an hour old for a trade; some time is left for the trade's block."""
LASTING_S = 45 * 60
"""An advert that ends sooner may be over before a request is in a block."""
LAST_HOUR = 13.0
"""Nobody waits longer for a reading or an offer, or tries again to sell."""
WAIT_STEP_S = 0.25
"""Of the wall's clock, between two looks."""
OFFER_PERCENT = 60
"""Of what the sun should bring: promised is what will come for sure."""
WANT_PERCENT = 75
STEP_WH = 100
LEAST_WH = 1_000
PRICES_WEI_PER_WH = (150 * MILLI, 130 * MILLI)
SELLING_HOURS = (8.25, 9.5)
BUYING_HOURS = (9.0, 10.25, 11.0)
CONFIRMING_HOURS = (10, 11, 12)
"""What comes later is settled by the readings alone, when the time for the delivery is over."""
SETTLING_HOUR, GIVING_UP_HOUR = 16.0, 22.0


class MarketDay:
    """One day of trade."""

    def __init__(self, stage: Stage, observer: Observer, screen: Screen, day: Day) -> None:
        self._stage = stage
        self._observer = observer
        self._screen = screen
        self._day = day
        self._names = {one.wallet: one.name for one in stage.households}

    async def choose_meters(self) -> None:
        """Everybody who trades names the own meter."""
        traders = [one for one in self._stage.households if one.part in (Part.SELLER, Part.BUYER, Part.THRIFTY)]
        calls = [
            self._observer.act(one.wallet_key, ContractCall(MARKET, "chooseMeter", (one.meter,))) for one in traders
        ]
        await asyncio.gather(*calls)

    async def run(self) -> None:
        """Until all trades are settled and everybody has the own money, or the evening is over."""
        buyers = (self._stage.home(Part.BUYER), self._stage.home(Part.THRIFTY))
        async with asyncio.TaskGroup() as group:
            for seller, hour, price in zip(self._stage.sellers, SELLING_HOURS, PRICES_WEI_PER_WH, strict=True):
                group.create_task(self._sell(seller, hour, price))
            group.create_task(self._confirm())
            # One after the other: two that take the same offer in one block would be one too many.
            for index, hour in enumerate(BUYING_HOURS):
                await self._buy(buyers[index % len(buyers)], hour)
        await self._settle()
        await self._pay_out()

    async def _sell(self, seller: Household, hour: float, price: int) -> None:
        await self._day.until(hour)
        while not await self._advertise(seller, price):
            await asyncio.sleep(WAIT_STEP_S)
            if not self._may_wait():
                break

    async def _advertise(self, seller: Household, price: int) -> bool:
        """False where it is to be tried again: on a slow machine, a reading gets too old before the advert's block."""
        await self._fresh_reading(seller)
        now_s = self._day.now_s()
        energy_wh = seller.given_wh(now_s, now_s + DELIVERY_S) * OFFER_PERCENT // 100 // STEP_WH * STEP_WH
        if energy_wh < LEAST_WH:
            self._screen.event(f"{seller.name} has no sun to sell today.")
            return True
        deposit_wei = await ask_one(self._observer.client, MARKET, "depositFor", [energy_wh, price])
        call = ContractCall(MARKET, "availableEnergyAdvert", (energy_wh, price), deposit_wei)
        if await self._try(seller.name, seller.wallet_key, call) is None:
            return False
        self._screen.event(
            f"{seller.name} has sun to spare: it advertises {kwh(energy_wh)} at {watt(price * 1_000)} a kWh."
        )
        return True

    async def _buy(self, buyer: Household, hour: float) -> None:
        await self._day.until(hour)
        await self._fresh_reading(buyer)
        offered = await self._offered()
        now_s = self._day.now_s()
        planned_wh = sum(one.energy_wh for one in buyer.taken(now_s, now_s + DELIVERY_S))
        # What it has bought before will be taken from the same register.
        open_wh = sum(one.open_wh for one in await read_trades(self._observer.client, buyer.wallet))
        wanted_wh = max(planned_wh * WANT_PERCENT // 100 - open_wh, 0) // STEP_WH * STEP_WH
        if not offered or not wanted_wh:
            self._screen.event(f"{buyer.name} finds nothing to buy." if wanted_wh else f"{buyer.name} needs no more.")
            return
        advert = offered[0]
        await self._request(buyer, advert, min(max(wanted_wh, -(-advert.energy_wh // 8)), advert.unsold_wh))

    async def _offered(self) -> list[Advert]:
        """Adverts that last for a while, the cheapest first; where there are none, one may be on its way."""
        while True:
            offers = await read_offers(self._observer.client)
            lasting = [one for one in offers.adverts if one.until_s > offers.time_s + LASTING_S]
            if lasting or not self._may_wait():
                return lasting
            await asyncio.sleep(WAIT_STEP_S)

    async def _request(self, buyer: Household, advert: Advert, energy_wh: int) -> None:
        # The price may rise before the block is made; what is too much comes back at once.
        most_wei = sum(advert.cost_at(self._day.clock.time_s() + HOUR_S, energy_wh))
        wanted = (energy_wh, advert.time_s, advert.first_price_wei_per_wh, advert.producer)
        told = await self._try(buyer.name, buyer.wallet_key, ContractCall(MARKET, "requestForEnergy", wanted, most_wei))
        if told is None:
            return
        sold = the_event(told, "EnergySold").values
        paid = watt(sold["shareWei"] + sold["taxWei"])
        self._screen.event(
            f"{buyer.name} buys {kwh(energy_wh)} from {self._names[advert.producer]} at "
            f"{watt(sold['unitPriceWeiPerWh'] * 1_000)} a kWh; {paid} with tax are held until the energy has come."
        )

    async def _confirm(self) -> None:
        """The grid controller confirms, hour by hour, what both meters show."""
        for hour in CONFIRMING_HOURS:
            await self._day.until(hour)
            for trade in await read_trades(self._observer.client):
                shown_wh = min(trade.open_wh, trade.exported_wh or 0, trade.imported_wh or 0)
                if shown_wh:
                    await self._confirm_one(trade, shown_wh)

    async def _confirm_one(self, trade: Trade, energy_wh: int) -> None:
        call = ContractCall(MARKET, "confirmDelivery", (trade.number, energy_wh))
        told = await self._try("The grid controller", self._stage.council_key, call)
        if told is None:
            return
        share = watt(the_event(told, "EnergyDelivered").values["shareWei"])
        seller, buyer = self._names[trade.advert.producer], self._names[trade.consumer]
        rest = "" if energy_wh == trade.open_wh else f", {kwh(trade.open_wh - energy_wh)} to come"
        self._screen.event(
            f"Both meters show {kwh(energy_wh)} from {seller} to {buyer}{rest}: confirmed, {seller} is paid {share}."
        )

    async def _settle(self) -> None:
        """What is over is settled by anybody, here by the buyer who has waited for it."""
        await self._day.until(SETTLING_HOUR)
        while self._day.now_s() < GIVING_UP_HOUR * HOUR_S:
            trades = await read_trades(self._observer.client)
            if not trades:
                break
            for trade in trades:
                await self._settle_one(trade)
            await self._day.clock.sleep_s(HOUR_S / 2)
        await self._return_unsold()

    async def _settle_one(self, trade: Trade) -> None:
        for one in self._stage.households:
            if one.meter in (trade.consumer_meter, trade.advert.meter):
                (_, time_s, *_others) = await ask_one(self._observer.client, METER, "lastReading", [one.meter])
                if time_s < trade.deliver_until_s:
                    return
        buyer = next(one for one in self._stage.households if one.wallet == trade.consumer)
        told = await self._try(buyer.name, buyer.wallet_key, ContractCall(MARKET, "settle", (trade.number,)))
        if told is None:
            return
        settled = the_event(told, "TradeSettled").values
        back_wei, penalty_wei = settled["refundWei"] + settled["penaltyWei"], settled["penaltyWei"]
        back = f", {watt(back_wei)} go back" if back_wei else ", nothing is missing"
        penalty = f", {watt(penalty_wei)} of it a penalty" if penalty_wei else ""
        self._screen.event(
            f"The time of a purchase of {buyer.name} is over, the readings decide: {kwh(settled['deliveredWh'])} came "
            f"in all{back}{penalty}."
        )

    async def _return_unsold(self) -> None:
        seller = self._stage.sellers[0]
        told = await self._try(seller.name, seller.wallet_key, ContractCall(MARKET, "returnExpired", (64,)))
        for event in told or []:
            if event.name == "EnergyReturned":
                name = self._names[event.values["producer"]]
                self._screen.event(f"{kwh(event.values['energyWh'])} that nobody bought are {name}'s again.")

    async def _pay_out(self) -> None:
        """Everybody takes the own money out of the market, the council its tax."""
        people = [(one.name, one.wallet_key, one.wallet) for one in self._stage.households]
        people.append(("The council (tax)", self._stage.council_key, self._stage.council))
        paid = await asyncio.gather(*[self._withdraw(name, key, who) for name, key, who in people])
        if shown := [one for one in paid if one]:
            self._screen.event(f"Paid out by the market: {', '.join(shown)}.")

    async def _withdraw(self, name: str, key: bytes, who: bytes) -> str:
        account_wei = (await read_standing(self._observer.client, who)).account_wei
        if not account_wei:
            return ""
        told = await self._try(name, key, ContractCall(MARKET, "withdraw", (who, account_wei)))
        return "" if told is None else f"{name} {watt(account_wei)}"

    async def _fresh_reading(self, household: Household) -> None:
        """Wait until the ledger has a reading of the last hour, as a trade asks for."""
        while self._may_wait():
            (_, time_s, *_others) = await ask_one(self._observer.client, METER, "lastReading", [household.meter])
            if time_s >= self._day.clock.time_s() - FRESH_S:
                return
            await asyncio.sleep(WAIT_STEP_S)

    def _may_wait(self) -> bool:
        return self._day.now_s() < LAST_HOUR * HOUR_S

    async def _try(self, name: str, key: bytes, call: ContractCall) -> list[ContractEvent] | None:
        """What came of a transaction; None where it was refused, which the screen says. The story goes on then."""
        try:
            return await self._observer.act(key, call)
        except TransactionPending:
            raise
        except UserError as error:
            self._screen.event(f"{name} is refused {call.function}: {error}")
            return None
