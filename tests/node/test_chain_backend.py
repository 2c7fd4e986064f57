"""What a node answers to peers that ask for headers, bodies and receipts of a chain with a side branch."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.block import Block, decode_body
from chain.builder import BlockBuilder, BuilderSettings
from chain.header import decode_header
from chain.pool.pool import TransactionPool
from chain.queries import ChainQueries
from node.chain_backend import LedgerChain
from node.service import LedgerService
from p2p.backend import CertifiedBlock
from p2p.messages import StatePlace
from tests.chain.ledger_world import World

CAP = 3
RIVAL_COINBASE = b"\x99" * 20
TIME_LIMIT_S = 10


class Forked:
    """Blocks 0 to 6, and a rival of block 3 on block 2."""

    def __init__(self, chain: LedgerChain, blocks: list[Block], rival: Block, heads: list[CertifiedBlock]) -> None:
        self.chain, self.blocks, self.rival, self.heads = chain, blocks, rival, heads


@pytest.fixture
async def forked(tmp_path: Path) -> AsyncIterator[Forked]:
    world = World.open(tmp_path)
    ledger = world.ledger
    pool = TransactionPool(ledger.config, ledger.latest_accounts, ledger.head(), world.clock)
    builder = BlockBuilder(
        ledger.config, ledger.engine, world.clock, ledger.blocks, ledger.state, BuilderSettings(bytes(20))
    )
    with ledger:
        async with LedgerService(ledger, pool, builder) as service:
            chain = LedgerChain(service, ledger, CAP)
            heads: list[CertifiedBlock] = []
            end = chain.subscribe(heads.append)
            genesis = ledger.blocks.canonical_block(0)
            assert genesis is not None
            blocks = [genesis]
            for number in range(1, 7):
                blocks.append(world.build())
                if number == 3:
                    rival = world.build(coinbase=RIVAL_COINBASE)
                await service.import_block(blocks[-1])
            await service.import_block(rival)
            yield Forked(chain, blocks, rival, heads)
            end()


async def numbers(forked: Forked, origin: bytes | int, count: int, skip: int = 0, falling: bool = False) -> list[int]:
    headers = [decode_header(one.header) for one in await forked.chain.headers(origin, count, skip, falling)]
    for header in headers:
        assert header.hash in {block.hash for block in [*forked.blocks, forked.rival]}
    return [header.number for header in headers]


async def test_headers_rise_and_fall_with_gaps_as_far_as_there_are_some(forked: Forked) -> None:
    assert await numbers(forked, 2, 3) == [2, 3, 4]
    assert await numbers(forked, 5, 9) == [5, 6]
    assert await numbers(forked, 0, 9, skip=2) == [0, 3, 6]
    assert await numbers(forked, 6, 9, falling=True) == [6, 5, 4, 3, 2, 1, 0]
    assert await numbers(forked, 6, 9, skip=1, falling=True) == [6, 4, 2, 0]
    assert await numbers(forked, forked.blocks[4].hash, 2) == [4, 5]
    assert await numbers(forked, 7, 1) == await numbers(forked, bytes(32), 1) == []
    assert await numbers(forked, 2**63, 1) == []


async def test_a_side_branch_is_told_from_its_end_down(forked: Forked) -> None:
    assert await numbers(forked, forked.rival.hash, 9) == [3]
    falling = await forked.chain.headers(forked.rival.hash, 9, 0, True)
    hashes = [decode_header(one.header).hash for one in falling]
    assert hashes == [forked.rival.hash, *[forked.blocks[number].hash for number in (2, 1, 0)]]


async def test_bodies_and_receipts_in_order_up_to_a_size(forked: Forked) -> None:
    hashes = [forked.blocks[1].hash, bytes(32), forked.rival.hash]
    bodies = await forked.chain.bodies(hashes, 10_000)
    assert [body != b"" for body in bodies] == [True, False, True]
    assert decode_body(bodies[0]) == ()
    assert len(await forked.chain.bodies(hashes, 1)) == 1
    assert [one != b"" for one in await forked.chain.receipts(hashes, 10_000)] == [True, False, False]


async def test_who_asks_for_states_leaves_threads_to_others(forked: Forked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> None:
        asked.release()
        may_go_on.wait(TIME_LIMIT_S)

    monkeypatch.setattr(ChainQueries, "state_piece", slow)
    block_hash, places = forked.blocks[2].hash, [StatePlace(b"", b"")]
    answers = [asyncio.create_task(forked.chain.state_pieces(block_hash, places, 10_000)) for _ in range(9)]
    try:
        assert await asyncio.to_thread(asked.acquire, timeout=TIME_LIMIT_S)
        async with asyncio.timeout(TIME_LIMIT_S / 2):
            assert await numbers(forked, 1, 1) == [1]
    finally:
        may_go_on.set()
    assert await asyncio.gather(*answers) == [[b""]] * 9


async def test_where_the_chain_stands(forked: Forked) -> None:
    chain, blocks = forked.chain, forked.blocks
    head = chain.head()
    assert (head.number, head.hash) == (6, blocks[6].hash)
    assert chain.final_depth_blocks == CAP
    assert [one.block.number for one in forked.heads] == [1, 2, 3, 4, 5, 6]
    assert forked.heads[-1].total_difficulty == head.total_difficulty
    assert await chain.total_difficulty(blocks[6].hash) == head.total_difficulty
    assert await chain.total_difficulty(bytes(32)) is None
    assert await chain.canonical_hash(3) == blocks[3].hash
    assert await chain.canonical_hash(7) is None
    assert await chain.has_block(forked.rival.hash)
    assert not await chain.has_block(bytes(32))
