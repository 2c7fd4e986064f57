"""A bucket of tokens on a clock that may be set back."""

from p2p.rate import TokenBucket
from primitives.clock import ManualClock


def test_a_bucket_fills_with_time_and_not_with_a_clock_set_back() -> None:
    clock = ManualClock()
    bucket = TokenBucket(clock, 2, 0.5)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.advance_s(2)
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now_s -= 1_000
    assert not bucket.take()
    clock.advance_s(2)
    assert bucket.take()
