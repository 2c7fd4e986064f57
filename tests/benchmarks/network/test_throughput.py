"""Transfers a second from what a run leaves behind: what is late, lost or refused is not glossed over."""

from dataclasses import replace

import pytest

from benchmarks.network.final_chain import StoredChain
from benchmarks.network.loading import LoadResult
from benchmarks.network.throughput import Record, ThroughputPlan, summarise
from chain.header import Header
from chain.importer import ImportStatus
from node.arrivals import Arrival
from node.bench.usage import Usage
from primitives.errors import UserError
from tests.chain.ledger_world import world_genesis

PLAN = ThroughputPlan(validators=2, rate_per_s=2, seconds=2)
GENESIS = world_genesis().header(bytes(32))
OFFSET_S = 1_000_000.0
"""From monotonic times to those of blocks."""


def header(number: int) -> Header:
    return replace(GENESIS, number=number, timestamp_s=int(OFFSET_S) + number)


def transfer(number: int) -> bytes:
    return bytes([number]) * 32


CHAIN = StoredChain(
    headers=tuple(header(number) for number in range(4)),
    transactions=((transfer(0), 1), (transfer(1), 1), (transfer(2), 2), (transfer(3), 3)),
    certificates=3,
    missing_bodies=0,
    state_root=bytes(32),
)


def arrivals(late_s: float) -> list[Arrival]:
    return [
        Arrival(one.number, one.hash, one.parent_hash, bytes(20), ImportStatus.EXTENDED, one.number + late_s)
        for one in CHAIN.headers[1:]
    ]


def record() -> Record:
    """Blocks of 1, 2 and 3 s, which come 0.25 or 0.5 s later to the nodes; the load lasts from 0.6 to 2.6 s."""
    accepted = tuple((transfer(number).hex(), number % 2, 0.6 + number / 10) for number in range(4))
    load = LoadResult(0.6, 2.6, accepted, 3, (), 0.5)
    usages = [(Usage(1.0, 50), Usage(2.0, 60)), (Usage(0, 50), Usage(0.5, 70))]
    return Record(load, [CHAIN, CHAIN], [arrivals(0.25), arrivals(0.5)], usages, OFFSET_S)


def test_what_was_final_everywhere_in_time_counts() -> None:
    seen = summarise(PLAN, record())
    assert (seen.accepted, seen.lost, seen.blocks, seen.block_interval_s) == (4, 0, 3, 1.0)
    assert seen.final_per_s == 1.5  # the fourth was final at 3.5 s, after the load's 2.6 s
    assert (seen.final.median_s, seen.final.most_s) == (0.25, 0.5)
    assert seen.wait.most_s == pytest.approx(3.5 - 0.9)  # the fourth again, at the second node
    assert seen.node_cpu_percent == (50.0, 25.0)
    assert seen.load_cpu_percent == 25.0
    assert (seen.node_memory_mib, seen.retries) == ((60, 70), 3)


def test_a_transfer_that_one_node_lacks_or_has_twice_is_lost() -> None:
    shorter = replace(CHAIN, transactions=CHAIN.transactions[:3])
    assert summarise(PLAN, replace(record(), chains=[CHAIN, shorter])).lost == 1
    twice = replace(CHAIN, transactions=(*CHAIN.transactions, (transfer(0), 3)))
    assert summarise(PLAN, replace(record(), chains=[CHAIN, twice])).lost == 1


def test_nodes_that_differ_and_refusals_fail_the_run() -> None:
    with pytest.raises(UserError, match="different blocks"):
        summarise(PLAN, replace(record(), chains=[CHAIN, replace(CHAIN, headers=CHAIN.headers[:3])]))
    with pytest.raises(UserError, match="nonce too low"):
        summarise(PLAN, replace(record(), load=replace(record().load, refusals=("nonce too low",))))
    with pytest.raises(UserError, match="No transfer"):
        summarise(PLAN, replace(record(), chains=[replace(CHAIN, transactions=())] * 2))
