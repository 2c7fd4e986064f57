"""Relays on GPIO pins: one that a level holds, or a latching one with two coils that a pulse throws over.

A level ends with the program: the pin is an input then, and the relay falls into its resting position. Where the supply
must go on meanwhile, wire the contact that is closed at rest, or take a latching relay.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from meter.gpio import OutputPin, open_output
from meter.switches.switch import SwitchTrouble
from primitives.errors import UserError


class PinSwitch:
    """On while the pin is active."""

    def __init__(self, pin: int, *, active_low: bool) -> None:
        self._pin = pin
        self._active_low = active_low
        self._output: OutputPin | None = None

    async def set(self, is_on: bool) -> None:
        with _as_trouble():
            if self._output is None:
                # Opened with the first state, so that the relay does not click on the way to it.
                self._output = open_output(self._pin, is_on=is_on, active_high=not self._active_low)
            self._output.set(is_on)
            follows = self._output.is_on == is_on
        if not follows:
            raise SwitchTrouble(f"the pin GPIO{self._pin} does not follow: look for a short circuit at it")

    async def state(self) -> bool | None:
        with _as_trouble():
            return None if self._output is None else self._output.is_on

    async def close(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None


class LatchingSwitch:
    """Thrown over by a pulse on one of two pins; stays there without any program, and does not tell its state."""

    def __init__(self, on_pin: int, off_pin: int, *, pulse_s: float, active_low: bool) -> None:
        self._pins = {True: on_pin, False: off_pin}
        self._pulse_s = pulse_s
        self._active_low = active_low
        self._outputs: dict[bool, OutputPin] = {}

    async def set(self, is_on: bool) -> None:
        # Both are held inactive from the first moment on.
        with _as_trouble():
            for coil, pin in self._pins.items():
                if coil not in self._outputs:
                    self._outputs[coil] = open_output(pin, is_on=False, active_high=not self._active_low)
            output = self._outputs[is_on]
            output.set(True)
            try:
                # The coil's own time, on the wall's clock. It is not made to be fed longer: the end is never left out.
                await asyncio.sleep(self._pulse_s)
            finally:
                output.set(False)

    async def state(self) -> bool | None:
        return None

    async def close(self) -> None:
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()


@contextmanager
def _as_trouble() -> Iterator[None]:
    """Another program may let go of the pin, or the service get its permission: worth another try."""
    try:
        yield
    except UserError as error:
        raise SwitchTrouble(str(error)) from error
