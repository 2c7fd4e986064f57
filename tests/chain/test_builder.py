"""The block builder: what it takes from the pool, and that the importer accepts what it makes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.block import MAX_BLOCK_BYTES, Block
from chain.builder import BlockBuilder, BuilderSettings
from chain.consensus.proof_of_work import seal_here
from chain.fees import check_gas_limit
from chain.importer import ImportStatus
from chain.pool.pool import TransactionPool
from chain.transaction import Transaction
from tests.chain.ledger_world import ADDRESSES, COINBASE, KEYS, START_S, World, signed, world_genesis


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.open(tmp_path)
    yield world
    world.ledger.close()


def _pool(world: World) -> TransactionPool:
    return TransactionPool(world.ledger.config, world.ledger.latest_accounts, world.ledger.head(), world.clock)


def _build(
    world: World, pool: TransactionPool, stopwatch_s: Callable[[], float] = lambda: 0.0, **settings: object
) -> Block:
    ledger = world.ledger
    builder = BlockBuilder(
        ledger.config,
        ledger.engine,
        world.clock,
        ledger.blocks,
        ledger.state,
        BuilderSettings(COINBASE, **settings),  # type: ignore[arg-type]
        stopwatch_s,
    )
    return builder.build(pool.pending())


def _import(world: World, pool: TransactionPool, block: Block) -> Block:
    sealed = replace(block, header=seal_here(block.header))
    assert world.ledger.import_block(sealed).status is ImportStatus.EXTENDED
    pool.head_changed(world.ledger.latest_accounts, sealed.header, sealed.transactions)
    return sealed


def _transfer(sender: int, nonce: int, **changes: object) -> Transaction:
    return signed(KEYS[sender], nonce=nonce, gas_limit=21_000, **changes)


def test_built_blocks_are_imported_and_empty_the_pool(world: World) -> None:
    pool = _pool(world)
    sent = [_transfer(sender, nonce, value=1 + nonce) for nonce in range(3) for sender in range(4)]
    assert pool.add(sent) == [None] * 12
    world.clock.advance_s(15)
    block = _import(world, pool, _build(world, pool))
    assert set(block.transactions) == set(sent)
    assert block.header.gas_used == 12 * 21_000
    assert block.header.coinbase == COINBASE
    assert len(pool) == 0
    world.clock.advance_s(15)
    assert _import(world, pool, _build(world, pool)).transactions == ()


def test_building_leaves_no_trace(world: World) -> None:
    pool = _pool(world)
    pool.add([_transfer(0, 0, value=5)])
    first, second = _build(world, pool), _build(world, pool)
    assert first.header == second.header
    assert world.ledger.latest_accounts.account(ADDRESSES[0]).nonce == 0
    assert len(pool) == 1


def test_best_tip_first_within_the_gas_limit(world: World) -> None:
    pool = _pool(world)
    gas_limit = world.ledger.head().gas_limit
    big = signed(KEYS[0], nonce=0, gas_limit=gas_limit - 50_000, max_priority_fee_per_gas=5 * 10**9)
    behind_it = _transfer(0, 1, max_priority_fee_per_gas=5 * 10**9)
    too_big_now = signed(KEYS[1], nonce=0, gas_limit=gas_limit, max_priority_fee_per_gas=4 * 10**9)
    small = _transfer(2, 0)
    assert pool.add([small, too_big_now, behind_it, big]) == [None] * 4
    block = _import(world, pool, _build(world, pool))
    # What the first big one did not use is free again; the second asks for the whole block.
    assert block.transactions == (big, behind_it, small)
    assert set(pool.pending()) == {too_big_now}
    world.clock.advance_s(1)
    assert _import(world, pool, _build(world, pool)).transactions == (too_big_now,)


def test_bytes_are_limited(world: World) -> None:
    pool = _pool(world)
    long = signed(KEYS[0], nonce=0, data=bytes(500), max_priority_fee_per_gas=5 * 10**9)
    short = [_transfer(1, nonce) for nonce in range(2)]
    pool.add([long, *short])
    block = _build(world, pool, max_block_bytes=sum(len(t.encoded) for t in short))
    assert list(block.transactions) == short


def test_the_number_of_transactions_is_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.builder.MAX_BLOCK_TRANSACTIONS", 3)
    pool = _pool(world)
    pool.add([_transfer(0, nonce) for nonce in range(5)])
    assert len(_build(world, pool).transactions) == 3


def test_time_is_limited(world: World) -> None:
    pool = _pool(world)
    pool.add([_transfer(0, nonce) for nonce in range(10)])
    ticks = iter(range(100))
    block = _build(world, pool, stopwatch_s=lambda: float(next(ticks)), build_time_limit_s=3.0)
    assert len(block.transactions) == 3


def test_what_has_become_invalid_is_left_out_with_all_behind_it(world: World) -> None:
    """The pool does not know yet that a block took nonce 0 of the first sender."""
    pool = _pool(world)
    stale = [_transfer(0, 0), _transfer(0, 1)]
    good = _transfer(1, 0)
    pool.add([*stale, good])
    world.grow(1)
    block = _build(world, pool)
    assert block.transactions == (good,)
    world.clock.advance_s(15)
    sealed = replace(block, header=seal_here(block.header))
    assert world.ledger.import_block(sealed).status is ImportStatus.EXTENDED


def test_time_is_the_clocks_but_always_after_the_parents(world: World) -> None:
    pool = _pool(world)
    world.clock.now_s = START_S - 1_000
    assert _build(world, pool).header.timestamp_s == START_S + 1
    world.clock.now_s = START_S + 77
    assert _build(world, pool).header.timestamp_s == START_S + 77


def test_gas_limit_moves_to_its_target_by_valid_steps(world: World) -> None:
    pool = _pool(world)
    parent = world.ledger.head().gas_limit
    for target, is_right in ((None, parent.__eq__), (10**9, parent.__lt__), (10**6, parent.__gt__)):
        gas_limit = _build(world, pool, gas_limit_target=target).header.gas_limit
        check_gas_limit(gas_limit, parent)
        assert is_right(gas_limit)


def test_a_network_without_fees_and_asert(tmp_path: Path) -> None:
    world = World.open(tmp_path, world_genesis(fees="zero", difficulty="asert"))
    pool = _pool(world)
    pool.add([_transfer(sender, 0, max_fee_per_gas=0, max_priority_fee_per_gas=0) for sender in range(3)])
    for _ in range(3):
        world.clock.advance_s(1)
        block = _import(world, pool, _build(world, pool))
        assert block.header.base_fee_per_gas == 0
    assert len(pool) == 0
    world.ledger.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"coinbase": bytes(19)},
        {"coinbase": COINBASE, "extra_data": bytes(33)},
        {"coinbase": COINBASE, "max_block_bytes": MAX_BLOCK_BYTES // 2 + 1},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="bytes"):
        BuilderSettings(**settings)  # type: ignore[arg-type]
