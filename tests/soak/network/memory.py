"""Whether the memory of nodes stays flat: what they hold over time, and a straight line through it. Pure but for /proc.

A node that is killed begins anew, so the line is drawn for nodes that live through the whole soak, from when their
caches have filled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from node.bench.usage import usage_of_process

WARM_UP_SHARE = 1 / 3
"""Of the soak: caches have named limits and fill at the speed of the load."""
MIN_JUDGED_S = 300.0
"""Below, a line says nothing: the interpreter's arenas come and go by whole MiB."""
MAX_GROWTH_MIB = 8.0
"""Of the line, over the judged time: a tenth of what a node holds. Losing only 1 kB with every block or transaction of
a half-hour's soak at 40 transactions a second would make 48 MiB of it."""
MAX_RESIDENT_MIB = 200.0
"""Of any node at any time: a Pi 3 has 1 GB."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process holds at a time."""

    time_s: float
    resident_mib: float


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """A straight line through the samples of a node after its warm-up."""

    begin_mib: float
    growth_mib: float
    """From the first of these samples to the last, on the line."""
    judged_s: float

    @property
    def is_flat(self) -> bool:
        """Always where there was too little time to judge."""
        return self.judged_s < MIN_JUDGED_S or self.growth_mib <= MAX_GROWTH_MIB


def line_through(samples: Sequence[Sample], soak_s: float) -> MemoryLine | None:
    """None for too few samples. Times count from the beginning of the soak."""
    judged = [sample for sample in samples if sample.time_s >= soak_s * WARM_UP_SHARE]
    if len(judged) < 2 or judged[0].time_s == judged[-1].time_s:
        return None
    slope, intercept = linear_regression([one.time_s for one in judged], [one.resident_mib for one in judged])
    first_s, last_s = judged[0].time_s, judged[-1].time_s
    return MemoryLine(intercept + slope * first_s, slope * (last_s - first_s), last_s - first_s)


def resident_mib(process_id: int) -> float | None:
    """None where the process has ended."""
    try:
        return usage_of_process(process_id).memory_mib
    except OSError:
        return None
