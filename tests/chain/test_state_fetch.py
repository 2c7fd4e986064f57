"""Taking over a state: whatever comes in whichever order, and wherever the power goes, the ledger is the old one or,
row by row, the one that executed everything.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.account import Account, StateChanges
from chain.state_fetch import Needs, Taken
from chain.state_pieces import MAX_PIECE_BYTES, Place, SlotLeaf, SlotLeaves
from chain.trie.root import slot_key
from primitives.errors import UserError
from primitives.keccak import keccak256
from tests.chain.fetch_world import (
    SMALL,
    Server,
    Side,
    address,
    aim,
    assert_same,
    clear,
    everything,
    fetch_all,
    headers_of,
    pair_of_ledgers,
    step,
)
from tests.chain.store.state_model import CODE, Model, block_changes, rows
from tests.chain.test_state_pieces import TWINS


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sides")
    made = [Side(directory / "theirs"), Side(directory / "ours")]
    yield made
    for side in made:
        side.database.close()


def with_code(changes):
    """The codes of accounts that have one are there as well."""
    return StateChanges(changes.accounts, changes.storage, {keccak256(CODE): CODE})


@settings(max_examples=40)
@given(
    genesis=block_changes,
    blocks=st.lists(block_changes, min_size=1, max_size=8),
    following=block_changes,
    own_blocks=st.integers(0, 3),
    pivots=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    steps=st.lists(st.integers(0, 6), min_size=3, max_size=3),
    max_bytes=st.sampled_from([SMALL, 500, MAX_PIECE_BYTES]),
    generator=st.randoms(use_true_random=False),
)
def test_a_fetched_ledger_is_the_executed_one(
    sides, genesis, blocks, following, own_blocks, pivots, steps, max_bytes, generator
):
    """From genesis or an older head, by way of other pivots; and the next block fits on top of both."""
    theirs, ours = sides
    clear(theirs)
    clear(ours)
    model = Model()
    model.apply(genesis)
    for side in sides:
        side.begin(model)
        side.database.connection.execute("INSERT OR IGNORE INTO codes VALUES (?, ?)", (keccak256(CODE), CODE))
    ours.database.connection.execute("DELETE FROM codes")
    for number, changes in enumerate(blocks):
        theirs.commit(with_code(changes))
        if number < own_blocks < len(blocks):
            ours.commit(changes)
    head = ours.blocks.head().number
    server = Server(theirs.database, max_bytes)
    ours.fetch.keep_headers(headers_of(theirs.blocks, 1, len(blocks)))
    *visited, last = [max(head + 1, min(pivot, len(blocks))) for pivot in pivots]
    for pivot, count in zip(visited, steps, strict=False):
        ours.fetch.aim_at(theirs.blocks.canonical_header(pivot))
        for _ in range(count):
            step(ours.fetch, server, pivot, generator)
    ours.fetch.aim_at(theirs.blocks.canonical_header(last))
    fetch_all(ours.fetch, server, last, generator)
    assert ours.fetch.progress().share in (0.0, 1.0)
    ours.fetch.finish()
    server.past.close()
    for _ in range(len(blocks) - last):
        number = theirs.state.position().number
        with theirs.database.transaction():
            theirs.state.rollback(number)
            theirs.blocks.disconnect(number)
            theirs.blocks.cut(number - 1)
    assert_same(ours, theirs, last)
    for side in sides:
        side.commit(with_code(following), seed=9)
    assert rows(ours.database) == rows(theirs.database)
    assert ours.blocks.head() == theirs.blocks.head()
    assert ours.blocks.total_difficulty(ours.blocks.head().hash) == theirs.blocks.total_difficulty(
        theirs.blocks.head().hash
    )
    with ours.database.transaction():
        ours.state.rollback(last + 1)
    assert ours.state.position().history_from == last


# A fixed pair of ledgers


@pytest.fixture
def pair(tmp_path):
    with pair_of_ledgers(tmp_path) as pair:
        yield pair


def test_a_node_that_was_switched_off_goes_on_where_it_was(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    generator = random.Random(3)
    while step(ours.fetch, server, 3, generator):
        ours.reopen()
        assert ours.fetch.has_begun
        assert ours.fetch.pivot == theirs.blocks.canonical_header(3)
        assert ours.blocks.head().number == 0
    without_pauses = Server(theirs.database, 600)
    asked = server.pieces
    ours.fetch.finish()
    assert_same(ours, theirs, 3)
    assert asked == count_pieces(without_pauses, theirs)


def count_pieces(server, theirs):
    """How many pieces there are to fetch."""
    ours = Side(theirs.directory.parent / "other")
    ours.begin(Model({address(i): Account(0, i) for i in range(400)}))
    aim(ours, theirs, 3)
    fetch_all(ours.fetch, server, 3)
    ours.database.close()
    server.past.close()
    return server.pieces


def test_of_another_pivot_only_what_is_different_is_asked_for(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 2)
    fetch_all(ours.fetch, server, 2)
    whole, server.pieces, server.codes = server.pieces, 0, 0
    ours.reopen()
    ours.fetch.keep_headers(headers_of(theirs.blocks, 3, 3))
    ours.fetch.aim_at(theirs.blocks.canonical_header(3))
    fetch_all(ours.fetch, server, 3)
    assert 0 < server.pieces < whole * 0.7
    assert server.codes == 0
    ours.fetch.finish()
    assert_same(ours, theirs, 3)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_gone_in_a_newer_state_is_dropped(sides, seed):
    """Accounts and slots come and go between two pivots; the first is fetched to the end, the second after a part."""
    theirs, ours = sides
    generator = random.Random(seed)
    for side in sides:
        clear(side)
        side.begin(Model())
    for number in (1, 2):
        accounts = {address(i): Account(1, number) if generator.random() < 0.5 else None for i in range(60)}
        accounts[address(0)] = Account(1, 1)
        slots = {i: generator.choice([0, 0, 0, 1]) for i in range(60)} | dict.fromkeys(TWINS[:number], number)
        theirs.commit(StateChanges(accounts, {address(0): slots}))
    server = Server(theirs.database, SMALL)
    for number, count in ((1, 1_000), (2, seed * 4), (1, 3)):
        aim(ours, theirs, number)
        for _ in range(count):
            step(ours.fetch, server, number, generator)
    aim(ours, theirs, 2)
    fetch_all(ours.fetch, server, 2, generator)
    ours.fetch.finish()
    assert_same(ours, theirs, 2)
    server.past.close()


@pytest.mark.parametrize("count", range(1, 14, 2))
def test_parts_that_both_states_share_may_be_here_in_part(pair, count):
    """The state of block 4 is that of block 3; the pivot moves on after so many pieces, the account trie's first."""
    theirs, ours, server = pair
    theirs.commit(StateChanges())
    aim(ours, theirs, 3)
    for _ in range(count):
        for place in ours.fetch.needs(4).places:
            ours.fetch.take_pieces([(place, server.piece(3, place))])
    aim(ours, theirs, 4)
    fetch_all(ours.fetch, server, 4)
    ours.fetch.finish()
    assert_same(ours, theirs, 4)


def test_the_same_pivot_again_changes_nothing(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    step(ours.fetch, server, 3, random.Random(1))
    before = everything(ours)
    aim(ours, theirs, 3)
    assert everything(ours) == before


def test_an_older_ledger_is_replaced_as_a_whole(pair):
    theirs, ours, server = pair
    changes = StateChanges({address(500): Account(1, 1)}, {address(500): {1: 1}})
    ours.commit(changes, seed=77)
    ours.commit(StateChanges({address(500): Account(2, 1)}, {}), seed=78)
    lost = ours.blocks.canonical_block(1)
    aim(ours, theirs, 3)
    fetch_all(ours.fetch, server, 3)
    assert ours.state.reader().account(address(500)) == Account(2, 1)
    ours.fetch.finish()
    assert_same(ours, theirs, 3)
    assert ours.state.reader().account(address(500)) is None
    assert ours.blocks.header(lost.hash) is None
    assert ours.blocks.transaction_location(lost.transactions[0].hash) is None
    indexed = ours.database.connection.execute("SELECT position >> 16 FROM transaction_index").fetchall()
    assert set(indexed) == {(0,)}
    assert rows(ours.database, ("undo_roots", "undo_accounts", "undo_slots")) == {
        "undo_roots": [], "undo_accounts": [], "undo_slots": [],
    }  # fmt: skip


def test_what_is_asked_for_already_is_not_named_again(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    step(ours.fetch, server, 3, random.Random(1))
    first = ours.fetch.needs(5)
    assert len(first.places) == 5
    second = ours.fetch.needs(5, {*first.places, *first.codes})
    assert not set(first.places) & set(second.places)
    assert ours.fetch.needs(5) == first


def test_progress_is_estimated_from_the_keys_that_are_here(pair):
    theirs, ours, server = pair
    assert ours.fetch.progress().share == 0
    aim(ours, theirs, 3)
    assert ours.fetch.progress().share == 0
    shares = []
    while step(ours.fetch, server, 3, random.Random(1), 4):
        progress = ours.fetch.progress()
        shares.append(progress.share)
        guess = progress.accounts / progress.share if progress.share else 400
        assert progress.accounts < 100 or 300 < guess < 620
    assert shares[-1] == 1
    assert ours.fetch.progress().accounts == 400
    assert ours.fetch.progress().slots == 152


# Power cuts


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("moment", ["load_slots", "load_accounts", "drop"])
def test_power_that_goes_while_all_is_put_in_place_leaves_the_old_ledger(pair, monkeypatch, moment):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    fetch_all(ours.fetch, server, 3)
    before = everything(ours)

    def cut(*_):
        raise PowerCut

    with monkeypatch.context() as patch:
        if moment == "drop":
            patch.setattr(ours.fetch, "_drop", cut)
        else:
            patch.setattr(f"chain.store.state_loading.{moment}", cut)
        with pytest.raises(PowerCut):
            ours.fetch.finish()
    assert everything(ours) == before
    assert ours.state.position().number == ours.blocks.head().number == 0
    assert ours.state.reader().account(address(7)) == Account(0, 7)
    ours.reopen()
    assert everything(ours) == before
    ours.fetch.finish()
    assert_same(ours, theirs, 3)


# Liars


def test_a_false_answer_changes_nothing_and_those_before_it_count(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    step(ours.fetch, server, 3, random.Random(1))
    places = ours.fetch.needs(3).places
    answers = [(place, server.piece(3, place)) for place in places]
    before = everything(ours)
    swapped = [(answers[0][0], answers[1][1]), answers[1]]
    taken = ours.fetch.take_pieces(swapped)
    assert (taken.accounts, taken.bad) == (0, 0)
    assert "account trie" in taken.fault
    assert everything(ours) == before
    taken = ours.fetch.take_pieces([answers[0], (answers[1][0], b"garbage"), answers[2]])
    assert taken.bad == 1
    assert set(ours.fetch.needs(100).places).isdisjoint({places[0]})
    assert {places[1], places[2]} <= set(ours.fetch.needs(100).places)


@given(st.binary(max_size=80))
def test_garbage_is_refused(sides, garbage):
    theirs, ours = sides
    if not ours.fetch.has_begun:
        for side in sides:
            clear(side)
            side.begin(Model({address(1): Account(0, 1)}))
        theirs.commit(StateChanges({address(1): Account(1, 1)}))
        aim(ours, theirs, 1)
    before = everything(ours)
    assert ours.fetch.take_pieces([(Place(b""), garbage)]).bad == 0
    assert everything(ours) == before


def test_what_nobody_asked_for_is_passed_over(pair):
    theirs, ours, server = pair
    root = server.piece(3, Place(b""))
    assert ours.fetch.take_pieces([(Place(b""), root)]) == Taken()
    assert ours.fetch.take_codes([(keccak256(CODE), CODE)]) == Taken()
    aim(ours, theirs, 3)
    before = everything(ours)
    slots = SlotLeaves((SlotLeaf(slot_key(1), b"\x01"),)).encode()
    assert ours.fetch.take_pieces([(Place(keccak256(address(7))), slots), (Place(b"", b"\x05"), root)]) == Taken()
    assert ours.fetch.take_codes([(keccak256(b"code"), b"code"), (keccak256(b"code"), b"other")]) == Taken()
    assert everything(ours) == before


def test_another_code_is_refused(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    while not ours.fetch.needs(100).codes:
        places = ours.fetch.needs(100).places
        ours.fetch.take_pieces([(place, server.piece(3, place)) for place in places])
    assert ours.fetch.take_codes([(keccak256(CODE), CODE + b"\x00")]).bad == 0
    assert ours.fetch.needs(100).codes == (keccak256(CODE),)
    while places := ours.fetch.needs(100).places:
        ours.fetch.take_pieces([(place, server.piece(3, place)) for place in places])
    with pytest.raises(RuntimeError, match="not complete"):
        ours.fetch.finish()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE fetched_slots SET value = x'05' WHERE key = (SELECT min(key) FROM fetched_slots)",
        "DELETE FROM fetched_slots WHERE key = (SELECT max(key) FROM fetched_slots)",
        "DELETE FROM fetched_accounts WHERE address = x'' AND key < x'20'",
        "DELETE FROM fetched_accounts",
    ],
)
def test_a_state_that_the_disk_damaged_is_fetched_anew(pair, damage):
    theirs, ours, server = pair
    aim(ours, theirs, 3)
    fetch_all(ours.fetch, server, 3)
    ours.database.connection.execute(damage)
    with pytest.raises(UserError, match="check the disk"):
        ours.fetch.finish()
    assert not ours.fetch.has_begun
    assert ours.state.position().number == ours.blocks.head().number == 0
    aim(ours, theirs, 3)
    fetch_all(ours.fetch, server, 3)
    ours.fetch.finish()
    assert_same(ours, theirs, 3)


def test_a_state_without_accounts_is_taken_over_too(sides):
    for side in sides:
        clear(side)
        side.begin(Model({address(1): Account(0, 1)}))
    theirs, ours = sides
    theirs.commit(StateChanges({address(1): None}))
    aim(ours, theirs, 1)
    assert ours.fetch.needs(5) == Needs((), ())
    ours.fetch.finish()
    assert_same(ours, theirs, 1)
