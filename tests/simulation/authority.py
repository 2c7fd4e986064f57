"""One seeded run of a qbft network: faults for a while, then none but the liars, and what must hold.

Always: no two honest nodes hold different blocks final at a height; what they hold final is proved by its certificate;
no honest validator contradicts itself, through any power cut; no honest node dies, logs an error, or comes back with
less than it had. After the faults: every honest node holds GROWTH more blocks than any had, and every transaction that
an honest node accepted is in the chain, within `bound_s`. In the end the books agree to the last wei.
"""

from functools import lru_cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from chain.consensus.qbft.signing import Domain
from chain.consensus.qbft.validators import ValidatorSet
from chain.consensus.qbft.vote_store import VOTES_FILE
from chain.genesis import Genesis
from chain.ledger import Ledger
from node.validator import qbft_settings
from p2p import limits
from tests.simulation.books import check_books
from tests.simulation.byzantine import KINDS, Twin
from tests.simulation.chains import CHAIN_ID, KEYS, PAYERS, addresses, qbft_genesis
from tests.simulation.faults import Ambush, Faults
from tests.simulation.node import SimulatedNode
from tests.simulation.payer import Payer
from tests.simulation.result import Result
from tests.simulation.variants import WHOLE, Variant
from tests.simulation.virtual_time import SimulatedClock, VirtualLoop
from tests.simulation.witness import FinalityWitness, Violation
from tests.simulation.world import World, simulated

GROWTH = 3
REQUEST_TIMEOUT_MS = 500
EMPTY_BLOCK_PERIOD_S = 4
FAULTS_S = (5.0, 20.0)
PAYMENT_INTERVAL_S = (0.5, 4.0)
MOST_PAYERS = 2


def reunion_s() -> float:
    """How long it takes until all nodes are connected again, at most.

    A connection that is dead without knowing it is noticed after IDLE_TIME_S. Two nodes that call each other at once may
    have to begin anew, each time after the longest wait between two calls.
    """
    one_more_call = limits.MAX_STATIC_BACKOFF_S + limits.DIAL_INTERVAL_S + limits.CONNECT_TIME_S
    return limits.IDLE_TIME_S + 2 * one_more_call


def bound_s(validators: ValidatorSet) -> float:
    """How long GROWTH blocks may take after the faults, in the worst case.

    The nodes find each other again. Rounds that are under way end within the longest timeout, then all honest nodes are
    in one round within a repeat. After that f proposers in a row may fail at the longest timeout; each next height
    begins with short timeouts again, but its first f proposers may fail too, and it may be an empty one.
    """
    settings = qbft_settings(1, EMPTY_BLOCK_PERIOD_S, REQUEST_TIMEOUT_MS)
    f = validators.tolerated_faults
    first_ms = settings.round_timeout_ms(32) * (f + 2) + settings.repeat_ms * 4
    following_ms = sum(settings.round_timeout_ms(round_) for round_ in range(f + 1)) + settings.empty_block_period_ms
    return reunion_s() + (first_ms + GROWTH * (following_ms + settings.repeat_ms)) / 1000


def run(seed: int, variant: Variant = WHOLE) -> Result:
    """Run a seed. Raises Violation where something that must hold does not."""
    random = Random(f"authority {seed}")
    count = random.choice([4, 4, 4, 4, 4, random.randint(1, 7)])
    followers = random.choice([0, 0, 1])

    def make(directory: Path, loop: VirtualLoop) -> World:
        return _make_world(seed, directory, loop, variant, count, followers)

    with variant.applied(), simulated(make) as world:
        return _Run(world, random, variant, count).run()


def _make_world(
    seed: int, directory: Path, loop: VirtualLoop, variant: Variant, count: int, followers: int
) -> World:
    genesis = qbft_genesis(addresses(count), REQUEST_TIMEOUT_MS, EMPTY_BLOCK_PERIOD_S)
    witness = FinalityWitness(loop, Domain(CHAIN_ID, _genesis_hash(count)), variant.watches_votes)
    world = World(seed, directory, loop, genesis, witness)
    for number in range(count + followers):
        kind = "validator" if number < count else "follower"
        world.add(SimulatedNode(world, f"{kind} {number + 1}", KEYS[number], number + 1))
    return world


@lru_cache
def _genesis_hash(count: int) -> bytes:
    genesis: Genesis = qbft_genesis(addresses(count), REQUEST_TIMEOUT_MS, EMPTY_BLOCK_PERIOD_S)
    with TemporaryDirectory() as directory, Ledger.open(Path(directory), genesis, SimulatedClock(VirtualLoop())) as new:
        return new.genesis_hash


class _Run:
    """One world on its way."""

    def __init__(self, world: World, random: Random, variant: Variant, count: int) -> None:
        assert isinstance(world.witness, FinalityWitness)
        self._world = world
        self._random = random
        self._witness = world.witness
        self._validators = ValidatorSet.of(addresses(count))
        self._cast_liars(random.sample(range(count), random.randint(0, self._validators.tolerated_faults)))
        self._honest = [node for node in world.nodes if node.is_honest]
        self._witness.honest = frozenset(node.node_id for node in self._honest)
        if not variant.keeps_votes:
            for node in world.nodes:
                node.disk.is_lossless = lambda path: not path.name.startswith(VOTES_FILE)

    def run(self) -> Result:
        world, random = self._world, self._random
        for node in world.nodes:
            world.later(random.uniform(0, 0.5), node.power_on)
        duration_s = random.uniform(*FAULTS_S)
        faults = Faults(world, random, duration_s)
        self._witness.on_first_import = Ambush(world, faults, random).strike
        self._begin_payments(duration_s)
        world.run_for(duration_s)
        return self._recover(faults)

    def _recover(self, faults: Faults) -> Result:
        world = self._world
        end_s = world.loop.time()
        faults.end()
        target = max(self._witness.finals, default=0) + GROWTH
        bound = bound_s(self._validators)
        if not world.run_until(lambda: self._is_well(target), bound):
            heads = {node.name: node.head_number for node in self._honest}
            missing = self._missing()
            raise Violation(
                f"{bound:.0f} s after the faults the heads are {heads}, not all {target}; {len(missing)} of "
                f"{len(self._witness.accepted)} accepted transactions are in no block"
            )
        recovery_s = world.loop.time() - end_s
        self._audit()
        return Result(
            "qbft",
            len(world.nodes),
            target,
            world.network.messages,
            world.power_cuts,
            len(self._witness.accepted),
            recovery_s,
            bound,
            self._witness.trace,
        )

    def _cast_liars(self, chosen: list[int]) -> None:
        world, random = self._world, self._random
        domain = Domain(CHAIN_ID, _genesis_hash(len(self._validators)))
        for number in chosen:
            node, kind = world.nodes[number], random.choice(KINDS)
            kind(node, KEYS[number], domain, Random(f"liar {number} {world.seed}"))
            if kind is Twin:
                twin = SimulatedNode(world, f"twin {number + 1}", KEYS[number], 100 + number)
                kind(twin, KEYS[number], domain, random)
                world.add(twin)

    def _begin_payments(self, duration_s: float) -> None:
        """Until the faults end; what was accepted by then has to arrive."""
        random = self._random
        for number in range(random.randint(0, MOST_PAYERS)):
            payer = Payer(self._world, random.choice(self._honest), number)
            time_s = random.uniform(0, 3)
            while time_s < duration_s:
                self._world.later(time_s, payer.pay)
                time_s += random.uniform(*PAYMENT_INTERVAL_S)

    def _is_well(self, target: int) -> bool:
        return all(node.head_number >= target for node in self._honest) and not self._missing()

    def _missing(self) -> list[bytes]:
        """Accepted transactions that are not in every honest node's chain."""
        return [
            accepted
            for accepted in self._witness.accepted
            if any(not node.is_on or not node.has_transaction(accepted) for node in self._honest)
        ]

    def _audit(self) -> None:
        witness = self._witness
        for node in self._honest:
            for number in range(1, node.head_number + 1):
                witness.look_at_final(node, number, *node.final_block(number))
        witness.check()
        rich = [*PAYERS, *self._validators.addresses]
        check_books(self._honest, rich, witness.accepted)
