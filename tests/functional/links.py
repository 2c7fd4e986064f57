"""Connections between nodes of a test that can be cut: each node calls the others by way of a link of its own.

A link is a TCP forwarder on loopback. While it is cut, what it carried is gone and calls are hung up on, as when a
cable is pulled.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65_536


class Link:
    """From one node to another; for use by `async with`."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        """Where the calling node has to call."""
        self._target_port = target_port
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._hang_up()

    async def cut(self) -> None:
        self._is_cut = True
        await self._hang_up()

    def mend(self) -> None:
        self._is_cut = False

    async def _hang_up(self) -> None:
        carrying = list(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        writers = [writer]
        try:
            if self._is_cut:
                return
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            writers.append(other_writer)
            await _first_to_end(_pump(reader, other_writer), _pump(other_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # cut, or the other node is off: either end sees its connection end
        finally:
            self._carrying.discard(task)
            for one in writers:
                one.transport.abort()


async def _first_to_end(*pumps: "asyncio._CoroutineLike[None]") -> None:
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
