"""Exports what the meter measures as InfluxDB line protocol: to a server (HTTP, version 2), by UDP, to a file.

Samples that are `interval_s` apart are a line each, of whole numbers (`i`) and the time in seconds. Lines wait for a
server in a queue of bounded length, whose oldest make room: for people and graphs, never for what is billed.
"""

import asyncio
import logging
import random
import re
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from meter.live import Observation
from meter.signer import read_secret
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import DAY_S, check_ranges

logger = logging.getLogger(__name__)

# A day of one line every 10 s: some 2 MB.
MAX_LINES = 10_000
# InfluxDB likes some 5,000 lines at once; these are small and few.
MAX_BATCH = 1000
# A datagram must not be cut into pieces on its way.
MAX_DATAGRAM_BYTES = 1400
REQUEST_TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 500
FIRST_DELAY_S = 1.0
GREATEST_DELAY_S = 300.0
UDP_RETRY_S = 30.0
MAX_TAGS = 20
MAX_NAME = 100
INT64 = 2**63
INFLUX_TOKEN = "influx-token"
"""The credential of systemd that holds the token, where the service is given one."""

_TAG = re.compile(r"[^=]{1,100}=.{1,200}")


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """[influx]: without this section nothing is exported. At least one of url, udp and file."""

    url: str = ""
    """Of the server, such as http://127.0.0.1:8086."""
    org: str = ""
    bucket: str = ""
    token_file: Path | None = None
    """File whose first line is the token; a service may be given the credential influx-token instead."""
    udp: str = ""
    """host:port of a listener, such as Telegraf's."""
    file: Path | None = None
    file_mib: int = 16
    """A file that is larger is renamed (.1), and the one renamed before is deleted."""
    measurement: str = "wattchain"
    tags: tuple[str, ...] = ()
    """More tags for each line: ["home=attic"]; the meter's address is one in any case."""
    interval_s: Decimal = Decimal(10)

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        if not (self.url or self.udp or self.file):
            raise UserError("[influx] needs influx.url, influx.udp or influx.file: where the lines are to go")
        if self.url:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise UserError(f"influx.url must be as http://127.0.0.1:8086, not {self.url[:80]!r}")
            if not self.bucket:
                raise UserError(
                    "influx.url needs influx.bucket (and influx.org, and a token): where the lines are kept"
                )
        if self.udp:
            self.udp_address()
        if len(self.tags) > MAX_TAGS or not all(_TAG.fullmatch(tag) for tag in self.tags):
            raise UserError(f'influx.tags must be at most {MAX_TAGS} texts as "home=attic"')
        for text in (self.measurement, *self.tags):
            if not text or len(text) > 3 * MAX_NAME or not text.isprintable() or text.endswith("\\"):
                raise UserError(f"{text[:80]!r} cannot be a name or tag in [influx]: printable text, no \\ at its end")
        check_ranges(
            (
                ("influx.interval_s", self.interval_s, Decimal("0.1"), DAY_S),
                ("influx.file_mib", self.file_mib, 1, 10_000),
            )
        )

    def udp_address(self) -> tuple[str, int]:
        host, _, port = self.udp.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
            raise UserError(f"influx.udp must be as 127.0.0.1:8089, not {self.udp[:80]!r}")
        return host.strip("[]"), int(port)


class InfluxExport:
    """An observer and a service (meter/live.py)."""

    def __init__(
        self, settings: InfluxSettings, meter: str, clock: Clock, randomness: random.Random | None = None
    ) -> None:
        """`meter` is its address as text. Raises UserError."""
        self.dropped = 0
        """Lines that were never taken: the oldest of too many, or refused by the server."""
        self._settings = settings
        self._clock = clock
        self._random = randomness or random.Random()
        tags = dict(tag.split("=", 1) for tag in settings.tags)
        self._tags = {**tags, "meter": meter}
        self._token = ""
        if settings.url:
            self._token = read_secret(INFLUX_TOKEN, settings.token_file, "Token of InfluxDB")
        self._lines: deque[bytes] = deque()
        self._has_lines = asyncio.Event()
        self._written_ms: int | None = None
        self._socket: socket.socket | None = None
        self._trouble: dict[str, str] = {}

    def observe(self, observation: Observation) -> None:
        if not observation.sample.is_timed:
            return  # nobody knows yet when that was
        now_ms = self._clock.elapsed_ms()
        if self._written_ms is not None and now_ms - self._written_ms < self._settings.interval_s * 1000:
            return
        self._written_ms = now_ms
        line = self.line_of(observation)
        if self._settings.file is not None:
            self._append(self._settings.file, line)
        if self._settings.udp:
            self._datagram(line)
        if self._settings.url:
            if len(self._lines) >= MAX_LINES:
                self._lines.popleft()
                self.dropped += 1
            self._lines.append(line)
            self._has_lines.set()

    def line_of(self, observation: Observation) -> bytes:
        fields = _fields(observation)
        if observation.measurement is not None:
            fields |= dict(observation.measurement.values)
        return encode_line(self._settings.measurement, self._tags, fields, observation.sample.registers.time_s)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                if self._settings.udp:
                    group.create_task(self._open_socket())
                if self._settings.url:
                    group.create_task(self._send_all())
                await asyncio.Event().wait()  # the socket is of use until this is cancelled
        finally:
            if self._socket is not None:
                self._socket.close()

    async def _send_all(self) -> None:
        failures, size = 0, MAX_BATCH
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._has_lines.wait()
                batch = list(islice(self._lines, size))
                answer = await self._send(session, batch)
                if answer.is_taken:
                    self._forget(batch)
                    failures, size = 0, min(2 * size, MAX_BATCH)
                    continue
                if answer.is_refused and len(batch) > 1:
                    size = len(batch) // 2  # too many at once, or one of them is wrong: find it
                    continue
                if answer.is_refused:
                    self._forget(batch)
                    self.dropped += 1
                    await self._clock.sleep_s(FIRST_DELAY_S)
                    continue
                failures += 1
                longest_s = min(GREATEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))
                await self._clock.sleep_s(max(answer.wait_s, longest_s * self._random.uniform(0.5, 1)))

    def _forget(self, batch: list[bytes]) -> None:
        """Those that made room meanwhile are gone already."""
        for line in batch:
            if self._lines and self._lines[0] is line:
                self._lines.popleft()
        if not self._lines:
            self._has_lines.clear()

    async def _send(self, session: aiohttp.ClientSession, batch: list[bytes]) -> "_Answer":
        settings = self._settings
        url = settings.url.rstrip("/") + "/api/v2/write"
        params = {"bucket": settings.bucket, "precision": "s", **({"org": settings.org} if settings.org else {})}
        headers = {"Authorization": f"Token {self._token}", "Content-Type": "text/plain; charset=utf-8"}
        try:
            async with session.post(
                url, params=params, headers=headers, data=b"\n".join(batch), allow_redirects=False
            ) as response:
                text = (await response.content.read(MAX_ANSWER_BYTES)).decode(errors="replace")
                status, wait = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._tell("url", f"no answer from {settings.url}: {error or type(error).__name__}")
            return _Answer()
        if 200 <= status < 300:
            self._trouble.pop("url", None)
            return _Answer(is_taken=True)
        shown = " ".join(text.split())
        self._tell("url", f"{settings.url} answers {status}: {shown}; check influx.url, org, bucket and the token")
        wait_s = min(float(wait), GREATEST_DELAY_S) if wait.isdecimal() and len(wait) < 6 else 0.0
        return _Answer(is_refused=status in (400, 413, 422), wait_s=wait_s)

    def _append(self, path: Path, line: bytes) -> None:
        try:
            with path.open("ab") as file:
                file.write(line + b"\n")
                is_full = file.tell() >= self._settings.file_mib * 2**20
            if is_full:
                path.replace(path.with_name(path.name + ".1"))
        except OSError as error:
            self.dropped += 1
            self._tell("file", f"cannot write {path}: {error.strerror}")

    def _datagram(self, line: bytes) -> None:
        try:
            if self._socket is None or len(line) > MAX_DATAGRAM_BYTES:
                self.dropped += 1
            else:
                self._socket.send(line)
        except OSError as error:
            self.dropped += 1
            self._tell("udp", f"cannot send to {self._settings.udp}: {error.strerror}")

    async def _open_socket(self) -> None:
        """Finding out where a name is may take long, and fail."""
        host, port = self._settings.udp_address()
        loop = asyncio.get_running_loop()
        while self._socket is None:
            try:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                family, kind, protocol, _, address = found[0]
                made = socket.socket(family, kind, protocol)
                made.setblocking(False)
                made.connect(address)
                self._socket = made
            except (OSError, UnicodeError) as error:  # the latter for a name that is none
                self._tell("udp", f"cannot find {self._settings.udp}: {error}")
                await self._clock.sleep_s(UDP_RETRY_S)

    def _tell(self, where: str, trouble: str) -> None:
        if self._trouble.get(where) != trouble:
            self._trouble[where] = trouble
            logger.warning("InfluxDB export: %s", trouble)


@dataclass(frozen=True, slots=True)
class _Answer:
    is_taken: bool = False
    is_refused: bool = False
    """The lines themselves are at fault."""
    wait_s: float = 0.0


def encode_line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, int], time_s: int) -> bytes:
    """One line, without its end; fields that InfluxDB has no room for are left out."""
    key = _escape(measurement, ", ")
    tagged = "".join([f",{_escape(name, ',= ')}={_escape(value, ',= ')}" for name, value in sorted(tags.items())])
    told = [f"{_escape(name, ',= ')}={value}i" for name, value in fields.items() if -INT64 <= value < INT64]
    return f"{key}{tagged} {','.join(told)} {time_s}".encode()


def _escape(text: str, special: str) -> str:
    """A backslash before each special character; line ends and a backslash at the end have no form, and go."""
    flat = re.sub(r"[\r\n]+", " ", text).rstrip("\\")
    return "".join([f"\\{character}" if character in special else character for character in flat])


def _fields(observation: Observation) -> dict[str, int]:
    """No power while nobody knows it: a line at 0 W would be drawn as one that was measured."""
    registers = observation.sample.registers
    power_w = observation.power_w
    known = {} if power_w is None else {"power_w": power_w}
    return known | {
        "import_wh": registers.import_wh,
        "export_wh": registers.export_wh,
        "flags": int(observation.sample.flags),
    }
