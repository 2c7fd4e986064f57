"""How the network treats what is sent, for the time being."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities are those of one message, or of one call."""

    delay_s: tuple[float, float] = (0.001, 0.03)
    """The shortest and the longest way from one machine to another."""
    stalls: float = 0.0
    """A packet is lost and sent again after a while; whatever follows it on its connection waits."""
    breaks: float = 0.0
    """The connection breaks; one end learns of it later than the other."""
    refusals: float = 0.0
    """A call is not answered, though the machine is there."""
    lost_notices: float = 0.0
    lost_final: float = 0.0
    """Of what makes blocks final, commits and final blocks: then few know of a decision, and the others go on."""
    repeated_notices: float = 0.0
    overtaking_notices: float = 0.0
    """TCP loses, repeats and reorders nothing within a connection. Notices suffer it all the same: a queue that is full
    drops them, a new connection repeats them, those passed on by others overtake, and no protocol may depend on it."""
    islands: Mapping[str, int] = field(default_factory=dict)
    """Machines reach each other within an island only; those that are not named are on 0."""
    cut_ways: frozenset[tuple[str, str]] = frozenset()
    """From the first machine nothing reaches the second, though perhaps in the other direction."""


CALM = Weather()
