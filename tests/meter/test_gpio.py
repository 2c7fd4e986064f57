"""GPIO pins by gpiozero's mock pins: driven from the first moment, watched, and every refusal in words."""

import builtins
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meter.gpio as gpio
from meter.gpio import open_input, open_output
from primitives.errors import UserError
from tests.meter.mock_pins import gpiozero, mock_pins


@pytest.fixture
def pins() -> Iterator[Any]:
    with mock_pins() as factory:
        yield factory


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("is_on", [True, False])
def test_output_has_its_state_from_the_first_moment(pins: Any, active_high: bool, is_on: bool) -> None:
    pin = open_output(17, is_on=is_on, active_high=active_high)
    assert pin.is_on is is_on
    assert pins.pin(17).state is (is_on is active_high)
    assert len(pins.pin(17).states) <= 2, "no glitch on the way"
    pin.set(not is_on)
    assert pin.is_on is not is_on
    pin.close()
    assert pins.pin(17).function == "input"


def test_input_tells_changes(pins: Any) -> None:
    told: list[bool] = []
    pin = open_input(4, pull="up", on_change=told.append)
    assert not pin.is_active
    pins.pin(4).drive_low()
    assert pin.is_active
    pins.pin(4).drive_high()
    assert told == [True, False]
    pin.close()


def test_input_with_a_pull_of_its_own(pins: Any) -> None:
    pin = open_input(4, pull="none", active_high=False, bounce_s=0.01)
    pins.pin(4).drive_low()
    assert pin.is_active
    assert open_input(5, pull="down").is_active is False


def test_the_same_pin_twice(pins: Any) -> None:
    first = open_output(17, is_on=False)
    with pytest.raises(UserError, match="the settings use the pin GPIO17 twice"):
        open_input(17)
    first.close()
    open_input(17)


def test_no_such_pin(pins: Any) -> None:
    with pytest.raises(UserError, match="there is no pin GPIO99"):
        open_output(99, is_on=False)


def test_pin_of_another_program(pins: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class BusyLibrary:
        class error(Exception):
            pass

    def busy(*_args: object, **_more: object) -> None:
        raise BusyLibrary.error("GPIO busy")

    monkeypatch.setitem(sys.modules, "lgpio", BusyLibrary)  # type: ignore[arg-type]
    monkeypatch.setattr(gpiozero, "DigitalOutputDevice", busy)
    with pytest.raises(UserError, match="another program uses the pin GPIO17"):
        open_output(17, is_on=False)


def test_library_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "gpiozero":
            raise ModuleNotFoundError("No module named 'gpiozero'", name="gpiozero")
        return load(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'gpiozero: pip install "wattchain\[gpio\]"'):
        open_output(17, is_on=False)


def test_computer_without_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_args: object, **_more: object) -> None:
        raise gpiozero.BadPinFactory("Unable to load any default pin factory!")

    monkeypatch.setattr(gpiozero, "DigitalInputDevice", nothing)
    with pytest.raises(UserError, match="GPIO pins"):
        open_input(17)


def test_why_there_are_no_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "this computer has no GPIO pins" in gpio._no_pins_reason(tmp_path)
    (tmp_path / "gpiochip0").touch()
    assert "lgpio" in gpio._no_pins_reason(tmp_path)
    monkeypatch.setattr(gpio.os, "access", lambda *_args: False)
    assert "group gpio" in gpio._no_pins_reason(tmp_path)
