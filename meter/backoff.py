"""How long a meter waits after failures with a node."""

import random

# Waiting doubles after each failure up to this; a node that returns is noticed within five minutes.
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 300.0


def backoff_s(failures: int, randomness: random.Random) -> float:
    """How long to wait after so many failures in a row; spread, so that all meters do not return at once."""
    longest_s: float = min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 30), MAX_BACKOFF_S)
    return longest_s * randomness.uniform(0.5, 1.0)
