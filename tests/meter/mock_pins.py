"""gpiozero's mock pins in place of a Pi's: `with mock_pins() as pins: ...; pins.pin(17).drive_low()`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

gpiozero = pytest.importorskip("gpiozero", reason='needs gpiozero: pip install "wattchain[gpio]"')
mock = pytest.importorskip("gpiozero.pins.mock")


@contextmanager
def mock_pins() -> Iterator[Any]:
    """All pins that are opened within are mocks, of the MockFactory given; they are released at the end."""
    before = gpiozero.Device.pin_factory
    factory = mock.MockFactory()
    gpiozero.Device.pin_factory = factory
    try:
        yield factory
    finally:
        factory.reset()
        gpiozero.Device.pin_factory = before
