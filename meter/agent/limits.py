"""What the owner allows the agent: whole wei, Wh and thousandths, and what is left of a day's share.

No decision passes these. What was committed before is asked from the ledger and looked up in the own book, so they hold
across restarts, and whatever a node says.
"""

from dataclasses import dataclass

MARKET, AUCTION = "market", "auction"
MARKETS = (MARKET, AUCTION)
PERMILLE = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Set by the owner (meter/agent/settings.py)."""

    least_ask_wei_per_wh: int
    """Energy is never offered for less. 0: the owner has not said, so nothing is sold."""
    greatest_bid_wei_per_wh: int
    """Energy is never bought for more, the tax not counted. 0: nothing is bought."""
    greatest_energy_wh: int
    """Sold, bought, offered or bid for by what was begun within 24 hours."""
    greatest_spend_wei: int
    """Put up for purchases and bids within 24 hours, tax included, whether or not they are served later."""
    reserve_permille: int
    """The share of each forecast that is kept back."""
    markets: tuple[str, ...]
    """Of MARKETS, the preferred one first."""
    payout_from_wei: int
    """Accounts on the markets are paid out from so much on."""
    least_days: int
    """No forecast from fewer past days."""

    def after_reserve(self, energy_wh: int) -> int:
        return energy_wh * (PERMILLE - self.reserve_permille) // PERMILLE


@dataclass(frozen=True, slots=True)
class Budget:
    """What of a day's limits is left."""

    energy_wh: int
    spend_wei: int

    @classmethod
    def left(cls, limits: Limits, committed_wh: int, spent_wei: int) -> "Budget":
        return cls(
            max(0, limits.greatest_energy_wh - committed_wh),
            max(0, limits.greatest_spend_wei - spent_wei),
        )
