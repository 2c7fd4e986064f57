"""The load of the benchmarks, in a process of its own: hands signed transfers in by JSON-RPC, spread over the nodes.

`python -m benchmarks.network.loading ORDER.json RESULT.json` signs everything, says so, begins when a line comes on its
standard input, and ends when all is accepted, or when that input ends. A sender belongs to one node, so that its nonces
arrive there in order. What a node has no room for at the moment is handed in again until it is taken: a load that
skipped a nonce would stop its sender for ever.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.network.transfers import signed_transfers

CONNECTIONS_TO_NODE = 8
"""Requests at a time to one node: a quarter of what its gateway answers at once."""
RETRY_PAUSE_S = 0.05
REQUEST_TIME_S = 30.0
TELL_INTERVAL_S = 0.5
TOP_UP_INTERVAL_S = 0.2
BUSY_WORDS = ("too many requests", "txpool is full", "nonce too high")
"""Refusals that pass: the gateway or the pool is full, or as many as the pool holds for one sender are waiting."""


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What is to be done."""

    urls: tuple[str, ...]
    """JSON-RPC of the nodes."""
    chain_id: int
    senders: int
    count: int
    """Transfers at most."""
    rate_per_s: float
    """Transfers a second, for all nodes together; 0 hands in whatever keeps `waiting` of them in the pool."""
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of it. Times are monotonic."""

    began_s: float
    ended_s: float
    """When the last one was accepted."""
    accepted: tuple[tuple[str, int, float], ...]
    """(hash as hexadecimal, node, time) of each transfer that a node said to have."""
    retries: int
    """Refusals that passed."""
    refusals: tuple[str, ...]
    """Words of the others: there should be none."""
    cpu_s: float
    """Processor time from the beginning on, without signing."""


@dataclass(frozen=True, slots=True)
class _Request:
    hash_hex: str
    body: bytes


class Load:
    """Hands the transfers of an order in."""

    def __init__(self, order: LoadOrder) -> None:
        """Signs them, which takes some 60 us each."""
        self.accepted: list[tuple[str, int, float]] = []
        self.began_s = 0.0
        self._order = order
        self._requests = [
            _Request(transfer.hash.hex(), _body("eth_sendRawTransaction", "0x" + transfer.encoded.hex()))
            for transfer in signed_transfers(order.chain_id, order.senders, order.count)
        ]
        self._queues: list[asyncio.Queue[_Request]] = [asyncio.Queue() for _ in order.urls]
        self._retries = 0
        self._refusals: list[str] = []
        self._cpu_s = 0.0

    async def run(self) -> None:
        """Until everything is accepted or refused, or until cancelled."""
        self.began_s, self._cpu_s = time.monotonic(), time.process_time()
        limits = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIME_S)
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(connector=limits, timeout=timeout, headers=headers) as session,
            asyncio.TaskGroup() as group,
        ):
            workers = [
                group.create_task(self._work(session, node))
                for node in range(len(self._queues))
                for _ in range(CONNECTIONS_TO_NODE)
            ]
            await self._fill(session)
            for queue in self._queues:
                await queue.join()
            for worker in workers:
                worker.cancel()

    def result(self) -> LoadResult:
        ended_s = self.accepted[-1][2] if self.accepted else self.began_s
        cpu_s = time.process_time() - self._cpu_s
        refusals = tuple(self._refusals)
        return LoadResult(self.began_s, ended_s, tuple(self.accepted), self._retries, refusals, cpu_s)

    async def _fill(self, session: aiohttp.ClientSession) -> None:
        """Put the transfers into the queues, each when it is due."""
        order = self._order
        left = iter(enumerate(self._requests))
        if order.rate_per_s > 0:
            for number, request in left:
                wait_s = self.began_s + number / order.rate_per_s - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                self._put(number, request)
            return
        while len(self.accepted) + len(self._refusals) < order.count:
            missing = order.waiting - await self._waiting(session)
            for number, request in islice(left, max(missing, 0)):
                self._put(number, request)
            await asyncio.sleep(TOP_UP_INTERVAL_S)

    def _put(self, number: int, request: _Request) -> None:
        self._queues[number % self._order.senders % len(self._queues)].put_nowait(request)

    async def _waiting(self, session: aiohttp.ClientSession) -> int:
        """In the pool of the first node, and on the way to any."""
        status = (await _post(session, self._order.urls[0], _body("txpool_status")))["result"]
        return int(status["pending"], 16) + int(status["queued"], 16) + sum(queue.qsize() for queue in self._queues)

    async def _work(self, session: aiohttp.ClientSession, node: int) -> None:
        queue, url = self._queues[node], self._order.urls[node]
        while True:
            request = await queue.get()
            while (words := await _refusal(session, url, request)) is not None:
                if not any(busy in words for busy in BUSY_WORDS):
                    self._refusals.append(words)
                    break
                self._retries += 1
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                self.accepted.append((request.hash_hex, node, time.monotonic()))
            queue.task_done()


def _body(method: str, *parameters: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> dict[str, Any]:
    async with session.post(url, data=body) as response:
        answer: dict[str, Any] = json.loads(await response.read())
        return answer


async def _refusal(session: aiohttp.ClientSession, url: str, request: _Request) -> str | None:
    """Hand one in; why it was refused, or None where the node has it."""
    answer = await _post(session, url, request.body)
    error = answer.get("error")
    if error is not None:
        return None if "already known" in error["message"] else str(error["message"])
    return None if answer["result"] == "0x" + request.hash_hex else f"another hash: {answer['result']}"


def _tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _run(order: LoadOrder) -> LoadResult:
    load = Load(order)
    _tell(ready=order.count)
    commands = await _lines()
    await commands.readline()
    running = asyncio.create_task(load.run())
    ending = asyncio.create_task(commands.read())
    try:
        while not running.done() and not ending.done():
            await asyncio.wait({running, ending}, timeout=TELL_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
            _tell(accepted=len(load.accepted))
        if running.done():
            running.result()
        return load.result()
    finally:
        for task in (running, ending):
            task.cancel()
        await asyncio.gather(running, ending, return_exceptions=True)


def main(arguments: Sequence[str]) -> None:
    order, result = map(Path, arguments)
    document = json.loads(order.read_text())
    outcome = asyncio.run(_run(LoadOrder(**{**document, "urls": tuple(document["urls"])})))
    result.write_text(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main(sys.argv[1:])
