"""How long many things took, in three numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from node.bench.intervals import percentile

MEDIAN, NEARLY_ALL = 50.0, 95.0


@dataclass(frozen=True, slots=True)
class Delays:
    """The median, what 95 % did not exceed, and the most; in seconds."""

    median_s: float
    nearly_all_s: float
    most_s: float

    @classmethod
    def of(cls, samples_s: Sequence[float]) -> "Delays":
        """Of at least one sample."""
        return cls(percentile(samples_s, MEDIAN), percentile(samples_s, NEARLY_ALL), max(samples_s))

    def in_words(self) -> str:
        """As in "0.31 / 0.44 / 0.53 s"."""
        return f"{self.median_s:.2f} / {self.nearly_all_s:.2f} / {self.most_s:.2f} s"
