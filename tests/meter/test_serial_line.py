"""Bytes and lines over a real pair of pseudo-terminals: whole, torn, endless, silent, unplugged and plugged again."""

import asyncio
import os
from collections.abc import Awaitable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meter.serial_line as serial_line
from meter.drivers.measurement import DeviceTrouble
from meter.serial_line import Chunk, Line, PortSettings, SerialLines, SerialPort
from primitives.clock import ManualClock, SystemClock
from primitives.errors import UserError
from tests.meter.serial_pair import MisbehavingDevice, SerialPair, let_open
from wallet.settings_file import check_ranges

LIMIT_S = 10
T = TypeVar("T")


def lines_of(pair: SerialPair, **settings: object) -> SerialLines:
    return SerialLines(SerialPort(PortSettings(pair.port, **settings), SystemClock()))  # type: ignore[arg-type]


async def within(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await waiting


async def read_all(lines: SerialLines, count: int) -> list[bytes]:
    return [(await lines.read()).data for _ in range(count)]


async def test_first_line_is_thrown_away_and_the_rest_comes_whole(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair)
        reading = asyncio.create_task(read_all(lines, 3))
        await let_open()
        await pair.send(b"7.42 0.00\r\n11 1.0\r\n\r\n  \r\n11 2.0\n11 ")
        await pair.send(b"3.0\r\n")
        assert await within(reading) == [b"11 1.0", b"11 2.0", b"11 3.0"]
        lines.close()
        assert not lines.port.is_open


@pytest.mark.parametrize("seed", range(5))
async def test_torn_and_noisy_wire(tmp_path: Path, seed: int) -> None:
    expected = [b"11 %d.5 nan -0.0" % number for number in range(200)]
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair)
        got: list[bytes] = []

        async def collect() -> None:
            while len(got) < len(expected):
                line = (await lines.read()).data
                if line.startswith(b"11 "):
                    got.append(line)

        reading = asyncio.create_task(collect())
        await let_open()
        await within(MisbehavingDevice(pair, seed).play(expected))
        await within(reading)
        assert got == expected
        lines.close()


async def test_line_is_stamped_when_it_arrives_not_when_it_is_read(tmp_path: Path) -> None:
    clock = ManualClock()
    with SerialPair(tmp_path) as pair:
        lines = SerialLines(SerialPort(PortSettings(pair.port), clock))
        reading = asyncio.create_task(lines.read())
        await let_open()
        begin_ms = clock.elapsed_ms()
        clock.advance_s(5)
        await pair.send(b"cut\r\nfirst\r\n")
        assert await within(reading) == Line(begin_ms + 5000, b"first")
        lines.port._news.clear()
        clock.advance_s(5)
        await pair.send(b"second\r\n")
        await within(lines.port._news.wait())
        clock.advance_s(60)
        assert await within(lines.read()) == Line(begin_ms + 10_000, b"second")
        lines.close()


async def test_unplugged_and_plugged_again(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair)
        reading = asyncio.create_task(lines.read())
        await let_open()
        await pair.send(b"cut\r\nwhole\r\n11 4")
        assert (await within(reading)).data == b"whole"
        pair.unplug()
        with pytest.raises(DeviceTrouble, match=r"ttyBoard is gone, unplugged or without power: plug it in again"):
            await within(lines.read())
        with pytest.raises(DeviceTrouble, match=r"there is no serial port .*raspi-config"):
            await within(lines.read())
        pair.plug()
        reading = asyncio.create_task(lines.read())
        await let_open()
        # What was begun before the cable was pulled is not glued to what comes after.
        await pair.send(b"2.5\r\n11 5.0\r\n")
        assert (await within(reading)).data == b"11 5.0"
        lines.close()


async def test_silent_wire(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair, silence_s=Decimal("0.02"))
        with pytest.raises(DeviceTrouble, match=r"nothing came from .* for 0.02 s.*serial console.*disable-bt"):
            await within(lines.read())
        assert not lines.port.is_open


async def test_too_long_line_is_thrown_away(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair)
        reading = asyncio.create_task(read_all(lines, 2))
        await let_open()
        await pair.send(b"cut\r\n" + b"1" * 1025 + b"\r\ngood\r\n" + b"2" * 20_000 + b"\r\nbetter\r\n")
        assert await within(reading) == [b"good", b"better"]
        assert lines.thrown_away == 2
        lines.close()


async def test_babble_without_an_end(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair)
        reading = asyncio.create_task(lines.read())
        await let_open()
        sending = asyncio.create_task(pair.send(b"\xff" * 200_000))
        with pytest.raises(DeviceTrouble, match="sends bytes but no lines: the baud rate"):
            await within(reading)
        sending.cancel()
        assert len(lines._begun) <= 1024 + 4096
        lines.close()


async def test_slow_reader_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_line, "MAX_WAITING_BYTES", 100)
    with SerialPair(tmp_path) as pair:
        lines = lines_of(pair)
        reading = asyncio.create_task(lines.read())
        await let_open()
        await pair.send(b"cut\r\nfirst\r\n")
        await within(reading)
        for number in range(20):
            await pair.send(b"%03d......\r\n" % number)
            await asyncio.sleep(0.001)
        await pair.send(b"the last line\r\n")
        got = []
        while got[-1:] != [b"the last line"]:
            got.append((await within(lines.read())).data)
        assert len(got) < 15
        assert all(line == b"the last line" or len(line) == 9 for line in got)
        lines.close()


async def test_port_of_another_program(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        first, second = lines_of(pair), lines_of(pair)
        reading = asyncio.create_task(first.read())
        await let_open()
        with pytest.raises(DeviceTrouble, match=r"another program uses the serial port .*serial console"):
            await within(second.read())
        reading.cancel()
        first.close()


async def test_port_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("11 1 2 3")
    for name in ("file", "."):
        port = SerialPort(PortSettings(str(tmp_path / name)), SystemClock())
        with pytest.raises(DeviceTrouble, match="cannot be used as a serial port"):
            await port.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every port")
async def test_port_without_permission(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        os.chmod(pair.path, 0)
        with pytest.raises(DeviceTrouble, match="usermod -a -G dialout"):
            await SerialPort(PortSettings(pair.port), SystemClock()).read()


def test_permission_is_told_in_plain_words() -> None:
    told = serial_line.why_not_open("/dev/ttyAMA0", PermissionError(13, "Permission denied"))
    assert "may not use the serial port /dev/ttyAMA0: `sudo usermod -a -G dialout" in told


@given(st.lists(st.binary(max_size=60), max_size=30), st.integers(1, 40))
def test_any_bytes_make_bounded_lines(pieces: list[bytes], limit: int) -> None:
    lines = SerialLines(SerialPort(PortSettings("nowhere"), ManualClock()), limit)
    for number, piece in enumerate(pieces):
        if piece:
            lines._add(Chunk(0, piece, number == 0))
    whole = b"".join(pieces).split(b"\n")[1:-1]
    stripped = [line.strip(b"\r\n \t\0") for line in whole]
    assert [line.data for line in lines._lines] == [line for line in stripped if 0 < len(line) <= limit]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PortSettings(port=""), "name a serial port such as /dev/ttyAMA0"),
        (PortSettings(parity="maybe"), "driver.parity is 'maybe'; choose one of none, even, odd"),
        (PortSettings(baud_rate=0), "driver.baud_rate must be from 50"),
        (PortSettings(data_bits=9), "driver.data_bits must be from 5 to 8"),
        (PortSettings(silence_s=Decimal(0)), "driver.silence_s must be from 0.1 to 86400"),
    ],
)
def test_settings_that_make_no_sense(settings: PortSettings, message: str) -> None:
    def check() -> None:
        settings.check()
        check_ranges(settings.ranges())

    with pytest.raises(UserError, match=message):
        check()
