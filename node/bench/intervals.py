"""Means with a 95 % interval, and percentiles: the statistics of a few hundred block times.

Finding a block is a memoryless search, so times between blocks of a fixed difficulty are exponential: for those the
interval is exact, from the gamma distribution that their sum has. Elsewhere (qbft) it is Student's.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
EXPONENTIAL, STUDENT = "exponential", "student"
_BISECTIONS = 60
"""Each halves the error: far below what is printed."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean, and between what bounds the true one lies with 95 % confidence."""

    mean: float
    low: float
    high: float
    method: str
    """EXPONENTIAL or STUDENT."""

    def scaled(self, factor: float) -> "MeanInterval":
        return MeanInterval(self.mean * factor, self.low * factor, self.high * factor, self.method)


def exponential_interval(samples: Sequence[float]) -> MeanInterval:
    """Of samples from an exponential distribution; at least one, and not all 0.

    Their sum has the gamma distribution of shape n; 2 * sum / mean is chi-squared with 2n degrees of freedom.
    """
    total, count = math.fsum(samples), len(samples)
    tail = (1 - CONFIDENCE) / 2
    low, high = total / gamma_quantile(count, 1 - tail), total / gamma_quantile(count, tail)
    return MeanInterval(total / count, low, high, EXPONENTIAL)


def student_interval(samples: Sequence[float]) -> MeanInterval:
    """Of samples from anything not too far from normal; at least two."""
    mean = statistics.fmean(samples)
    error = statistics.stdev(samples) / math.sqrt(len(samples))
    reach = student_quantile(len(samples) - 1, (1 + CONFIDENCE) / 2) * error
    return MeanInterval(mean, mean - reach, mean + reach, STUDENT)


def exponential_precision(count: int) -> float:
    """Half the width of the interval of so many exponential samples, as a share of their mean; about 1.96 / sqrt(n)."""
    tail = (1 - CONFIDENCE) / 2
    return count * (1 / gamma_quantile(count, tail) - 1 / gamma_quantile(count, 1 - tail)) / 2


def gamma_quantile(shape: int, probability: float) -> float:
    """Where the gamma distribution of a whole shape and scale 1 reaches a probability between 0 and 1."""
    low, high = 0.0, shape + 20 * math.sqrt(shape) + 40
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if gamma_distribution(shape, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def gamma_distribution(shape: int, value: float) -> float:
    """P(X <= value) of the gamma distribution of a whole shape: that `shape` arrivals come within that time."""
    if value <= 0:
        return 0.0
    log_value = math.log(value)
    # Fewer arrivals than the shape: the first terms of Poisson's distribution, by logarithms since e^-value vanishes.
    return 1 - math.fsum(math.exp(k * log_value - value - math.lgamma(k + 1)) for k in range(shape))


def student_quantile(degrees: int, probability: float) -> float:
    """Of Student's t, by the expansion in 1/degrees (Abramowitz, Stegun 26.7.5): within 1 % from 3 degrees on."""
    z = statistics.NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / degrees**power for power, term in enumerate(terms, start=1))


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least so many percent do not exceed (nearest rank); at least one sample."""
    rank = math.ceil(percent / 100 * len(samples))
    return sorted(samples)[max(rank, 1) - 1]
