"""The socket of a service manager, as systemd has one: a datagram socket of the Unix family that tests listen on."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

NOTICE_TIMEOUT_S = 15.0
MAX_DATAGRAM_BYTES = 65_536


class ManagerSocket:
    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.heard: list[str] = []
        """All lines, oldest first."""
        self._listener = listener

    def environment(self, watchdog_s: float | None = None) -> dict[str, str]:
        """What systemd would add to the process's."""
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(round(watchdog_s * 1_000_000))}
        return {"NOTIFY_SOCKET": str(self.path), **watchdog}

    async def next_lines(self) -> list[str]:
        """Of the next datagram."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(NOTICE_TIMEOUT_S):
            lines = (await loop.sock_recv(self._listener, MAX_DATAGRAM_BYTES)).decode().split("\n")
        self.heard += lines
        return lines

    async def wait_for(self, begin: str) -> str:
        """The next line that begins so."""
        while True:
            for line in await self.next_lines():
                if line.startswith(begin):
                    return line

    def rest(self) -> list[str]:
        """What has come and was not waited for."""
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self._listener.recv(MAX_DATAGRAM_BYTES).decode().split("\n")
        return lines


@contextlib.asynccontextmanager
async def manager_socket() -> AsyncIterator[ManagerSocket]:
    # In a folder of its own: the name of a socket may have 107 bytes, which pytest's folders exceed now and then.
    with (
        tempfile.TemporaryDirectory(prefix="notify-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        path = Path(folder) / "socket"
        listener.setblocking(False)
        listener.bind(str(path))
        yield ManagerSocket(path, listener)
