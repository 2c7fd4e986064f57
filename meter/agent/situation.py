"""All that a decision rests on, as values: the agent asks the node for it, tests make it up."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contracts.roles import Role
from meter.agent.dealings import Dealings
from meter.agent.history import DAY_S, History
from meter.agent.journal import Journal
from wallet.auction import Book, Slot
from wallet.market import Advert
from wallet.sealed_orders import SealedOrder


@dataclass(frozen=True, slots=True)
class MarketView:
    """The market of adverts, as of the newest block."""

    least_wh: int
    """Of an advert."""
    room_wh: int
    """What the store still takes."""
    penalty_bps: int
    delivery_s: int
    meter: bytes
    """With which the account trades; zeros: none is chosen."""
    account_wei: int
    offers: tuple[Advert, ...] = ()
    """What others offer, the cheapest first."""
    left_out: int = 0
    """Adverts that were not looked at, because there are too many."""
    ended_wh: int = 0
    """Energy of adverts that are over and still fill the store, as far as they were looked at."""
    shown: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Own open trade -> Wh that the seller's and the buyer's meter show for it and for no other."""
    sells_until_s: int = 0
    """Until when what the meter exports is bound here."""


@dataclass(frozen=True, slots=True)
class SlotView:
    """A slot in which the account has an order that is not finished."""

    slot: Slot
    proven: frozenset[tuple[bytes, int]] = frozenset()
    """(meter, time) whose registers are proven."""


@dataclass(frozen=True, slots=True)
class AuctionView:
    account_wei: int
    next_books: tuple[Book, ...] = ()
    """For which orders are taken, the nearest first."""
    unfinished: tuple[SlotView, ...] = ()
    """The oldest first."""
    secrets: Mapping[int, SealedOrder] = field(default_factory=dict)
    """Slot -> the own order that is sealed there, where its file is here."""
    sells_until_s: int = 0
    """Until when what the meter exports is bound here."""


@dataclass(frozen=True, slots=True)
class Situation:
    time_s: int
    zone_s: int
    account: bytes
    role: Role
    balance_wei: int
    meter: bytes
    reading_time_s: int
    """Of the meter's last reading on the ledger; 0 where there is none."""
    history: History
    dealings: Dealings
    market: MarketView | None
    auction: AuctionView | None
    meter_trouble: str = ""
    """Why nothing can be traded with the meter."""
    known_since_s: int = 0
    """What the account did before is not known, since the node began with a later state."""
    own_time_s: int | None = None
    """By the own clock alone; None: `time_s`, which the node's newest block can put forward."""
    counted_since_s: int | None = None
    """Since when orders count against the limits, by the own book; None: for 24 hours."""
    signed_wei: int = 0
    """For purchases and bids that this agent has signed since then: by its own book, whatever the node says."""
    signed_wh: int = 0
    """So with the energy of all its orders."""

    @property
    def day_begin_s(self) -> int:
        """Unix time of the last local midnight."""
        return (self.time_s + self.zone_s) // DAY_S * DAY_S - self.zone_s

    @property
    def day(self) -> int:
        return (self.time_s + self.zone_s) // DAY_S


def with_signed(situation: Situation, journal: Journal, now_s: int) -> Situation:
    """With what the own book has signed in the 24 hours before `now_s` by the own clock."""
    signed = journal.signed(now_s)
    return replace(
        situation,
        counted_since_s=journal.since_s(now_s),
        signed_wei=signed.spend_wei,
        signed_wh=signed.energy_wh,
    )
