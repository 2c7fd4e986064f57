"""A program of the owner's as a switch: one list of words for on, one for off, and maybe one that asks.

No shell reads them, so nothing in them is ever taken for anything but a word. Status 0 is success; the asking program
says on with 0 and off with 1. What takes too long is killed with all that it has started.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from meter.switches.switch import SwitchTrouble

# Of what a failing program says, this much is told.
MAX_TOLD_BYTES = 300
# Nothing of the meter's own surroundings is the program's business but where to find programs.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")

STATUS_ON, STATUS_OFF = 0, 1


class CommandSwitch:
    def __init__(
        self, on_command: Sequence[str], off_command: Sequence[str], state_command: Sequence[str], timeout_s: float
    ) -> None:
        self._commands = {True: on_command, False: off_command}
        self._state_command = state_command
        self._timeout_s = timeout_s

    async def set(self, is_on: bool) -> None:
        command = self._commands[is_on]
        status, told = await run_command(command, self._timeout_s)
        if status != 0:
            raise SwitchTrouble(f"the command {command[0]} ended with status {status}{told}")
        if (state := await self.state()) not in (None, is_on):
            raise SwitchTrouble(f"after the command {command[0]} the switch is {'on' if state else 'off'} all the same")

    async def state(self) -> bool | None:
        if not self._state_command:
            return None
        status, told = await run_command(self._state_command, self._timeout_s)
        if status not in (STATUS_ON, STATUS_OFF):
            raise SwitchTrouble(f"the command {self._state_command[0]} ended with status {status}{told}")
        return status == STATUS_ON

    async def close(self) -> None:
        pass


async def run_command(command: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Run a program; its status and the beginning of what it said of a failure. Raises SwitchTrouble."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SwitchTrouble(f"the command {command[0]} cannot be run: {reason}") from error
    try:
        async with asyncio.timeout(timeout_s):
            told = await _beginning(process.stderr)
            status = await process.wait()
    except TimeoutError as error:
        raise SwitchTrouble(f"the command {command[0]} did not end within {timeout_s:g} s") from error
    finally:
        # The group outlives its first process where that has left others behind.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return status, f": {told}" if told else ""


async def _beginning(stream: asyncio.StreamReader | None) -> str:
    """The first bytes of a stream, read to its end."""
    kept = b""
    while stream is not None and (chunk := await stream.read(4096)):
        kept = (kept + chunk)[:MAX_TOLD_BYTES]
    return " ".join(kept.decode("utf-8", "replace").split())
