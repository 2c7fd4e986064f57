"""How much energy a meter will take or give in a time to come: by its own last weeks, in whole numbers.

What the same hours of each of the last 28 days had is a guess for the time to come, moved by what is new: where the
last 24 hours had more than the 24 before that day's, by two fifths of the difference, in proportion. A day k days ago
counts 1/(k + 1), and twice where it was the same day of the week. Of the guesses in order of their size, `likely` is
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

NEWS_NUMERATOR, NEWS_DENOMINATOR = 2, 5
"""So much of a difference lasts until the next day."""
MOST_TIMES = 3
"""A guess is moved up to so many times what it was; down to nothing."""

_WHOLE_WEIGHT = 10_080
"""Divisible by most ages of days, so that whole numbers do for 1/(k + 1)."""


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
    days = [_at(history, direction, from_s, from_s + DAY_S, age) for age in range(1, LOOK_BACK_DAYS + 2)]
    newest_wh = _without_extremes(days)
    guesses = []
    for age, day_wh, before_wh in zip(range(1, LOOK_BACK_DAYS + 1), days, days[1:], strict=False):
        energy_wh = _at(history, direction, from_s, until_s, age)
        if energy_wh is not None:
            guesses.append((_moved(energy_wh, day_wh, before_wh, newest_wh), weight_of(age)))
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
    weight = _WHOLE_WEIGHT // (age_days + 1)
    return 2 * weight if age_days % WEEK_DAYS == 0 else weight


def _at(history: History, direction: Direction, from_s: int, until_s: int, age_days: int) -> int | None:
    shift_s = history.zone_s - age_days * DAY_S
    return history.energy_wh(direction, from_s + shift_s, until_s + shift_s)


def _without_extremes(days: Sequence[int | None]) -> int | None:
    """The newest day, but no more than all others but one, and no less: it may have a week's energy after a gap."""
    newest_wh, *older = days
    others = sorted([one for one in older if one is not None])
    if newest_wh is None or len(others) < 3:
        return None
    return min(max(newest_wh, others[1]), others[-2])


def _moved(energy_wh: int, day_wh: int | None, before_wh: int | None, newest_wh: int | None) -> int:
    """What came of a day after the one before it, put after the newest one. As it is where something is not known."""
    if not day_wh or before_wh is None or newest_wh is None:
        return energy_wh
    whole = NEWS_DENOMINATOR * day_wh
    share = whole + NEWS_NUMERATOR * (newest_wh - before_wh)
    return energy_wh * min(max(share, 0), MOST_TIMES * whole) // whole


def _quantile(guesses: Sequence[tuple[int, int]], percent: int) -> int:
    """The first of the sorted (value, weight) up to which so many percent of all weights lie."""
    whole = sum([weight for _, weight in guesses])
    below = 0
    for value, weight in guesses:
        below += weight
        if below * 100 >= whole * percent:
            return value
    raise ValueError("nothing to choose from")
