"""Headers that are kept for a state that is being taken over: one chain, on top of the ledger as it is."""

from dataclasses import replace

import pytest

from chain.account import Account, StateChanges
from chain.state_fetch import KeptHeader
from primitives.errors import InvalidBlock
from tests.chain.fetch_world import address, aim, everything, fetch_all, headers_of, pair_of_ledgers


@pytest.fixture
def pair(tmp_path):
    with pair_of_ledgers(tmp_path) as pair:
        yield pair


def test_headers_that_do_not_follow_are_not_kept(pair):
    theirs, ours, _ = pair
    one, two, three = headers_of(theirs.blocks, 1, 3)
    for wrong in ([two], [one, three]):
        with pytest.raises(InvalidBlock, match="does not follow"):
            ours.fetch.keep_headers(wrong)
        assert not ours.fetch.has_begun
    ours.fetch.keep_headers([one, two])
    ours.fetch.keep_headers([one, two, three])
    with pytest.raises(RuntimeError, match="has not been kept"):
        ours.fetch.aim_at(replace(three.header, timestamp_s=7, _hash=None))


def test_headers_that_stand_on_the_ledger_itself_take_the_place_of_all_that_are_kept(pair):
    theirs, ours, server = pair
    ours.fetch.keep_headers(headers_of(theirs.blocks, 1, 1))
    for seed in (5, 6):
        ours.commit(StateChanges({address(500): Account(1, seed)}), seed=seed)
    theirs.commit(StateChanges())
    third = replace(theirs.blocks.canonical_header(3), parent_hash=ours.blocks.head().hash, _hash=None)
    ours.fetch.keep_headers([KeptHeader(third)])
    ours.fetch.aim_at(third)
    fetch_all(ours.fetch, server, 3)
    ours.fetch.finish()
    assert ours.blocks.head() == third
    assert ours.blocks.canonical_block(2) is not None


def test_headers_of_another_branch_take_the_place_of_those_that_are_kept(pair):
    theirs, ours, _ = pair
    one, two, three = headers_of(theirs.blocks, 1, 3)
    ours.fetch.keep_headers([one, two, three])
    ours.fetch.aim_at(three.header)
    other = KeptHeader(replace(two.header, timestamp_s=7, _hash=None))
    ours.fetch.keep_headers([other])
    assert ours.fetch.pivot is None
    with pytest.raises(RuntimeError, match="not complete"):
        ours.fetch.finish()
    with pytest.raises(InvalidBlock):
        ours.fetch.keep_headers([three])
    ours.fetch.aim_at(other.header)
    assert ours.fetch.pivot == other.header


def test_a_ledger_that_came_further_meanwhile_stays(pair):
    theirs, ours, server = pair
    aim(ours, theirs, 1)
    fetch_all(ours.fetch, server, 1)
    ours.commit(StateChanges({address(500): Account(1, 1)}), seed=5)
    before = everything(ours)
    with pytest.raises(InvalidBlock, match="as far as"):
        ours.fetch.finish()
    assert everything(ours) == before
    ours.fetch.abandon()
    assert not ours.fetch.has_begun
    ours.fetch.abandon()
