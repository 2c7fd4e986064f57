"""Block times, stale blocks and spread, from logs drawn by hand."""

import pytest

from chain.importer import ImportStatus
from node.arrivals import Arrival
from node.bench.measurements import measure_chain, settled_chain
from primitives.errors import UserError
from tests.node.bench.drawn_logs import MAKERS, arrival, chain_at, name

SIDE, REORGANISED = ImportStatus.SIDE_BRANCH, ImportStatus.REORGANISED


def test_intervals_are_between_first_arrivals_and_spread_is_to_the_last() -> None:
    times_s = [10.0, 13.0, 14.0, 20.0]
    nodes = [
        chain_at(times_s, [0, 1, 1, 0]),
        chain_at(times_s, [0, 1, 1, 0], 0.02),
        chain_at(times_s, [0, 1, 1, 0], 0.05),
    ]
    chain = measure_chain(nodes, MAKERS, start=1, blocks=3)
    assert [block.number for block in chain.blocks] == [2, 3, 4]
    assert chain.intervals_s == [3, 1, 6]
    assert chain.spreads_s == pytest.approx([0.05] * 3)
    assert chain.stale == 0
    assert chain.elapsed_s == 10
    assert (chain.made_by(0), chain.made_by(1), chain.made_by(2)) == (1, 2, 0)
    assert chain.block_time(is_mined=True).mean == pytest.approx(10 / 3)
    assert chain.block_time(is_mined=True).method == "exponential"
    assert chain.block_time(is_mined=False).method == "student"
    assert chain.spread_percentile_s(99) == pytest.approx(0.05)


def rivals() -> list[list[Arrival]]:
    """Block 2 is made twice:   b1 -- b2 -- b3 -- b4
    \\- x2              and node 1 followed x2 until b3 came.
    """
    ours = chain_at([1.0, 2.0, 3.0, 4.0])
    theirs = chain_at([1.0, 2.0, 3.0, 4.0], delay_s=0.1)
    ours.insert(2, arrival(2, "x2", "b1", 2.15, 1, SIDE))
    theirs[1:3] = [
        arrival(2, "x2", "b1", 2.05, 1),
        arrival(2, "b2", "b1", 2.1, 0, SIDE),
        arrival(3, "b3", "b2", 3.1, 0, REORGANISED),
    ]
    return [ours, theirs]


def test_a_rival_that_lost_is_stale() -> None:
    chain = measure_chain(rivals(), MAKERS, start=1, blocks=3)
    assert chain.stale == 1
    assert [block.block_hash for block in chain.blocks] == [name("b2"), name("b3"), name("b4")]
    # An import beside the chain is an arrival, too.
    assert chain.blocks[0].spread_s == pytest.approx(0.1)


def test_rivals_outside_of_the_measured_stretch_do_not_count() -> None:
    assert measure_chain(rivals(), MAKERS, start=2, blocks=2).stale == 0


def test_only_what_all_heads_stand_on_is_settled() -> None:
    nodes = rivals()
    assert max(settled_chain(nodes)) == 4
    nodes[1] = nodes[1][:2]  # its head is still x2
    assert max(settled_chain(nodes)) == 1
    with pytest.raises(UserError, match="did not agree on block 2"):
        measure_chain(nodes, MAKERS, start=1, blocks=3)


def test_a_node_that_has_seen_nothing_agrees_on_nothing() -> None:
    assert settled_chain([chain_at([1.0]), []]) == {}
    assert settled_chain([]) == {}


def test_a_block_that_came_in_a_bundle_has_no_spread() -> None:
    late = [one for one in chain_at([1.0, 2.0, 3.0], delay_s=0.5) if one.number != 2]
    chain = measure_chain([chain_at([1.0, 2.0, 3.0]), late], MAKERS, start=1, blocks=2)
    assert chain.blocks[0].spread_s is None
    assert chain.spreads_s == [0.5]
    assert measure_chain([chain_at([1.0, 2.0]), late], MAKERS, 1, 1).spread_percentile_s(50) is None


def test_a_stranger_among_the_makers_is_refused() -> None:
    with pytest.raises(UserError, match="no part of this benchmark"):
        measure_chain([chain_at([1.0, 2.0])], {}, start=1, blocks=1)
