"""The forecast in whole numbers: what it rests on, how sure it is, and that nothing unusual moves it far."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forecast import BUNDLED, measured
from meter.agent.backtest import backtest
from meter.agent.forecast import LOOK_BACK_DAYS, MOST_TIMES, Forecast, TooLittleHistory, forecast, weight_of
from meter.agent.history import DAY_HOURS, DAY_S, HOUR_S, Direction, History, LedgerHistory, history_of_rows
from primitives.errors import UserError
from wallet.client import InvalidAnswer, RpcClient
from wallet.meter_contract import METER

TODAY = 20_000
HOUSEHOLDS = Path(__file__).resolve().parents[4] / "shared" / "data" / "households"


def history(days: Mapping[int, int], *, until_hour: int = 0, zone_s: int = 0) -> History:
    """`days`: age -> Wh given in each of its hours; known up to an hour of today."""
    hours = {
        (TODAY - age) * DAY_HOURS + hour: (0, wh)
        for age, wh in days.items()
        for hour in range(DAY_HOURS if age else until_hour)
    }
    return History(zone_s, hours, TODAY * DAY_HOURS + until_hour)


def of_today(past: History, from_hour: int = 0, hours: int = 24) -> Forecast:
    from_s = TODAY * DAY_S + from_hour * HOUR_S - past.zone_s
    return forecast(past, Direction.GIVEN, from_s, from_s + hours * HOUR_S)


def test_days_that_are_all_alike_leave_no_doubt() -> None:
    assert of_today(history(dict.fromkeys(range(1, 29), 100))) == Forecast(2_400, 2_400, 2_400, 28)


def test_the_last_days_count_most() -> None:
    old_and_new = {age: 100 if age > 8 else 500 for age in range(1, 29)}
    assert of_today(history(old_and_new)).likely_wh == 12_000
    assert of_today(history({age: 600 - wh for age, wh in old_and_new.items()})).likely_wh == 2_400
    assert 2 * weight_of(1) == 3 * weight_of(2)
    assert weight_of(7) == weight_of(1) // 2


def test_what_is_new_moves_the_guesses_by_two_fifths_in_proportion() -> None:
    days = dict.fromkeys(range(1, 30), 100) | {1: 150, 2: 140, 3: 130}
    # After the 130 Wh an hour that all other days but one have at most, not after 100 Wh: two fifths of 30 Wh.
    assert of_today(history(days)).likely_wh == 24 * 112
    assert of_today(history(days), hours=6).likely_wh == 6 * 112
    assert of_today(history({age: 250 - wh for age, wh in days.items()})).likely_wh == 24 * 138
    assert of_today(history(days | dict.fromkeys(range(4, 30), 0))).likely_wh == 0


def test_a_week_s_energy_in_one_hour_moves_nothing_far() -> None:
    days = dict.fromkeys(range(1, 29), 100)
    plain = history(days)
    for age in (1, 2, 3, 7, 28):
        spiked = History(0, {**plain.hours, (TODAY - age) * DAY_HOURS + 5: (0, 1_000_000)}, plain.known_until)
        assert of_today(spiked) == of_today(plain)
        twice = History(0, {**spiked.hours, (TODAY - 20) * DAY_HOURS + 5: (0, 1_000_000)}, plain.known_until)
        assert of_today(twice) == of_today(plain)


def test_hours_that_are_cut_count_by_time_and_are_rounded_down() -> None:
    past = history(dict.fromkeys(range(1, 10), 101))
    from_s = TODAY * DAY_S + 1_800
    assert forecast(past, Direction.GIVEN, from_s, from_s + 900).likely_wh == 25
    assert forecast(past, Direction.GIVEN, from_s, from_s + 3_600).likely_wh == 101
    assert forecast(past, Direction.TAKEN, from_s, from_s + 3_600).likely_wh == 0


def test_an_hour_that_was_not_read_yet_is_yesterday_s() -> None:
    past = history({0: 300, **dict.fromkeys(range(1, 10), 100)}, until_hour=10)
    # From 12 o'clock on: the last 24 hours have ten of today, two that are not over, and twelve of yesterday.
    newest = past.energy_wh(Direction.GIVEN, TODAY * DAY_S - 12 * HOUR_S, TODAY * DAY_S + 12 * HOUR_S)
    assert newest == 12 * 100 + 10 * 300 + 2 * 100


def test_the_local_clock_decides_which_hour_it_is() -> None:
    hours = {day * DAY_HOURS + hour: (0, hour) for day in range(TODAY - 10, TODAY) for hour in range(DAY_HOURS)}
    past = History(5 * HOUR_S + 1_800, hours, TODAY * DAY_HOURS)
    assert [of_today(past, hour, 1).likely_wh for hour in (0, 7, 23)] == [0, 7, 23]


def test_too_few_days_are_no_forecast() -> None:
    with pytest.raises(TooLittleHistory, match="readings of 6 days for a forecast; 7 are needed"):
        of_today(history(dict.fromkeys(range(1, 7), 100)))
    with pytest.raises(ValueError, match="a day at most"):
        of_today(history(dict.fromkeys(range(1, 29), 100)), hours=25)


@given(
    days=st.dictionaries(st.integers(1, 40), st.integers(0, 10**6), min_size=1),
    from_hour=st.integers(0, 23),
    hours=st.integers(1, 24),
)
@settings(max_examples=60, deadline=None)
def test_it_is_never_far_from_what_has_been(days: dict[int, int], from_hour: int, hours: int) -> None:
    try:
        told = of_today(history(days), from_hour, hours)
    except TooLittleHistory:
        return
    assert 0 <= told.low_wh <= told.likely_wh <= told.high_wh <= MOST_TIMES * hours * max(days.values())
    assert told.days <= min(len(days), LOOK_BACK_DAYS)


def test_measured_rows_become_hours_without_a_watt_hour_lost() -> None:
    rows = [Fraction(1, 3), Fraction(-5, 2), None, Fraction(2, 3)] * 12
    hours = history_of_rows(rows, 1_800)
    assert sum(taken for taken, _ in hours.values()) == 12
    assert sum(given for _, given in hours.values()) == 30
    assert len(hours) == 24


# The other homes, and the other direction, are in `python -m benchmarks.forecast`.
@pytest.mark.parametrize(("number", "direction"), [(1, Direction.TAKEN), (2, Direction.GIVEN)])
def test_it_is_better_than_naive_guesses_on_measured_homes(number: int, direction: Direction) -> None:
    path = HOUSEHOLDS / f"citylearn2022_building_{number}.csv"
    if not path.exists():
        pytest.skip("the measured households of a year are not on this computer")
    found = measured(path, Fraction(4), direction, held_out=True)
    assert found.days > 175
    assert found.ours.by_hour_permille < min(found.yesterday.by_hour_permille, found.week_ago.by_hour_permille)
    assert found.ours.by_day_permille < min(found.yesterday.by_day_permille, found.week_ago.by_day_permille)
    # A fifth of the days is meant to be below the lower end.
    assert found.days * 10 // 100 < found.below_low < found.days * 30 // 100


def test_it_runs_on_the_measured_homes_that_come_along() -> None:
    assert measured(BUNDLED / "building_1.csv", Fraction(4), Direction.GIVEN).days == 1
    with pytest.raises(UserError, match="There are 2 whole days"):
        backtest(dict.fromkeys(range(48), (1, 1)), Direction.TAKEN)


class HoursNode:
    """Answers for the hours of days, and counts how often it is asked."""

    def __init__(self, taken_wh: int = 10) -> None:
        self.taken_wh = taken_wh
        self.days: list[int] = []
        self.empty: set[int] = set()

    async def call(self, to: bytes, data: bytes, block: object = None, sender: object = None, value: int = 0) -> bytes:
        function = METER.abi.function("hoursOf")
        day: Any = function.decode_call(data)[1]
        self.days.append(day)
        taken = 0 if day in self.empty else self.taken_wh
        return function.outputs.encode(([taken] * DAY_HOURS, [0] * DAY_HOURS))


async def test_closed_days_are_asked_for_once() -> None:
    node = HoursNode()
    node.empty = {TODAY - 4}
    asking, client = LedgerHistory(bytes(20)), cast(RpcClient, node)
    first = await asking.read(client, TODAY * DAY_S + 5 * HOUR_S + 60, 0)
    assert (len(node.days), first.day_count, first.known_until) == (32, 31, TODAY * DAY_HOURS + 5)
    assert (TODAY - 4) * DAY_HOURS not in first.hours
    node.days.clear()
    await asking.read(client, TODAY * DAY_S + 6 * HOUR_S, 0)
    assert node.days == [TODAY]
    node.days.clear()
    await asking.read(client, TODAY * DAY_S + 6 * HOUR_S, HOUR_S)  # another time zone: other days
    assert len(node.days) == 32


async def test_a_node_that_tells_impossible_energy_is_not_believed() -> None:
    with pytest.raises(InvalidAnswer, match="more energy in an hour"):
        await LedgerHistory(bytes(20)).read(cast(RpcClient, HoursNode(2**40)), TODAY * DAY_S, 0)
