"""The hours of the demo's day: the local time of its supplier, whose first midnight is when the meters begin."""

from dataclasses import dataclass

from primitives.clock import Clock

HOUR_S, DAY_S = 3_600, 86_400
ZONE_STEP_S = 900
MAX_ZONE_S = 14 * HOUR_S


@dataclass(frozen=True, slots=True)
class Day:
    """The first day. It begins at a quarter of an hour, since zones do."""

    clock: Clock
    begin_s: int
    """Unix time of the first midnight."""

    @classmethod
    def beginning_after(cls, clock: Clock, lead_s: float) -> "Day":
        """The first quarter of an hour that is so many seconds of the clock away."""
        return cls(clock, -(-int(clock.time_s() + lead_s) // ZONE_STEP_S) * ZONE_STEP_S)

    @property
    def zone_s(self) -> int:
        """Seconds east of UTC of a place where it is midnight then."""
        east_s = -self.begin_s % DAY_S
        return east_s if east_s <= MAX_ZONE_S else east_s - DAY_S

    def now_s(self) -> int:
        """Seconds since the first midnight."""
        return self.clock.time_s() - self.begin_s

    def text(self) -> str:
        """ "07:15", on later days with their number."""
        now_s = max(self.now_s(), 0)
        day, second = divmod(now_s, DAY_S)
        hour = f"{second // HOUR_S:02}:{second // 60 % 60:02}"
        return f"day {day + 1}, {hour}" if day else hour

    async def until(self, hour: float) -> None:
        """Wait for an hour of the first day; not at all where it has passed."""
        while (wait_s := self.begin_s + hour * HOUR_S - self.clock.precise_time_s()) > 0:
            await self.clock.sleep_s(wait_s)
