"""One seeded run of a qbft network: faults for a while, then none but the liars, and what must hold.

Always: no two honest nodes hold different blocks final at a height; what they hold final is proved by its certificate;
no honest validator contradicts itself, through any power cut; no honest node dies, logs an error, comes back with less
than it had, or forgets a transaction that it accepted. After the faults: every honest node holds GROWTH more blocks
than any had, and every accepted transaction is in them, within `bound_s`. In the end the books agree to the last wei.
"""

from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

from chain.config import ValidatorOverride
from chain.consensus.qbft.engine import domain_of
from chain.consensus.qbft.validators import ValidatorSet
from chain.consensus.qbft.vote_store import VOTES_FILE
from chain.store.database import DATABASE_FILE
from node.validator import qbft_settings
from p2p import limits
from tests.simulation.byzantine import KINDS, Twin
from tests.simulation.chains import (
    EMPTY_BLOCK_PERIOD_S,
    KEYS,
    PAYERS,
    REQUEST_TIMEOUT_MS,
    addresses,
    qbft_domain,
    qbft_genesis,
)
from tests.simulation.faults import Ambush, Faults
from tests.simulation.grown import grown_chain
from tests.simulation.node import SimulatedNode
from tests.simulation.payer import Voter
from tests.simulation.result import Result
from tests.simulation.trial import Trial, reunion_s
from tests.simulation.variants import WHOLE, Variant
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.witness import FinalityWitness
from tests.simulation.world import World, simulated

GROWTH = 3
NEWCOMERS = 0.1
"""In so many runs somebody joins a network that is some age already."""
BLOCKS_TO_SKIP = 20
"""Then it takes over a state rather than execute so many blocks; outside of simulations they have to be more."""
RESCUES = 0.2
"""In so many runs in which it is possible, so many validators are lost in the end that operators have to step in."""
CHANGES_OF_VALIDATORS = 0.3
"""In so many runs the validators vote somebody in or out meanwhile."""


def bound_s(validators: ValidatorSet) -> float:
    """How long GROWTH blocks may take after the faults, in the worst case.

    The nodes find each other again. Rounds that are under way end within the longest timeout, then all honest nodes are
    in one round within a repeat. After that f proposers in a row may fail at the longest timeout; each next height
    begins with short timeouts again, but its first f proposers may fail too, and it may be an empty one. A transaction
    that a validator could not take at first is announced again, and again for what it was refused for meanwhile.
    """
    settings = qbft_settings(1, EMPTY_BLOCK_PERIOD_S, REQUEST_TIMEOUT_MS)
    f = validators.tolerated_faults
    first_ms = settings.round_timeout_ms(32) * (f + 2) + settings.repeat_ms * 4
    following_ms = sum(settings.round_timeout_ms(round_) for round_ in range(f + 1)) + settings.empty_block_period_ms
    announcing_s = 2 * limits.ANNOUNCE_AGAIN_INTERVAL_S + limits.REFUSAL_MEMORY_S
    return reunion_s() + announcing_s + (first_ms + GROWTH * (following_ms + settings.repeat_ms)) / 1000


def run(seed: int, variant: Variant = WHOLE) -> Result:
    """Run a seed. Raises Violation where something that must hold does not."""
    random = Random(f"authority {seed}")
    count = random.choice([4, 4, 4, 4, 4, random.randint(1, 7)])
    followers = random.choice([0, 0, 1])
    has_newcomer = random.random() < NEWCOMERS

    def make(directory: Path, loop: VirtualLoop) -> World:
        return _make_world(seed, directory, loop, variant, count, followers + has_newcomer)

    with variant.taken_away(), simulated(make) as world:
        trial = _AuthorityTrial(world, random, variant, count)
        if has_newcomer:
            trial.expect(world.nodes[count + followers])
        with patch.object(limits, "MIN_BLOCKS_TO_SKIP", BLOCKS_TO_SKIP):
            return trial.run(GROWTH)


def _make_world(seed: int, directory: Path, loop: VirtualLoop, variant: Variant, count: int, followers: int) -> World:
    witness = FinalityWitness(loop, qbft_domain(count), variant.watches_all)
    world = World(seed, directory, loop, qbft_genesis(count), witness)
    for number in range(count + followers):
        kind = "validator" if number < count else "follower"
        world.add(SimulatedNode(world, f"{kind} {number + 1}", KEYS[number], number + 1))
    return world


class _AuthorityTrial(Trial):
    consensus = "qbft"

    def __init__(self, world: World, random: Random, variant: Variant, count: int) -> None:
        self._validators = ValidatorSet.of(addresses(count))
        super().__init__(world, random, [*PAYERS, *self._validators.addresses])
        assert isinstance(world.witness, FinalityWitness)
        self._witness = world.witness
        self._has_votes = False
        self._cast_liars(random.sample(range(count), random.randint(0, self._validators.tolerated_faults)))
        self._witness.honest = frozenset(node.node_id for node in self.honest)
        if not variant.keeps_votes:
            for node in world.nodes:
                node.disk.is_lossless = lambda path: not path.name.startswith(VOTES_FILE)

    def expect(self, newcomer: SimulatedNode) -> None:
        """All others have a chain of some age; this node has none, and takes over a state of theirs."""
        chain = grown_chain(len(self._validators))
        for node in self.world.nodes:
            if node is newcomer:
                newcomer.name = "newcomer"
                newcomer.takes_over_state = True
            else:
                (node.disk.directory / DATABASE_FILE).write_bytes(chain.database)
                self._witness.heads[node.name] = len(chain.hashes)
        self._witness.preset(chain.hashes, self._validators)
        self.others = chain.receivers

    def complicate(self, faults: Faults) -> None:
        self._witness.on_first_import = Ambush(self.world, faults, self.random).strike
        self._has_votes = self.random.random() < CHANGES_OF_VALIDATORS
        if self._has_votes:
            self._plan_votes(faults.duration_s)

    def recover(self) -> None:
        """Sometimes too many validators are lost for ever, and the operators of the others go on without them."""
        kept = self.random.sample(self.honest, self.random.randint(1, len(self.honest)))
        if self.random.random() >= RESCUES or len(kept) >= self._validators.quorum or self._has_votes:
            return  # A vote that waits in the pool would soon be enough to bring back one of the lost.
        world, witness = self.world, self._witness
        for node in world.nodes:
            if node not in kept:
                node.power_cut()
        world.run_for(reunion_s())
        number = max(node.head_number for node in kept) + 1
        if number <= self.highest():
            for node in world.nodes:  # One of the lost knows more: who goes on without it would part from it.
                node.power_on()
            return
        for node in world.nodes:
            node.is_honest = node in kept
        names = {node.name for node in kept}
        witness.accepted = {one: keeper for one, keeper in witness.accepted.items() if keeper in names}
        members = ValidatorSet.of(node.node_id for node in kept)
        override = ValidatorOverride(number, members)
        config = replace(world.genesis.config, validator_overrides=(override,))
        witness.follow(domain_of(config, qbft_domain(len(self._validators)).genesis_hash))
        witness.honest = frozenset(members.addresses)
        for node in kept:
            node.power_cut()
            node.genesis = replace(world.genesis, config=config)
            node.power_on()

    def highest(self) -> int:
        return max(self._witness.finals, default=0)

    def is_well(self, target: int) -> bool:
        return all(node.head_number >= target for node in self.honest)

    def bound_s(self) -> float:
        one_more = addresses(len(self._validators) + 1)  # perhaps voted in
        return bound_s(ValidatorSet.of(one_more))

    def audit(self) -> None:
        for node in self.honest:
            for number in range(1, node.head_number + 1):
                self._witness.look_at_final(node, number, *node.final_block(number))
        super().audit()

    def _plan_votes(self, duration_s: float) -> None:
        """Honest validators vote one node in or out. What they decide on leaves no more liars than may be."""
        validators = self.world.nodes[: len(self._validators)]
        liars = [node for node in validators if not node.is_honest]
        followers = [node for node in self.honest if node not in validators]
        changes = [("voteToAdd", node) for node in followers]
        if len(validators) > 1:
            changes += [("voteToRemove", node) for node in (liars or validators)]
        if not changes:
            return
        function, subject = self.random.choice(changes)
        for number, node in enumerate(validators):
            if node.is_honest:
                self.let_act(Voter(self.world, node, number, function, subject.node_id), duration_s)

    def _cast_liars(self, chosen: list[int]) -> None:
        world, random = self.world, self.random
        domain = qbft_domain(len(self._validators))
        for number in chosen:
            node, kind = world.nodes[number], random.choice(KINDS)
            kind(node, KEYS[number], domain, Random(f"liar {number} {world.seed}"))
            if kind is Twin:
                twin = SimulatedNode(world, f"twin {number + 1}", KEYS[number], 100 + number)
                kind(twin, KEYS[number], domain, random)
                world.add(twin)
