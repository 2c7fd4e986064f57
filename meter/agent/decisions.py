"""From all that is known to what is to be done, and why: the whole of the agent's judgement, without a node or a clock.

Chores first, then trade. The runner does the first thing that can be done, looks again, and decides anew: so each
decision sees what the ledger has of all before it, and the limits hold by that.
"""

from contracts.roles import Role
from meter.agent.action import Decision
from meter.agent.buying import buy
from meter.agent.chores import chores
from meter.agent.history import DAY_S
from meter.agent.limits import Budget, Limits
from meter.agent.selling import sell
from meter.agent.situation import Situation


def decide(situation: Situation, limits: Limits) -> list[Decision]:
    """In the order in which they matter."""
    found = list(chores(situation, limits))
    if situation.meter_trouble:
        return [*found, Decision("meter", situation.meter_trouble)]
    budget = budget_of(situation, limits)
    zero = _zero_limit(situation.role, limits)
    match situation.role:
        case Role.PRODUCER | Role.CONSUMER if zero:
            found.append(Decision("no limit", f"Nothing is traded: the settings allow nothing, {zero} is 0."))
        case Role.PRODUCER if limits.least_ask_wei_per_wh:
            found += sell(situation, limits, budget)
        case Role.CONSUMER if limits.greatest_bid_wei_per_wh:
            found += buy(situation, limits, budget)
        case Role.PRODUCER:
            found.append(Decision("no price", "Nothing is sold: the settings name no least_ask_price."))
        case Role.CONSUMER:
            found.append(Decision("no price", "Nothing is bought: the settings name no greatest_bid_price."))
        case _:
            text = "The account is registered neither as a producer nor as a consumer; a regulator does that with "
            found.append(Decision("no role", text + "`wattchain registry add`."))
    return found


def _zero_limit(role: Role, limits: Limits) -> str:
    if not limits.greatest_energy_wh:
        return "agent.greatest_energy_per_day"
    return "" if limits.greatest_spend_wei or role is not Role.CONSUMER else "agent.greatest_spend_per_day"


def budget_of(situation: Situation, limits: Limits) -> Budget:
    """What is left of the limits of 24 hours: by the ledger, and by the agent's own book where that says more.

    Nothing where the node cannot tell what was done in them.
    """
    since_s = situation.time_s - DAY_S
    if situation.counted_since_s is not None:
        since_s = min(since_s, situation.counted_since_s)
    if situation.known_since_s > since_s:
        return Budget(0, 0)
    dealings = situation.dealings
    committed_wh = max(dealings.committed_wh(since_s, situation.time_s), situation.signed_wh)
    return Budget.left(limits, committed_wh, max(dealings.spent_wei(since_s), situation.signed_wei))
