"""The kills: when, whom, what must be true right after each, and starting again.

A kill is SIGKILL at a moment drawn from the seed: any time, just as a file is written, or while a process is starting.
"""

import asyncio
import contextlib
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.functional.running_node import GROUP_END_TIMEOUT_S, ProcessFailed, RunningCommand
from tests.soak.place import Place
from tests.soak.transfers import Transfers
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient

PROGRESS_TIMEOUT_S = 90.0
"""For a block, a reading or a write after a restart: a second or two on an idle machine."""
POLL_INTERVAL_S = 0.02
WRITE_POLL_INTERVAL_S = 0.0005
"""A block is written in a few milliseconds."""
LONGEST_DELAY_S = 0.5
LONGEST_WRITE_S = 0.006
LONGEST_START_S = 1.5


class Target(Enum):
    NODE = "node"
    METER = "meter"
    BOTH = "node and meter"


class Moment(Enum):
    ANY = "at any time"
    CHAIN = "as a block is written"
    POOL = "as a transaction is written"
    OUTBOX = "as the outbox is written"
    START = "while starting"


@dataclass(slots=True)
class Record:
    """What was done and seen."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    starts: int = 0
    mining_processes: int = 0
    """That were at work when their node was killed."""
    longest_start_s: float = 0.0
    readings: dict[int, bytes] = field(default_factory=dict)
    """Sequence -> hash of all that were on the meter's disk after one of its deaths."""
    head: tuple[int, bytes] | None = None
    """Number and hash of the last block that the node told of."""


class Soak:
    """One node and one meter, being killed."""

    def __init__(self, place: Place, randomness: random.Random, transfers: Transfers) -> None:
        self.record = Record()
        self.place = place
        self.node = RunningCommand(
            place.folder, place.folder / "node.log", "node", "--data-dir", place.node_folder, "--json"
        )
        self.meter = RunningCommand(
            place.folder, place.folder / "meter.log", "meter", "run", "--settings", place.meter_folder / "meter.toml"
        )
        self._random = randomness
        self._transfers = transfers

    async def start(self) -> None:
        """Both for the first time."""
        await self._start(Target.BOTH)
        await self._up(Target.BOTH)

    async def kill_many(self, kills: int, on_kill: Callable[[], None]) -> None:
        """Kill and start again, and see that both are at work between two kills. Raises ProcessFailed."""
        target, moment = self._draw(None)
        for number in range(1, kills + 1):
            try:
                await self._reach(moment, target)
                await self._kill(target)
                self.record.kills[target.value, moment.value] += 1
                on_kill()
                killed = target
                await self._start(killed)
                target, moment = self._draw(killed)
                if moment is not Moment.START or number == kills:
                    await self._up(killed)
            except ProcessFailed as failure:
                raise ProcessFailed(f"at kill {number} of {kills}: {failure}") from None

    async def watch_head(self, client: RpcClient) -> None:
        """Ask for the newest block all the time: what was told once has to be there after every restart."""
        while True:
            with contextlib.suppress(NodeUnreachable, InvalidAnswer):
                block = await client.block("latest")
                if block is not None:
                    self.record.head = (block.number, block.hash)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def close(self) -> None:
        """End what runs."""
        for process in (self.meter, self.node):
            await process.kill()

    def _draw(self, started: Target | None) -> tuple[Target, Moment]:
        """Whom to kill next, and when; only what is just being started can be killed while starting."""
        target = self._random.choices(list(Target), (5, 3, 2))[0]
        if started is not None and self._random.random() < 0.2:
            return started, Moment.START
        moments = [Moment.ANY]
        if target is not Target.METER:
            moments += [Moment.CHAIN, Moment.CHAIN, Moment.POOL]
        if target is not Target.NODE:
            moments += [Moment.OUTBOX, Moment.OUTBOX]
        return target, self._random.choice(moments)

    async def _reach(self, moment: Moment, target: Target) -> None:
        if moment is Moment.START:
            await asyncio.sleep(self._random.uniform(0, LONGEST_START_S))
        elif moment is Moment.ANY:
            await asyncio.sleep(self._random.uniform(0, LONGEST_DELAY_S))
        else:
            path = {
                Moment.CHAIN: self.place.node_folder / "chain.sqlite-wal",
                Moment.POOL: self.place.node_folder / "pool.sqlite-wal",
                Moment.OUTBOX: self.place.meter_folder / "outbox.sqlite-wal",
            }[moment]
            await self._written(path)
            await asyncio.sleep(self._random.uniform(0, LONGEST_WRITE_S))
        self._still_running(target)

    async def _written(self, path: Path) -> None:
        """Until something is written to a file."""
        before = _stamp(path)
        async with _deadline(f"nothing was written to {path.name}"):
            while _stamp(path) == before:
                self._still_running(Target.BOTH)
                await asyncio.sleep(WRITE_POLL_INTERVAL_S)

    def _still_running(self, target: Target) -> None:
        """Nothing may end by itself. Raises ProcessFailed."""
        for process in self._processes(target):
            if process.exit_status is not None:
                raise ProcessFailed(f"a process ended with status {process.exit_status}.{process.log_tail()}")

    async def _kill(self, target: Target) -> None:
        if target is not Target.METER and len(self.node.group()) > 1:
            self.record.mining_processes += 1
        processes = self._processes(target)
        for process in processes:
            process.send_kill()
        async with asyncio.timeout(2 * GROUP_END_TIMEOUT_S):
            for process in processes:
                await process.kill()
        if target is not Target.NODE:
            self.record.readings |= _readings_on_disk(self.place)

    async def _start(self, target: Target) -> None:
        for process in self._processes(target):
            await process.start()
            self.record.starts += 1

    async def _up(self, target: Target) -> None:
        """Until what was started works: blocks are made, readings signed, and all that was promised is there."""
        if target is not Target.METER:
            began_s = time.monotonic()
            await self.node.ready()
            self.record.longest_start_s = max(self.record.longest_start_s, time.monotonic() - began_s)
            # A new client: an old one's connections may lead to the process that is dead.
            async with RpcClient(self.place.url) as client:
                await self._promises_kept(client)
                await self._block_made(client)
        if target is not Target.NODE:
            await self._reading_signed()

    async def _promises_kept(self, client: RpcClient) -> None:
        """The chain reaches as far as the node said before, and it knows all transfers that it accepted."""
        if self.record.head is not None:
            number, block_hash = self.record.head
            block = await client.block(number)
            if block is None or block.hash != block_hash:
                raise ProcessFailed(f"block {number}, 0x{block_hash.hex()}, is not on the chain any more")
        await self._transfers.count_waiting(client)

    async def _block_made(self, client: RpcClient) -> None:
        """Until there is a block more."""
        first = await client.block_number()
        async with _deadline("the node makes no blocks"):
            while await client.block_number() == first:
                self._still_running(Target.NODE)
                await asyncio.sleep(POLL_INTERVAL_S)

    async def _reading_signed(self) -> None:
        """Until there is a reading more in the outbox."""
        path = self.place.meter_folder / "outbox.sqlite"
        first = _last_sequence(path)
        async with _deadline("the meter signs no readings"):
            while _last_sequence(path) == first:
                self._still_running(Target.METER)
                await asyncio.sleep(POLL_INTERVAL_S)

    def _processes(self, target: Target) -> list[RunningCommand]:
        return {Target.NODE: [self.node], Target.METER: [self.meter], Target.BOTH: [self.node, self.meter]}[target]


@contextlib.asynccontextmanager
async def _deadline(complaint: str) -> AsyncIterator[None]:
    """PROGRESS_TIMEOUT_S for what is inside, then ProcessFailed with a sentence."""
    try:
        async with asyncio.timeout(PROGRESS_TIMEOUT_S):
            yield
    except TimeoutError:
        raise ProcessFailed(f"{complaint} for {PROGRESS_TIMEOUT_S:.0f} s") from None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _last_sequence(path: Path) -> int:
    """The last reading in a running meter's outbox; 0 where there is none yet."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT sequence FROM head").fetchone()
    except sqlite3.OperationalError:
        return 0
    return 0 if row is None else int(row[0])


def _readings_on_disk(place: Place) -> dict[int, bytes]:
    """All readings in a dead meter's outbox, read from a copy: its recovery is left to the meter."""
    source = place.meter_folder / "outbox.sqlite"
    copy = place.folder / "outbox-copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in (source.name, source.name + "-wal"):
        if (source.parent / name).exists():
            shutil.copyfile(source.parent / name, copy / name)
    if not (copy / source.name).exists():
        return {}
    with contextlib.closing(sqlite3.connect(copy / source.name)) as connection:
        try:
            rows = connection.execute("SELECT sequence, hash FROM readings").fetchall()
            rows += connection.execute("SELECT sequence, hash FROM head WHERE sequence > 0").fetchall()
        except sqlite3.OperationalError:
            return {}  # it died before it had made its tables
    return {sequence: bytes(reading_hash) for sequence, reading_hash in rows}
