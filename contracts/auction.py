"""The auction as Python sees it without asking it: its limits and enumerations, how an order is sealed, and what a
genesis file writes for it.

What the numbers mean is said in contracts/src/Auction.sol and the files that it is made of.
"""

from dataclasses import dataclass
from enum import IntEnum

from contracts.addresses import AUCTION_ADDRESS, MARKET_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.market import deposit_wei_per_wh
from primitives.abi_types import parse_types
from primitives.errors import InvalidGenesis
from primitives.keccak import keccak256

MAX_ORDERS = 400
MAX_ORDER_WH = 10**9
CLEARING_LEAD_S = 900
REVEAL_S = 900
MAX_AHEAD_S = 86_400
READING_GRACE_S = 3 * 86_400
MAX_READING_GAP_S = 3_600
MIN_SEALED_WEI = 10**16
FORFEIT_BPS = 1_000
BPS = 10_000
MIN_LENGTH_S, MAX_LENGTH_S = 300, 3_600
SALT_BYTES = 32

_COMMITTED = parse_types("(uint256,address,uint48,address,uint8,uint32,uint64,bytes32)")


class Side(IntEnum):
    """The contract's `enum Side`."""

    BID = 0
    ASK = 1


class Pricing(IntEnum):
    """The contract's `enum Pricing`."""

    PAY_AS_CLEAR = 0
    PAY_AS_BID = 1


class OrderState(IntEnum):
    """The contract's `enum OrderState`."""

    NONE = 0
    SEALED = 1
    OPEN = 2
    RELEASED = 3


@dataclass(frozen=True, slots=True)
class AuctionRules:
    """The rules of a new auction, until its regulators set others; the defaults are those of the contract."""

    length_s: int = 900
    is_sealed: bool = False
    pricing: Pricing = Pricing.PAY_AS_CLEAR


def auction_storage(rules: AuctionRules | None = None) -> dict[int, int]:
    """Slot -> content of an auction at genesis. Raises InvalidGenesis for a length that regulators could not set."""
    chosen = rules or AuctionRules()
    if not MIN_LENGTH_S <= chosen.length_s <= MAX_LENGTH_S or MAX_LENGTH_S % chosen.length_s:
        raise InvalidGenesis(f"an hour must be a whole number of the auction's slots of {chosen.length_s} s")
    layout = load_artifact("Auction").storage_layout
    storage = layout.assign("registry", value=REGISTRY_ADDRESS)
    storage |= layout.assign("meterContract", value=METER_ADDRESS)
    storage |= layout.assign("market", value=MARKET_ADDRESS)
    members = {"lengthS": chosen.length_s, "isSealed": int(chosen.is_sealed), "pricing": int(chosen.pricing)}
    return storage | layout.assign("_present", value=members) | layout.assign("_next", value=members)


def commitment_of(
    chain_id: int,
    slot: int,
    account: bytes,
    side: Side,
    energy_wh: int,
    price_wei_per_wh: int,
    salt: bytes,
    auction: bytes = AUCTION_ADDRESS,
) -> bytes:
    """What a sealed order shows of itself: the contract's `commitmentOf`, computed here so that nobody is told."""
    values = (chain_id, auction, slot, account, int(side), energy_wh, price_wei_per_wh, salt)
    return keccak256(_COMMITTED.encode(values))


def needed_wei(side: Side, energy_wh: int, price_wei_per_wh: int, tax_bps: int, penalty_bps: int) -> int:
    """The money that an order needs: a bid's price with the tax, an ask's deposit."""
    if side is Side.ASK:
        return energy_wh * deposit_wei_per_wh(price_wei_per_wh, penalty_bps)
    cost = energy_wh * price_wei_per_wh
    return cost + cost * tax_bps // BPS
