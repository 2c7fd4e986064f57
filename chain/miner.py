"""Sealing headers by a mining process of its own, so that the node's loop never waits for a hash.

The front of that process: starts it, hands it one header at a time, starts it again when it dies. What to mine on, and
when to give up because a block came from elsewhere, is the caller's decision: it cancels `seal`. No part of a chain's
rules is decided here; the answer is checked like any other seal.
"""

import asyncio
import logging
import os
import secrets
import sys
from pathlib import Path
from types import TracebackType

from chain.consensus.difficulty import difficulty_to_target
from chain.consensus.mining_worker import FOUND, IDLE_JOB, JOB, REPORT, REPORT_INTERVAL_S
from chain.consensus.proof_of_work import sealed
from chain.header import Header

MAX_RESTARTS = 5
"""Deaths of the process while one header is sealed, before mining is given up: more is no mishap."""
RESTART_PAUSE_S = 0.5
"""Between a death and the next start, so that a process that dies at once does not eat the CPU by starting."""
STOP_TIMEOUT_S = 2.0
"""How long the process may take to end after its pipe is closed; it looks every 20 ms."""

_ROOT = Path(__file__).resolve().parent.parent
_log = logging.getLogger(__name__)


class MiningFailed(RuntimeError):
    """The mining process keeps dying, or was stopped while it was needed."""


class Miner:
    """Seals headers in a separate, niced process. One `seal` at a time.

    `cpu_share_percent` is the share of one core, from 0 (never find anything) to 100; `hash_rate_limit` in hashes a
    second bounds it further, 0 for no bound.
    """

    def __init__(self, cpu_share_percent: int = 100, hash_rate_limit: int = 0) -> None:
        if not 0 <= cpu_share_percent <= 100:
            raise ValueError(f"the share of the CPU must be from 0 to 100 percent, not {cpu_share_percent}")
        if hash_rate_limit < 0:
            raise ValueError(f"the hash rate cannot be bound to {hash_rate_limit}")
        self.hash_rate = 0
        """Hashes a second, as last reported; 0 while nothing is mined."""
        self.hashes = 0
        """All that were tried so far and reported; what is tried for a header that is given up comes with the next."""
        self.sealing_s = 0.0
        """How long headers were being sealed, all together."""
        self.restarts = 0
        """How often the process died and was started again."""
        self._arguments = (str(cpu_share_percent), str(hash_rate_limit))
        self._process: asyncio.subprocess.Process | None = None
        self._number = 0
        self._sealing = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        """Of the mining process, while it runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def seal(self, header: Header) -> Header:
        """The header with a seal that proves its difficulty. Cancel it to stop the search at once.

        Raises MiningFailed where the process dies again and again, or `stop` is called meanwhile.
        """
        async with self._sealing:
            deaths = 0
            while True:
                try:
                    return await self._seal_once(header)
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    if self._process is None:
                        raise MiningFailed("mining was stopped") from error
                    await self.stop()
                    deaths += 1
                    self.restarts += 1
                    _log.error("the mining process died (%s), death %d for this block", error, deaths)
                    if deaths > MAX_RESTARTS:
                        raise MiningFailed(f"the mining process died {deaths} times in a row") from error
                    await asyncio.sleep(RESTART_PAUSE_S)

    async def stop(self) -> None:
        """End the process. A later `seal` starts a new one."""
        process, self._process = self._process, None
        self.hash_rate = 0
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def __aenter__(self) -> "Miner":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _seal_once(self, header: Header) -> Header:
        process = await self._running_process()
        assert process.stdin is not None
        self._number += 1
        target = difficulty_to_target(header.difficulty).to_bytes(32, "big")
        # From a random nonce, or miners with equal headers would all try the same ones.
        job = JOB.pack(self._number, header.seal_hash, target, secrets.randbits(64))
        began_s = asyncio.get_running_loop().time()
        try:
            process.stdin.write(job)
            await process.stdin.drain()
            return sealed(header, await self._await_nonce(process, self._number))
        finally:
            self.hash_rate = 0
            self.sealing_s += asyncio.get_running_loop().time() - began_s
            if process.returncode is None and not process.stdin.is_closing():
                process.stdin.write(IDLE_JOB)

    async def _await_nonce(self, process: asyncio.subprocess.Process, number: int) -> bytes:
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            kind, job_number, nonce, hashes = REPORT.unpack(await process.stdout.readexactly(REPORT.size))
            self.hashes += hashes
            if job_number != number:
                continue  # Of a header that was given up; its report was on the way.
            now_s = loop.time()
            if now_s - last_s > REPORT_INTERVAL_S / 10:
                self.hash_rate = int(hashes / (now_s - last_s))
            last_s = now_s
            if kind == FOUND:
                return bytes(nonce)

    async def _running_process(self) -> asyncio.subprocess.Process:
        if self._process is None:
            paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # No current directory on the path: a file there must not take the place of a module.
                "-m",
                "chain.consensus.mining_worker",
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
        return self._process
