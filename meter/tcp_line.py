"""Bytes from a device behind a network: a P1 dongle, a serial port shared by ser2net. Read as a serial port is read.

Nothing is sent. A connection that ends or is silent raises DeviceTrouble, and the next read makes a new one.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from meter.drivers.measurement import DeviceTrouble
from meter.serial_line import MAX_SILENCE_S, READ_BYTES, Chunk
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import check_ranges

CONNECT_TIMEOUT_S = 10.0


class Wire(Protocol):
    """What serial ports and network connections have in common."""

    @property
    def place(self) -> str:
        """The port's name, or host and port, for people."""

    async def read(self) -> Chunk:
        """What has come in, at least one byte. Raises DeviceTrouble."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """Where the device listens."""

    host: str
    port: int
    silence_s: Decimal = Decimal(30)
    """Seconds of the wall clock without a byte after which the connection is made anew."""

    def check(self, section: str = "driver") -> None:
        """Raises UserError for values that make no sense."""
        if not self.host or len(self.host) > 255 or not self.host.isprintable() or " " in self.host:
            raise UserError(f"{section}.host must be the name or address of a device, not {self.host[:80]!r}")
        check_ranges(
            (
                (f"{section}.tcp_port", self.port, 1, 65_535),
                (f"{section}.silence_s", self.silence_s, Decimal("0.1"), MAX_SILENCE_S),
            )
        )


class TcpLine:
    """A connection for one reader. Made by the first `read`, and by the next one after it failed."""

    def __init__(self, settings: TcpSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def place(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    async def read(self) -> Chunk:
        is_torn = self._streams is None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self.settings.host, self.settings.port)
            async with asyncio.timeout(float(self.settings.silence_s)):
                data = await self._streams[0].read(READ_BYTES)
        except TimeoutError as error:
            what = "did not answer" if self._streams is None else f"was silent for {self.settings.silence_s} s"
            self.close()
            raise DeviceTrouble(f"the device at {self.place} {what}: is it powered and in the network?") from error
        except (OSError, UnicodeError) as error:  # the latter for a name that is none
            self.close()
            raise DeviceTrouble(f"no connection to the device at {self.place}: {error}; check host and port") from error
        if not data:
            self.close()
            raise DeviceTrouble(
                f"the device at {self.place} has ended the connection; many serve one program only: stop the other"
            )
        return Chunk(self._clock.elapsed_ms(), data, is_torn)

    def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            with suppress(OSError, RuntimeError):  # a loop that is closed already
                streams[1].close()
