"""Blocks put, connected and disconnected are found again by hash, number and transaction, and forgotten in time."""

import random

import pytest

from chain.store import blocks as blocks_module
from chain.store import transaction_index
from chain.store.blocks import BlockStore, BlockView, TransactionLocation
from chain.store.database import Database
from primitives.errors import InvalidBlock, UserError
from tests.chain.store.block_factory import make_block


@pytest.fixture
def database(tmp_path):
    with Database.open(tmp_path) as database:
        yield database


def extend(database, store, parent, seed, connect=True):
    block, receipts = make_block(parent, seed)
    before = 0 if parent is None else store.total_difficulty(parent.hash)
    with database.transaction():
        store.put(block, before + block.header.difficulty)
        if connect:
            store.connect(block, receipts)
    return block, receipts


def chain(database, store, length):
    made, parent = [], None
    for seed in range(length):
        made.append(extend(database, store, parent, seed))
        parent = made[-1][0]
    return made


def test_blocks_below_a_leap_are_found_by_their_transactions(database, monkeypatch):
    monkeypatch.setattr(transaction_index, "EPOCH_BLOCKS", 2)
    monkeypatch.setattr(transaction_index, "ERA_BLOCKS", 4)
    store = BlockStore(database)
    made = chain(database, store, 6)
    parent = made[-1][0]
    with database.transaction():
        for seed in range(6, 40):
            parent, _ = make_block(parent, seed)
            store.connect_header(parent.header, seed, b"", b"")
        store.begin_after(parent.number)
    made += [(None, None)] * 34
    for seed in range(40, 60):
        for number in [0, 1, 5, *range(40, seed)]:
            block = made[number][0]
            expected = TransactionLocation(block.hash, number, 1)
            assert store.transaction_location(block.transactions[1].hash) == expected
        made.append(extend(database, store, parent, seed))
        parent = made[-1][0]


def test_an_empty_store_has_no_head(database):
    with pytest.raises(UserError, match="wattchain init"):
        BlockStore(database).head()
    assert BlockStore(database).transaction_location(bytes(32)) is None


@pytest.mark.parametrize("is_reader", [False, True])
def test_a_chain_is_found_by_hash_number_and_transaction(database, is_reader):
    store = BlockStore(database)
    made = chain(database, store, 10)
    view = BlockView(database.reader()._connection) if is_reader else store
    assert view.head() == made[-1][0].header
    total = 0
    for number, (block, receipts) in enumerate(made):
        total += block.header.difficulty
        assert view.header(block.hash) == view.canonical_header(number) == block.header
        assert view.block(block.hash) == view.canonical_block(number) == block
        assert view.canonical_hash(number) == block.hash
        assert view.total_difficulty(block.hash) == total
        assert view.receipts(block.hash) == receipts
        for index, transaction in enumerate(block.transactions):
            expected = TransactionLocation(block.hash, number, index)
            assert view.transaction_location(transaction.hash) == expected
    assert list(view.blooms(2, 4)) == [(i, made[i][0].header.logs_bloom) for i in (2, 3, 4)]
    assert list(view.blooms(8, 2**70)) == [(i, made[i][0].header.logs_bloom) for i in (8, 9)]


def test_what_is_not_there_is_not_found(database):
    store = BlockStore(database)
    chain(database, store, 2)
    for unknown in (store.header, store.block, store.total_difficulty, store.receipts, store.transaction_location):
        assert unknown(b"\x07" * 32) is None
    for number in (2, -1, 2**64, 2**300):
        assert store.canonical_hash(number) is store.canonical_header(number) is store.canonical_block(number) is None


def test_a_side_branch_is_kept_and_can_become_canonical(database):
    store = BlockStore(database)
    made = chain(database, store, 3)
    (fork, _), (old, old_receipts) = made[1], made[2]
    side, side_receipts = extend(database, store, fork, seed=100, connect=False)
    assert store.block(side.hash) == side
    assert store.head() == old.header
    assert store.receipts(side.hash) is None
    assert store.transaction_location(side.transactions[0].hash) is None
    with database.transaction():
        store.disconnect(2)
        store.put(side, 5)
        store.connect(side, side_receipts)
    assert store.head() == side.header
    assert store.total_difficulty(side.hash) != 5
    assert store.transaction_location(side.transactions[0].hash) == TransactionLocation(side.hash, 2, 0)
    assert store.transaction_location(old.transactions[0].hash) is None
    assert store.block(old.hash) == old
    assert store.receipts(old.hash) == old_receipts, "whoever was told of its logs must be told that they are gone"
    with database.transaction():
        store.disconnect(2)
        store.connect(old, old_receipts)
    assert store.head() == old.header
    assert store.receipts(side.hash) == side_receipts


def test_a_certificate_is_found_beside_its_block_and_forgotten_with_it(database, monkeypatch):
    monkeypatch.setattr(blocks_module, "SIDE_BRANCH_WINDOW", 3)
    store = BlockStore(database)
    made = chain(database, store, 3)
    certified, receipts = make_block(made[-1][0], 50)
    side, _ = make_block(made[-1][0], 51)
    with database.transaction():
        store.put(certified, 4, b"one")
        store.put(side, 4, b"two")
        store.put(certified, 4, b"another")
        store.connect(certified, receipts)
    reader = BlockView(database.reader()._connection)
    for view in (store, reader):
        assert [view.certificate(one.hash) for one in (certified, side)] == [b"one", b"two"]
        assert view.certificate(made[0][0].hash) == view.certificate(b"\x07" * 32) == b""
    parent = certified
    for seed in range(52, 55):
        parent, _ = extend(database, store, parent, seed)
    assert [store.certificate(one.hash) for one in (certified, side)] == [b"one", b""]
    assert database.connection.execute("SELECT certificate FROM certificates").fetchall() == [(b"one",)]


def test_only_the_head_can_be_disconnected_and_only_stored_blocks_connected(database):
    store = BlockStore(database)
    made = chain(database, store, 3)
    for number in (1, 3):
        with pytest.raises(RuntimeError, match="not the head"), database.transaction():
            store.disconnect(number)
    stranger, receipts = make_block(made[-1][0], 9)
    with pytest.raises(RuntimeError, match="put into the store"), database.transaction():
        store.connect(stranger, receipts)


def test_a_block_taken_back_with_its_transaction_is_not_remembered(database):
    store = BlockStore(database)
    made = chain(database, store, 2)
    block, receipts = make_block(made[-1][0], 7)
    with pytest.raises(ZeroDivisionError), database.transaction():
        put_and_fail(store, block, receipts)
    assert store.header(block.hash) is None
    assert store.head() == made[-1][0].header


def put_and_fail(store, block, receipts):
    store.put(block, 1)
    store.connect(block, receipts)
    raise ZeroDivisionError


def test_old_side_branches_are_forgotten(database, monkeypatch):
    monkeypatch.setattr(blocks_module, "SIDE_BRANCH_WINDOW", 4)
    store = BlockStore(database)
    made = chain(database, store, 3)
    side, _ = extend(database, store, made[1][0], seed=100, connect=False)
    parent = made[-1][0]
    for seed in range(3, 6):
        parent, _ = extend(database, store, parent, seed)
    assert store.header(side.hash) is not None
    extend(database, store, parent, 6)
    assert store.header(side.hash) is store.block(side.hash) is None
    assert store.canonical_block(2) == made[2][0]
    assert database.connection.execute("SELECT count(*) FROM bodies").fetchone()[0] == 7


def test_the_room_for_siblings_is_bounded(database, monkeypatch):
    monkeypatch.setattr(blocks_module, "MAX_SIBLINGS", 3)
    store = BlockStore(database)
    genesis, _ = extend(database, store, None, 0)
    for seed in range(1, 4):
        extend(database, store, genesis, seed, connect=False)
    with pytest.raises(InvalidBlock, match="3 blocks of number 1"):
        extend(database, store, genesis, 4, connect=False)


def test_hashes_that_begin_alike_are_told_apart(database, monkeypatch):
    monkeypatch.setattr("chain.store.transaction_index._PREFIX_BYTES", 0)
    store = BlockStore(database)
    made = chain(database, store, 5)
    random.Random(1).shuffle(made)
    for block, _ in made:
        for index, transaction in enumerate(block.transactions):
            assert store.transaction_location(transaction.hash) == TransactionLocation(block.hash, block.number, index)
    assert store.transaction_location(bytes(32)) is None
