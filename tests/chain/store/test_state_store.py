"""The state store against a plain model of the state: commits, rollbacks, history, proofs, damage.

After every step the flat rows, the stored trie nodes and the root must be exactly those of a state loaded afresh.
"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT, Account, StateChanges
from chain.store.account_table import BUCKET_CACHE_LIMIT, AccountTable
from chain.store.database import Database
from chain.store.records import decode_record
from chain.store.state import PRUNED_BLOCKS_PER_COMMIT, StateStore
from chain.store.state_reader import StateUnavailable, StateView
from chain.trie.root import state_root
from chain.trie.update import DamagedTrie
from primitives.keccak import keccak256
from primitives.rlp import decode
from tests.chain.store.state_model import ADDRESSES, CODE, Model, block_changes, commit, empty, fresh_rows, rows


@pytest.fixture(scope="module")
def two_databases(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ledgers")
    with Database.open(directory / "a") as first, Database.open(directory / "b") as second:
        for database in (first, second):
            database.connection.execute("PRAGMA synchronous = OFF")  # nobody cuts the power here
        yield first, second


@settings(max_examples=80)
@given(
    genesis=block_changes,
    blocks=st.lists(block_changes, min_size=1, max_size=8),
    undone=st.integers(0, 8),
    again=st.lists(block_changes, max_size=3),
    archive=st.booleans(),
)
def test_commits_and_rollbacks_leave_exactly_the_state(two_databases, genesis, blocks, undone, again, archive):
    database, other_database = two_databases
    empty(database)
    model = Model()
    model.apply(genesis)
    store = StateStore(database, archive=archive)
    with database.transaction():
        store.initialise(model.changes())
    past = [(model.copy(), rows(database))]
    for changes in blocks:
        model.apply(changes)
        commit(database, store, len(past), changes)
        assert store.state_root == model.root
        check_storage_addresses(database, model)
        past.append((model.copy(), rows(database)))
    check_history(database, [then for then, _ in past])
    for _ in range(min(undone, len(blocks))):
        past.pop()
        with database.transaction():
            store.rollback(len(past))
        assert rows(database) == past[-1][1]
        assert store.state_root == past[-1][0].root
    model = past[-1][0].copy()
    for changes in again:
        model.apply(changes)
        commit(database, store, len(past), changes)
        past.append((model.copy(), rows(database)))
    check_history(database, [then for then, _ in past])
    assert store.state_root == model.root
    assert rows(database) == fresh_rows(other_database, model)
    check_reader(store.reader(), model)


def check_storage_addresses(database, model):
    known = dict(database.connection.execute("SELECT address, key FROM storage_addresses"))
    for address, slots in model.storage.items():
        assert not slots or known[address] == keccak256(address)


def check_history(database, past):
    reader = database.reader()
    with reader.snapshot() as connection:
        view = StateView(connection)
        for number, model in enumerate(past):
            check_reader(view.reader_at(number), model)
        with pytest.raises(StateUnavailable):
            view.reader_at(len(past))
    reader.close()


def check_reader(reader, model):
    for address in ADDRESSES:
        slots = model.storage.get(address, {})
        assert reader.account(address) == model.accounts.get(address)
        assert reader.has_storage(address) == bool(slots)
        for slot in range(13):
            assert reader.storage(address, slot) == slots.get(slot, 0)


@pytest.fixture
def database(tmp_path):
    with Database.open(tmp_path / "data") as database:
        yield database


def balances(*numbers, code_hash=EMPTY_CODE_HASH):
    return StateChanges({bytes([i]) * 20: Account(0, number, code_hash) for i, number in enumerate(numbers)})


def test_preparing_writes_nothing_and_tells_the_root(database):
    store = StateStore(database)
    assert store.state_root == EMPTY_TRIE_ROOT
    before = database.connection.total_changes
    first, second = store.prepare(balances(1, 2)), store.prepare(balances(3, 4))
    assert database.connection.total_changes == before
    assert first.state_root != second.state_root
    with database.transaction():
        store.commit(1, second)
    assert store.state_root == second.state_root == state_root(balances(3, 4).accounts, {})
    with pytest.raises(RuntimeError, match="another state"), database.transaction():
        store.commit(2, first)


def test_a_transaction_that_fails_leaves_no_memory_of_it(database):
    store = StateStore(database)
    commit(database, store, 1, balances(1, 2))
    root = store.state_root
    prepared = store.prepare(balances(7, 8, 9))
    with pytest.raises(RuntimeError, match="cannot be undone"), database.transaction():
        commit_and_fail(store, prepared)
    assert store.state_root == root
    assert store.reader().account(bytes(20)).balance == 1
    assert store.reader().account(b"\x02" * 20) is None
    commit(database, store, 2, balances(7, 8))
    assert store.state_root == state_root(balances(7, 8).accounts, {})


def commit_and_fail(store, prepared):
    store.commit(2, prepared)
    assert store.reader().account(bytes(20)).balance == 7
    store.rollback(7)


def test_codes_are_found_by_their_hash(database):
    store = StateStore(database)
    changes = balances(1, code_hash=keccak256(CODE))
    changes.codes[keccak256(CODE)] = CODE
    commit(database, store, 1, changes)
    with database.reader().snapshot() as connection:
        assert StateView(connection).reader().code(keccak256(CODE)) == CODE
    assert store.reader().code(keccak256(CODE)) == CODE
    assert store.reader().code(EMPTY_CODE_HASH) == b""
    with pytest.raises(RuntimeError, match="missing"):
        store.reader().code(bytes(32))


def test_undo_rows_are_pruned_and_the_rest_still_answers(database):
    store = StateStore(database, history_blocks=5)
    for number in range(1, 21):
        commit(database, store, number, balances(number))
    assert [number for number, _ in rows(database, ["undo_roots"])["undo_roots"]] == [16, 17, 18, 19, 20]
    assert [store.reader_at(number).account(bytes(20)).balance for number in range(15, 21)] == [15, 16, 17, 18, 19, 20]
    with pytest.raises(StateUnavailable, match="from block 15 on"):
        store.reader_at(14)
    for number in range(20, 15, -1):
        with database.transaction():
            store.rollback(number)
    assert store.state_root == state_root(balances(15).accounts, {})
    with pytest.raises(RuntimeError, match="cannot be undone"), database.transaction():
        store.rollback(15)


def test_an_archive_keeps_all_states_and_can_be_begun_and_ended(database):
    store = StateStore(database, history_blocks=3)
    for number in range(1, 6):
        commit(database, store, number, balances(number))
    store = StateStore(database, history_blocks=3, archive=True)
    for number in range(6, 31):
        commit(database, store, number, balances(number))
    assert [store.reader_at(number).account(bytes(20)).balance for number in range(2, 31)] == list(range(2, 31))
    store = StateStore(database, history_blocks=3)
    commit(database, store, 31, balances(31))
    # Without the archive's index each old state would be looked for block by block: it is not told of any more.
    assert store.position().history_from == 28
    assert rows(database, ["undo_roots"])["undo_roots"][0][0] == 2 + 1 + PRUNED_BLOCKS_PER_COMMIT
    for number in range(32, 40):
        commit(database, store, number, balances(number))
    assert store.position().history_from == 36
    assert [number for number, _ in rows(database, ["undo_roots"])["undo_roots"]] == [37, 38, 39]


def test_damage_found_while_undoing_is_loud(database):
    store = StateStore(database)
    commit(database, store, 1, balances(1, 2))
    commit(database, store, 2, balances(3, 4))
    database.connection.execute("UPDATE undo_accounts SET record = x'0009' WHERE number = 2")
    with pytest.raises(DamagedTrie), database.transaction():
        store.rollback(2)
    assert store.state_root == state_root(balances(3, 4).accounts, {})


def test_proofs_lead_from_the_roots(database):
    store = StateStore(database)
    changes = balances(*range(200))
    changes.storage[bytes(20)] = {slot: slot + 1 for slot in range(50)}
    commit(database, store, 1, changes)
    proof = store.prove_account(bytes(20), 1)
    assert keccak256(proof[0]) == store.state_root
    assert all(keccak256(child) in parent for parent, child in pairwise(proof))
    assert decode(proof[-1])[1] == store.reader().stored(bytes(20)).leaf_value
    slot_proof = store.prove_slot(bytes(20), 7, 1)
    assert keccak256(slot_proof[0]) == store.storage_root(bytes(20), 1)
    assert decode(slot_proof[-1])[1] == b"\x08"
    assert store.prove_slot(b"\x01" * 20, 7, 1) == []


def test_a_genesis_larger_than_one_run_has_the_root_of_its_accounts(database):
    store = StateStore(database)
    many = {i.to_bytes(20, "big"): Account(0, i) for i in range(9_000)}
    with database.transaction():
        store.initialise(StateChanges(many))
    assert store.state_root == state_root(many, {})
    assert stored_accounts(database) == {keccak256(address): account for address, account in many.items()}
    with pytest.raises(RuntimeError, match="empty database"), database.transaction():
        store.initialise(StateChanges(many))


def test_a_block_may_change_more_accounts_than_the_cache_has_buckets(database):
    store = StateStore(database)
    many = {i.to_bytes(20, "big"): Account(0, i) for i in range(2 * BUCKET_CACHE_LIMIT)}
    for number in (1, 2):
        many = {address: Account(number, balance) for address, (_, balance, _) in many.items()}
        commit(database, store, number, StateChanges(many))
        assert store.state_root == state_root(many, {})
        assert stored_accounts(database) == {keccak256(address): account for address, account in many.items()}


def stored_accounts(database):
    everything = AccountTable(database.connection).records(bytes(32), b"\xff" * 32)
    return {key: decode_record(record).account for key, record in everything}
