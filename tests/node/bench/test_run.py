"""The measured stretch of a run, on a network whose logs the test writes: what begins it, ends it, and stops it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from node.arrivals import Arrival
from node.bench import run as run_module
from node.bench.plan import MiningPlan
from node.bench.run import Stretch
from node.bench.usage import Usage
from node.mining_total import MiningTotal
from primitives.errors import UserError
from tests.node.bench.drawn_logs import MAKERS, arrival, chain_at

PLAN = MiningPlan((2,), blocks=3, scale=100)


class FakeNetwork:
    """Two nodes; each look at their logs shows them what the test planned for it."""

    def __init__(self, *looks: tuple[list[Arrival], list[Arrival]]) -> None:
        self.makers = MAKERS
        self.nodes: list[Any] = [FakeNode(0), FakeNode(1)]
        self.is_connected = False
        self._looks = list(looks)

    async def connect(self) -> None:
        self.is_connected = True

    def read_logs(self) -> None:
        assert self.is_connected
        if self._looks:
            for node, arrivals in zip(self.nodes, self._looks.pop(0), strict=True):
                node.arrivals += arrivals


class FakeNode:
    def __init__(self, number: int) -> None:
        self.number = number
        self.arrivals: list[Arrival] = []
        self.process = SimpleNamespace(process_id=100 + number)
        self.mining = MiningTotal(50_000, 2.5)

    @property
    def head_number(self) -> int:
        return self.arrivals[-1].number if self.arrivals else 0


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "LOOK_INTERVAL_S", 0)
    seen = iter([1.0, 1.5])
    monkeypatch.setattr(
        run_module, "usage_of_groups", lambda groups: {g: Usage(u, 50.0) for u in [next(seen)] for g in groups}
    )


def both(arrivals: list[Arrival]) -> tuple[list[Arrival], list[Arrival]]:
    return arrivals, list(arrivals)


def slices(count: int) -> list[Arrival]:
    return chain_at(
        [float(number * number) for number in range(1, count + 1)], [0, 1] * (count // 2) + [0] * (count % 2)
    )


async def test_it_begins_two_blocks_after_the_nodes_were_connected() -> None:
    chain, phases = slices(8), []
    # Block 1 is there when all are connected; 3 begins the stretch, whatever the newest is; 4, 5 and 6 are measured.
    network = FakeNetwork(both(chain[:1]), both(chain[1:4]), both(chain[4:6]), both(chain[6:]))
    stretch = Stretch(PLAN, network, lambda *phase: phases.append(phase))
    await stretch.measure()
    run = stretch.result(1_000)
    assert [block.number for block in run.chain.blocks] == [4, 5, 6]
    assert run.chain.intervals_s == [7, 9, 11]
    assert run.peers == 2
    assert run.hash_rate == 40_000
    assert [node.blocks for node in run.nodes] == [1, 2]
    assert all(node.cpu_percent > 0 for node in run.nodes)
    assert ("warming up", 2, 2) in phases
    assert phases[-1] == ("measuring", 3, 3)


async def test_it_waits_until_rivals_are_decided() -> None:
    chain = slices(7)
    rival = arrival(6, "x6", "b5", 36.5, 1)
    network = FakeNetwork(both(chain[:1]), both(chain[1:5]), (chain[5:6], [rival]), ([], []), (chain[6:], chain[5:]))
    stretch = Stretch(PLAN, network, lambda *_: None)
    await stretch.measure()
    assert stretch.result(1).chain.stale == 1


@pytest.mark.parametrize(
    ("looks", "sentence"),
    [
        (lambda chain: [both(chain[:1]), both(chain[1:2])], "no further for .* at the blocks 2, 2"),
        (
            lambda chain: [both(chain[:1]), both(chain[1:5]), (chain[5:8], [arrival(8, "x8", "x7", 9.0)])],
            "do not agree",
        ),
    ],
)
async def test_nodes_that_get_stuck_or_part_end_the_run(
    looks: Callable[[list[Arrival]], Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "STALL_ALLOWANCE_S", 0.0)
    monkeypatch.setattr(run_module, "STALL_FACTOR", 0.1)
    stretch = Stretch(PLAN, FakeNetwork(*looks(slices(8))), lambda *_: None)
    with pytest.raises(UserError, match=sentence):
        await stretch.measure()


class DyingNetwork(FakeNetwork):
    async def watch(self) -> NoReturn:
        raise UserError("Node 1 ended unexpectedly, with status 1.")


async def test_a_node_that_ends_ends_the_run() -> None:
    network = DyingNetwork(both(slices(2)))
    stretch = Stretch(PLAN, network, lambda *_: None)
    with pytest.raises(UserError, match="Node 1 ended unexpectedly"):
        await run_module.unless_a_node_ends(network, stretch)
