"""Relays on GPIO pins, by gpiozero's mock pins: levels, pulses, and the boards' own relays."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from meter.switches.boards import BOARDS, board_pin
from meter.switches.catalogue import SwitchSettings, check_switch, open_switch, used_pins
from meter.switches.pins import LatchingSwitch, PinSwitch
from meter.switches.switch import SwitchTrouble
from primitives.errors import UserError
from tests.meter.mock_pins import mock_pins


@pytest.fixture
def pins() -> Iterator[Any]:
    with mock_pins() as factory:
        yield factory


@pytest.mark.parametrize("active_low", [False, True])
async def test_pin_holds_the_level_and_tells_it(pins: Any, active_low: bool) -> None:
    switch = open_switch(SwitchSettings("gpio", pin=17, active_low=active_low), None)
    assert await switch.state() is None, "nothing is touched before the first order"
    for is_on in (True, False, True):
        await switch.set(is_on)
        assert pins.pin(17).state is (is_on is not active_low)
        assert await switch.state() is is_on
    await switch.close()
    assert pins.pin(17).function == "input"


async def test_pin_that_does_not_follow(pins: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = PinSwitch(17, active_low=False)
    await switch.set(False)
    monkeypatch.setattr(pins.pin(17), "_set_state", lambda _value: None)
    with pytest.raises(SwitchTrouble, match="GPIO17 does not follow"):
        await switch.set(True)


@pytest.mark.parametrize("off_pin", [-1, 6])
async def test_a_pin_that_fails_later_is_trouble_and_no_end(
    pins: Any, monkeypatch: pytest.MonkeyPatch, off_pin: int
) -> None:
    switch = open_switch(SwitchSettings("gpio", pin=5, off_pin=off_pin, pulse_ms=5), None)
    await switch.set(True)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for number in (5, 6):
        monkeypatch.setattr(pins.pin(number), "_set_state", fail)
        monkeypatch.setattr(pins.pin(number), "_get_state", fail)
    for is_on in (True, False):
        with pytest.raises(SwitchTrouble, match="cannot be used"):
            await switch.set(is_on)
    if off_pin < 0:
        with pytest.raises(SwitchTrouble, match="cannot be used"):
            await switch.state()


async def test_pin_in_use_is_trouble_that_may_pass(pins: Any) -> None:
    first, second = PinSwitch(17, active_low=False), PinSwitch(17, active_low=False)
    await first.set(True)
    with pytest.raises(SwitchTrouble, match="GPIO17 twice"):
        await second.set(True)
    await first.close()
    await second.set(True)


@pytest.mark.parametrize("active_low", [False, True])
async def test_latching_relay_gets_one_pulse_on_one_coil(pins: Any, active_low: bool) -> None:
    settings = SwitchSettings("gpio", pin=5, off_pin=6, pulse_ms=20, active_low=active_low)
    switch = open_switch(settings, None)
    await switch.set(True)
    coil, other = pins.pin(5), pins.pin(6)
    assert [one.state for one in coil.states][-2:] == [not active_low, active_low]
    assert other.state is active_low
    assert coil.states[-1].timestamp >= 0.02, "the pulse lasted"
    await switch.set(False)
    assert [one.state for one in other.states][-2:] == [not active_low, active_low]
    assert await switch.state() is None
    await switch.close()


async def test_coil_is_let_go_where_the_meter_stops_in_a_pulse(pins: Any) -> None:
    switch = LatchingSwitch(5, 6, pulse_s=60, active_low=False)
    task = asyncio.ensure_future(switch.set(True))
    await asyncio.sleep(0)
    assert pins.pin(5).state
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not pins.pin(5).state


async def test_relay_of_a_board(pins: Any) -> None:
    switch = open_switch(SwitchSettings("board", board="waveshare rpi relay board", relay=2), None)
    await switch.set(True)
    assert pins.pin(20).state is False, "this board is active low"


@pytest.mark.parametrize("name", ["RPICT3T1_RLY2", "RPICT3V1_RLY2"])
async def test_board_whose_pins_are_not_known(pins: Any, name: str) -> None:
    with pytest.raises(UserError, match=r"which GPIO pins .* is not known to this program.* set `pin`"):
        check_switch(SwitchSettings("board", board=name, relay=1), "relay")
    settings = SwitchSettings("board", board=name, relay=2, pin=23)
    check_switch(settings, "relay")
    await open_switch(settings, None).set(True)
    assert pins.pin(23).state


async def test_latching_relay_of_a_board(pins: Any) -> None:
    settings = SwitchSettings("board", board="RPICT3V1_RLY2", relay=1, pin=5, off_pin=6, pulse_ms=5)
    check_switch(settings, "relay")
    assert set(used_pins({"relay": settings})) == {5, 6}
    await open_switch(settings, None).set(True)
    assert [one.state for one in pins.pin(5).states][-2:] == [True, False], "its coil is not fed for ever"
    assert not pins.pin(6).state
    for wrong, message in (
        (replace(settings, off_pin=5), "a latching relay has two coils"),
        (SwitchSettings("board", board="PiRelay V2", off_pin=6), "leave it out, or set relay.pin as well"),
    ):
        with pytest.raises(UserError, match=message):
            check_switch(wrong, "relay")


def test_every_board_has_pins_that_exist_and_differ() -> None:
    for board in BOARDS:
        assert board.source
        if board.pins is not None:
            assert len(set(board.pins)) == board.relays
            assert [board_pin(board.name, number + 1, -1)[0] for number in range(board.relays)] == list(board.pins)
    with pytest.raises(UserError, match="has the relays 1 to 2, not 3"):
        board_pin("RPICT3T1_RLY2", 3, 4)
    with pytest.raises(UserError, match="no relay board"):
        board_pin("toaster", 1, 4)
