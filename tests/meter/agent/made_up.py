"""Situations that tests make up: nothing is asked from a node."""

from typing import Any

from contracts.auction import Pricing
from contracts.roles import Role
from meter.agent.dealings import MARKET, OwnEvent, dealings_of
from meter.agent.history import DAY_HOURS, DAY_S, HOUR_S, History
from meter.agent.limits import Limits
from meter.agent.situation import MarketView, Situation
from wallet.auction import Book
from wallet.market import Advert

ME, OTHER, METER = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
START_S = 20_000 * DAY_S
KWH = 1_000
PRICE = 2 * 10**14
"""Wei for a Wh: 0.2 WATT a kWh."""
LIMITS = Limits(PRICE, PRICE, 10 * KWH, 10**18, 200, ("market", "auction"), 10**17, 7)
TAX_BPS = 500


def history_of(time_s: int, hourly_wh: int = 500) -> History:
    last = time_s // HOUR_S
    return History(0, dict.fromkeys(range(last - 28 * DAY_HOURS, last), (hourly_wh, hourly_wh)), last)


def situation_of(role: Role = Role.PRODUCER, time_s: int = START_S, **changed: Any) -> Situation:
    market = MarketView(least_wh=KWH, room_wh=10**6, penalty_bps=1_000, delivery_s=DAY_S, meter=METER, account_wei=0)
    values: dict[str, Any] = {
        "time_s": time_s,
        "zone_s": 0,
        "account": ME,
        "role": role,
        "balance_wei": 10**21,
        "meter": METER,
        "reading_time_s": time_s - 60,
        "history": history_of(time_s),
        "dealings": dealings_of(ME, []),
        "market": market,
        "auction": None,
    }
    return Situation(**(values | changed))


def advert(number: int, price: int, energy_wh: int = 4 * KWH, time_s: int = START_S, producer: bytes = OTHER) -> Advert:
    return Advert(number, producer, time_s, TAX_BPS, METER, DAY_S, energy_wh, price, 10**13, energy_wh)


def book_of(slot_s: int, *, is_sealed: bool = False, pricing: Pricing = Pricing.PAY_AS_CLEAR) -> Book:
    lead_s = 1_800 if is_sealed else 900
    return Book(slot_s, 900, TAX_BPS, 1_000, 0, 0, is_sealed, pricing, False, 0, 0, slot_s - lead_s, slot_s - 900)


def advertised(number: int, time_s: int, energy_wh: int = 4 * KWH, price: int = PRICE * 2) -> OwnEvent:
    values = {"advert": number, "time": time_s, "energyWh": energy_wh, "minPriceWeiPerWh": price}
    return OwnEvent(MARKET, "EnergyAdvertised", values, time_s)


def sold(trade: int, advert_number: int, time_s: int, energy_wh: int, *, is_sale: bool = True) -> OwnEvent:
    seller, buyer = (ME, OTHER) if is_sale else (OTHER, ME)
    values = {
        "trade": trade, "producer": seller, "consumer": buyer, "advert": advert_number, "energyWh": energy_wh,
        "unitPriceWeiPerWh": PRICE, "shareWei": PRICE * energy_wh, "taxWei": 0, "deliverUntil": time_s + DAY_S,
    }  # fmt: skip
    return OwnEvent(MARKET, "EnergySold", values, time_s)
