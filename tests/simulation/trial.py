"""What the runs of all kinds of networks have in common: payments, faults, and then everything has to become well."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from random import Random

from p2p import limits
from tests.simulation.books import check_books
from tests.simulation.faults import LONG_PARTITIONS, Faults
from tests.simulation.node import SimulatedNode
from tests.simulation.payer import Payer, User
from tests.simulation.result import Result
from tests.simulation.witness import Violation
from tests.simulation.world import World

FAULTS_S = (4.0, 14.0)
PAYMENT_INTERVAL_S = (0.5, 4.0)
MOST_PAYERS = 2


def reunion_s() -> float:
    """How long it takes until all nodes are connected again, at most.

    A connection that is dead without knowing it is noticed after IDLE_TIME_S. Two nodes that call each other at once
    may have to begin anew, each time after the longest wait between two calls.
    """
    one_more_call_s = limits.MAX_STATIC_BACKOFF_S + limits.DIAL_INTERVAL_S + limits.CONNECT_TIME_S
    return limits.IDLE_TIME_S + 2 * one_more_call_s


class Trial(ABC):
    """One world on its way through the faults and out of them again."""

    consensus = ""
    long_partitions = LONG_PARTITIONS

    def __init__(self, world: World, random: Random, rich: Sequence[bytes]) -> None:
        """`rich` have the money in the beginning."""
        self.world = world
        self.random = random
        self.rich = rich
        self.others: Sequence[bytes] = ()
        """Who has got money before the world began."""

    @property
    def honest(self) -> list[SimulatedNode]:
        return [node for node in self.world.nodes if node.is_honest]

    @abstractmethod
    def is_well(self, target: int) -> bool:
        """Whether every honest node has got to that height, and to what else it should."""

    @abstractmethod
    def highest(self) -> int:
        """The height that any honest node has got to."""

    @abstractmethod
    def bound_s(self) -> float:
        """How long after the faults that may take."""

    def complicate(self, faults: Faults) -> None:  # noqa: B027 - most kinds need none
        """What else may happen meanwhile."""

    def recover(self) -> None:  # noqa: B027
        """What people do when the faults are over, before everything has to be well again."""

    def audit(self) -> None:
        """What else has to hold in the end. Raises Violation, or tells the witness."""
        check_books(self.honest, self.rich, self.world.witness.accepted, self.others)

    def run(self, growth: int) -> Result:
        """Raises Violation."""
        world, random = self.world, self.random
        for node in world.nodes:
            world.later(random.uniform(0, 0.5), node.power_on)
        duration_s = random.uniform(*FAULTS_S)
        faults = Faults(world, random, duration_s, self.long_partitions)
        self.complicate(faults)
        self._begin_payments(duration_s)
        world.run_for(faults.duration_s)
        faults.end()
        self.recover()
        end_s, target, bound_s = world.loop.time(), self.highest() + growth, self.bound_s()
        if not world.run_until(lambda: self.is_well(target) and not self.missing(), bound_s):
            raise Violation(self._diagnosis(target, bound_s))
        recovery_s = world.loop.time() - end_s
        self.audit()
        world.witness.check()
        return Result(
            self.consensus,
            len(world.nodes),
            target,
            world.network.messages,
            world.power_cuts,
            len(world.witness.accepted),
            recovery_s,
            bound_s,
            world.witness.trace,
        )

    def missing(self) -> list[bytes]:
        """Accepted transactions that are not in every honest node's chain, as far as it has the blocks."""
        honest = self.honest
        return [
            accepted
            for accepted in self.world.witness.accepted
            if not all(node.is_ready and node.has_transaction(accepted) for node in honest if not node.takes_over_state)
        ]

    def _begin_payments(self, duration_s: float) -> None:
        """Until the faults end; what was accepted by then has to arrive."""
        random = self.random
        for number in range(random.randint(0, MOST_PAYERS)):
            self.let_act(Payer(self.world, random.choice(self.honest), number), duration_s)

    def let_act(self, user: User, duration_s: float) -> None:
        """Now and then, for so long."""
        time_s = self.random.uniform(0, 3)
        while time_s < duration_s:
            self.world.later(time_s, user.act)
            time_s += self.random.uniform(*PAYMENT_INTERVAL_S)

    def _diagnosis(self, target: int, bound_s: float) -> str:
        heads: Iterable[str] = (f"{node.name} {node.head_number}" for node in self.honest)
        return (
            f"{bound_s:.0f} s after the faults the heads are {', '.join(heads)}, and should all be {target}; "
            f"{len(self.missing())} of {len(self.world.witness.accepted)} accepted transactions are in no block"
        )
