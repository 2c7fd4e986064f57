"""One seeded run of a proof-of-work network: forks, faults for a while, then none, and what must hold.

Always: no node takes back more blocks than its cap, none dies, logs an error, or forgets a transaction that it
accepted: it is in its chain or in its pool, whatever was taken back and however often the power failed. After the
faults, within BOUND_S: all honest nodes stand on one head, GROWTH blocks above all that was, and every accepted
transaction is in that chain. In the end the books agree to the last wei. Where the cap is lower than a partition is
long, a node whose branch has become longer than the cap stays on it, as it should; all others agree on the best one.
"""

from pathlib import Path
from random import Random

from chain.importer import ImportResult
from tests.simulation.books import check_books
from tests.simulation.byzantine import Babbler, Silent
from tests.simulation.chains import KEYS, PAYERS, pow_domain, pow_genesis
from tests.simulation.node import SimulatedNode
from tests.simulation.result import Result
from tests.simulation.trial import Trial, reunion_s
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.witness import Witness
from tests.simulation.world import World, simulated

GROWTH = 3
BLOCK_TIME_S = 3.0
"""From one block of the whole network to the next, in the mean: short, so that there are forks."""
SEALING_S = 60 * BLOCK_TIME_S
"""In so much time not to find GROWTH blocks, and one more that all agree on, happens once in 10**20 runs."""
LOW_CAP, HIGH_CAP = 3, 128
PARTING = 0.6
"""So many of the networks with a low cap are cut in two for so long that it matters."""


class WorkWitness(Witness):
    """Of a proof-of-work chain: what may be taken back, and what may not."""

    def __init__(self, loop: VirtualLoop, reorganisation_cap: int) -> None:
        super().__init__(loop)
        self.deepest = 0
        """Most blocks taken back at once."""
        self._cap = reorganisation_cap

    def look_at_import(self, node: SimulatedNode, result: ImportResult) -> None:
        self.deepest = max(self.deepest, len(result.disconnected))
        if len(result.disconnected) > self._cap:
            self.fail(f"{node.name} took back {len(result.disconnected)} blocks")
        if result.disconnected:
            self.look_for_promises(node)


def bound_s() -> float:
    """How long the nodes may take after the faults to agree on a head, GROWTH blocks above all that was."""
    return reunion_s() + SEALING_S


def run(seed: int) -> Result:
    """Run a seed. Raises Violation where something that must hold does not."""
    random = Random(f"work {seed}")
    count = random.choice([2, 3, 4, 4, 5])
    cap = random.choice([LOW_CAP, HIGH_CAP, HIGH_CAP, HIGH_CAP])

    def make(directory: Path, loop: VirtualLoop) -> World:
        world = World(seed, directory, loop, pow_genesis(), WorkWitness(loop, cap), reorganisation_cap=cap)
        for number in range(count):
            world.add(SimulatedNode(world, f"miner {number + 1}", KEYS[number], number + 1))
        return world

    with simulated(make) as world:
        return _WorkTrial(world, random).run(GROWTH)


class _WorkTrial(Trial):
    consensus = "pow"

    def __init__(self, world: World, random: Random) -> None:
        super().__init__(world, random, PAYERS)
        shares = [random.uniform(0.2, 1) for _ in world.nodes]
        for node, share in zip(world.nodes, shares, strict=True):
            node.mean_sealing_time_s = BLOCK_TIME_S * sum(shares) / share
        if len(world.nodes) > 2 and random.random() < 0.4:
            number = random.randrange(len(world.nodes))
            kind = random.choice([Silent, Babbler])
            kind(world.nodes[number], KEYS[number], pow_domain(), Random(f"liar {world.seed}"))

        world.witness.honest = frozenset(node.node_id for node in self.honest)
        self._may_part = world.reorganisation_cap == LOW_CAP
        if self._may_part:
            self.long_partitions = PARTING

    def highest(self) -> int:
        return max(node.head_number for node in self.honest)

    def is_well(self, target: int) -> bool:
        best = max(self.honest, key=lambda node: node.head_number)
        behind = [node for node in self.honest if node.head_hash != best.head_hash]
        has_parted = self._may_part and all(
            node.is_ready and _common(node, best) < node.head_number - LOW_CAP for node in behind
        )
        return best.head_number >= target and (not behind or has_parted)

    def missing(self) -> list[bytes]:
        return [] if self._may_part else super().missing()

    def audit(self) -> None:
        if not self._may_part:
            super().audit()
            return
        for node in self.honest:
            check_books([node], self.rich, {})

    def bound_s(self) -> float:
        return bound_s()


def _common(one: SimulatedNode, other: SimulatedNode) -> int:
    """The number of the last block that both have."""
    number = min(one.head_number, other.head_number)
    while one.block_hash(number) != other.block_hash(number):
        number -= 1
    return number
