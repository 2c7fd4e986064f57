"""A serial port that no device stands behind: a pair of pseudo-terminals, one end of which this program plays.

For demos and tests. The port's name stays the same while it is "unplugged" and "plugged in" again.
"""

import asyncio
import contextlib
import os
import tty
from pathlib import Path

from primitives.errors import UserError


class PseudoTerminal:
    """A port at `path`, a symbolic link to the pseudo-terminal that stands for it just now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._near: int | None = None
        self._far: int | None = None

    @property
    def is_plugged(self) -> bool:
        return self._near is not None

    def plug(self) -> None:
        """Make the port appear. Raises UserError where something else has its name, or it cannot be made."""
        if self._near is not None:
            return
        if self.path.exists() and not self.path.is_symlink():
            raise UserError(f"{self.path} is there already, and is no virtual port: name another one")
        self._near, self._far = os.openpty()
        # As a wire is: no echo, and no byte changed, also before the reader has set up its end.
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        try:
            self.path.unlink(missing_ok=True)
            self.path.symlink_to(os.ttyname(self._far))
        except OSError as error:
            self.unplug()
            raise UserError(f"the virtual port {self.path} cannot be made: {error.strerror}") from error

    def unplug(self) -> None:
        """Make the port vanish, also for who has it open."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        for descriptor in (self._near, self._far):
            if descriptor is not None:
                os.close(descriptor)
        self._near = self._far = None

    async def send(self, data: bytes) -> None:
        """Write all of it, as fast as the other end reads. What is sent while unplugged is lost."""
        while data and self._near is not None:
            try:
                data = data[os.write(self._near, data) :]
            except BlockingIOError:
                await self._wait_for_room()

    def send_now(self, data: bytes) -> None:
        """Write without waiting: what the other end has no room for is lost, as on a wire without flow control."""
        if self._near is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._near, data)

    async def _wait_for_room(self) -> None:
        near, loop = self._near, asyncio.get_running_loop()
        if near is None:
            return
        has_room = asyncio.Event()
        loop.add_writer(near, has_room.set)
        try:
            await has_room.wait()
        finally:
            loop.remove_writer(near)
