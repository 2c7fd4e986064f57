"""What a policy asks for, moment by moment: nothing swings, nothing is told twice, days are local ones."""

from dataclasses import replace

import pytest

from contracts.policy import MeterPolicy, OffTime, PolicyValues
from meter.drivers.driver import Registers
from meter.policy_rules import PolicyMemory, PolicyRules, PolicySettings
from primitives.errors import UserError

DAY_S = 86_400
MIDNIGHT_S = 19_700 * DAY_S
SETTINGS = PolicySettings(overload_hold_s=100, overload_longest_hold_s=1_000, saving_hold_s=50, alert_pause_s=60)


class Life:
    def __init__(self, memory: PolicyMemory | None = None, now_s: int = MIDNIGHT_S, **values: object) -> None:
        policy = MeterPolicy(1, 0, PolicyValues(**values))  # type: ignore[arg-type]
        self.rules = PolicyRules(SETTINGS, memory or PolicyMemory(), policy)
        self.now_s = now_s
        self.import_wh = 0
        self.told: list[str] = []

    def sample(self, power_w: int, *, after_s: int = 1, used_wh: int = 0) -> None:
        self.now_s += after_s
        self.import_wh += used_wh
        self.rules.observe(Registers(self.now_s, self.import_wh, 0), power_w, self.now_s)
        self.told += [alert.text for alert in self.rules.alerts(self.now_s)]

    def is_cut(self) -> bool:
        return bool(self.rules.overload(self.now_s))

    def cut_for_s(self) -> int:
        """How long it stays cut while nothing is taken."""
        began_s = self.now_s
        while self.is_cut():
            self.sample(0)
        return self.now_s - began_s


def test_without_a_policy_nothing_is_asked_for() -> None:
    life = Life()
    life.sample(10**9, used_wh=10**9)
    assert not life.is_cut()
    assert not life.rules.is_saving(life.now_s)
    assert not life.rules.circuits_off(life.now_s)
    assert life.told == []


def test_overload_is_cut_with_the_first_sample_and_held_off() -> None:
    life = Life(maximum_load_w=5_000)
    life.sample(5_000)
    assert not life.is_cut(), "up to the limit is allowed"
    life.sample(5_001)
    assert "5001 W were taken, 5000 W are allowed" in life.rules.overload(life.now_s)
    assert life.cut_for_s() == 100


def test_overload_that_comes_back_is_held_off_twice_as_long_up_to_a_limit() -> None:
    life, holds = Life(maximum_load_w=5_000), []
    for _ in range(6):
        life.sample(9_000, after_s=5)
        holds.append(life.cut_for_s())
    assert holds == [100, 200, 400, 800, 1_000, 1_000]
    life.sample(100, after_s=1_001)
    life.sample(9_000)
    assert life.cut_for_s() == 100, "after a quiet time it begins anew"


def test_overload_that_goes_on_is_one_overload() -> None:
    """The switch needs some samples, or is stuck."""
    life = Life(maximum_load_w=5_000)
    for _ in range(50):
        life.sample(9_000)
    assert life.cut_for_s() == 100


def test_cut_survives_a_restart_and_a_clock_that_is_set_back_does_not_prolong_it() -> None:
    life = Life(maximum_load_w=5_000)
    life.sample(9_000)
    again = Life(life.rules.memory, life.now_s, maximum_load_w=5_000)
    assert again.cut_for_s() == 100
    early = Life(life.rules.memory, life.now_s - 5_000, maximum_load_w=5_000)
    assert not early.is_cut()


@pytest.mark.parametrize("limit_w", [0, 10_000])
def test_cut_ends_where_the_policy_allows_the_load(limit_w: int) -> None:
    life = Life(maximum_load_w=5_000)
    life.sample(9_000)
    life.rules.take(MeterPolicy(2, 0, PolicyValues(maximum_load_w=limit_w)), life.now_s)
    assert not life.is_cut()


def test_cut_begins_with_the_policy_that_asks_for_it() -> None:
    life = Life()
    life.sample(9_000)
    life.rules.take(MeterPolicy(2, 0, PolicyValues(maximum_load_w=5_000)), life.now_s)
    assert life.is_cut()


def test_export_is_no_load() -> None:
    life = Life(maximum_load_w=5_000, saving_above_power_w=100, alert_above_power_w=100)
    life.sample(-9_000)
    assert not life.is_cut()
    assert not life.rules.is_saving(life.now_s)
    assert life.told == []


def test_saving_while_the_power_is_above_and_a_while_longer() -> None:
    life, states = Life(saving_above_power_w=2_000), []
    for power_w in (2_000, 2_001, *[500] * 60):
        life.sample(power_w)
        states.append(life.rules.is_saving(life.now_s))
    assert states == [False, *[True] * 50, *[False] * 11]


def test_saving_for_the_rest_of_the_local_day() -> None:
    """Five and a half hours east of UTC the day begins at 18:30 of the day before."""
    life = Life(saving_above_energy_wh=100)
    life.rules.zone_s = 19_800
    life.sample(0, after_s=1)
    life.sample(50, used_wh=100)
    assert not life.rules.is_saving(life.now_s)
    life.sample(50, used_wh=1)
    assert life.rules.is_saving(life.now_s)
    local_midnight_s = MIDNIGHT_S + DAY_S - 19_800
    life.sample(50, after_s=local_midnight_s - life.now_s)
    assert life.rules.is_saving(life.now_s), "a reading of midnight belongs to the day that ends"
    life.sample(50, used_wh=7)
    assert not life.rules.is_saving(life.now_s)
    assert life.rules.day_energy_wh == 7


def test_day_energy_over_a_restart() -> None:
    life = Life(saving_above_energy_wh=100)
    life.sample(0)
    life.sample(0, used_wh=90)
    again = Life(life.rules.memory, life.now_s, saving_above_energy_wh=100)
    again.import_wh = life.import_wh
    again.sample(0, used_wh=20)
    assert again.rules.day_energy_wh == 110
    assert again.rules.is_saving(again.now_s)


def test_power_is_told_once_for_each_crossing() -> None:
    life = Life(alert_above_power_w=3_000)
    for power_w in (3_000, 3_500, 4_000, 2_000, 3_500, *[100] * 61, 3_200):
        life.sample(power_w)
    assert life.told == ["3500 W are taken, more than 3000 W", "3200 W are taken, more than 3000 W"]


def test_energy_is_told_once_a_day_also_over_a_restart() -> None:
    life = Life(alert_above_energy_wh=1_000)
    life.sample(0)
    for _ in range(5):
        life.sample(0, used_wh=600)
    assert life.told == ["1200 Wh were taken today, more than 1000 Wh"]
    again = Life(life.rules.memory, life.now_s, alert_above_energy_wh=1_000)
    again.import_wh = life.import_wh
    again.sample(0, used_wh=1)
    assert again.told == []
    again.sample(0, after_s=DAY_S, used_wh=999)
    again.sample(0, used_wh=2)
    assert again.told == ["1001 Wh were taken today, more than 1000 Wh"]


def test_samples_without_a_time_begin_no_day() -> None:
    life = Life(maximum_load_w=5_000)
    life.sample(0, used_wh=50)
    life.rules.observe(Registers(5, 70, 0), 6_000, life.now_s, is_timed=False)
    assert (life.rules.day_energy_wh, life.is_cut()) == (70 - life.rules.memory.day_start_wh, True)


def test_off_times_are_of_the_local_day() -> None:
    evening = OffTime(3, 127, 18 * 60, 19 * 60)
    life = Life(off_times=(evening, replace(evening, circuit=7, weekdays=1)))
    life.rules.zone_s = 3_600
    monday = (MIDNIGHT_S // DAY_S + 3) % 7 == 0
    at_17_utc_s = MIDNIGHT_S + 17 * 3_600
    assert life.rules.circuits_off(at_17_utc_s - 1) == frozenset()
    assert life.rules.circuits_off(at_17_utc_s) == ({3, 7} if monday else {3})
    assert life.rules.circuits_off(at_17_utc_s + 3_600) == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"overload_hold_s": 0},
        {"overload_longest_hold_s": 5},
        {"saving_hold_s": -1},
        {"alert_command": ("",)},
        {"alert_topic": "home/#"},
        {"alert_topic": "home/alerts"},
    ],
)
def test_settings_that_make_no_sense(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match="policy"):
        replace(PolicySettings(), **change).check(has_mqtt=False)  # type: ignore[arg-type]
    PolicySettings(alert_topic="home/alerts").check(has_mqtt=True)
