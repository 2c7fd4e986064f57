"""The neighbourhood's market as a wallet sees it: adverts, trades, accounts and rules, and its refusals in words.

What happens with them is the contract's to decide (contracts/src/Market.sol).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.addresses import MARKET_ADDRESS
from contracts.market import ADVERT_S, BPS, MAX_PAGE, price_wei_per_wh
from primitives.errors import UserError
from wallet.client import InvalidAnswer, RpcClient
from wallet.contract_call import Contract, ask, ask_one, require_contract

MAX_READ = 6_400
"""Adverts or trades that are read at most, in a hundred pages: more cannot be looked through on a screen."""

MARKET = Contract(
    name="Market",
    address=MARKET_ADDRESS,
    title="the market's contract",
    missing="This network has no market: its genesis file lacks the contract.",
    refusals={
        "NotProducer": (
            "{caller} is not a producer. A regulator makes it one with `wattchain registry add producer {caller}`."
        ),
        "NotConsumer": (
            "{caller} is not a consumer. A regulator makes it one with `wattchain registry add consumer {caller}`."
        ),
        "NotRegulator": "{caller} is not a regulator; only regulators set the market's rules.",
        "NotGridController": lambda values: (
            "{caller} is not the grid controller, which alone confirms deliveries; that is {gridController}."
            if any(values["gridController"])
            else "The regulators have appointed no grid controller: trades are settled when their time is over, with "
            "`wattchain market settle`."
        ),
        "NotMeterOwner": "The meter {meter} does not belong to {caller}.",
        "MeterInactive": "The meter {meter} is not in service: it was removed, or swapped for another.",
        "MeterNotChosen": (
            "{participant} has not said with which meter it trades. Name it with `wattchain market meter`."
        ),
        "ReadingTooOld": lambda values: (
            "The ledger has no reading of the meter {meter} yet. Let its gateway send one first."
            if values["time"] == 0
            else "The last reading of the meter {meter} is of {time}; a trade needs one of {earliest} or later, since "
            "its energy is counted from there. Let the meter's gateway send one first."
        ),
        "PriceInvalid": "A price must be above 0 and at most {maximumWeiPerWh}; this is {minPriceWeiPerWh}.",
        "EnergyTooSmall": "An advert of {energyWh} is too small; the least is {leastWh}.",
        "StoreFull": lambda values: (
            "There is no room for {energyWh}: the micro-grid's store takes {mostWh} and holds {storedWh}. "
            "Where that is of adverts that are over, `wattchain market return-ended` gives it back."
            if values["storedWh"]
            else "There is no room for {energyWh}: the micro-grid's store takes {mostWh} in all."
        ),
        "AlreadyAdvertised": (
            "{producer} has an advert of this very second already ({time}), by which it is named. Try again."
        ),
        "TooManyAdverts": (
            "The meter {meter} has {maximum} adverts that are not over, the most that it can have. Wait for "
            "deliveries, or settle trades whose time is over with `wattchain market settle`."
        ),
        "MeterSellsInAuction": (
            "What the meter {meter} exports until {until} is offered in the auction. Advertise it when the ledger has "
            "a reading of that time or later; the last one is of {readingTime}."
        ),
        "TooManyTrades": (
            "The meter {meter} has {maximum} purchases that are not delivered, the most that it can have. Wait for "
            "deliveries, or settle trades whose time is over with `wattchain market settle`."
        ),
        "AdvertUnknown": "{producer} has no advert of {time}. `wattchain market list` shows what is offered.",
        "AdvertEnded": "The advert of {producer} ended at {until}; adverts last three hours.",
        "PriceMismatch": "The advert's first price is {firstPriceWeiPerWh}, not {priceWeiPerWh}.",
        "NotEnoughEnergy": "This advert has {unsoldWh} left, not {energyWh}.",
        "PartTooSmall": "A part of {energyWh} is too small: buy at least {leastWh}, or all that is left.",
        "PaymentTooSmall": "A payment of {amountWei} is not enough: it takes {neededWei}.",
        "NothingToReturn": "Nothing of this advert is unsold, so nothing can be taken back.",
        "CountInvalid": "A number from 1 to {maximum} is possible, not {count}.",
        "TradeNotOpen": "The trade {trade} is settled already, or does not exist.",
        "EnergyZero": "Nothing is too little: give an energy above 0.",
        "EnergyAboveSale": "Only {openWh} of the trade {trade} are still to be delivered, not {energyWh}.",
        "EnergyAboveReadings": (
            "The meters do not show {energyWh} for the trade {trade} yet: {exportWh} sent by the seller's meter and "
            "{importWh} taken by the buyer's serve no trade so far."
        ),
        "DeliveryNotOver": (
            "The energy of the trade {trade} may be delivered until {deliverUntil}; settle it after that."
        ),
        "ReadingsAwaited": (
            "The meter {meter} has not sent its reading of the end of the trade {trade}. It is waited for until "
            "{until} at most."
        ),
        "AmountZero": "Nothing is too little: give an amount above 0.",
        "AccountTooSmall": "{account} has {accountWei} on the market, less than {amountWei}.",
        "WithdrawalFailed": "{to} does not take money: it is a contract that refused {amountWei}.",
        "TaxTooHigh": lambda values: (
            f"A tax of {percent(values['taxBps'])} is too high; at most {percent(values['maximumBps'])} are possible."
        ),
        "TreasuryMissing": "A tax needs somebody to be paid to. Set that first with `wattchain market set treasury`.",
        "PenaltyTooHigh": lambda values: (
            f"A penalty of {percent(values['penaltyBps'])} is too high; at most {percent(values['maximumBps'])} are "
            "possible."
        ),
        "DeliveryTimeInvalid": "The time for deliveries must be from {minimumS} to {maximumS}, not {deliveryS}.",
        "StoreLimitsInvalid": (
            "An advert's least energy must be at least {minimumWh} and at most the store's, and that at most "
            "{maximumWh}; these are {leastWh} and {mostWh}."
        ),
    },
)


@dataclass(frozen=True, slots=True)
class Advert:
    """Energy that a producer offers, or has offered."""

    number: int
    producer: bytes
    time_s: int
    tax_bps: int
    meter: bytes
    delivery_s: int
    unsold_wh: int
    first_price_wei_per_wh: int
    deposit_wei_per_wh: int
    energy_wh: int

    @property
    def until_s(self) -> int:
        return self.time_s + ADVERT_S

    def is_live(self, time_s: int) -> bool:
        return self.unsold_wh > 0 and time_s < self.until_s

    def price_at(self, time_s: int) -> int:
        """The producer's share, in wei for a Wh."""
        return price_wei_per_wh(self.first_price_wei_per_wh, time_s - self.time_s)

    def cost_at(self, time_s: int, energy_wh: int) -> tuple[int, int]:
        """The producer's share of so much energy, and the tax on it, in wei."""
        share = energy_wh * self.price_at(time_s)
        return share, share * self.tax_bps // BPS


@dataclass(frozen=True, slots=True)
class Trade:
    """Energy sold, with its advert; what the meters show is known while it is open."""

    number: int
    advert: Advert
    consumer: bytes
    deliver_until_s: int
    is_open: bool
    price_wei_per_wh: int
    energy_wh: int
    delivered_wh: int
    consumer_meter: bytes
    exported_wh: int | None = None
    imported_wh: int | None = None

    @property
    def open_wh(self) -> int:
        return self.energy_wh - self.delivered_wh if self.is_open else 0


@dataclass(frozen=True, slots=True)
class Offers:
    """What is for sale as of a block, the cheapest first."""

    block_number: int
    time_s: int
    adverts: tuple[Advert, ...]
    stored_wh: int
    most_wh: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What regulators have set, for adverts from now on."""

    tax_bps: int
    penalty_bps: int
    delivery_s: int
    least_wh: int
    most_wh: int
    grid_controller: bytes
    treasury: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """Somebody's place on the market."""

    account_wei: int
    meter: bytes
    advertised_wh: int
    delivered_wh: int
    returned_wh: int
    missing_wh: int


async def read_offers(client: RpcClient) -> Offers:
    """What can be bought now. Raises UserError where there is no market; InvalidAnswer."""
    block, time_s = await _head(client)
    first = await ask_one(client, MARKET, "firstLive", block=block)
    adverts = [one for one in await _adverts(client, first, block) if one.is_live(time_s)]
    adverts.sort(key=lambda one: (one.price_at(time_s), one.number))
    stored = await ask_one(client, MARKET, "storedWh", block=block)
    rules = await ask_one(client, MARKET, "rules", block=block)
    return Offers(block, time_s, tuple(adverts), stored, rules[4])


async def read_advert(client: RpcClient, producer: bytes, time_s: int | None = None) -> tuple[Advert, int]:
    """An advert by its producer and time, or the cheapest of that producer; with the time of the newest block.

    Raises UserError where there is none; InvalidAnswer.
    """
    block, now_s = await _head(client)
    if time_s is not None:
        number = await ask_one(client, MARKET, "numberOf", [producer, time_s], block)
        return (await _adverts(client, number, block, most=1))[0], now_s
    offers = await read_offers(client)
    for advert in offers.adverts:
        if advert.producer == producer:
            return advert, offers.time_s
    raise UserError(f"0x{producer.hex()} offers nothing at the moment. `wattchain market list` shows what is offered.")


async def read_adverts(client: RpcClient) -> list[Advert]:
    """All of them, also those that are over. The oldest first, MAX_READ at most."""
    block, _ = await _head(client)
    return await _adverts(client, 1, block)


async def read_trades(client: RpcClient, person: bytes | None = None, *, all_of_them: bool = False) -> list[Trade]:
    """Open trades, or all of them; of one person as seller or buyer where one is named. The newest first."""
    block, _ = await _head(client)
    count = await ask_one(client, MARKET, "tradeCount", block=block)
    first = max(1, count - MAX_READ + 1)
    raw = await _pages(client, "trades", first, block)
    adverts: dict[int, Advert] = {}
    found = []
    for number, values in raw:
        if not (values[2] or all_of_them):
            continue
        advert_number = values[7]
        if advert_number not in adverts:
            adverts[advert_number] = (await _adverts(client, advert_number, block, most=1))[0]
        trade = _trade(number, values, adverts[advert_number])
        if person is None or person in (trade.consumer, trade.advert.producer):
            found.append(trade)
    return [await _with_shown(client, one, block) for one in reversed(found)]


async def read_trade(client: RpcClient, number: int) -> Trade:
    """One trade. Raises UserError where there is none of this number; InvalidAnswer."""
    block, _ = await _head(client)
    raw = await ask_one(client, MARKET, "trades", [number, 1], block)
    if not raw:
        raise UserError(f"There is no trade {number}. `wattchain market trades` shows them.")
    advert = (await _adverts(client, raw[0][7], block, most=1))[0]
    return await _with_shown(client, _trade(number, raw[0], advert), block)


async def read_rules(client: RpcClient) -> Rules:
    block, _ = await _head(client)
    rules = await ask_one(client, MARKET, "rules", block=block)
    controller = await ask_one(client, MARKET, "gridController", block=block)
    treasury = await ask_one(client, MARKET, "treasury", block=block)
    tax, penalty, delivery_s, least, most = rules
    return Rules(tax, penalty, delivery_s, least, most, controller, treasury)


async def read_standing(client: RpcClient, person: bytes) -> Standing:
    block, _ = await _head(client)
    account = await ask_one(client, MARKET, "accountOf", [person], block)
    meter = await ask_one(client, MARKET, "meterOfParticipant", [person], block)
    energy = await ask_one(client, MARKET, "energyOf", [person], block)
    return Standing(account, meter, *energy)


def percent(bps: int) -> str:
    """Hundredths of a percent as people write them: "12.5 %"."""
    whole, fraction = divmod(bps, 100)
    behind = f".{fraction:02}".rstrip("0") if fraction else ""
    return f"{whole}{behind} %"


async def _head(client: RpcClient) -> tuple[int, int]:
    """Number and time of the newest block, on a network that has a market."""
    block = await client.block()
    if block is None:
        raise InvalidAnswer("the node has no newest block")
    await require_contract(client, MARKET, block.number)
    return block.number, block.time_s


async def _adverts(client: RpcClient, first: int, block: int, most: int = MAX_READ) -> list[Advert]:
    raw = await _pages(client, "adverts", first, block, most)
    return [advert_of(number, values) for number, values in raw]


async def _pages(
    client: RpcClient, function: str, first: int, block: int, most: int = MAX_READ
) -> list[tuple[int, Sequence[Any]]]:
    """(number, values) of what the contract lists from a number on."""
    found: list[tuple[int, Sequence[Any]]] = []
    while len(found) < most:
        count = min(MAX_PAGE, most - len(found))
        page = await ask_one(client, MARKET, function, [first + len(found), count], block)
        if len(page) > count:
            raise InvalidAnswer(f"the market's contract lists more {function} than were asked for")
        found += [(first + len(found) + index, values) for index, values in enumerate(page)]
        if len(page) < count:
            break
    return found


async def _with_shown(client: RpcClient, trade: Trade, block: int) -> Trade:
    if not trade.is_open:
        return trade
    exported, imported = await ask(client, MARKET, "shownOf", [trade.number], block)
    return replace(trade, exported_wh=exported, imported_wh=imported)


def advert_of(number: int, values: Sequence[Any]) -> Advert:
    """The contract's struct."""
    producer, time_s, tax_bps, _, meter, delivery_s, unsold, first_price, deposit, _, _, energy = values
    return Advert(number, producer, time_s, tax_bps, meter, delivery_s, unsold, first_price, deposit, energy)


def _trade(number: int, values: Sequence[Any], advert: Advert) -> Trade:
    consumer, until_s, is_open, price, energy, delivered, meter, *_ = values
    return Trade(number, advert, consumer, until_s, is_open, price, energy, delivered, meter)
