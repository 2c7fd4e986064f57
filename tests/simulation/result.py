"""What a run came to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One seed that went well."""

    consensus: str
    nodes: int
    height: int
    messages: int
    power_cuts: int
    accepted: int
    """Transactions that nodes promised to keep, all of which are in the chain."""
    recovery_s: float
    """From the end of the faults until everything was as it should be."""
    bound_s: float
    trace: str
    """Hash of everything that happened: the same seed gives the same."""
