"""One seeded run: a network, faults for a while, then none but the Byzantine validators, and what must hold.

Always: no two honest nodes hold different blocks final at a height, and no honest node contradicts a vote of its own,
through any crash. After the faults: every honest node holds GROWTH more blocks than any had, within `bound_ms`.
"""

import random
from dataclasses import dataclass, replace

from chain.consensus.qbft.events import Settings
from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.validators import ProposerPolicy, ValidatorSet
from tests.chain.qbft.byzantine import Babbler, Equivocator, Silent, Twin
from tests.chain.qbft.model_block import address
from tests.chain.qbft.world import NetworkConditions, Participant, Violation, World

GROWTH = 3
BASE_TIMEOUT_MS = 500
EMPTY_BLOCK_PERIOD_MS = 8_000
REPEAT_MS = 1_500

BYZANTINE: tuple[type[Participant], ...] = (Silent, Equivocator, Babbler, Twin)


@dataclass(frozen=True, slots=True)
class Variant:
    """What is taken away from the honest nodes, to see that the simulation notices."""

    name: str = "whole"
    machine_class: type[QbftMachine] = QbftMachine
    keeps_votes: bool = True
    watch_votes: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    validators: int
    height: int
    packets: int
    recovery_ms: int
    """From the end of the faults until every honest node had grown."""
    bound_ms: int


def bound_ms(settings: Settings, validators: ValidatorSet) -> int:
    """How long GROWTH blocks may take after the faults, in the worst case.

    The rounds that are under way end within the longest timeout, then all honest nodes are in one round within a
    repeat. After that f proposers in a row may fail at the longest timeout; each next height begins with short
    timeouts again, but its first f proposers may fail too, and it may be an empty one.
    """
    f = validators.tolerated_faults
    first = settings.round_timeout_ms(32) * (f + 2) + settings.repeat_ms * 4
    following = sum(settings.round_timeout_ms(round_) for round_ in range(f + 1)) + settings.empty_block_period_ms
    return first + GROWTH * (following + settings.repeat_ms)


def run(seed: int, size: int | None = None, variant: Variant = Variant()) -> Result:
    """Run a seed. Raises Violation where something that must hold does not."""
    rng = random.Random(f"plan {seed}")
    count = size if size is not None else rng.choice([4, 4, 4, 4, 7, 7, rng.randint(1, 10)])
    validators = ValidatorSet.of(address(index) for index in range(count))
    settings = Settings(
        base_timeout_ms=BASE_TIMEOUT_MS,
        block_period_ms=rng.choice([200, 1_000]),
        empty_block_period_ms=EMPTY_BLOCK_PERIOD_MS,
        repeat_ms=REPEAT_MS,
        proposer_policy=rng.choice(list(ProposerPolicy)),
    )
    world = World(seed, validators, settings)
    world.watch_votes = variant.watch_votes
    honest = _populate(world, rng, variant)
    for nodes in world.nodes.values():
        for node in nodes:
            world.at(rng.randint(0, 500), node.start)
    end_ms = rng.randint(5_000, 40_000)
    _plan_faults(world, rng, honest, end_ms)
    _plan_ambush(world, rng, honest)
    world.run_until(end_ms)
    _end_faults(world, honest)
    target = max(node.height for node in honest) + GROWTH
    bound = bound_ms(settings, validators)
    if not world.run_until(end_ms + bound, lambda: all(node.height >= target for node in honest)):
        heights = [node.height for node in honest]
        raise Violation(f"{bound} ms after the faults the heights are {heights}, not all {target}")
    return Result(count, target, world.packets, world.now_ms - end_ms, bound)


def _populate(world: World, rng: random.Random, variant: Variant) -> list[Participant]:
    addresses = list(world.validators.addresses)
    rng.shuffle(addresses)
    liars = rng.randint(0, world.validators.tolerated_faults)
    for own_address in addresses[:liars]:
        kind = rng.choice(BYZANTINE)
        for _ in range(2 if kind is Twin else 1):
            kind(world, own_address)
    honest = []
    for own_address in addresses[liars:]:
        node = Participant(world, own_address)
        node.machine_class = variant.machine_class
        node.keeps_votes = variant.keeps_votes
        honest.append(node)
    return honest


def _plan_faults(world: World, rng: random.Random, honest: list[Participant], end_ms: int) -> None:
    """Bad weather that changes every few seconds, crashes of one, some or all, and transactions that come and go."""
    time_ms = 0
    weather = rng.choice([_weather, _few_learn])
    while time_ms < end_ms:
        conditions = weather(world, rng)
        world.at(time_ms, lambda conditions=conditions: setattr(world, "conditions", conditions))
        time_ms += rng.randint(500, 6_000)
    world.crash_probability = rng.choice([0.0, 0.0, 0.005, 0.02, 0.08])
    for _ in range(rng.choice([0, 2, 5, 20])):
        down = rng.sample(honest, rng.choice([1, 1, max(len(honest) // 3, 1), len(honest)]))
        crash_ms = rng.randint(0, end_ms)
        for node in down:
            world.at(crash_ms + rng.choice([0, rng.randint(0, 50)]), node.crash)
            world.at(crash_ms + rng.choice([rng.randint(60, 300), rng.randint(60, 5_000)]), node.start)
    for node in honest:
        for _ in range(3):
            pending = rng.random() < 0.8
            world.at(rng.randint(0, end_ms), lambda node=node, pending=pending: node.set_pending(pending))


def _weather(world: World, rng: random.Random) -> NetworkConditions:
    islands = {}
    if rng.random() < 0.35:
        islands = {one: rng.randint(0, 1) for one in world.validators.addresses}
    return NetworkConditions(
        delay_ms=(1, rng.choice([20, 100, 600, 3_000])),
        drop=rng.choice([0.0, 0.0, 0.1, 0.3, 0.5]),
        drop_final=rng.choice([0.0, 0.0, 0.5, 0.7, 0.9]),
        duplicate=rng.choice([0.0, 0.2]),
        island_of=islands,
    )


def _few_learn(_: World, rng: random.Random) -> NetworkConditions:
    """A network that works, but for commits and final blocks: often one node alone knows of a decision."""
    return NetworkConditions(delay_ms=(1, rng.choice([20, 100])), drop_final=rng.choice([0.6, 0.75, 0.9]))


def _plan_ambush(world: World, rng: random.Random, honest: list[Participant]) -> None:
    """An adversary that strikes when it hurts: whoever is first to hold a block final is cut off with its knowledge.

    The others may lose power in the same moment. What they do then must fit what they cannot know.
    """
    chance = rng.choice([0.0, 0.1, 0.4])
    crashes = rng.random() < 0.5

    def strike(decider: bytes) -> None:
        if rng.random() >= chance:
            return
        weather = world.conditions
        world.lose_packets_on_their_way()
        world.conditions = replace(weather, delay_ms=(1, 20), drop=0.0, drop_final=0.0, island_of={decider: 1})
        world.at(rng.randint(1_000, 8_000), lambda: setattr(world, "conditions", NetworkConditions()))
        for node in honest if crashes else []:
            if node.address != decider:
                node.crash()
                world.at(rng.randint(1, 200), node.start)

    world.on_first_decision = strike


def _end_faults(world: World, honest: list[Participant]) -> None:
    world.on_first_decision = lambda decider: None
    world.conditions = NetworkConditions()
    world.crash_probability = 0.0
    for node in honest:
        node.start()
