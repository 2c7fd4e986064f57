"""Results of a benchmark as tests need them: two networks that made a few blocks in round times."""

from node.bench.calibration import Calibration
from node.bench.measurements import MeasuredBlock, MeasuredChain
from node.bench.plan import MiningPlan
from node.bench.report import Results
from node.bench.run import NodeFigures, PeerRun
from tests.node.bench.drawn_logs import name

DIFFICULTY = 36_000
"""With 20,000 hashes a second a peer, 0.9 s for two: the paper's 9 s at a scale of 10."""


def peer_run(peers: int, interval_s: float, hash_rate: float = 20_000.0, stale: int = 1) -> PeerRun:
    blocks = tuple(
        MeasuredBlock(number, name(f"b{number}"), number % peers, number * interval_s, interval_s, number / 1000)
        for number in range(3, 13)
    )
    nodes = tuple(NodeFigures(2.0 + node, 60.0 + node, 10 // peers, hash_rate) for node in range(peers))
    return PeerRun(DIFFICULTY, MeasuredChain(blocks, stale), nodes)


def sample_results(plan: MiningPlan | None = None) -> Results:
    plan = plan or MiningPlan((2, 4, 16), blocks=10, scale=10)
    hash_rate = 20_000.0 if plan.is_mined else 0.0
    runs = tuple(peer_run(peers, 1.8 / peers, hash_rate) for peers in plan.peers)
    return Results(plan, Calibration(20_000, 2.0) if plan.is_mined else None, runs)
