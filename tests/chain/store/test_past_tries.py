"""Tries of past states: proofs and pieces of any kept block are those of a ledger that stopped there.

They are asked for in any order, while blocks come and go, and of a state again after the head has moved on.
"""

from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.account import EMPTY_TRIE_ROOT, Account, StateChanges
from chain.state_pieces import ACCOUNT_TRIE, MAX_PIECE_BYTES, PieceRequest, Place, TrieNode, check_piece
from chain.store import past_tries
from chain.store.database import Database
from chain.store.past_tries import PastTries
from chain.store.state import StateStore
from chain.store.state_reader import PAST_TRIE_DEPTH_BLOCKS, StateUnavailable, StateView
from chain.trie.root import account_value, slot_key, storage_root, storage_value
from chain.trie.update import DamagedTrie
from primitives.keccak import keccak256
from tests.chain.proof_checking import proved_value
from tests.chain.store.state_model import ADDRESSES, Model, block_changes, commit, empty
from tests.chain.test_state_pieces import TWINS

SMALL = 190
"""Bytes of a piece: hardly more than a leaf, so that tries are taken apart node by node."""
NODE_BYTES = 539
"""Of a piece with the largest node; it is sent in any case."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Database.open(tmp_path_factory.mktemp("ledger")) as database:
        database.connection.execute("PRAGMA synchronous = OFF")
        yield database


class Chain:
    """A state store, a model of every state it had, and questions about them."""

    def __init__(self, database, archive=False, history_blocks=1_024):
        self.database = database
        self.store = StateStore(database, archive=archive, history_blocks=history_blocks)
        self.models = [Model()]
        self.reader = database.reader()
        self.past = PastTries(database.reader())

    def begin(self, changes):
        self.models[0].apply(changes)
        with self.database.transaction():
            self.store.initialise(self.models[0].changes())

    def commit(self, changes):
        self.models.append(self.models[-1].copy())
        self.models[-1].apply(changes)
        commit(self.database, self.store, len(self.models) - 1, changes)

    def rollback(self):
        self.models.pop()
        with self.database.transaction():
            self.store.rollback(len(self.models))

    @contextmanager
    def view(self):
        with self.reader.snapshot() as connection:
            yield StateView(connection, self.past.trie)

    def close(self):
        self.past.close()
        self.reader.close()


def check_proofs(chain, number):
    """Every account and slot, there or not, of one state; by a verifier that knows nothing of our tries."""
    model = chain.models[number]
    with chain.view() as view:
        for address in ADDRESSES:
            slots = model.storage.get(address, {})
            root = storage_root(slots)
            account = model.accounts.get(address)
            leaf = None if account is None else account_value(account, root)
            assert proved_value(model.root, keccak256(address), view.prove_account(address, number)) == leaf
            assert view.storage_root(address, number) == root
            for slot in (0, 1, 12):
                value = None if not slots.get(slot) else storage_value(slots[slot])
                assert proved_value(root, slot_key(slot), view.prove_slot(address, slot, number)) == value


def fetch(chain, number, max_bytes):
    """All accounts and slots of a state, by pieces that are proved from its root on."""
    root = chain.models[number].root
    accounts, slots = {}, {}
    waiting = [] if root == EMPTY_TRIE_ROOT else [PieceRequest(Place(ACCOUNT_TRIE), root)]
    with chain.view() as view:
        while waiting:
            request = waiting.pop()
            piece = view.piece_at(number, *request.place, max_bytes)
            assert len(piece.encode()) <= max(max_bytes, NODE_BYTES)
            checked = check_piece(request, piece)
            waiting += checked.children
            for leaf in checked.accounts:
                accounts[leaf.key] = leaf.stored.account
                if leaf.address:
                    waiting.append(PieceRequest(Place(leaf.key), leaf.stored.storage_root))
            for leaf in checked.slots:
                slots.setdefault(request.place.owner, {})[leaf.key] = int.from_bytes(leaf.value, "big")
    return accounts, slots


def check_pieces(chain, number, max_bytes):
    accounts, slots = fetch(chain, number, max_bytes)
    model = chain.models[number]
    assert accounts == {keccak256(address): account for address, account in model.accounts.items()}
    assert slots == {
        keccak256(address): {slot_key(slot): value for slot, value in held.items()}
        for address, held in model.storage.items()
        if held
    }


@settings(max_examples=30)
@given(
    genesis=block_changes,
    blocks=st.lists(block_changes, min_size=1, max_size=6),
    later=st.lists(st.one_of(st.just("undo"), block_changes), max_size=6),
    archive=st.booleans(),
    data=st.data(),
)
def test_past_states_are_proved_and_handed_out_while_the_chain_moves(shared, genesis, blocks, later, archive, data):
    empty(shared)
    chain = Chain(shared, archive)
    try:
        chain.begin(genesis)
        for changes in blocks:
            chain.commit(changes)
        number = data.draw(st.integers(0, len(chain.models) - 1))
        for step in (None, *later):
            if step == "undo" and len(chain.models) > 1:
                chain.rollback()
            elif isinstance(step, StateChanges):
                chain.commit(step)
            for asked in {min(number, len(chain.models) - 1), data.draw(st.integers(0, len(chain.models) - 1))}:
                check_pieces(chain, asked, data.draw(st.sampled_from([SMALL, 600, MAX_PIECE_BYTES])))
                check_proofs(chain, asked)
    finally:
        chain.close()


@pytest.fixture
def chain(tmp_path):
    with Database.open(tmp_path) as database:
        database.connection.execute("PRAGMA synchronous = OFF")
        chain = Chain(database)
        chain.begin(StateChanges({address(i): Account(0, i + 1) for i in range(300)}))
        yield chain
        chain.close()


def address(number):
    return number.to_bytes(20, "big")


def pay(*numbers, balance):
    return StateChanges({address(number): Account(1, balance) for number in numbers})


def test_leaves_shorter_than_a_hash_come_inside_their_node(chain):
    chain.commit(StateChanges({address(1): Account(1, 1)}, {address(1): {TWINS[0]: 1, TWINS[1]: 2}}))
    chain.commit(StateChanges({address(1): Account(1, 1)}, {address(1): {TWINS[0]: 0, TWINS[1]: 3}}))
    key = keccak256(address(1))
    for number in (1, 2):
        check_pieces(chain, number, SMALL)
        with chain.view() as view:
            assert len(view.piece_at(number, key, b"", SMALL).leaves) == 3 - number
    request = PieceRequest(Place(key), storage_root({TWINS[0]: 1, TWINS[1]: 2}))
    with chain.view() as view:
        for _ in range(2):  # an extension, and the branch with the leaves in it
            piece = view.piece_at(1, *request.place, 80)
            assert isinstance(piece, TrieNode)
            checked = check_piece(request, piece)
            request = next(iter(checked.children), None)
    assert {leaf.value for leaf in checked.slots} == {b"\x01", b"\x02"}


def test_what_is_asked_for_beside_the_trie_is_not_there(chain):
    chain.commit(pay(1, balance=5))
    with chain.view() as view:
        for number in (0, 1):
            assert view.piece_at(number, bytes(32), b"", 1_000) is None
            assert view.piece_at(number, b"short", b"", 1_000) is None
            assert view.piece_at(number, b"", bytes(40), 1_000) is None
            assert view.piece_at(number, b"", bytes(64), 1_000) is None


@pytest.mark.parametrize("path", [bytes(65), b"\x10", b"\xff" * 64])
def test_a_path_that_is_none_leads_nowhere(chain, path):
    with chain.view() as view:
        assert view.piece_at(0, b"", path, 1_000) is None


def test_states_that_are_not_kept_are_refused(chain):
    chain.commit(pay(1, balance=5))
    with chain.view() as view, pytest.raises(StateUnavailable, match="not there yet"):
        view.piece_at(2, b"", b"", 1_000)
    with chain.view() as view, pytest.raises(StateUnavailable, match="not there yet"):
        view.prove_account(address(1), 2)


def test_an_archive_proves_the_recent_past_only(tmp_path):
    with Database.open(tmp_path) as database:
        database.connection.execute("PRAGMA synchronous = OFF")
        chain = Chain(database, archive=True)
        chain.begin(pay(1, balance=1))
        for number in range(PAST_TRIE_DEPTH_BLOCKS + 1):
            chain.commit(pay(1, balance=number + 2))
        check_proofs(chain, 1)
        with chain.view() as view:
            assert view.reader_at(0).account(address(1)).balance == 1
            with pytest.raises(StateUnavailable, match="too far back"):
                view.prove_account(address(1), 0)
            with pytest.raises(StateUnavailable, match="too far back"):
                view.piece_at(0, b"", b"", 1_000)
        chain.close()


def test_a_node_that_keeps_little_history_says_so(tmp_path):
    with Database.open(tmp_path) as database:
        chain = Chain(database, history_blocks=3)
        chain.begin(pay(1, balance=1))
        for number in range(1, 6):
            chain.commit(pay(1, balance=number + 1))
        check_pieces(chain, 2, MAX_PIECE_BYTES)
        with chain.view() as view, pytest.raises(StateUnavailable, match="no longer kept"):
            view.piece_at(1, b"", b"", 1_000)
        chain.close()


def test_where_too_much_has_changed_a_newer_state_is_asked_for(chain, monkeypatch):
    monkeypatch.setattr(past_tries, "MAX_CHANGED_ROWS", 100)
    chain.commit(pay(*range(60), balance=7))
    chain.commit(pay(*range(50, 120), balance=8))
    check_pieces(chain, 1, SMALL)
    with chain.view() as view, pytest.raises(StateUnavailable, match="too much has changed"):
        view.piece_at(0, b"", b"", 1_000)
    monkeypatch.setattr(past_tries, "MAX_CHANGED_ROWS", 120)
    check_pieces(chain, 0, SMALL)
    monkeypatch.setattr(past_tries, "MAX_UNDO_ROWS", 20)
    chain.commit(pay(*range(30), balance=9))
    with chain.view() as view, pytest.raises(StateUnavailable, match="too much has changed"):
        view.piece_at(0, b"", b"", 1_000)


def test_what_does_not_fit_the_temporary_file_is_refused(chain, monkeypatch):
    monkeypatch.setattr(past_tries, "MAX_KEPT_PAGES", 8)
    chain.commit(pay(*range(200), balance=7))
    with chain.view() as view, pytest.raises(StateUnavailable, match="too much has changed"):
        view.piece_at(0, b"", b"", SMALL)
    check_pieces(chain, 1, SMALL)


def test_what_was_worked_out_is_kept_and_only_new_blocks_are_added(chain, monkeypatch):
    for number in range(1, 20):
        chain.commit(pay(number, number + 1, balance=number))
    counted = []
    real = past_tries.update
    monkeypatch.setattr(
        past_tries, "update", lambda source, changes: counted.append(len(changes)) or real(source, changes)
    )
    check_pieces(chain, 3, SMALL)
    assert counted == [17]
    check_proofs(chain, 3)
    assert counted == [17]
    chain.commit(pay(5, 6, 250, balance=99))
    check_pieces(chain, 3, SMALL)
    assert counted == [17, 3]


def test_only_so_many_past_states_are_kept(chain):
    for number in range(1, past_tries.MAX_PAST_STATES + 4):
        chain.commit(pay(number, balance=number))
    for number in range(past_tries.MAX_PAST_STATES + 3):
        check_pieces(chain, number, SMALL)
    assert len(chain.past._states) == past_tries.MAX_PAST_STATES


class Interrupted(BaseException):
    """As a question that takes too long is stopped."""


def test_a_question_that_is_broken_off_leaves_nothing_half_done(chain, monkeypatch):
    chain.commit(pay(*range(100), balance=7))
    monkeypatch.setattr(past_tries, "RUN_LENGTH", 30)
    check_pieces(chain, 0, SMALL)
    chain.commit(pay(*range(50, 200), balance=8))
    real, runs = past_tries.update, []

    def interrupted(source, changes):
        runs.append(changes)
        if len(runs) == 3:
            raise Interrupted
        return real(source, changes)

    monkeypatch.setattr(past_tries, "update", interrupted)
    with chain.view() as view, pytest.raises(Interrupted):
        view.piece_at(0, b"", b"", SMALL)
    check_pieces(chain, 0, SMALL)
    check_pieces(chain, 1, SMALL)


def test_damaged_undo_rows_are_noticed(chain):
    chain.commit(pay(1, 2, balance=7))
    chain.commit(pay(3, balance=7))
    chain.database.connection.execute("UPDATE undo_accounts SET record = x'0009' WHERE number = 1")
    with chain.view() as view, pytest.raises(DamagedTrie):
        view.piece_at(0, b"", b"", SMALL)


def test_without_past_tries_the_present_state_alone_is_proved(chain):
    chain.commit(pay(1, balance=5))
    with chain.reader.snapshot() as connection:
        view = StateView(connection)
        assert proved_value(chain.models[1].root, keccak256(address(1)), view.prove_account(address(1), 1))
        with pytest.raises(StateUnavailable, match="only the present"):
            view.prove_account(address(1), 0)
