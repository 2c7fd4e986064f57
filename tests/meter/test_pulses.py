"""Pulses on gpiozero's mock pins: every one counts, bounces do not, and no remainder of a Wh is lost."""

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.drivers.catalogue import driver_kind, open_section
from meter.drivers.measurement import Measurement, Source
from meter.drivers.pulses import PulseCounter, PulseDevice, PulsesSettings, open_device
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.mock_pins import mock_pins

PIN, EXPORT_PIN = 17, 27


@pytest.fixture
def pins() -> Iterator[Any]:
    with mock_pins() as factory:
        yield factory


def pulse(pins: Any, pin: int = PIN, count: int = 1, clock: ManualClock | None = None, every_s: float = 0) -> None:
    for _ in range(count):
        pins.pin(pin).drive_low()
        pins.pin(pin).drive_high()
        if clock is not None:
            clock.now_s += every_s


def opened(clock: ManualClock, **changes: object) -> PulseDevice:
    chosen = PulsesSettings(**{"pin": PIN, "pulses_per_kwh": 1000, "debounce_ms": 0, **changes})  # type: ignore[arg-type]
    chosen.check()
    return open_device(chosen, clock)


async def next_of(device: PulseDevice, clock: ManualClock) -> Measurement:
    reading = asyncio.create_task(device.read())
    await asyncio.sleep(0)
    clock.advance_s(device.interval_s)
    measurement = await reading
    assert measurement is not None
    return measurement


async def test_pulses_are_energy_and_their_distance_is_power(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock, export_pin=EXPORT_PIN)
    assert device.source is Source.COUNTER
    first = await device.read()
    assert first == Measurement(clock.elapsed_ms(), 0, 0, 0)
    pulse(pins, PIN, 5, clock, every_s=2)
    measurement = await next_of(device, clock)
    assert (measurement.import_mwh, measurement.export_mwh) == (5_000, 0)
    # A pulse every 2 s is 1800 W; but the next has kept us waiting for a while already.
    assert measurement.power_mw == 10**6 * 3_600_000 // (1000 * 12_000)
    pulse(pins, EXPORT_PIN, 3, clock, every_s=1)
    pulse(pins, PIN)
    measurement = await next_of(device, clock)
    assert (measurement.import_mwh, measurement.export_mwh) == (6_000, 3_000)
    await device.close()


async def test_no_remainder_is_lost(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock, pulses_per_kwh=3)
    await device.read()
    told = []
    for _ in range(6):
        pulse(pins)
        told.append((await next_of(device, clock)).import_mwh)
    assert told == [333_333, 666_666, 1_000_000, 1_333_333, 1_666_666, 2_000_000]
    await device.close()


@settings(max_examples=30)
@given(st.integers(1, 20_000), st.lists(st.integers(0, 40), max_size=8))
def test_the_count_is_the_sum_whatever_comes_when(per_kwh: int, batches: list[int]) -> None:
    async def play() -> None:
        clock = ManualClock()
        with mock_pins() as pins:
            device = opened(clock, pulses_per_kwh=per_kwh)
            await device.read()
            total = 0
            for batch in batches:
                pulse(pins, PIN, batch)
                total += batch
                assert (await next_of(device, clock)).import_mwh == total * 10**6 // per_kwh
            await device.close()

    asyncio.run(play())


async def test_power_ends_with_the_pulses(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock, interval_s=Decimal(300))
    await device.read()
    pulse(pins, PIN, 2, clock, every_s=1)
    assert (await next_of(device, clock)).power_mw == 10**6 * 3_600_000 // (1000 * 301_000)
    await next_of(device, clock)
    assert (await next_of(device, clock)).power_mw == 0
    await device.close()


async def test_a_pin_that_bounces(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock, debounce_ms=200)
    await device.read()
    pulse(pins, PIN, 5, clock, every_s=0.03)
    clock.now_s += 1
    pulse(pins, PIN, 2)
    assert (await next_of(device, clock)).import_mwh == 2_000
    await device.close()


async def test_an_output_that_connects_to_the_supply(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock, pull="down")
    await device.read()
    pins.pin(PIN).drive_high()
    pins.pin(PIN).drive_low()
    assert (await next_of(device, clock)).import_mwh == 1_000
    await device.close()


async def test_it_tells_once_an_interval_and_makes_nothing_up(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock)
    await device.read()
    clock.now_s += 1000  # the program was held up
    await device.read()
    reading = asyncio.create_task(device.read())
    await asyncio.sleep(0)
    clock.advance_s(9)
    await asyncio.sleep(0)
    assert not reading.done()
    clock.advance_s(1)
    await reading
    await device.close()


def test_pulses_come_from_a_thread() -> None:
    counter = PulseCounter(ManualClock())
    threads = [threading.Thread(target=counter.changed, args=(True,)) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    counter.changed(False)
    assert counter.read() == (3, 0)


async def test_pins_are_released(pins: Any) -> None:
    clock = ManualClock()
    device = opened(clock)
    with pytest.raises(UserError, match="use the pin GPIO17 twice"):
        opened(clock)
    await device.close()
    again = opened(clock, pin=EXPORT_PIN, export_pin=PIN)
    with pytest.raises(UserError, match="twice"):
        opened(clock, pin=5, export_pin=PIN)
    opened_again = opened(clock, pin=5)  # what the failed one had taken is free again
    await opened_again.close()
    await again.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pin": 40}, "driver.pin must be from 0 to 27"),
        ({"export_pin": PIN}, "each output needs a pin of its own"),
        ({"pulses_per_kwh": 0}, "driver.pulses_per_kwh must be from 1"),
        ({"debounce_ms": 5000}, "driver.debounce_ms"),
        ({"interval_s": Decimal(0)}, "driver.interval_s"),
        ({"pull": "left"}, "choose one of up, down, none"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(ManualClock(), **changes)


async def test_its_kind(pins: Any) -> None:
    chosen = driver_kind("pulses").settings_type()(pin=PIN, pulses_per_kwh=800)
    device = open_section(chosen, ManualClock())
    assert isinstance(device, PulseDevice)
    await device.close()
