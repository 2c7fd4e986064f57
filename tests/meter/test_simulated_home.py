"""The simulated home: the same at the same time whoever asks, a register that is the sum of its power, nothing while
the supply is off, and a register that goes on after a restart."""

import asyncio
import json
from pathlib import Path

import pytest

from meter.drivers.catalogue import driver_kind, open_section
from meter.drivers.measurement import Source
from meter.drivers.simulated_home import (
    DAY_S,
    DEFAULT_BEGIN_S,
    MJ_PER_MWH,
    Household,
    SimulatedHome,
    SimulatedHomeSettings,
    open_device,
)
from primitives.clock import ManualClock
from primitives.errors import UserError

NOON_S = DEFAULT_BEGIN_S + 170 * DAY_S + 12 * 3600
"""On a day in June."""


BEGIN_S = NOON_S - DAY_S


def home(clock: ManualClock, **settings: object) -> SimulatedHome:
    return open_device(SimulatedHomeSettings(**{"begin_s": BEGIN_S, **settings}), clock)  # type: ignore[arg-type]


def test_a_home_is_the_same_whenever_and_in_whatever_order_it_is_asked() -> None:
    times = [NOON_S + 37 * number for number in range(3000)]
    one, other = (Household(SimulatedHomeSettings(begin_s=BEGIN_S)) for _ in range(2))
    assert [one.power_mw(time_s) for time_s in times] == [other.power_mw(time_s) for time_s in times[::-1]][::-1]
    assert one.energy_mj(times[7]) != one.energy_mj(times[-7])
    assert one.energy_mj(times[7]) == other.energy_mj(times[7])
    assert [Household(SimulatedHomeSettings(seed=2, begin_s=BEGIN_S)).power_mw(time_s) for time_s in times[:9]] != [
        one.power_mw(time_s) for time_s in times[:9]
    ]


def test_the_register_is_the_sum_of_the_power() -> None:
    household = Household(SimulatedHomeSettings(begin_s=NOON_S - 7))
    begin_s = NOON_S - 11 * 3600 + DAY_S
    powers = [household.power_mw(begin_s + second) for second in range(DAY_S)]
    before, after = household.energy_mj(begin_s), household.energy_mj(begin_s + DAY_S)
    assert after[0] - before[0] == sum(max(power, 0) for power in powers) > 0
    assert after[1] - before[1] == sum(max(-power, 0) for power in powers) > 0
    assert household.energy_mj(NOON_S - 7) == (0, 0)


def test_spring_is_plausible() -> None:
    """An ordinary home takes some 10 to 40 kWh a day; panel and battery make that less, and give some."""
    june_s = DEFAULT_BEGIN_S + 90 * DAY_S
    plain = Household(SimulatedHomeSettings(panel_w=0, battery_wh=0)).energy_mj(june_s)
    sunny = Household(SimulatedHomeSettings(battery_wh=0)).energy_mj(june_s)
    full = Household(SimulatedHomeSettings()).energy_mj(june_s)
    assert 10 < plain[0] // (90 * MJ_PER_MWH * 10**6) < 40
    assert plain[0] > sunny[0] > full[0]
    assert plain[1] == 0 < full[1] < sunny[1] < plain[0]
    assert sunny[0] - full[0] < sunny[1] - full[1]  # a battery loses some


async def test_a_sample_is_due_at_whole_multiples_of_the_interval() -> None:
    clock = ManualClock(NOON_S + 3.2)
    device = home(clock, interval_s=10, source="power")
    times = []
    for _ in range(3):
        task = asyncio.ensure_future(device.read())
        await asyncio.sleep(0)
        while not task.done():
            clock.advance_s(0.1)
            await asyncio.sleep(0)
        measurement = await task
        assert measurement is not None
        times.append((int(clock.now_s + 0.1), measurement.power_mw))
    household = Household(SimulatedHomeSettings(begin_s=BEGIN_S))
    assert times == [(NOON_S + 10 * step, household.power_mw(NOON_S + 10 * step)) for step in (1, 2, 3)]
    assert device.source is Source.POWER


async def test_nobody_can_set_the_time_of_a_home() -> None:
    clock = ManualClock(NOON_S)
    device = home(clock)
    clock.step_s(-5 * DAY_S)
    clock.advance_s(60)
    expected = Household(SimulatedHomeSettings(begin_s=BEGIN_S)).energy_mj(NOON_S + 60)
    assert device.measure().import_mwh == expected[0] // MJ_PER_MWH


@pytest.mark.parametrize("restart", [False, True])
def test_without_supply_nothing_flows_and_the_register_goes_on_where_it_stood(tmp_path: Path, restart: bool) -> None:
    clock = ManualClock(NOON_S)
    memory = tmp_path / "home.json"
    device = home(clock, memory=memory, panel_w=0, battery_wh=0)
    before = device.measure()
    device.set_supply(False)
    for _ in range(3):
        clock.advance_s(1000)
        device.set_supply(False)
        if restart:
            device = home(clock, memory=memory, panel_w=0, battery_wh=0)
        now = device.measure()
        assert (now.power_mw, now.import_mwh) == (0, before.import_mwh)
    device.set_supply(True)
    if restart:
        device = home(clock, memory=memory, panel_w=0, battery_wh=0)
    assert device.measure().import_mwh == before.import_mwh
    household = Household(SimulatedHomeSettings(begin_s=BEGIN_S, panel_w=0, battery_wh=0))
    clock.advance_s(500)
    drawn_mj = household.energy_mj(NOON_S + 3500)[0] - household.energy_mj(NOON_S + 3000)[0]
    assert before.import_mwh is not None
    assert device.measure().import_mwh in (
        before.import_mwh + drawn_mj // MJ_PER_MWH,
        before.import_mwh + drawn_mj // MJ_PER_MWH + 1,
    )


def test_without_supply_a_home_that_tells_its_power_tells_nothing_else() -> None:
    clock = ManualClock(NOON_S)
    device = home(clock, source="power")
    device.set_supply(False)
    assert device.measure().power_mw == 0
    device.set_supply(True)
    assert device.measure().power_mw == Household(SimulatedHomeSettings(begin_s=BEGIN_S)).power_mw(NOON_S)
    assert device.measure().import_mwh is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[1, 2]", b"[1, 2, -3]", b"[1.5, 0, null]", b"[true, 0, null]", b"\xff", b"[" * 900,
                b"9" * 5000, b"null", b'{"a": 1}']
)  # fmt: skip
def test_a_memory_that_is_none_is_refused_plainly(tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "home.json"
    memory.write_bytes(content)
    with pytest.raises(UserError, match="is not the memory of a simulated home"):
        home(ManualClock(NOON_S), memory=memory)


def test_a_memory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    device = home(ManualClock(NOON_S), memory=tmp_path / "absent" / "home.json")
    with pytest.raises(UserError, match="cannot write its memory"):
        device.set_supply(False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot read its memory"):
        home(ManualClock(NOON_S), memory=tmp_path / "folder")


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"source": "counter"}, {"interval_s": 0}, {"panel_w": -1}, {"seed": -1}, {"begin_s": 2**41}):
        with pytest.raises(UserError, match="driver"):
            SimulatedHomeSettings(**wrong).check()  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot begin in the future"):
        home(ManualClock(DEFAULT_BEGIN_S - 10))


def test_the_catalogue_opens_it(tmp_path: Path) -> None:
    kind = driver_kind("simulated-home")
    assert kind.settings_type() is SimulatedHomeSettings
    settings = SimulatedHomeSettings(memory=tmp_path / "home.json", begin_s=BEGIN_S)
    settings.check()
    device = open_section(settings, ManualClock(NOON_S))
    device.set_supply(False)
    assert json.loads((tmp_path / "home.json").read_text())[2] == NOON_S
