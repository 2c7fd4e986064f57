"""How often somebody may do something: a bucket of tokens that fills up again with time. Pure, on a Clock."""

from primitives.clock import Clock


class TokenBucket:
    """`burst` at once, and `per_s` each second from then on."""

    def __init__(self, clock: Clock, burst: int, per_s: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_s = per_s
        self._tokens = float(burst)
        self._since_s = clock.precise_time_s()

    def take(self) -> bool:
        """Whether it may be done once more now."""
        now_s = self._clock.precise_time_s()
        # A clock that was set back gives nothing, and takes nothing away.
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._since_s) * self._per_s)
        self._since_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
