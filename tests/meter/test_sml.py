"""SML over a real pair of pseudo-terminals: exact values, damaged frames, and frames that nobody made by mistake."""

import asyncio
import random
from collections.abc import Awaitable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sml", reason='needs pysml: pip install "wattchain[sml]"')

from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.sml import MAX_FRAME_BYTES, SmlDevice, SmlSettings, open_device
from meter.serial_line import Chunk
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.serial_pair import SerialPair, let_open
from tests.meter.sml_frames import (
    AMPERE,
    CURRENT_3,
    ESCAPE,
    EXPORT,
    IMPORT,
    POWER,
    VOLT,
    VOLTAGE_1,
    WATT,
    WH,
    Entry,
    frame,
    message,
    messages,
    transport,
)

LIMIT_S = 10
T = TypeVar("T")
USUAL = (
    Entry(IMPORT, WH, -1, 123_456_789),
    Entry(EXPORT, WH, -1, 1_005),
    Entry(POWER, WATT, 0, -342, width=4),
    Entry(VOLTAGE_1, VOLT, -1, 2314, width=2, is_signed=False),
    Entry(CURRENT_3, AMPERE, -2, 175, width=2, is_signed=False),
)


async def within(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await waiting


def device_at(pair: SerialPair) -> SmlDevice:
    return open_device(SmlSettings(port=pair.port), SystemClock())


async def first(pair: SerialPair, device: SmlDevice, data: bytes) -> Measurement:
    reading = asyncio.create_task(device.read())
    await let_open()
    await pair.send(data)
    measurement = await within(reading)
    assert measurement is not None
    return measurement


class Played:
    """A wire without a port, for what does not depend on one."""

    place = "here"

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)

    async def read(self) -> Chunk:
        if not self._chunks:
            raise DeviceTrouble("nothing more")
        return Chunk(0, self._chunks.pop(0), False)

    def close(self) -> None:
        self._chunks.clear()


async def played(*chunks: bytes) -> Measurement | None:
    return await SmlDevice(Played(*chunks), 1.0).read()


async def test_a_frame(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        assert device.source is Source.REGISTER
        measurement = await first(pair, device, frame(USUAL)[30:] + frame(USUAL))
        await device.close()
    assert (measurement.import_mwh, measurement.export_mwh) == (12_345_678_900, 100_500)
    assert measurement.power_mw == -342_000
    assert measurement.values == (("voltage_1_mv", 231_400), ("current_3_ma", 1_750))
    assert measurement.device_id == "1 LGZ00 5037 7127"


@given(st.integers(0, 10**14), st.integers(-4, 3))
def test_registers_are_exact(value: int, exponent: int) -> None:
    exact = Decimal(value).scaleb(exponent) * 1000
    measurement = asyncio.run(played(frame([Entry(IMPORT, WH, exponent, value)]))) if exact <= 10**15 else None
    if measurement is not None:
        assert measurement.import_mwh == round(exact)
        assert (measurement.export_mwh, measurement.power_mw) == (None, None)


async def test_before_the_pin_a_meter_tells_whole_kwh() -> None:
    measurement = await played(frame([Entry(IMPORT, WH, 3, 5702, width=5)]))
    assert measurement is not None
    assert (measurement.import_mwh, measurement.power_mw) == (5_702_000_000, None)


@pytest.mark.parametrize(
    ("odd", "power_mw"),
    [
        (Entry(CURRENT_3, AMPERE, -2, -175), -342_000),
        (Entry(CURRENT_3, None, 0, 5), -342_000),
        (Entry(POWER, AMPERE, 0, 5), None),
        (Entry(POWER, WATT, 0, b"5"), None),
    ],
)
async def test_a_value_that_makes_no_sense_costs_no_register(odd: Entry, power_mw: int | None) -> None:
    power = [] if power_mw is None else [Entry(POWER, WATT, 0, -342)]
    measurement = await played(frame([Entry(IMPORT, WH, 0, 5), *power, odd]))
    assert measurement is not None
    assert (measurement.import_mwh, measurement.power_mw, measurement.values) == (5000, power_mw, ())


async def test_bytes_that_look_like_an_escape() -> None:
    value = int.from_bytes(b"\x00\x00\x00" + ESCAPE + b"\x1a", "big")
    measurement = await played(frame([Entry(IMPORT, WH, -4, value)]))
    assert measurement is not None
    assert measurement.import_mwh == round(Decimal(value) / 10)


@pytest.mark.parametrize(
    "wrong",
    [
        frame(USUAL)[:-1] + b"\0",
        frame(USUAL).replace(b"\x52\xff\x59", b"\x52\x00\x59"),
        transport(messages(USUAL).replace(b"\x52\xff\x59", b"\x52\x00\x59")),
        frame([Entry(IMPORT, WH, 127, 1)]),
        frame([Entry(IMPORT, WH, -128, 1)]),
        frame([Entry(IMPORT, WH, 0, -5)]),
        frame([Entry(IMPORT, WH, 0, b"123")]),
        frame([Entry(IMPORT, WATT, 0, 123)]),
        frame([Entry(IMPORT, None, 0, 123)]),
        frame([Entry(IMPORT, WH, 0, 10**13)]),
        frame([Entry(POWER, WATT, 0, 123)]),
        frame([]),
        frame(USUAL, b""),
        transport(b"\x71" * 4000),
        transport(message(1, 0x0701, b"\xf1" + b"\x8f" * 3000)),
        transport(message(1, 0x0701, b"\x77" + b"\x01" * 7)),
        # An exponent of 2^62: whoever computes ten to its power does nothing else any more.
        transport(messages(USUAL).replace(b"\x62\x1e\x52\xff", b"\x62\x1e\x59\x40" + b"\0" * 7)),
    ],
)
async def test_what_is_damaged_or_a_lie_is_dropped_and_counted(wrong: bytes) -> None:
    device = SmlDevice(Played(wrong + frame(USUAL)), 1.0)
    measurement = await within(device.read())
    assert measurement is not None
    assert (measurement.import_mwh, device.dropped) == (12_345_678_900, 1)


async def test_lying_exponent_with_right_checksums() -> None:
    entry = b"\x77\x07" + IMPORT + b"\x01\x01\x62\x1e\x59\x40" + b"\0" * 7 + b"\x52\x05\x01"
    body = b"\x77\x01\x0b" + b"\x0a\x01LGZ\0\1\2\3\4" + b"\x01\x01\x71" + entry + b"\x01\x01"
    device = SmlDevice(Played(transport(message(1, 0x0701, body)) + frame(USUAL)), 1.0)
    assert await within(device.read()) is not None
    assert device.dropped == 1


@pytest.mark.parametrize("seed", range(3))
async def test_torn_pieces_and_noise_in_between(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    expected = [number * 1000 for number in range(1, 41)]
    sent = bytearray(frame(USUAL)[50:])
    for value in expected:
        if chance.random() < 0.3:
            sent += chance.randbytes(chance.randint(1, 80))
        if chance.random() < 0.2:
            sent += frame(USUAL)[: chance.randint(1, 150)]
        sent += frame([Entry(IMPORT, WH, 0, value // 1000)])
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)

        async def collect() -> list[int]:
            found: list[int] = []
            while len(found) < len(expected):
                measurement = await device.read()
                assert measurement is not None
                found.append(measurement.import_mwh or -1)
            return found

        collecting = asyncio.create_task(collect())
        await let_open()
        while sent:
            size = chance.randint(1, 200)
            await pair.send(bytes(sent[:size]))
            del sent[:size]
        assert await within(collecting) == expected
        await device.close()


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 260), st.integers(0, 255))
def test_no_bytes_end_the_driver(before: bytes, between: bytes, place: int, byte: int) -> None:
    changed = bytearray(messages(USUAL))
    changed[place % len(changed)] = byte
    wrong = [before, transport(bytes(changed)), between, transport(message(1, 0x0701, between))]
    measurement = asyncio.run(played(*wrong, b"\0" * 8 + frame(USUAL)))
    assert measurement is not None


async def test_unplugged_and_plugged_again(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        await first(pair, device, frame(USUAL) + frame(USUAL)[:100])
        reading = asyncio.create_task(device.read())
        await let_open()
        pair.unplug()
        with pytest.raises(DeviceTrouble, match=r"is gone|no device answers"):
            await within(reading)
        pair.plug()
        measurement = await first(pair, device, frame(USUAL)[100:] + frame([Entry(IMPORT, WH, 0, 7)]))
        assert measurement.import_mwh == 7000
        await device.close()


async def test_what_is_no_sml_is_said() -> None:
    with pytest.raises(DeviceTrouble, match="bytes but no SML"):
        await played(*[b"/?!\r\n" * 100] * (MAX_FRAME_BYTES // 500 + 1))
    with pytest.raises(DeviceTrouble, match="10 frames in a row"):
        await played(*[frame(USUAL)[:-1] + b"\0"] * 10)


def test_settings() -> None:
    SmlSettings().check()
    SmlSettings(host="head.local").check()
    assert SmlSettings().serial().baud_rate == 9600
    for settings, message_ in (
        (SmlSettings(port=""), "driver.port"),
        (SmlSettings(host="h", tcp_port=99_999), "driver.tcp_port"),
        (SmlSettings(interval_s=Decimal(0)), "driver.interval_s"),
    ):
        with pytest.raises(UserError, match=message_):
            settings.check()
