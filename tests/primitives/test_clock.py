"""Clocks: the accelerated one keeps its rate, the manual one wakes sleepers in the order of their time."""

import asyncio
import time

import pytest

from primitives.clock import AcceleratedClock, ManualClock, SystemClock


def test_the_system_clock_shows_unix_time() -> None:
    before = time.time()
    shown = SystemClock().precise_time_s()
    assert before <= shown <= time.time()
    assert int(before) <= SystemClock().time_s() <= int(time.time())


def test_an_accelerated_clock_runs_at_its_rate_from_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = AcceleratedClock(60, origin_s=1_000_000, wall_origin_s=5_000)
    monkeypatch.setattr(time, "time", lambda: 5_010.5)
    assert clock.precise_time_s() == 1_000_630
    assert clock.time_s() == 1_000_630


async def test_an_accelerated_clock_sleeps_for_less_of_the_machines_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def record(duration_s: float) -> None:
        slept.append(duration_s)

    monkeypatch.setattr(asyncio, "sleep", record)
    await AcceleratedClock(100, 0, 0).sleep_s(50)
    await SystemClock().sleep_s(2)
    assert slept == [0.5, 2]


@pytest.mark.parametrize("rate", [0, -1])
def test_time_does_not_stand_still_or_run_backwards(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        AcceleratedClock(rate, 0, 0)


async def test_a_manual_clock_wakes_sleepers_in_the_order_of_their_time() -> None:
    clock, woken = ManualClock(100), []

    async def sleeper(duration_s: float) -> None:
        await clock.sleep_s(duration_s)
        woken.append(duration_s)

    tasks = [asyncio.create_task(sleeper(duration_s)) for duration_s in (30, 10, 20, 99)]
    await asyncio.sleep(0)
    assert woken == []
    clock.advance_s(9.5)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance_s(25.5)
    await asyncio.gather(*tasks[:3])
    assert woken == [10, 20, 30]
    assert (clock.time_s(), clock.precise_time_s()) == (135, 135.0)
    tasks[3].cancel()
    # A sleeper that was cancelled is passed over.
    clock.advance_s(1000)
    with pytest.raises(asyncio.CancelledError):
        await tasks[3]


async def test_no_time_is_slept_at_once() -> None:
    await ManualClock().sleep_s(0)
