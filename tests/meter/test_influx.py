"""Line protocol to a real HTTP server, a real UDP socket and a file; escapes are undone by a reader of the protocol."""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter import influx
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import Measurement
from meter.influx import InfluxExport, InfluxSettings, encode_line
from meter.live import Observation
from primitives.clock import ManualClock, SystemClock
from primitives.errors import UserError

LIMIT_S = 10
HOST = "127.0.0.1"
NOW_S = 1_700_000_000
text = st.text(st.sampled_from('ab ,=\\"é'), min_size=1, max_size=8).filter(lambda one: not one.endswith("\\"))


def seen(import_wh: int, values: tuple[tuple[str, int], ...] = ()) -> Observation:
    sample = Sample(Registers(NOW_S + import_wh, import_wh, 2), -7, StatusFlag.GAP, b"")
    return Observation(sample, Measurement(0, values=values))


def read_line(line: str) -> tuple[str, dict[str, str], dict[str, int], int]:
    """As the specification tells a reader to: only a backslash before one of these characters is an escape."""
    key, fields, time = re.split(r"(?<!\\) ", line)
    measurement, *tags = re.split(r"(?<!\\),", key)
    tag_pairs = [re.split(r"(?<!\\)=", tag) for tag in tags]
    field_pairs = [re.split(r"(?<!\\)=", field) for field in re.split(r"(?<!\\),", fields)]
    return (
        re.sub(r"\\([, ])", r"\1", measurement),
        {_plain(name): _plain(value) for name, value in tag_pairs},
        {_plain(name): int(value.removesuffix("i")) for name, value in field_pairs},
        int(time),
    )


def _plain(escaped: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", escaped)


def test_a_line() -> None:
    export = InfluxExport(InfluxSettings(file=Path("x"), tags=("home=the attic",)), "0xAb", ManualClock())
    assert export.line_of(seen(5, (("voltage_1_mv", 231_000),))) == (
        rb"wattchain,home=the\ attic,meter=0xAb power_w=-7i,import_wh=5i,export_wh=2i,flags=32i,voltage_1_mv=231000i "
        b"1700000005"
    )


def test_a_silent_device_has_no_power() -> None:
    export = InfluxExport(InfluxSettings(file=Path("x")), "0xAb", ManualClock())
    silence = Observation(replace(seen(5).sample, power_w=0))
    assert export.line_of(silence) == b"wattchain,meter=0xAb import_wh=5i,export_wh=2i,flags=32i 1700000005"


@given(
    text, st.dictionaries(text, text, max_size=3), st.dictionaries(text, st.integers(-(2**63), 2**63 - 1), min_size=1)
)
def test_what_is_escaped_is_read_back(measurement: str, tags: dict[str, str], fields: dict[str, int]) -> None:
    # A backslash before a special character has no form in the protocol that all readers agree on.
    if any(re.search(r"\\[,= ]", one) for one in (measurement, *tags, *tags.values(), *fields)):
        return
    line = encode_line(measurement, tags, fields, NOW_S).decode()
    assert read_line(line) == (measurement, tags, fields, NOW_S)


def test_what_has_no_form_is_left_out() -> None:
    line = encode_line("m\nx\\", {"t": "a\r\nb\\"}, {"a": 2**63, "b": 1}, 1)
    assert line == rb"m\ x,t=a\ b b=1i 1"


class Server:
    """An InfluxDB that answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], str | None, list[str]]] = []
        self.answers: list[web.Response] = []
        self.heard = asyncio.Event()

    async def write(self, request: web.Request) -> web.Response:
        lines = (await request.text()).split("\n")
        self.requests.append((dict(request.query), request.headers.get("Authorization"), lines))
        self.heard.set()
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.heard.clear()
                await self.heard.wait()

    def lines(self) -> list[str]:
        return [line for _, _, lines in self.requests for line in lines]


@asynccontextmanager
async def serving(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> AsyncIterator[tuple[Any, InfluxExport]]:
    monkeypatch.setattr(influx, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(influx, "GREATEST_DELAY_S", 0.02)
    server = Server()
    application = web.Application()
    application.router.add_post("/base/api/v2/write", server.write)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    port = runner.addresses[0][1]
    (folder / "token").write_text("secret\n")
    (folder / "token").chmod(0o600)
    chosen = InfluxSettings(
        f"http://{HOST}:{port}/base", "home", "meters", folder / "token", interval_s=Decimal("0.1"), **changes
    )
    chosen.check()
    export = InfluxExport(chosen, "0xAb", ManualClock(), random.Random(1))
    export._clock = SystemClock()
    task = asyncio.create_task(export.run())
    try:
        yield server, export
    finally:
        task.cancel()
        await asyncio.wait([task])
        await runner.cleanup()


def observe(export: InfluxExport, *numbers: int) -> None:
    for number in numbers:
        export._written_ms = None
        export.observe(seen(number))


async def test_lines_reach_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, monkeypatch) as (server, export):
        observe(export, 1, 2, 3)
        await server.until(lambda: len(server.lines()) == 3)
        query, authorization, lines = server.requests[0]
        assert query == {"bucket": "meters", "org": "home", "precision": "s"}
        assert authorization == "Token secret"
        assert [read_line(line)[2]["import_wh"] for line in lines] == [1, 2, 3]


async def test_lines_wait_for_a_server_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, monkeypatch) as (server, export):
        server.answers = [
            web.Response(status=500, text="x" * 10_000),
            web.Response(status=401, text="unauthorized"),
            web.Response(status=429, headers={"Retry-After": "0"}),
            web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        ]
        observe(export, 1)
        await server.until(lambda: len(server.requests) == 5)
        observe(export, 2)
        await server.until(lambda: len(server.requests) == 6)
        assert [read_line(line)[2]["import_wh"] for line in server.lines()] == [1, 1, 1, 1, 1, 2]
        assert export.dropped == 0


async def test_a_line_that_the_server_refuses_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch) as (server, export):
        taken: list[int] = []

        async def judge(request: web.Request) -> web.Response:
            numbers = [read_line(line)[2]["import_wh"] for line in (await request.text()).split("\n")]
            if 3 in numbers:
                return web.Response(status=400, text="partial write")
            taken.extend(numbers)
            server.heard.set()
            return web.Response(status=204)

        monkeypatch.setattr(server, "write", judge)
        application = web.Application()
        application.router.add_post("/api/v2/write", judge)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        object.__setattr__(export._settings, "url", f"http://{HOST}:{runner.addresses[0][1]}")
        observe(export, *range(8))
        await server.until(lambda: len(taken) >= 7)
        assert taken == [0, 1, 2, 4, 5, 6, 7]
        assert export.dropped == 1
        await runner.cleanup()


async def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(influx, "MAX_LINES", 5)
    async with serving(tmp_path, monkeypatch) as (server, export):
        observe(export, *range(12))
        await server.until(lambda: bool(server.requests))
        assert [read_line(line)[2]["import_wh"] for line in server.lines()] == [7, 8, 9, 10, 11]
        assert export.dropped == 7


async def test_no_server_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, monkeypatch) as (server, export):
        good = export._settings.url
        object.__setattr__(export._settings, "url", "http://127.0.0.1:1")
        observe(export, 1)
        await asyncio.sleep(0.1)
        object.__setattr__(export._settings, "url", good)
        await server.until(lambda: len(server.lines()) == 1)


async def test_one_line_an_interval() -> None:
    clock = ManualClock(NOW_S)
    export = InfluxExport(InfluxSettings(file=Path("/nowhere/x")), "0xAb", clock)
    for second in range(25):
        export.observe(seen(second))
        clock.advance_s(1)
    assert export.dropped == 3  # a file that cannot be written costs lines, and nothing else


async def test_before_the_clock_is_set_there_are_no_lines(tmp_path: Path) -> None:
    """They would stand at the time of the last reading, or of a new meter in 1970."""
    export = InfluxExport(InfluxSettings(file=tmp_path / "lines"), "0xAb", ManualClock())
    export.observe(Observation(replace(seen(1).sample, is_timed=False)))
    assert not (tmp_path / "lines").exists()
    export.observe(seen(1))
    assert (tmp_path / "lines").read_text().endswith(" 1700000001\n")


async def test_a_file_that_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    clock = ManualClock(NOW_S)
    export = InfluxExport(InfluxSettings(file=path, file_mib=1), "0xAb", clock)
    path.write_bytes(b"x" * (2**20 - 10) + b"\n")
    export.observe(seen(1))
    assert not path.exists()
    clock.advance_s(10)
    export.observe(seen(2))
    assert read_line(path.read_text().strip())[2]["import_wh"] == 2
    assert (tmp_path / "lines.1").stat().st_size > 2**20


async def test_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((HOST, 0))
        listener.setblocking(False)
        clock = ManualClock(NOW_S)
        export = InfluxExport(InfluxSettings(udp=f"{HOST}:{listener.getsockname()[1]}"), "0xAb", clock)
        export.observe(seen(1))
        assert export.dropped == 1  # not open yet
        task = asyncio.create_task(export.run())
        async with asyncio.timeout(LIMIT_S):
            receiving = asyncio.create_task(asyncio.get_running_loop().sock_recv(listener, 2000))
            while not receiving.done():  # lost until the socket is open
                clock.advance_s(10)
                export.observe(seen(2))
                await asyncio.wait([receiving], timeout=0.01)
        assert read_line(receiving.result().decode())[2]["import_wh"] == 2
        clock.advance_s(10)
        dropped = export.dropped
        export.observe(seen(3, tuple((f"value_{number}", number) for number in range(200))))
        assert export.dropped == dropped + 1
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (InfluxSettings(), "where the lines are to go"),
        (InfluxSettings(url="ftp://x", bucket="b"), "influx.url must be as"),
        (InfluxSettings(url="http://x"), "needs influx.bucket"),
        (InfluxSettings(udp="nowhere"), "influx.udp must be as"),
        (InfluxSettings(udp="h:99999"), "influx.udp must be as"),
        (InfluxSettings(udp="h:1", tags=("nothing",)), "influx.tags"),
        (InfluxSettings(udp="h:1", tags=("a=b\\",)), "printable text"),
        (InfluxSettings(udp="h:1", measurement=""), "printable text"),
        (InfluxSettings(udp="h:1", measurement="a\nb"), "printable text"),
        (InfluxSettings(udp="h:1", interval_s=Decimal(0)), "influx.interval_s"),
        (InfluxSettings(file=Path("x"), file_mib=0), "influx.file_mib"),
    ],
)
def test_mistakes_are_named(chosen: InfluxSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen.check()
