"""`wattchain` commands as real processes for tests: started, spoken to, stopped, killed; none is left behind.

Each leads a process group of its own, so that what it started (the mining process) can be found and is ended with it.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
GROUP_END_TIMEOUT_S = 10.0
"""The mining process notices within 20 ms that the node is gone; a loaded machine may need longer to run it."""
POLL_INTERVAL_S = 0.01
LOG_TAIL_BYTES = 1_500
FIRST_PORT, PORT_COUNT = 20_000, 10_000
"""Below the ports that systems give to clients: one of those must not sit on a port while its node is restarted."""


class ProcessFailed(AssertionError):
    """A process did not do what it was started for."""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "node", *map(str, arguments)]


def clean_environment(home: Path) -> dict[str, str]:
    """Ours, with another home and without settings of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATTCHAIN_")}
    return {**kept, "HOME": str(home), "PYTHONUNBUFFERED": "1"}


def run_command(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command to its end, in a process of its own."""
    return subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        env=clean_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_TIMEOUT_S,
    )


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now, and that no client is given by chance."""
    for _ in range(100):
        port = FIRST_PORT + int.from_bytes(os.urandom(4), "big") % PORT_COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise ProcessFailed("no free port found")


class RunningCommand:
    """One long-running command, for use by `async with`; it is dead when the block ends."""

    def __init__(self, home: Path, log_path: Path, *arguments: object) -> None:
        self.log_path = log_path
        self._home = home
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command(*self._arguments),
                cwd=REPOSITORY,
                env={**clean_environment(self._home), **(environment or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    @property
    def process_id(self) -> int:
        return self._started.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._started.returncode

    async def ready(self) -> dict[str, Any]:
        """The JSON line that it prints once it is ready. Raises ProcessFailed."""
        process = self._started
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            raise ProcessFailed(f"no word for {READY_TIMEOUT_S:.0f} s.{self.log_tail()}") from None
        if not line:
            raise ProcessFailed(f"ended with status {await process.wait()}.{self.log_tail()}")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    async def finish(self, timeout_s: float = STOP_TIMEOUT_S) -> str:
        """Wait until it ends by itself with status 0; what it printed. Raises ProcessFailed."""
        process = self._started
        assert process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                printed = await process.stdout.read()
                status = await process.wait()
        except TimeoutError:
            raise ProcessFailed(f"still running after {timeout_s:.0f} s.{self.log_tail()}") from None
        if status != 0:
            raise ProcessFailed(f"ended with status {status}.{self.log_tail()}")
        return printed.decode()

    def send_signal(self, number: int) -> None:
        os.kill(self.process_id, number)

    async def stop(self) -> int:
        """Ask it to end (SIGTERM), and wait; its exit status. Raises ProcessFailed."""
        if self.exit_status is None:
            self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                status = await self._started.wait()
        except TimeoutError:
            raise ProcessFailed(f"did not stop within {STOP_TIMEOUT_S:.0f} s.{self.log_tail()}") from None
        await self.group_ended()
        return status

    def group(self) -> list[int]:
        """The processes that run: itself and what it started."""
        return group_members(self.process_id)

    def send_kill(self) -> None:
        """SIGKILL to it alone, as a crash would end it, without waiting."""
        if self._process is not None and self._process.returncode is None:
            # Not by asyncio's kill(), which takes the exit status of a process that has just died from its watcher.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def kill(self) -> None:
        """SIGKILL to it alone, and see that what it started ends as well. Raises ProcessFailed."""
        if self._process is None:
            return
        self.send_kill()
        await self._process.wait()
        await self.group_ended()

    async def group_ended(self) -> None:
        """Wait until nothing that it started is left. Raises ProcessFailed, after ending what is."""
        try:
            async with asyncio.timeout(GROUP_END_TIMEOUT_S):
                while self.group():  # noqa: ASYNC110 - other processes' end, which no event tells
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError:
            left = group_members(self.process_id)
            for process_id in left:
                os.kill(process_id, signal.SIGKILL)
            raise ProcessFailed(f"left behind the processes {left}.{self.log_tail()}") from None

    def log_tail(self) -> str:
        text = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
        return f" Its log ends with:\n{text}"

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the command was not started")
        return self._process


def group_members(group_id: int) -> list[int]:
    """Processes of a group that still run (a dead one that nobody has waited for does not)."""
    members = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # After the name in parentheses: state, parent, group (proc(5)).
            state, _, group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(group) == group_id and state not in "ZX":
            members.append(int(folder.name))
    return members
