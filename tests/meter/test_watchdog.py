"""When a meter says that it lives: with samples, and with trouble that it deals with; not when it waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import Measurement
from meter.live import Observation
from meter.watchdog import Watchdog, allowed_quiet_s
from primitives.clock import ManualClock
from tests.wallet.service_manager_socket import ManagerSocket, manager_socket
from wallet.service_manager import ServiceManager

WATCHDOG_S = 60
QUIET_S = 180


class Stage:
    """A watchdog on a clock that stands still, and the manager that hears it."""

    def __init__(self, listener: ManagerSocket, quiet_s: float | None) -> None:
        self.clock = ManualClock()
        self.listener = listener
        manager = ServiceManager.from_environment(listener.environment(watchdog_s=WATCHDOG_S))
        self.watchdog = Watchdog(manager, self.clock, quiet_s)

    async def heard_in(self, duration_s: int) -> list[str]:
        """What the manager hears while so much time passes."""
        lines: list[str] = []
        for _ in range(duration_s // (WATCHDOG_S // 2)):
            self.clock.advance_s(WATCHDOG_S / 2)
            for _ in range(3):
                await asyncio.sleep(0)
            lines += self.listener.rest()  # the kernel keeps ten datagrams
        return lines


@asynccontextmanager
async def running(quiet_s: float | None = QUIET_S) -> AsyncIterator[Stage]:
    async with manager_socket() as listener:
        stage = Stage(listener, quiet_s)
        task = asyncio.create_task(stage.watchdog.run())
        await asyncio.sleep(0)
        assert listener.rest() == ["READY=1", "STATUS=no measurement yet", "WATCHDOG=1", "STATUS=no measurement yet"]
        yield stage
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert listener.rest() == ["STOPPING=1", "STATUS=stopping"]


def observation(power_w: int, *, is_timed: bool = True) -> Observation:
    measurement = Measurement(0, power_w * 1000)
    return Observation(
        Sample(Registers(1, 70, 5), power_w, StatusFlag(0), b"", measurement, is_timed=is_timed), measurement
    )


async def test_it_lives_while_samples_come() -> None:
    async with running() as stage:
        for power_w in (100, 200):
            stage.watchdog.observe(observation(power_w))
            heard = await stage.heard_in(QUIET_S)
            assert heard.count("WATCHDOG=1") == 6
            assert f"STATUS={power_w} W, 70 Wh taken, 5 Wh given" in heard


async def test_the_first_sample_and_trouble_are_told_at_once() -> None:
    async with running() as stage:
        stage.watchdog.observe(observation(100))
        assert stage.listener.rest() == ["STATUS=100 W, 70 Wh taken, 5 Wh given"]
        stage.watchdog.observe(observation(200))
        assert stage.listener.rest() == []
        stage.watchdog.trouble("unplugged")
        assert stage.listener.rest() == ["STATUS=no measurements: unplugged"]


async def test_it_lives_while_it_deals_with_trouble() -> None:
    async with running() as stage:
        for _ in range(10):
            stage.watchdog.trouble("the board is unplugged")
            assert (await stage.heard_in(QUIET_S)).count("WATCHDOG=1") == 6


async def test_one_that_waits_for_ever_says_no_more_that_it_lives() -> None:
    async with running() as stage:
        stage.watchdog.observe(observation(100))
        assert (await stage.heard_in(2 * QUIET_S)).count("WATCHDOG=1") == 6
        heard = await stage.heard_in(2 * QUIET_S)
        assert "WATCHDOG=1" not in heard
        stage.watchdog.observe(observation(1))
        assert "WATCHDOG=1" in await stage.heard_in(WATCHDOG_S)


async def test_stuck_is_what_the_status_says() -> None:
    async with running() as stage:
        heard = await stage.heard_in(QUIET_S + WATCHDOG_S)
        assert heard[-1] == "STATUS=stuck: neither a measurement nor trouble for 210 s"


async def test_a_file_that_is_played_may_be_silent_for_a_day() -> None:
    async with running(quiet_s=None) as stage:
        assert (await stage.heard_in(86_400)).count("WATCHDOG=1") == 2880


async def test_a_clock_that_is_not_set_is_told() -> None:
    async with running() as stage:
        stage.watchdog.observe(observation(7, is_timed=False))
        assert (await stage.heard_in(WATCHDOG_S))[0].endswith("the clock is not set yet, so nothing is signed")


def test_slow_devices_may_be_silent_for_longer() -> None:
    assert allowed_quiet_s(5) == 360
    assert allowed_quiet_s(60) == 600
