"""What one peer is doing for us: questions in progress, those that are late, and whether it has anything at all."""

from dataclasses import dataclass, field

from p2p import limits


@dataclass(slots=True)
class Load:
    """The questions of one kind to one peer."""

    late_s: float
    """A question of this age is given up for another peer, though its answer is still welcome."""
    since_s: list[float] = field(default_factory=list)
    """When each of those in progress began."""
    empty_until_s: float = 0.0
    """It had nothing of what it was asked for, and is not asked again until then."""
    failures: int = 0
    """Questions in a row that it did not answer, or not with what was asked for."""

    @property
    def rank(self) -> tuple[int, int]:
        """Who has the smallest is asked first."""
        return self.failures, len(self.since_s)

    def came_empty(self, now_s: float) -> None:
        self.empty_until_s = now_s + limits.EMPTY_HANDED_S

    def has_nothing(self, now_s: float) -> bool:
        return 0 < self.empty_until_s - now_s <= limits.EMPTY_HANDED_S

    def is_free(self, now_s: float, max_questions: int) -> bool:
        """Whether it can be asked for more."""
        any_late = any(is_late(since_s, now_s, self.late_s) for since_s in self.since_s)
        return len(self.since_s) < max_questions and not any_late and not self.has_nothing(now_s)

    def running(self, now_s: float) -> int:
        """Questions that are not late: those that are must not keep others from being asked."""
        return sum(not is_late(since_s, now_s, self.late_s) for since_s in self.since_s)


def is_late(since_s: float, now_s: float, late_s: float) -> bool:
    """Whether a question of that time is late. A clock that was set back makes all of them so."""
    return not 0 <= now_s - since_s < late_s
