"""What is recognised on a serial line, over real pseudo-terminals; and that noise is not."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.drivers.board_line import CSV, EMONCMS
from meter.pseudo_terminal import PseudoTerminal
from meter.setup.probe import DSMR, RPICT, SML, SPEECHES, probe, recognise
from primitives.clock import SystemClock

PLAIN_3V1 = b"11 1402.65 -0.31 0.00 6412.5 38.2 0.0 231.87"
FULL_3V1 = b"11 1402.65 1486.90 6412.5 231.87 0.943 0.0 0.0 38.2 231.87 0.0 0.0 0.0 0.0 231.87 0.0"
LINE_7V1 = b"11 1402.65 -0.31 0.00 12.0 5.5 0.0 0.0 6412.5 38.2 0.0 55.0 30.1 0.0 0.0 231.87"
LINE_3T1 = b"11 1387.42 0.00 0.00 31.2"
DSMR_LINES = b"/ISk5\\2MT382-1000\r\n\r\n1-3:0.2.8(50)\r\n1-0:1.8.1(000123.456*kWh)\r\n1-0:1.7.0(01.193*kW)\r\n"
SML_BYTES = bytes.fromhex("0011221b1b1b1b0101010176050000000162006200")
LISTEN_S = 0.5


@pytest.mark.parametrize(
    ("line", "first", "form"),
    [
        (LINE_3T1, "RPICT3T1", CSV),
        (PLAIN_3V1, "RPICT3V1", CSV),
        (PLAIN_3V1.replace(b" ", b","), "RPICT3V1", CSV),
        (FULL_3V1, "RPICT3V1-full", CSV),
        (LINE_7V1, "RPICT7V1", CSV),
        (b"11 nan nan nan nan nan nan 231.0", "RPICT3V1", CSV),
        (b"11 123 5 255 255 0 0 20 0", "RPICT3T1", EMONCMS),
        (b"11 1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0", "RPICT8", CSV),
    ],
)
def test_boards_by_their_lines(line: bytes, first: str, form: str) -> None:
    heard = recognise(b"rest of a line\r\n" + line + b"\r\n")
    assert heard is not None
    assert (heard.kind, heard.boards[0].name, heard.form) == (RPICT, first, form)


def test_a_line_of_an_order_of_ones_own() -> None:
    heard = recognise(b"\n11 1.5 2.5 3.5\n")
    assert heard is not None
    assert (heard.kind, heard.boards, heard.numbers) == (RPICT, (), 4)


@pytest.mark.parametrize(("data", "kind"), [(DSMR_LINES, DSMR), (SML_BYTES, SML)])
def test_meters_that_speak_by_themselves(data: bytes, kind: str) -> None:
    heard = recognise(data)
    assert heard is not None
    assert heard.kind == kind


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN_3V1,  # not a whole line
        b"2.65 -0.31 0.00 6412.5 38.2 0.0 231.87\r\n",  # the rest of one
        b"\n300 1.0 2.0 3.0 4.0\n",
        b"\n0 1.0 2.0 3.0 4.0\n",
        b"\n11 1.0 2.0\n",
        b"\n11 1402.65 Volts 0.00 6412.5\n",
        b"login: \r\nRaspberry Pi OS\r\n",
        b"/ISk5\\2MT382-1000\r\n\r\n",
        b"\x1b\x1b\x1b\x1b\x01\x01\x01",
    ],
)
def test_what_is_not_certain(data: bytes) -> None:
    assert recognise(data) is None


@given(st.binary(max_size=400))
def test_noise_is_never_taken_for_a_board(data: bytes) -> None:
    assert recognise(data) is None


@asynccontextmanager
async def speaking(folder: Path, data: bytes, name: str = "board") -> AsyncIterator[str]:
    """A port at which these bytes come again and again."""
    port = PseudoTerminal(folder / name)
    port.plug()

    async def speak() -> None:
        while True:
            port.send_now(data)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(speak())
    try:
        yield str(port.path)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        port.unplug()


@pytest.mark.parametrize(
    ("data", "kind"), [(PLAIN_3V1 + b"\r\n", RPICT), (DSMR_LINES + b"!1234\r\n", DSMR), (SML_BYTES, SML)]
)
async def test_a_port_that_speaks(tmp_path: Path, data: bytes, kind: str) -> None:
    told: list[str] = []
    async with speaking(tmp_path, data) as port:
        outcome = await probe([port], SystemClock(), LISTEN_S, told.append)
    (found,) = outcome.found
    assert (found.port, found.heard.kind, outcome.troubles) == (port, kind, {})
    assert port in told[0]


async def test_each_port_is_judged_alone(tmp_path: Path) -> None:
    silent = PseudoTerminal(tmp_path / "silent")
    silent.plug()
    async with speaking(tmp_path, PLAIN_3V1 + b"\r\n") as port:
        outcome = await probe([str(tmp_path / "none"), str(silent.path), port], SystemClock(), 0.05)
        assert [found.port for found in outcome.found] == [port]
    silent.unplug()
    assert "there is no serial port" in outcome.troubles[str(tmp_path / "none")]
    assert outcome.troubles[str(silent.path)] == f"nothing came from {silent.path} within 0.05 s"


async def test_noise_is_listened_to_at_each_speed_and_never_for_long(tmp_path: Path) -> None:
    told: list[str] = []
    async with speaking(tmp_path, b"\xff\x00noise" * 300) as port:
        outcome = await probe([port], SystemClock(), LISTEN_S, told.append)
    assert outcome.found == []
    assert "nothing known was heard" in outcome.troubles[port]
    assert len(told) == len(SPEECHES)


async def test_nothing_is_ever_sent(tmp_path: Path) -> None:
    """A Modbus meter, or a board that takes orders, must not be upset."""
    near, far = os.openpty()
    os.set_blocking(near, False)
    try:
        await probe([os.ttyname(far)], SystemClock(), 0.05)
        with pytest.raises(BlockingIOError):
            os.read(near, 1)
    finally:
        os.close(near)
        os.close(far)
