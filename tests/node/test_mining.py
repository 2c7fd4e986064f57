"""When the miner makes a block, when it begins anew, and what becomes of the result; the test moves the clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import node.mining as mining_module
from chain.block import Block
from chain.header_rules import BlockFromFuture
from chain.importer import ImportResult, ImportStatus
from node.mining import MiningLoop
from node.settings import MiningSettings
from primitives.clock import ManualClock
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import START_S, world_genesis

SETTINGS = MiningSettings(minimum_block_period_s=5, empty_block_period_s=60)
GENESIS_HEADER = world_genesis().header(bytes(32))


def header_at(number: int, timestamp_s: int) -> Any:
    return replace(GENESIS_HEADER, number=number, timestamp_s=timestamp_s)


class FakeService:
    """Ledger and pool as far as mining looks at them; it counts what was built and keeps what was imported."""

    def __init__(self, clock: ManualClock) -> None:
        self.head = header_at(0, START_S)
        self.pending = 0
        self.built = 0
        self.imported: list[Block] = []
        self.refusal: InvalidBlock | None = None
        self.pool = SimpleNamespace(status=lambda: SimpleNamespace(pending=self.pending), subscribe=self._subscribe)
        self._clock = clock
        self._on_import: list[Callable[[ImportResult], None]] = []
        self._on_pending: list[Callable[[Sequence[Any]], None]] = []

    def on_import(self, listener: Callable[[ImportResult], None]) -> None:
        self._on_import.append(listener)

    def _subscribe(self, listener: Callable[[Sequence[Any]], None]) -> Callable[[], None]:
        self._on_pending.append(listener)
        return lambda: None

    async def build(self) -> Block:
        self.built += 1
        return Block(header_at(self.head.number + 1, self._clock.time_s()), ())

    async def import_block(self, block: Block) -> ImportResult:
        if self.refusal is not None:
            raise self.refusal
        self.imported.append(block)
        return self.head_moves(block.header)

    def head_moves(self, header: Any) -> ImportResult:
        self.head = header
        self.pending = 0
        result = ImportResult(ImportStatus.EXTENDED, header)
        for listener in self._on_import:
            listener(result)
        return result

    def submit(self) -> None:
        self.pending += 1
        for listener in self._on_pending:
            listener([])


class FakeMiner:
    """Seals when the test says so."""

    def __init__(self) -> None:
        self.sealing: list[Any] = []
        self.given_up = 0
        self.hashes, self.sealing_s = 0, 0.0
        self.is_stopped = False
        self._found = asyncio.Event()

    async def seal(self, header: Any) -> Any:
        self.sealing.append(header)
        try:
            await self._found.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        self._found.clear()
        return header

    def find(self) -> None:
        self._found.set()

    async def __aenter__(self) -> "FakeMiner":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_stopped = True


class Mine:
    """The loop, running."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_S)
        self.service = FakeService(self.clock)
        self.miner = FakeMiner()
        loop = MiningLoop(self.service, self.miner, SETTINGS, self.clock)  # type: ignore[arg-type]
        self.task = asyncio.ensure_future(loop.run())

    async def pass_s(self, duration_s: float) -> None:
        """Time passes, and all that waited for it is done."""
        await settle()
        self.clock.advance_s(duration_s)
        await settle()


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def mine() -> AsyncIterator[Mine]:
    mine = Mine()
    yield mine
    mine.task.cancel()
    await asyncio.gather(mine.task, return_exceptions=True)
    assert mine.miner.is_stopped


async def test_an_empty_block_waits_for_its_time(mine: Mine) -> None:
    await mine.pass_s(59)
    assert mine.service.built == 0
    await mine.pass_s(1)
    assert mine.service.built == 1
    mine.miner.find()
    await settle()
    assert [block.number for block in mine.service.imported] == [1]
    await mine.pass_s(59)
    assert mine.service.built == 1


async def test_a_transaction_is_taken_after_the_shortest_time(mine: Mine) -> None:
    await mine.pass_s(1)
    mine.service.submit()
    await mine.pass_s(3)
    assert mine.service.built == 0
    await mine.pass_s(1)
    assert mine.service.built == 1


async def test_a_transaction_that_comes_late_is_taken_at_once(mine: Mine) -> None:
    await mine.pass_s(30)
    mine.service.submit()
    await settle()
    assert mine.service.built == 1


async def test_a_block_from_elsewhere_ends_the_search(mine: Mine) -> None:
    await mine.pass_s(60)
    assert len(mine.miner.sealing) == 1
    mine.service.head_moves(header_at(1, mine.clock.time_s()))
    await settle()
    assert mine.miner.given_up == 1
    assert mine.service.imported == []
    await mine.pass_s(60)
    assert [header.number for header in mine.miner.sealing] == [1, 2]


async def test_a_head_that_moves_while_building_is_noticed(mine: Mine) -> None:
    async def build() -> Block:
        block = await FakeService.build(mine.service)
        if mine.service.built == 1:
            mine.service.head_moves(header_at(1, mine.clock.time_s()))
        return block

    mine.service.build = build  # type: ignore[method-assign]
    await mine.pass_s(60)
    assert mine.service.built == 1
    assert mine.miner.given_up == len(mine.miner.sealing)
    await mine.pass_s(60)
    assert mine.miner.sealing[-1].number == 2


async def test_fresh_transactions_are_built_in_but_not_too_often(mine: Mine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mining_module, "REBUILD_INTERVAL_S", 0)
    await mine.pass_s(60)
    mine.service.submit()
    await settle()
    assert mine.service.built == 2
    monkeypatch.setattr(mining_module, "REBUILD_INTERVAL_S", 1_000)
    mine.service.submit()
    await settle()
    mine.service.submit()
    await settle()
    assert mine.service.built == 3  # the search that had begun before the pause was made longer
    assert mine.service.imported == []


async def test_a_block_of_our_own_that_is_refused_ends_the_node(mine: Mine) -> None:
    mine.service.refusal = InvalidBlock("nonsense")
    await mine.pass_s(60)
    mine.miner.find()
    with pytest.raises(InvalidBlock, match="nonsense"):
        await mine.task


async def test_a_clock_set_back_after_building_costs_one_block_not_the_node(mine: Mine) -> None:
    mine.service.refusal = BlockFromFuture("ahead of this node's clock")
    await mine.pass_s(60)
    mine.miner.find()
    await settle()
    mine.service.refusal = None
    await mine.pass_s(2)
    assert mine.service.built == 2
    mine.miner.find()
    await settle()
    assert len(mine.service.imported) == 1


async def test_a_clock_behind_the_head_waits(mine: Mine) -> None:
    """A Pi without a battery wakes up in the past: no block is made until the time has caught up."""
    mine.service.head_moves(header_at(1, START_S + 10_000))
    mine.service.submit()
    await mine.pass_s(10_000)
    assert mine.service.built == 0
    await mine.pass_s(5)
    assert mine.service.built == 1
