"""Which kind of network a seed stands for, and the command that repeats it."""

from tests.simulation import authority, work
from tests.simulation.result import Result
from tests.simulation.variants import WHOLE, Variant

WORK_EVERY = 4
"""One seed in so many is a network of proof of work; the others decide by qbft, where there is more that can fail."""


def run(seed: int, variant: Variant = WHOLE) -> Result:
    """Run a seed. Raises Violation (or Deadlock, or Livelock) where something that must hold does not."""
    if variant is WHOLE and seed % WORK_EVERY == WORK_EVERY - 1:
        return work.run(seed)
    return authority.run(seed, variant)


def repeating(seed: int, variant: Variant = WHOLE) -> str:
    """The command that runs this seed again."""
    named = "" if variant is WHOLE else f" --variant {variant.name}"
    return f"python -m tests.simulation --first {seed} --seeds 1{named}"
