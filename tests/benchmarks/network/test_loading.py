"""The load against a node that has no room now and then: everything is accepted once, and no nonce is left out."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from benchmarks.network.loading import Load, LoadOrder
from chain.transaction import decode_transaction


class Node:
    """Answers as a node does, by a rule of the test."""

    def __init__(self, refusal: Callable[[int], str | None] = lambda count: None) -> None:
        self.nonces: dict[bytes, list[int]] = {}
        self.waiting = 0
        self.most_waiting = 0
        self._refusal = refusal
        self._count = 0

    async def answer(self, request: web.Request) -> web.Response:
        call = await request.json()
        if call["method"] == "txpool_status":
            status = {"pending": hex(self.waiting), "queued": "0x0"}
            self.waiting = 0  # a block has taken them
            return web.json_response({"result": status})
        return web.json_response(self._take(call["params"][0]))

    def _take(self, encoded: str) -> dict[str, Any]:
        self._count += 1
        if (words := self._refusal(self._count)) is not None:
            return {"error": {"code": -32005, "message": words}}
        transaction = decode_transaction(bytes.fromhex(encoded[2:]))
        self.nonces.setdefault(transaction.sender, []).append(transaction.nonce)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        return {"result": "0x" + transaction.hash.hex()}


@asynccontextmanager
async def served(*nodes: Node) -> AsyncIterator[tuple[str, ...]]:
    runners, urls = [], []
    try:
        for node in nodes:
            application = web.Application()
            application.router.add_post("/", node.answer)
            runner = web.AppRunner(application)
            await runner.setup()
            runners.append(runner)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield tuple(urls)
    finally:
        for runner in runners:
            await runner.cleanup()


async def test_every_sender_has_one_node_and_what_finds_no_room_comes_again() -> None:
    nodes = Node(lambda count: "too many requests at a time" if count % 3 == 0 else None), Node()
    async with served(*nodes) as urls:
        load = Load(LoadOrder(urls, 7, senders=4, count=40, rate_per_s=1_000))
        await load.run()
    result = load.result()
    assert len({text for text, _, _ in result.accepted}) == 40
    assert (result.retries > 0, result.refusals) == (True, ())
    assert not set(nodes[0].nonces) & set(nodes[1].nonces)
    for node in nodes:
        assert [sorted(nonces) for nonces in node.nonces.values()] == [list(range(10))] * 2


async def test_a_refusal_that_will_not_pass_is_told_and_what_is_known_counts() -> None:
    async with served(Node(lambda count: "insufficient funds" if count == 1 else "already known")) as urls:
        load = Load(LoadOrder(urls, 7, senders=2, count=4, rate_per_s=1_000))
        await load.run()
    assert load.result().refusals == ("insufficient funds",)
    assert len(load.result().accepted) == 3


async def test_a_pool_is_kept_filled_to_a_level() -> None:
    node = Node()
    async with served(node) as urls:
        load = Load(LoadOrder(urls, 7, senders=2, count=25, rate_per_s=0, waiting=10))
        await load.run()
    assert len(load.result().accepted) == 25
    assert node.most_waiting == 10
    assert [sorted(nonces) for nonces in node.nonces.values()] == [list(range(13)), list(range(12))]
