"""How fast blocks spread, from logs alone; and random networks in which everybody can be reached."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.network.propagation import count_ways, delays_to_nodes_s, random_network
from chain.importer import ImportStatus
from node.arrivals import Arrival
from node.bench.measurements import measure_chain
from p2p.received import LOGGER
from primitives.errors import UserError

MAKER = b"\x0a" * 20


def arrival(number: int, time_s: float) -> Arrival:
    return Arrival(number, bytes([number]) * 32, bytes([number - 1]) * 32, MAKER, ImportStatus.EXTENDED, time_s)


@given(st.integers(3, 16).flatmap(lambda nodes: st.tuples(st.just(nodes), st.integers(2, nodes - 1))), st.integers())
def test_in_a_random_network_everybody_has_enough_peers_and_can_be_reached(size: tuple[int, int], seed: int) -> None:
    nodes, degree = size
    links = random_network(nodes, degree, Random(seed))
    assert all(one < other for one, other in links)
    assert all(sum(node in link for link in links) >= degree for node in range(nodes))
    reached = {0}
    for _ in range(nodes):
        reached |= {node for link in links if reached.intersection(link) for node in link}
    assert reached == set(range(nodes))


@pytest.mark.parametrize("degree", [1, 16, 99])
def test_a_network_that_cannot_be_is_refused(degree: int) -> None:
    with pytest.raises(UserError, match="2 to 15 peers"):
        random_network(16, degree, Random(1))


def test_delays_count_from_the_first_arrival_anywhere() -> None:
    nodes = [
        [arrival(1, 0.0), arrival(2, 10.0), arrival(3, 20.0)],
        [arrival(1, 0.1), arrival(2, 10.5), arrival(3, 20.25)],
    ]
    chain = measure_chain(nodes, {MAKER: 0}, 1, 2)
    assert chain.spreads_s == [0.5, 0.25]
    assert sorted(delays_to_nodes_s(nodes, chain)) == [0.25, 0.5]


def test_ways_are_counted_for_measured_blocks_alone() -> None:
    chain = measure_chain([[arrival(1, 0.0), arrival(2, 1.0)]], {MAKER: 0}, 1, 1)
    line = f"DEBUG {LOGGER}: block %d 0x%s %s at 1.000000"
    lines = [
        line % (1, bytes([1]).hex() * 32, "pushed"),
        line % (2, bytes([2]).hex() * 32, "pushed"),
        line % (2, bytes([2]).hex() * 32, "fetched"),
        line % (2, bytes([2]).hex() * 32, "fetched"),
        "something else",
    ]
    assert count_ways(lines, chain) == {"pushed": 1, "fetched": 2}
