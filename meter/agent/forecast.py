"""How much energy a meter will take or give in a time to come: by its own last weeks, in whole numbers.

What the same hours of each of the last 28 days had is a guess for the time to come. Yesterday is the best one: a day k
days ago counts 1/k, and twice where it was the same day of the week. Of the guesses in order of their size, `likely` is
the one in the middle of the weights, a fifth of the weights lies below `low`, and a fifth above `high`: so a day that
was unlike all others, or an hour with a week's energy after a gap, moves none of them far. Sums of a whole time are
compared, not hours one by one, since a cloudy day has cloudy hours.

Chosen by measurement (docs/metering/agent.md, `python -m benchmarks.forecast`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from meter.agent.history import DAY_S, Direction, History
from primitives.errors import UserError

LOOK_BACK_DAYS = 28
WEEK_DAYS = 7
MAX_WINDOW_S = DAY_S
"""A longer time would need days that are not over yet."""
LOW_PERCENT, LIKELY_PERCENT, HIGH_PERCENT = 20, 50, 80

_WEIGHT_OF_YESTERDAY = 5_040
"""Divisible by most ages of days, so that whole numbers do for 1/k."""


class TooLittleHistory(UserError):
    """The meter has not been read for long enough to say anything."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Energy of a time to come, in Wh."""

    low_wh: int
    """In four of five cases it is this much or more."""
    likely_wh: int
    high_wh: int
    """In four of five cases it is this much or less."""
    days: int
    """How many past days it rests on."""


def forecast(
    history: History, direction: Direction, from_s: int, until_s: int, least_days: int = WEEK_DAYS
) -> Forecast:
    """From one Unix time to another, at most a day. Raises TooLittleHistory below `least_days` days."""
    if not 0 < until_s - from_s <= MAX_WINDOW_S:
        raise ValueError(f"a forecast is of more than nothing and of a day at most, not of {until_s - from_s} s")
    guesses = []
    for age in range(1, LOOK_BACK_DAYS + 1):
        shift_s = history.zone_s - age * DAY_S
        energy_wh = history.energy_wh(direction, from_s + shift_s, until_s + shift_s)
        if energy_wh is not None:
            guesses.append((energy_wh, weight_of(age)))
    if len(guesses) < least_days:
        raise TooLittleHistory(
            f"The ledger has readings of {len(guesses)} days for a forecast; {least_days} are needed. "
            "Let the meter run on."
        )
    guesses.sort()
    low, likely, high = [_quantile(guesses, percent) for percent in (LOW_PERCENT, LIKELY_PERCENT, HIGH_PERCENT)]
    return Forecast(low, likely, high, len(guesses))


def weight_of(age_days: int) -> int:
    """Of a guess that is so many days old."""
    weight = _WEIGHT_OF_YESTERDAY // age_days
    return 2 * weight if age_days % WEEK_DAYS == 0 else weight


def _quantile(guesses: Sequence[tuple[int, int]], percent: int) -> int:
    """The first of the sorted (value, weight) up to which so many percent of all weights lie."""
    whole = sum([weight for _, weight in guesses])
    below = 0
    for value, weight in guesses:
        below += weight
        if below * 100 >= whole * percent:
            return value
    raise ValueError("nothing to choose from")
