"""Waiting grows, has a bound, and is spread."""

import random

from meter.backoff import MAX_BACKOFF_S, backoff_s


def test_backoff_grows_to_its_bound_and_spreads() -> None:
    waits = [backoff_s(failures, random.Random(failures)) for failures in range(1, 2000)]
    assert all(0.5 <= wait <= MAX_BACKOFF_S for wait in waits)
    assert waits[0] <= 1
    assert min(waits[10:]) >= MAX_BACKOFF_S / 2
    assert len(set(waits[10:])) > 1000
