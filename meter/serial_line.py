"""Bytes and lines from a serial port by pyserial, without a thread: the event loop watches the port's descriptor.

A port that fails is closed and raises DeviceTrouble; the next read opens it again, so a cable may be pulled out and put
back. What arrives is bounded in length, and stamped with the time of its arrival, not of its being read.
"""

import asyncio
import errno
import getpass
import termios
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from decimal import Decimal

import serial

from meter.drivers.measurement import DeviceTrouble
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import Range

READ_BYTES = 4096
"""What a kernel keeps of a serial port at most."""
MAX_WAITING_BYTES = 65_536
"""A board tells 100 bytes a second; who has not read for ten minutes starts anew with what is coming in now."""
MAX_LINE_BYTES = 1024
"""The longest line of a board that is known has 300 bytes."""
MAX_SILENCE_S = 86_400

PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
DEFAULT_PORT = "/dev/ttyAMA0"


@dataclass(frozen=True, slots=True)
class PortSettings:
    """How a serial port is opened: 38400 8N1 unless said otherwise."""

    port: str = DEFAULT_PORT
    baud_rate: int = 38_400
    data_bits: int = 8
    parity: str = "none"
    stop_bits: int = 1
    silence_s: Decimal = Decimal(30)
    """Seconds of the wall clock without a byte after which the wire is said to be dead."""

    def ranges(self, section: str = "driver") -> tuple[Range, ...]:
        return (
            (f"{section}.baud_rate", self.baud_rate, 50, 4_000_000),
            (f"{section}.data_bits", self.data_bits, 5, 8),
            (f"{section}.stop_bits", self.stop_bits, 1, 2),
            (f"{section}.silence_s", self.silence_s, Decimal("0.1"), MAX_SILENCE_S),
        )

    def check(self, section: str = "driver") -> None:
        """What `ranges` does not tell. Raises UserError."""
        if not self.port or "\0" in self.port:
            raise UserError(f"{section}.port is {self.port!r}: name a serial port such as {DEFAULT_PORT}")
        if self.parity not in PARITIES:
            raise UserError(f"{section}.parity is {self.parity!r}; choose one of {', '.join(PARITIES)}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes as they came in."""

    elapsed_ms: int
    """`elapsed_ms` of the clock when they arrived."""
    data: bytes
    is_torn: bool
    """Bytes before these are missing: the first ones after opening, or those behind a buffer that ran over."""


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line without its end."""

    elapsed_ms: int
    """When its end arrived."""
    data: bytes


class SerialPort:
    """A port for one reader. Opened by the first `read`, and by the next one after it failed."""

    def __init__(self, settings: PortSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._port: serial.Serial | None = None
        self._chunks: deque[Chunk] = deque()
        self._waiting_bytes = 0
        self._is_torn = True
        self._trouble: str | None = None
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def place(self) -> str:
        """For people."""
        return self.settings.port

    @property
    def is_open(self) -> bool:
        return self._port is not None

    async def read(self) -> Chunk:
        """What has come in, at least one byte. Raises DeviceTrouble in plain words."""
        if self._port is None:
            self._open()
        while not self._chunks:
            if self._trouble is not None:
                trouble = self._trouble
                self.close()
                raise DeviceTrouble(trouble)
            self._news.clear()
            try:
                await _within(self._news.wait(), float(self.settings.silence_s))
            except TimeoutError:
                self.close()
                raise DeviceTrouble(_silence(self.settings)) from None
        chunk = self._chunks.popleft()
        self._waiting_bytes -= len(chunk.data)
        return chunk

    def close(self) -> None:
        """Release the port; what was not read yet is forgotten."""
        port, self._port = self._port, None
        self._chunks.clear()
        self._waiting_bytes = 0
        self._trouble = None
        if port is not None:
            if self._loop is not None:
                self._loop.remove_reader(port.fileno())
            port.close()

    def _open(self) -> None:
        settings = self.settings
        try:
            self._port = serial.Serial(
                settings.port,
                settings.baud_rate,
                settings.data_bits,
                PARITIES[settings.parity],
                settings.stop_bits,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:
            raise DeviceTrouble(why_not_open(settings.port, error)) from error
        self._is_torn = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._port.fileno(), self._take)

    def _take(self) -> None:
        """Bytes are there, or the device is gone."""
        port = self._port
        if port is None:
            return
        try:
            data = port.read(READ_BYTES)
        except (OSError, termios.error) as error:
            self._trouble = _why_lost(self.settings.port, error)
            if self._loop is not None:
                self._loop.remove_reader(port.fileno())
            self._news.set()
            return
        if not data:
            return
        if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
            self._chunks.clear()
            self._waiting_bytes = 0
            self._is_torn = True
        self._chunks.append(Chunk(self._clock.elapsed_ms(), data, self._is_torn))
        self._waiting_bytes += len(data)
        self._is_torn = False
        self._news.set()


class SerialLines:
    """Whole lines of a port. A first line that may be cut, and lines that do not end, are thrown away."""

    def __init__(self, port: SerialPort, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.port = port
        self.thrown_away = 0
        """Lines that were too long, since the beginning."""
        self._max_line_bytes = max_line_bytes
        self._begun = b""
        self._is_skipping = True
        self._lines: deque[Line] = deque()

    async def read(self) -> Line:
        """The next line that is not empty. Raises DeviceTrouble.

        A device that babbles without ever ending a line is told by DeviceTrouble too, once in MAX_WAITING_BYTES.
        """
        babble_bytes = 0
        while not self._lines:
            chunk = await self.port.read()
            self._add(chunk)
            babble_bytes += len(chunk.data)
            if not self._lines and babble_bytes >= MAX_WAITING_BYTES:
                raise DeviceTrouble(
                    f"{self.port.settings.port} sends bytes but no lines: the baud rate "
                    f"({self.port.settings.baud_rate}) is probably not the device's"
                )
        return self._lines.popleft()

    def close(self) -> None:
        self.port.close()
        self._lines.clear()

    def _add(self, chunk: Chunk) -> None:
        if chunk.is_torn:
            # Nothing that was begun before belongs to what comes now.
            self._lines.clear()
            self._begun, self._is_skipping = b"", True
        *ends, rest = chunk.data.split(b"\n")
        for end in ends:
            data = (self._begun + end).strip(b"\r\n \t\0")
            if self._is_skipping:
                self._is_skipping = False
            elif len(data) > self._max_line_bytes:
                self.thrown_away += 1
            elif data:
                self._lines.append(Line(chunk.elapsed_ms, data))
            self._begun = b""
        if not self._is_skipping:
            self._begun += rest
            if len(self._begun) > self._max_line_bytes + READ_BYTES:
                self.thrown_away += 1
                self._begun, self._is_skipping = b"", True


async def _within(waiting: Awaitable[object], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        await waiting


def why_not_open(port: str, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return (
            f"there is no serial port {port}. Is the board on the Pi's header, or the cable plugged in? On a Pi switch "
            "the serial hardware on (`sudo raspi-config`, Interface Options, Serial Port) and start it anew"
        )
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"this program may not use the serial port {port}: `sudo usermod -a -G dialout {_user()}`, then log in "
            "again (or start the service anew)"
        )
    if number in (errno.EBUSY, errno.EAGAIN):
        return (
            f"another program uses the serial port {port}: another meter daemon, or the serial console (`sudo "
            "raspi-config`, Interface Options, Serial Port: login shell no, hardware yes)"
        )
    if number in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return f"no device answers at the serial port {port}: plug it in again, and look at its power"
    return f"{port} cannot be used as a serial port: {' '.join(str(error).split())[:200]}"


def _why_lost(port: str, error: Exception) -> str:
    detail = " ".join(str(error).split())[:200]
    return f"the device at the serial port {port} is gone, unplugged or without power: plug it in again ({detail})"


def _silence(settings: PortSettings) -> str:
    return (
        f"nothing came from the serial port {settings.port} for {settings.silence_s} s. Is the device powered and in "
        f"its place, is its speed {settings.baud_rate} baud? On a Pi the serial console has to be off and Bluetooth "
        "moved away from the port (`dtoverlay=disable-bt` in /boot/firmware/config.txt, then start it anew)"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "USER"
