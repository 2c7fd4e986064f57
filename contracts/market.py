"""The market as Python sees it without asking it: its first rules, and what a genesis file writes for them.

What the numbers mean is said in contracts/src/Market.sol and MarketRules.sol.
"""

from dataclasses import dataclass

from contracts.addresses import AUCTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from primitives.errors import InvalidGenesis

ADVERT_S = 3 * 3_600
PRICE_STEP_S = 3_600
MAX_PARTS = 8
MAX_PAGE = 64
BPS = 10_000

MAX_TAX_BPS = 3_000
MAX_PENALTY_BPS = 10_000
MIN_DELIVERY_S, MAX_DELIVERY_S = 3_600, 7 * 86_400
MIN_STORE_WH, MAX_STORE_WH = 100, 10**9
LEAST_DEPOSIT_WEI_PER_WH = 10**13
"""0.01 WATT a kWh (contracts/src/Deposits.sol)."""


@dataclass(frozen=True, slots=True)
class MarketRules:
    """The rules of a new market, until its regulators set others; the defaults are those of the contract."""

    tax_bps: int = 0
    penalty_bps: int = 1_000
    delivery_s: int = 86_400
    least_wh: int = 1_000
    most_wh: int = 1_000_000
    grid_controller: bytes = bytes(20)
    treasury: bytes = bytes(20)


def market_storage(rules: MarketRules | None = None) -> dict[int, int]:
    """Slot -> content of a market at genesis. Raises InvalidGenesis for rules that regulators could not set."""
    chosen = rules or MarketRules()
    _check(chosen)
    layout = load_artifact("Market").storage_layout
    storage = layout.assign("registry", value=REGISTRY_ADDRESS)
    storage |= layout.assign("meterContract", value=METER_ADDRESS)
    storage |= layout.assign("auction", value=AUCTION_ADDRESS)
    storage |= layout.assign("gridController", value=chosen.grid_controller)
    storage |= layout.assign("_firstLive", value=1)
    storage |= layout.assign("_treasury", value={"present": chosen.treasury, "next": chosen.treasury})
    members = {
        "taxBps": chosen.tax_bps,
        "penaltyBps": chosen.penalty_bps,
        "deliveryS": chosen.delivery_s,
        "leastWh": chosen.least_wh,
        "mostWh": chosen.most_wh,
    }
    return storage | layout.assign("_rules", value=members)


def price_wei_per_wh(first_price_wei_per_wh: int, age_s: int) -> int:
    """The producer's share for a Wh of an advert of this age: a tenth of the first price more for every hour."""
    return first_price_wei_per_wh * (10 + age_s // PRICE_STEP_S) // 10


def deposit_wei_per_wh(price_wei_per_wh: int, penalty_bps: int) -> int:
    """What a seller puts down for a Wh, on the market and in the auction: a share of its own price, and a least amount;
    nothing where the regulators want none."""
    return max(price_wei_per_wh * penalty_bps // BPS, LEAST_DEPOSIT_WEI_PER_WH) if penalty_bps else 0


def _check(rules: MarketRules) -> None:
    for name, value, least, most in (
        ("tax", rules.tax_bps, 0, MAX_TAX_BPS),
        ("penalty", rules.penalty_bps, 0, MAX_PENALTY_BPS),
        ("time for deliveries", rules.delivery_s, MIN_DELIVERY_S, MAX_DELIVERY_S),
        ("store", rules.most_wh, MIN_STORE_WH, MAX_STORE_WH),
        ("least advert", rules.least_wh, MIN_STORE_WH, rules.most_wh),
    ):
        if not least <= value <= most:
            raise InvalidGenesis(f"the market's {name} must be from {least} to {most}, got {value}")
    if rules.tax_bps and not any(rules.treasury):
        raise InvalidGenesis("the market's tax needs a treasury to be paid to")
