"""GPIO pins of a Raspberry Pi, by gpiozero: open one for output or input, and say in words why that does not work.

Pins are numbered as the Pi's makers do (BCM: 17 is GPIO17). gpiozero is loaded with the first pin only; tests put its
mock pins in place (tests/meter/mock_pins.py). A closed pin, also one of a program that has ended, is an input again: a
relay on it falls into its resting position.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from primitives.errors import NeedsPerson, UserError

MAX_PIN = 27
"""GPIO0 to GPIO27 are on the header of every Pi with 40 pins."""

Pull = Literal["up", "down", "none"]
PULLS: tuple[Pull, ...] = ("up", "down", "none")

_PULL_UP: dict[Pull, bool | None] = {"up": True, "down": False, "none": None}


class OutputPin:
    """A pin that this program drives. What it is asked raises UserError where the pin fails."""

    def __init__(self, device: Any, pin: int) -> None:
        self._device = device
        self._pin = pin

    @property
    def is_on(self) -> bool:
        """As the pin itself tells."""
        with _plainly(load_library(), self._pin):
            return bool(self._device.value)

    def set(self, is_on: bool) -> None:
        with _plainly(load_library(), self._pin):
            if is_on:
                self._device.on()
            else:
                self._device.off()

    def close(self) -> None:
        self._device.close()


class InputPin:
    """A pin that something else drives."""

    def __init__(self, device: Any) -> None:
        self._device = device

    @property
    def is_active(self) -> bool:
        return bool(self._device.value)

    def close(self) -> None:
        self._device.close()


def open_output(pin: int, *, is_on: bool, active_high: bool = True) -> OutputPin:
    """Drive a pin, in this state from the first moment. Raises UserError."""
    gpiozero = load_library()
    with _plainly(gpiozero, pin):
        return OutputPin(gpiozero.DigitalOutputDevice(pin, active_high=active_high, initial_value=is_on), pin)


def open_input(
    pin: int,
    *,
    pull: Pull = "up",
    active_high: bool = True,
    bounce_s: float | None = None,
    on_change: Callable[[bool], None] | None = None,
) -> InputPin:
    """Watch a pin. Raises UserError.

    With a pull-up it is active while connected to ground, with a pull-down while connected to 3.3 V; `active_high`
    counts with neither. Changes that come within `bounce_s` of another are left out. `on_change` is called with the
    new state in a thread of gpiozero, so it has to be quick, and must not touch what the event loop owns.
    """
    gpiozero = load_library()
    active_state = active_high if pull == "none" else None
    with _plainly(gpiozero, pin):
        device = gpiozero.DigitalInputDevice(
            pin, pull_up=_PULL_UP[pull], active_state=active_state, bounce_time=bounce_s
        )
    if on_change is not None:
        device.when_activated = lambda: on_change(True)
        device.when_deactivated = lambda: on_change(False)
    return InputPin(device)


def load_library() -> Any:
    """gpiozero. Raises UserError where it is not installed."""
    try:
        import gpiozero
    except ModuleNotFoundError as error:
        raise NeedsPerson(f'GPIO pins need the library {error.name}: pip install "wattchain[gpio]"') from error
    return gpiozero


@contextmanager
def _plainly(gpiozero: Any, pin: int) -> Iterator[None]:
    """What can go wrong with a pin, as a UserError that says what to do."""
    # Of the library below gpiozero, which has an error of its own; not loaded where another one is used.
    library_error = getattr(sys.modules.get("lgpio"), "error", gpiozero.GPIOZeroError)
    try:
        with warnings.catch_warnings():
            # That it tries one library after the other concerns nobody; that none works is told below.
            warnings.simplefilter("ignore", gpiozero.PinFactoryFallback)
            yield
    except gpiozero.BadPinFactory as error:
        raise UserError(_no_pins_reason()) from error
    except gpiozero.PinInvalidPin as error:
        raise NeedsPerson(f"there is no pin GPIO{pin}: pins are numbered from 0 to {MAX_PIN} (BCM)") from error
    except gpiozero.GPIOPinInUse as error:
        raise NeedsPerson(f"the settings use the pin GPIO{pin} twice: give each use a pin of its own") from error
    except (gpiozero.GPIOZeroError, library_error, OSError) as error:
        if "busy" in str(error).lower():
            raise UserError(f"another program uses the pin GPIO{pin}: stop it, or choose another pin") from error
        raise UserError(f"the pin GPIO{pin} cannot be used: {error}") from error


def _no_pins_reason(devices: Path = Path("/dev")) -> str:
    chips = sorted(devices.glob("gpiochip*"))
    if not chips:
        return "this computer has no GPIO pins (there is no /dev/gpiochip0): choose a relay or sensor without them"
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return (
            f"no permission to use the GPIO pins ({chips[0]}): put the user that runs the meter into the group gpio "
            "(sudo usermod -aG gpio USER), then log in again or restart the service"
        )
    return 'the library lgpio, by which gpiozero reaches the pins, does not work here: pip install "wattchain[gpio]"'
