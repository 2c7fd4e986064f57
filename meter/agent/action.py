"""What a decision is: one thing to do or to leave, and why, in a sentence with its numbers."""

from dataclasses import dataclass

from contracts.auction import Side
from meter.agent.forecast import Forecast
from wallet.contract_call import ContractCall
from wallet.quantities import format_energy, format_time


@dataclass(frozen=True, slots=True)
class Seal:
    """An order whose terms stay hidden: its secret is made, and kept on the disk, before anything is sent."""

    slot_s: int
    side: Side
    meter: bytes
    energy_wh: int
    price_wei_per_wh: int
    deposit_wei: int


@dataclass(frozen=True, slots=True)
class Prove:
    """What a meter showed at a time, by two signed readings that are looked for on the ledger."""

    meter: bytes
    time_s: int


@dataclass(frozen=True, slots=True)
class Action:
    """A transaction that is meant."""

    key: str
    """Names what it does, so that a refusal is remembered and not asked for again at once."""
    call: ContractCall | Seal | Prove
    spend_wei: int = 0
    """What of the day's money it takes."""
    energy_wh: int = 0
    """What of the day's energy it takes."""


@dataclass(frozen=True, slots=True)
class Decision:
    code: str
    """A few words, the same for the same kind of decision: what is left undone is said once a day for each."""
    text: str
    action: Action | None = None


def forecast_text(told: Forecast) -> str:
    """ "7.9 kWh (5.1 to 9.4 in three of five cases, by 28 days)"."""
    return (
        f"{format_energy(told.likely_wh)} ({format_energy(told.low_wh)} to {format_energy(told.high_wh)} in three of "
        f"five cases, by {told.days} days)"
    )


def slot_text(slot_s: int) -> str:
    return f"the slot of {format_time(slot_s)}"
