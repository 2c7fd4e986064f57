"""Limits of power and energy, and how many readings out of turn there may be."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from contracts.reading_format import StatusFlag
from meter.database import open_database
from meter.drivers.driver import Registers, Sample
from meter.events import EventBudget, EventSettings, ThresholdWatch
from meter.kept_values import KeptValues
from meter.live import Observation

DAY_S = 86_400
BEGIN_S = 20_000 * DAY_S


class Notes:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        assert (flags, at_once) == (StatusFlag.THRESHOLD, True)
        self.reasons.append(reason)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptValues]:
    with closing(open_database(tmp_path / "outbox.sqlite")) as database:
        yield KeptValues(database)


def see(watch: ThresholdWatch, power_w: int, import_wh: int = 0, export_wh: int = 0, time_s: int = BEGIN_S) -> None:
    watch.observe(Observation(Sample(Registers(time_s, import_wh, export_wh), power_w, StatusFlag(0), b"")))


def test_power_above_a_limit_is_one_event_until_it_has_come_down(kept: KeptValues) -> None:
    notes = Notes()
    watch = ThresholdWatch(EventSettings(import_above_w=1000, export_above_w=500), notes, kept)
    for power_w in (900, 1000, 1001, 2000, 990, 1100, 951, 1100, 950, 1001):
        see(watch, power_w)
    assert notes.reasons == [
        "1001 W are taken, more than the limit of 1000 W",
        "1001 W are taken, more than the limit of 1000 W",
    ]
    watch.observe(Observation(Sample(Registers(BEGIN_S), 0, StatusFlag.GAP, b"")))  # silence is no fall
    see(watch, 1001)
    assert len(notes.reasons) == 2
    see(watch, -501)
    assert notes.reasons[2:] == ["501 W are given, more than the limit of 500 W"]


def test_energy_of_a_day(kept: KeptValues) -> None:
    notes = Notes()
    settings = EventSettings(day_import_above_wh=100, day_export_above_wh=10, zone_s=3600)
    watch = ThresholdWatch(settings, notes, kept)
    midnight_s = BEGIN_S + DAY_S - 3600
    see(watch, 0, 5000, 0, midnight_s - 100)
    see(watch, 0, 5100, 10, midnight_s - 90)
    assert notes.reasons == []
    see(watch, 0, 5101, 11, midnight_s - 80)
    see(watch, 0, 5200, 30, midnight_s - 10)
    assert notes.reasons == [
        "101 Wh were taken today, more than the limit of 100 Wh",
        "11 Wh were given today, more than the limit of 10 Wh",
    ]
    see(watch, 0, 5250, 30, midnight_s)
    see(watch, 0, 5300, 30, midnight_s + 10)
    assert len(notes.reasons) == 2
    see(watch, 0, 5301, 30, midnight_s + 20)
    assert notes.reasons[2:] == ["101 Wh were taken today, more than the limit of 100 Wh"]


def test_the_day_goes_on_over_a_restart(kept: KeptValues) -> None:
    settings, notes = EventSettings(day_import_above_wh=100), Notes()
    see(ThresholdWatch(settings, notes, kept), 0, 5000)
    see(ThresholdWatch(settings, notes, kept), 0, 5101, 0, BEGIN_S + 10)
    assert len(notes.reasons) == 1
    see(ThresholdWatch(settings, notes, kept), 0, 5200, 0, BEGIN_S + 20)
    assert len(notes.reasons) == 1
    kept.set("day of the energy limits", "rubbish 5 x")
    see(ThresholdWatch(settings, notes, kept), 0, 5300, 0, BEGIN_S + 30)
    assert len(notes.reasons) == 1


def test_without_limits_nothing_happens_and_nothing_is_written(kept: KeptValues) -> None:
    notes = Notes()
    see(ThresholdWatch(EventSettings(), notes, kept), 10**9, 10**9)
    assert notes.reasons == []
    assert kept.get("day of the energy limits") is None


def test_a_budget_of_an_hour() -> None:
    budget = EventBudget(2)
    for time_s, allowed in ((0, True), (10, True), (3599, False), (3600, True), (3601, True), (3700, False)):
        assert budget.allows(time_s) is allowed
        if allowed:
            budget.spend(time_s)
    assert not EventBudget(0, hour=5).allows(5 * 3600)
