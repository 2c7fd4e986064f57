"""Bytes over TCP: connected again after each failure, and silence is told."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest

from meter import tcp_line
from meter.drivers.measurement import DeviceTrouble
from meter.tcp_line import TcpLine, TcpSettings
from primitives.clock import SystemClock
from primitives.errors import UserError

HOST = "127.0.0.1"


async def test_what_comes_and_when_it_was_torn() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"one")
        await asyncio.sleep(0.01)
        writer.write(b"two")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        line = TcpLine(TcpSettings(HOST, port, Decimal("0.2")), SystemClock())
        assert line.place == f"{HOST}:{port}"
        first, second = await line.read(), await line.read()
        assert (first.data, first.is_torn, second.data, second.is_torn) == (b"one", True, b"two", False)
        with pytest.raises(DeviceTrouble, match="was silent for"):
            await line.read()
        await asyncio.wait_for(ended.wait(), 5)
        ended.clear()
        assert (await line.read()).is_torn
        line.close()
        line.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_line, "CONNECT_TIMEOUT_S", 0.1)
    with pytest.raises(DeviceTrouble, match="no connection to the device"):
        await TcpLine(TcpSettings(HOST, 1), SystemClock()).read()
    with pytest.raises(DeviceTrouble, match=r"no connection to|did not answer"):
        await TcpLine(TcpSettings("x" * 70, 80), SystemClock()).read()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TcpSettings("", 1), "driver.host"),
        (TcpSettings("a b", 1), "driver.host"),
        (TcpSettings("a", 0), "driver.tcp_port"),
        (TcpSettings("a", 1, Decimal(0)), "driver.silence_s"),
    ],
)
def test_mistakes_are_named(settings: TcpSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()
