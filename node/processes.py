"""`wattchain` commands as processes that the demo and the benchmarks start, speak to and end.

Each runs the same command that a person would, leads a process group of its own, and logs into a file.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

import click

from primitives.errors import UserError

T = TypeVar("T")

START_TIMEOUT_S = 60.0
"""A Pi 3 needs some ten seconds to start Python, open the ledger and listen."""
STOP_TIMEOUT_S = 30.0
LOG_TAIL_BYTES = 2_000


def run_until_told_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run what has started processes. SIGTERM and a terminal that closes end it in order, as Ctrl-C does: with all of
    its processes, which would be left behind otherwise. Raises click.Abort then."""

    async def run() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise click.Abort from None


class CommandProcess:
    """One `wattchain` command in a process of its own, for use by `async with`; it ends with the block."""

    def __init__(self, name: str, arguments: list[str], log_path: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._log_path = log_path
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "node",
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # The terminal's Ctrl-C is for this process, which then ends the others in order.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def process_id(self) -> int:
        """Also the number of the process group that it leads."""
        return self._running().pid

    async def first_line(self) -> dict[str, object]:
        """The JSON object that it prints first. Raises UserError where it ends or stays silent."""
        process = self._running()
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError as error:
            raise UserError(f"{self.name} did not start within {START_TIMEOUT_S:.0f} s.{self._log_tail()}") from error
        if not line:
            raise UserError(f"{self.name} could not start.{self._log_tail()}")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise UserError(f"{self.name} answered {line!r}.")
        return answer

    async def result(self) -> dict[str, object]:
        """Everything it prints until it ends, as JSON. Raises UserError where it fails."""
        process = self._running()
        assert process.stdout is not None
        output = await process.stdout.read()
        status = await process.wait()
        if status != 0:
            raise UserError(f"{self.name} ended with status {status}.{self._log_tail()}")
        answer = json.loads(output)
        if not isinstance(answer, dict):
            raise UserError(f"{self.name} answered {output!r:.200}.")
        return answer

    async def watch(self) -> NoReturn:
        """Until it ends, which it should not do by itself: raises UserError with the end of its log."""
        status = await self._running().wait()
        raise UserError(f"{self.name} ended unexpectedly, with status {status}.{self._log_tail()}")

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        process = self._running()
        process.kill()
        await process.wait()

    async def stop(self) -> int:
        """Ask it to end, and wait; its exit status."""
        process = self._running()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def _log_tail(self) -> str:
        text = self._log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
        return f" Its log says:\n{text}" if text else ""
