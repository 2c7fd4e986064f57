"""Executions that are remembered: found by the block sealed or not, on their own parent alone, a few at most."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.block import Block
from chain.block_execution import BlockExecution
from chain.builder import BlockBuilder, BuilderSettings
from chain.candidates import MAX_CANDIDATES, Candidate, Candidates
from chain.consensus.proof_of_work import seal_here
from chain.importer import ImportStatus
from chain.transaction import Transaction, decode_transaction
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import COINBASE, FixedOrder, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.open(tmp_path / "a")
    with world.ledger:
        yield world


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Transaction]:
    """Every transaction that is executed from here on."""
    applied: list[Transaction] = []
    apply = BlockExecution.apply

    def counted(execution: BlockExecution, transaction: Transaction) -> object:
        applied.append(transaction)
        return apply(execution, transaction)

    monkeypatch.setattr(BlockExecution, "apply", counted)
    return applied


def build(world: World, *transactions: Transaction, coinbase: bytes = COINBASE) -> Block:
    """Unsealed, and remembered."""
    ledger = world.ledger
    world.clock.now_s = max(world.clock.now_s, ledger.head().timestamp_s + 15)
    builder = BlockBuilder(
        ledger.config, ledger.engine, world.clock, ledger.blocks, ledger.state, BuilderSettings(coinbase),
        candidates=ledger.candidates,
    )  # fmt: skip
    return builder.build(FixedOrder(transactions))


def sealed(block: Block) -> Block:
    return replace(block, header=seal_here(block.header))


def decoded(block: Block) -> Block:
    """The block as it comes from bytes: equal, and nothing of it known."""
    return replace(block, transactions=tuple(decode_transaction(one.encoded) for one in block.transactions))


def test_an_own_block_is_executed_once(world: World, executed: list[Transaction]) -> None:
    built = build(world, world.transfer(), world.transfer(1))
    block = sealed(built)
    assert block.hash != built.hash
    assert world.ledger.import_block(block).status is ImportStatus.EXTENDED
    assert len(executed) == 2
    assert world.ledger.state.state_root == block.header.state_root
    assert len(world.ledger.blocks.receipts(block.hash) or ()) == 2


def test_what_was_built_is_the_same_as_what_is_executed(world: World, tmp_path: Path) -> None:
    there = World.open(tmp_path / "b")
    other_clock = there.clock
    with there.ledger as other:
        for _ in range(3):
            block = sealed(build(world, world.transfer(), world.transfer(3, 5)))
            world.ledger.import_block(block)
            other_clock.now_s = world.clock.now_s
            other.import_block(decoded(block))
        for table in ("headers", "bodies", "receipts", "buckets", "upper_nodes", "undo_accounts", "undo_roots"):
            rows = [
                ledger.database.connection.execute(f"SELECT * FROM {table}").fetchall()
                for ledger in (world.ledger, other)
            ]
            assert rows[0] == rows[1], table


@pytest.mark.parametrize("chosen", [0, 1])
def test_one_of_two_candidates_is_imported(world: World, executed: list[Transaction], chosen: int) -> None:
    blocks = [
        sealed(build(world, world.transfer(0, 1, 5), coinbase=b"\x01" * 20)),
        sealed(build(world, world.transfer(2, 3, 9), coinbase=b"\x02" * 20)),
    ]
    assert world.ledger.import_block(blocks[chosen]).status is ImportStatus.EXTENDED
    assert len(executed) == 2
    assert world.ledger.state.state_root == blocks[chosen].header.state_root
    world.nonces.clear()
    world.nonces[blocks[chosen].transactions[0].sender] = 1
    world.grow(2)


def test_senders_are_not_recovered_again(world: World) -> None:
    block = sealed(build(world, world.transfer()))
    (connected,) = world.ledger.import_block(decoded(block)).connected
    assert connected == block
    assert connected.transactions[0] is block.transactions[0]


def test_another_body_under_the_same_header_is_refused(world: World) -> None:
    block = sealed(build(world, world.transfer()))
    with pytest.raises(InvalidBlock, match="commits to"):
        world.ledger.import_block(replace(block, transactions=(world.transfer(1),)))
    assert world.ledger.import_block(block).status is ImportStatus.EXTENDED


def test_a_new_head_makes_candidates_void(world: World, tmp_path: Path, executed: list[Transaction]) -> None:
    rival = World.open(tmp_path / "b")
    rival.coinbase = b"\xd0" * 20
    with rival.ledger:
        theirs = rival.grow(2)
        late = sealed(build(world, world.transfer()))
        executed.clear()
        world.clock.now_s += 100
        assert world.ledger.import_block(theirs[0]).status is ImportStatus.EXTENDED
        assert world.ledger.candidates.find(late.header) is None
        assert world.ledger.import_block(late).status is ImportStatus.SIDE_BRANCH
        assert len(executed) == 1
        assert world.ledger.import_block(theirs[1]).head == rival.ledger.head()


def test_a_head_that_comes_back_executes_again(world: World, tmp_path: Path, executed: list[Transaction]) -> None:
    """Away from the parent and, because a heavier branch turns out to be invalid, back to it."""
    rival = World.open(tmp_path / "b")
    rival.coinbase = b"\xd0" * 20
    with rival.ledger:
        world.grow(1)
        late = sealed(build(world, world.transfer()))
        good, bad = rival.grow(1)[0], rival.build()
        world.clock.now_s += 100
        world.ledger.import_block(good)
        executed.clear()
        with pytest.raises(InvalidBlock, match="state root"):
            world.ledger.import_block(
                sealed(replace(bad, header=replace(bad.header, state_root=bytes(32), _hash=None)))
            )
        assert executed == list(good.transactions)
        assert world.ledger.import_block(late).status is ImportStatus.EXTENDED
        assert executed == [*good.transactions, *late.transactions]


def test_a_failed_write_forgets_the_candidate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    block = sealed(build(world, world.transfer()))

    def fail(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(world.ledger.blocks, "connect", fail)
        with pytest.raises(OSError, match="no room"):
            world.ledger.import_block(block)
    assert world.ledger.candidates.find(block.header) is None
    assert world.ledger.import_block(block).status is ImportStatus.EXTENDED


def test_the_oldest_is_forgotten(world: World) -> None:
    blocks = [build(world, coinbase=bytes([index]) * 20) for index in range(1, MAX_CANDIDATES + 2)]
    found = [world.ledger.candidates.find(block.header) is not None for block in blocks]
    assert found == [False] + [True] * MAX_CANDIDATES


def test_another_parent_replaces_all(world: World) -> None:
    candidates = Candidates()
    header = world.ledger.head()
    block = build(world)
    remembered = world.ledger.candidates.find(block.header)
    assert isinstance(remembered, Candidate)
    candidates.remember(header, remembered)
    candidates.remember(block.header, remembered)
    assert candidates.find(header) is None
    assert candidates.find(block.header) is remembered
    candidates.remember(header, remembered)
    candidates.remember(block.header, remembered)
    assert candidates.find(header) is None
    candidates.clear()
    assert candidates.find(block.header) is None
