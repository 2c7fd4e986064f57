"""A person at a terminal, played by a test: waits for a question on a real pseudo-terminal, and types the answer."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.functional.running_node import REPOSITORY, clean_environment

QUESTION_TIMEOUT_S = 30.0
IMPATIENCE_S = 5.0
READ_BYTES = 4096
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class ScriptedPerson:
    def __init__(self, terminal: int, process: asyncio.subprocess.Process) -> None:
        self._terminal = terminal
        self._process = process
        self.screen = ""
        """Everything that was shown, without colours; line ends as they are on a terminal."""
        self._read_up_to = 0

    async def sees(self, text: str) -> None:
        """Wait until the text is on the screen, below what was waited for before."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        loop.add_reader(self._terminal, news.set)
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT_S):
                while (at := self.screen.find(text, self._read_up_to)) < 0:
                    await news.wait()
                    news.clear()
                    self._read()
        except (TimeoutError, OSError) as error:
            raise AssertionError(f"{text!r} was never shown. The screen:\n{self.screen[-3000:]}") from error
        finally:
            loop.remove_reader(self._terminal)
        self._read_up_to = at + len(text)

    async def answers(self, question: str, answer: str = "") -> None:
        """Type the answer, or just Enter, to a question."""
        await self.sees(question)
        os.write(self._terminal, answer.encode() + b"\n")

    async def leaves(self) -> int:
        """Ctrl-C, as often as it takes: one that comes just before the program waits for a line is heard after it. The
        exit status."""
        while self._process.returncode is None:
            os.write(self._terminal, b"\x03")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), IMPATIENCE_S)
        return await self.ends()

    def hangs_up(self) -> None:
        """What a program hears when its terminal's connection breaks."""
        self._process.send_signal(signal.SIGHUP)

    async def ends(self) -> int:
        """The exit status, when all is said."""
        async with asyncio.timeout(QUESTION_TIMEOUT_S):
            status = await self._process.wait()
        with contextlib.suppress(OSError):  # nobody on the other side any more
            while self._read():
                pass
        return status

    def _read(self) -> bool:
        """Whether there was something new; OSError where there never will be again."""
        try:
            data = os.read(self._terminal, READ_BYTES)
        except BlockingIOError:
            return False
        self.screen += _STYLE.sub("", data.decode("utf-8", "replace"))
        return True


@asynccontextmanager
async def at_a_terminal(
    home: Path, *arguments: object, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ScriptedPerson]:
    """A `wattchain` command on a terminal of its own; it is dead when the block ends."""
    near, far = os.openpty()
    os.set_blocking(near, False)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            # A terminal that the process leads, so that Ctrl-C reaches it.
            "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "from node.cli import main; main(prog_name='wattchain')",
            *map(str, arguments),
            cwd=REPOSITORY,
            env={**clean_environment(home), "TERM": "xterm", "COLUMNS": "200", **(environment or {})},
            stdin=far,
            stdout=far,
            stderr=subprocess.STDOUT,
        )
    finally:
        os.close(far)
    try:
        yield ScriptedPerson(near, process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        os.close(near)
