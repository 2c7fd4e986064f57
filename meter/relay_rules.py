"""Whether the supply is to be on, as a function: what is known goes in, the state and who decided it come out.

In this order: a cut for overload, which protects the wires; the override of a person; the ledger; without one in reach
the local account, and after a time of the owner's choosing the fail-safe state. Then the pace: the relay of a home is
not made to chatter.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

FailSafe = Literal["keep", "on", "off"]
FAIL_SAFE_STATES: tuple[FailSafe, ...] = ("keep", "on", "off")

Finality = Literal["final", "latest"]
FINALITIES: tuple[Finality, ...] = ("final", "latest")


class Decider(Enum):
    """Who decides on the supply."""

    OVERLOAD = "maximum load"
    OVERRIDE = "override"
    LEDGER = "ledger"
    LOCAL_ACCOUNT = "local account"
    FAIL_SAFE = "fail-safe"
    LAST_STATE = "last state"
    """Nothing better is known: no ledger in reach, and no account from before."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    fail_safe: FailSafe = "keep"
    """With no ledger in reach for fail_safe_after_s: keep (the local account goes on deciding), or switch on or off."""
    fail_safe_after_s: float = 3600.0
    poll_interval_s: float = 5.0
    minimum_on_s: float = 60.0
    """Once on, it stays on for so long, but for overload and a person's order."""
    minimum_off_s: float = 60.0
    """Once off, it stays off for so long, whoever wants it on."""
    allowance_wei: int = 0
    """With no ledger in reach, the supply goes on until this much is used beyond the credit and emergency credit."""
    finality: Finality = "final"
    """final: obey blocks that `confirmations` others stand on; latest: the newest block, which may be taken back."""
    confirmations: int = 0
    """0 where blocks are final."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known at a moment."""

    is_on: bool
    """As it was decided before."""
    ledger_allows: bool | None
    """None: no ledger in reach."""
    account_allows: bool | None
    """By the local account; None: none is known."""
    silence_s: float
    """Since a ledger was heard for the last time."""
    override: bool | None = None
    is_overloaded: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    is_on: bool
    decider: Decider
    is_urgent: bool = False
    """Does not wait for the minimum time on."""


def decide(situation: Situation, settings: RelaySettings) -> Decision:
    if situation.is_overloaded:
        return Decision(False, Decider.OVERLOAD, is_urgent=True)
    if situation.override is not None:
        return Decision(situation.override, Decider.OVERRIDE, is_urgent=not situation.override)
    if situation.ledger_allows is not None:
        return Decision(situation.ledger_allows, Decider.LEDGER)
    if settings.fail_safe != "keep" and situation.silence_s >= settings.fail_safe_after_s:
        return Decision(settings.fail_safe == "on", Decider.FAIL_SAFE)
    if situation.account_allows is not None:
        return Decision(situation.account_allows, Decider.LOCAL_ACCOUNT)
    return Decision(situation.is_on, Decider.LAST_STATE)


def wait_s(is_on: bool, decision: Decision, since_s: float, settings: RelaySettings) -> float:
    """How long a switching has to wait, `since_s` after the last one; 0 for now."""
    if decision.is_on == is_on or (decision.is_urgent and is_on):
        return 0.0
    least_s = settings.minimum_on_s if is_on else settings.minimum_off_s
    return max(0.0, least_s - since_s)
