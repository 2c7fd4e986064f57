"""A switch that fails is tried again, later and later; one that somebody else moved is moved back."""

import pytest

from meter.switches.actuator import LONGEST_RETRY_S, LOOK_INTERVAL_S, Actuator
from meter.switches.switch import SwitchTrouble
from primitives.clock import ManualClock


class StubbornSwitch:
    def __init__(self) -> None:
        self.is_on: bool | None = None
        self.is_broken = False
        self.orders: list[bool] = []

    async def set(self, is_on: bool) -> None:
        self.orders.append(is_on)
        if self.is_broken:
            raise SwitchTrouble("it is stuck")
        self.is_on = is_on

    async def state(self) -> bool | None:
        if self.is_broken:
            raise SwitchTrouble("it is silent")
        return self.is_on

    async def close(self) -> None:
        pass


@pytest.fixture
def switch() -> StubbornSwitch:
    return StubbornSwitch()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_told_once_and_not_again(switch: StubbornSwitch, clock: ManualClock) -> None:
    actuator = Actuator("relay", switch, clock)
    assert not await actuator.tend(), "nothing is done before it is wanted"
    assert await actuator.want(True)
    assert await actuator.want(True)
    for _ in range(100):
        clock.advance_s(7)
        assert not await actuator.tend()
    assert switch.orders == [True]


async def test_trouble_is_told_and_tried_again_until_it_works(
    switch: StubbornSwitch, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    actuator = Actuator("relay", switch, clock)
    switch.is_broken = True
    assert not await actuator.want(False)
    assert actuator.trouble == "it is stuck"
    for _ in range(600):
        clock.advance_s(1)
        await actuator.tend()
    assert 600 / LONGEST_RETRY_S <= len(switch.orders) <= 20
    assert caplog.text.count("could not be switched off: it is stuck") == 1
    switch.is_broken = False
    clock.advance_s(LONGEST_RETRY_S)
    assert await actuator.tend()
    assert (actuator.trouble, actuator.is_done, switch.is_on) == ("", True, False)
    assert "works again" in caplog.text


async def test_another_order_does_not_wait_for_the_retries_of_the_one_before(
    switch: StubbornSwitch, clock: ManualClock
) -> None:
    actuator = Actuator("relay", switch, clock)
    switch.is_broken = True
    await actuator.want(True)
    switch.is_broken = False
    assert await actuator.want(False)


async def test_moved_by_somebody_else(
    switch: StubbornSwitch, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    actuator = Actuator("relay", switch, clock)
    await actuator.want(False)
    switch.is_on = True
    clock.advance_s(LOOK_INTERVAL_S - 1)
    assert not await actuator.tend()
    clock.advance_s(1)
    assert await actuator.tend()
    assert switch.is_on is False
    assert "was switched on by somebody else" in caplog.text


async def test_switch_that_falls_silent_is_trouble(switch: StubbornSwitch, clock: ManualClock) -> None:
    actuator = Actuator("relay", switch, clock)
    await actuator.want(True)
    switch.is_broken = True
    clock.advance_s(LOOK_INTERVAL_S)
    assert not await actuator.tend()
    assert actuator.trouble == "it is silent"
    switch.is_broken = False
    clock.advance_s(LONGEST_RETRY_S)
    await actuator.tend()
    assert actuator.trouble == ""
