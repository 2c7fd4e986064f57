"""What goes wrong while it may: bad weather that changes, power cuts of one, some or all, clocks that somebody sets."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from tests.simulation.host import Host
from tests.simulation.node import SimulatedNode
from tests.simulation.weather import CALM, Weather
from tests.simulation.world import World

LONGEST_WEATHER_S = 6.0
LONG_PARTITIONS = 0.08
"""In so many runs the faults end with a long one."""
LONG_PARTITION_S = (20.0, 150.0)
COMMIT_FAILURES = (0.0, 0.0, 0.0, 0.002, 0.01, 0.04)
"""How probable it is, in one run or another, that the power fails around a commit."""
CLOCK_STEP_S = 4.0
"""Somebody sets a clock by so much at most: well below the 15 s by which a block may be ahead."""


class Faults:
    """Everything that goes wrong in one run. `end` ends it; liars lie on."""

    def __init__(
        self, world: World, random: Random, duration_s: float, long_partitions: float = LONG_PARTITIONS
    ) -> None:
        self._world = world
        self._random = random
        self.is_over = False
        self.duration_s = duration_s
        self._plan_weather(random.choice([bad_weather, bad_weather, few_learn]), duration_s)
        self._plan_power(duration_s)
        self._plan_clocks(duration_s)
        if random.random() < long_partitions:
            self._plan_long_partition()
        world.lost_power = self._restart_soon

    def end(self) -> None:
        """From now on the network works, and whatever fails is on again."""
        self.is_over = True
        self._world.network.weather = CALM
        for node in self._world.nodes:
            node.fails_at_commit = 0.0
            node.work_time_s = (0.0005, 0.01)
            node.power_on()

    def at(self, delay_s: float, action: Callable[[], object]) -> None:
        """Do it after that time, unless the faults are over by then."""
        self._world.later(delay_s, lambda: self.is_over or action())

    def _plan_weather(self, weather: "Callable[[Random, Sequence[Host]], Weather]", duration_s: float) -> None:
        network, random = self._world.network, self._random
        hosts = [node.host for node in self._world.nodes]
        time_s = 0.0
        while time_s < duration_s:
            chosen = weather(random, hosts)
            self.at(time_s, lambda chosen=chosen: setattr(network, "weather", chosen))  # type: ignore[misc]
            time_s += random.uniform(0.5, LONGEST_WEATHER_S)

    def _plan_power(self, duration_s: float) -> None:
        random, nodes = self._random, self._world.nodes
        fails_at_commit = random.choice(COMMIT_FAILURES)
        for node in nodes:
            node.fails_at_commit = fails_at_commit
            if random.random() < 0.1:
                node.work_time_s = (0.01, 0.2)  # a card that is worn out
        for _ in range(random.choice([0, 1, 2, 6])):
            down = random.sample(nodes, random.choice([1, 1, max(len(nodes) // 3, 1), len(nodes)]))
            time_s = random.uniform(0, duration_s)
            for node in down:
                end = random.choice([node.power_cut, node.power_cut, node.stop])
                self.at(time_s + random.choice([0, random.uniform(0, 0.1)]), end)
                self.at(time_s + random.choice([random.uniform(0.1, 0.5), random.uniform(0.1, 8)]), node.power_on)

    def _plan_long_partition(self) -> None:
        """After all else, so long that connections and hopes are given up."""
        names = [node.name for node in self._world.nodes]
        islands = {name: self._random.randint(0, 1) for name in names}
        self.at(self.duration_s, lambda: setattr(self._world.network, "weather", replace(CALM, islands=islands)))
        self.duration_s += self._random.uniform(*LONG_PARTITION_S)

    def _plan_clocks(self, duration_s: float) -> None:
        random = self._random
        for node in self._world.nodes:
            if random.random() < 0.15:
                step_s = random.uniform(-CLOCK_STEP_S, CLOCK_STEP_S)
                self.at(random.uniform(0, duration_s), lambda node=node, step_s=step_s: _set(node, step_s))  # type: ignore[misc]

    def _restart_soon(self, node: SimulatedNode) -> None:
        self.at(self._random.choice([0.05, 0.5, self._random.uniform(1, 8)]), node.power_on)


def _set(node: SimulatedNode, step_s: float) -> None:
    node.clock.offset_s += step_s


def bad_weather(random: Random, hosts: Sequence[Host]) -> Weather:
    """Anything."""
    names = [host.name for host in hosts]
    islands = {name: random.randint(0, 1) for name in names} if random.random() < 0.35 else {}
    cut_ways = frozenset[tuple[str, str]]()
    if random.random() < 0.2:
        cut_ways = frozenset((random.choice(names), random.choice(names)) for _ in range(len(names)))
    return Weather(
        delay_s=(0.001, random.choice([0.02, 0.1, 0.6, 3.0])),
        stalls=random.choice([0.0, 0.0, 0.05, 0.3]),
        breaks=random.choice([0.0, 0.0, 0.005, 0.05]),
        refusals=random.choice([0.0, 0.0, 0.3]),
        lost_notices=random.choice([0.0, 0.0, 0.1, 0.4]),
        lost_final=random.choice([0.0, 0.0, 0.5, 0.9]),
        repeated_notices=random.choice([0.0, 0.1]),
        overtaking_notices=random.choice([0.0, 0.2]),
        islands=islands,
        cut_ways=cut_ways,
    )


def few_learn(random: Random, hosts: Sequence[Host]) -> Weather:
    """A network that works, but for what makes blocks final: often one node alone knows of a decision."""
    return Weather(delay_s=(0.001, random.choice([0.02, 0.1])), lost_final=random.choice([0.6, 0.75, 0.9]))


ONE_KNOWS = replace(CALM, lost_final=0.9)


class Ambush:
    """An adversary that strikes when it hurts: whoever is first to hold a block final is cut off with what it knows.

    The others may lose power in the same moment. What they do then has to fit what they cannot know.
    """

    def __init__(self, world: World, faults: Faults, random: Random) -> None:
        self._world = world
        self._faults = faults
        self._random = random
        self._chance = random.choice([0.0, 0.2, 0.5])
        self._is_lying_in_wait = True

    def strike(self, decider: SimulatedNode) -> None:
        if self._faults.is_over or not self._is_lying_in_wait or self._random.random() >= self._chance:
            return
        self._is_lying_in_wait = False
        network, random, faults = self._world.network, self._random, self._faults
        cuts_power = random.random() < 0.5
        weather = replace(CALM, islands={decider.name: 1}) if cuts_power or random.random() < 0.5 else ONE_KNOWS
        faults.at(0.0, lambda: setattr(network, "weather", weather))
        faults.at(random.uniform(2, 10), self._lie_in_wait)
        for node in self._world.nodes if cuts_power else []:
            if node is not decider:
                faults.at(0.0, node.power_cut)
                faults.at(random.uniform(0.1, 0.5), node.power_on)

    def _lie_in_wait(self) -> None:
        self._world.network.weather = CALM
        self._is_lying_in_wait = True
