"""How good the forecast would have been: every day of a history is forecast from the days before it, beside two naive
guesses (as yesterday; as a week ago), and compared with what came.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from meter.agent.forecast import LOOK_BACK_DAYS, WEEK_DAYS, Forecast, forecast
from meter.agent.history import DAY_HOURS, DAY_S, HOUR_S, Direction, History
from primitives.errors import UserError

Hours = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one way to guess: the sum of all differences, in thousandths of the energy that came."""

    by_hour_permille: int
    by_day_permille: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """Of one direction of energy."""

    direction: Direction
    days: int
    """How many were forecast."""
    energy_wh: int
    """What came in all of them."""
    ours: Errors
    yesterday: Errors
    week_ago: Errors
    below_low: int
    """Days with less than `low`: a fifth of all are meant to be."""
    above_high: int


def backtest(hours: Hours, direction: Direction, least_days: int = WEEK_DAYS, *, held_out: bool = False) -> Backtest:
    """Of the second half of the days where that is `held_out`. Raises UserError where the history is too short."""
    whole_days = _whole_days(hours)
    tested = whole_days[least_days:]
    if len(whole_days) <= WEEK_DAYS or not tested:
        raise UserError(
            f"There are {len(whole_days)} whole days without a gap; a comparison needs at least "
            f"{max(least_days, WEEK_DAYS) + 1}."
        )
    tested = [day for day in tested if day - WEEK_DAYS >= whole_days[0]]
    if held_out:
        tested = tested[len(tested) // 2 :]
    came = {day: [hours[day * DAY_HOURS + hour][direction] for hour in range(DAY_HOURS)] for day in whole_days}
    energy_wh = sum([sum(came[day]) for day in tested])
    told = {day: _forecasts(hours, direction, day, least_days) for day in tested}
    sums = {day: told[day][DAY_HOURS] for day in tested}
    ours = _errors(tested, came, lambda day: [one.likely_wh for one in told[day]], energy_wh)
    naive = [
        _errors(tested, came, lambda day, age=age: [*came[day - age], sum(came[day - age])], energy_wh)  # type: ignore[misc]
        for age in (1, WEEK_DAYS)
    ]
    return Backtest(
        direction, len(tested), energy_wh, ours, naive[0], naive[1],
        below_low=len([day for day in tested if sum(came[day]) < sums[day].low_wh]),
        above_high=len([day for day in tested if sum(came[day]) > sums[day].high_wh]),
    )  # fmt: skip


def _whole_days(hours: Hours) -> list[int]:
    """The last days in a row of which every hour is known."""
    days = sorted({hour // DAY_HOURS for hour in hours})
    whole: list[int] = []
    for day in days:
        if not all(day * DAY_HOURS + hour in hours for hour in range(DAY_HOURS)):
            continue
        if whole and whole[-1] != day - 1:
            whole.clear()
        whole.append(day)
    return whole


def _forecasts(hours: Hours, direction: Direction, day: int, least_days: int) -> list[Forecast]:
    """As they would have been at the midnight before: of the 24 hours, and of the day."""
    first, midnight_s = (day - LOOK_BACK_DAYS - 1) * DAY_HOURS, day * DAY_S
    before = {hour: hours[hour] for hour in range(first, day * DAY_HOURS) if hour in hours}
    history = History(0, before, day * DAY_HOURS)
    times = [(midnight_s + hour * HOUR_S, midnight_s + (hour + 1) * HOUR_S) for hour in range(DAY_HOURS)]
    times.append((midnight_s, midnight_s + DAY_S))
    return [forecast(history, direction, from_s, until_s, least_days) for from_s, until_s in times]


def _errors(
    tested: Sequence[int], came: Mapping[int, list[int]], guess: Callable[[int], list[int]], energy_wh: int
) -> Errors:
    by_hour = by_day = 0
    for day in tested:
        *of_hours, of_day = guess(day)
        by_hour += sum([abs(guessed - was) for guessed, was in zip(of_hours, came[day], strict=True)])
        by_day += abs(of_day - sum(came[day]))
    whole = max(energy_wh, 1)
    return Errors(by_hour * 1_000 // whole, by_day * 1_000 // whole)
