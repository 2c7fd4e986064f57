"""The load's process as the benchmark sees it: given an order, begun, stopped, and what it has done."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from benchmarks.network.loading import LoadOrder, LoadResult
from primitives.errors import UserError

READY_TIME_S = 600.0
"""For signing, at 100 us each, on a machine that does other things as well."""
END_TIME_S = 60.0


class LoadProcess:
    """For use by `async with`; the process has ended when the block ends."""

    def __init__(self, order: LoadOrder, folder: Path) -> None:
        """Its files are written to the folder."""
        self._order = order
        self._paths = [folder / name for name in ("load-order.json", "load-result.json")]
        self._log_path = folder / "load.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start it, and wait until everything is signed. Raises UserError."""
        self._paths[0].write_text(json.dumps(asdict(self._order)))
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "benchmarks.network.loading", *map(str, self._paths)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(READY_TIME_S):
                if await self._told() is None:
                    raise UserError(f"The process that makes the load could not start.{self._log()}")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    @property
    def process_id(self) -> int:
        return self._running.pid

    def begin(self) -> None:
        assert self._running.stdin is not None
        self._running.stdin.write(b"begin\n")

    async def until_done(self, on_accepted: Callable[[int], None]) -> LoadResult:
        """Tell how many are accepted now and then, until all are. Raises UserError where it fails."""
        while (told := await self._told()) is not None:
            on_accepted(int(told["accepted"]))
        if (status := await self._running.wait()) != 0:
            raise UserError(f"The process that makes the load ended with status {status}.{self._log()}")
        return read_result(self._paths[1])

    async def stop(self) -> LoadResult:
        """Have it begin nothing else. Raises UserError where it fails."""
        assert self._running.stdin is not None
        self._running.stdin.close()
        async with asyncio.timeout(END_TIME_S):
            return await self.until_done(lambda _: None)

    async def _told(self) -> dict[str, Any] | None:
        """The next thing that it says; None when it has ended."""
        assert self._running.stdout is not None
        line = await self._running.stdout.readline()
        return json.loads(line) if line else None

    async def _end(self) -> None:
        if self._running.returncode is None:
            self._running.kill()
        await self._running.wait()

    def _log(self) -> str:
        return " Its log says:\n" + self._log_path.read_text()[-2_000:]

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the load was not started")
        return self._process


def read_result(path: Path) -> LoadResult:
    """What the process has written."""
    document = json.loads(path.read_text())
    accepted = tuple((text, node, time_s) for text, node, time_s in document.pop("accepted"))
    refusals = tuple(document.pop("refusals"))
    return LoadResult(accepted=accepted, refusals=refusals, **document)
