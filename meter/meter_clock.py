"""The time of day that a meter puts into what it signs: the computer's, where it can be believed.

Between two looks the monotonic clock counts. The computer's clock may be set by a person or a time server at any
moment, and has not been set at all after a boot without network. So three clocks are compared: the computer's, the one
that was believed before and went on by the monotonic clock, and the ledger's newest block. No time is told that lies
before the last one told, the last reading's, or the newest known block's.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from contracts.reading_format import StatusFlag
from meter.drivers.measurement import NO_FLAGS
from meter.reading import MAX_TIME_S
from primitives.clock import Clock

logger = logging.getLogger(__name__)

EARLIEST_S = 1_672_531_200
"""2023-01-01: no clock that was ever set shows an earlier time to this program."""
# What a time server corrects by slewing; more at once was a step.
STEP_MS = 1_000
# Clocks of validators and meters differ by seconds: a time that lies so little too early is lifted, not waited for.
LIFT_MS = 60_000
# The newest block of a ledger at work is younger than this, blocks being made at least every minute or so.
AGREE_MS = 600_000
# After so long without an answer the ledger is no witness any more.
WITNESS_MS = 3_600_000
# Where no other clock is right the ledger's is taken, once its blocks have kept pace with the monotonic one so long.
PROOF_MS = 60_000
# But not further ahead of what is known than this: a node that lies could stop a meter for as long.
MAX_LEDGER_LEAP_MS = 31 * 86_400_000
# A computer without a clock of its own begins a boot where it was shut down. So long a time server may take to say so.
SETTLE_MS = 180_000
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")


class TimedBlock(Protocol):
    """A block's header, of which only the time counts here."""

    @property
    def time_s(self) -> int: ...


class MeterClock:
    """Tells the time of a moment of the monotonic clock, or that nobody knows it."""

    def __init__(
        self, clock: Clock, earliest_s: int = EARLIEST_S, is_synchronised: Callable[[], bool] = lambda: False
    ) -> None:
        """`is_synchronised` tells whether a time server has set the computer's clock in this boot."""
        self._clock = clock
        self._is_synchronised = is_synchronised
        self._earliest_ms = earliest_s * 1000
        # Unix time minus monotonic time: what is believed, what the computer showed at the last look, the ledger's.
        self._believed_ms: int | None = None
        self._shown_ms: int | None = None
        self._blur_ms = 0
        self._ledger_ms: int | None = None
        self._heard_ms = 0
        # How the first of the blocks lay to the monotonic clock that keep pace with it, since when, and their number.
        self._pace_ms: int | None = None
        self._pace_since_ms = 0
        self._pace_blocks = 0
        self._goes_by_ledger = False
        self._known_ms = self._earliest_ms
        self._settles_at_ms: int | None = None
        self._last_ms = 0
        self.block_time_s = 0
        self._is_waiting = False
        self._flags = NO_FLAGS

    def start(self, last_time_s: int, block_time_s: int = 0, *, is_new_boot: bool = False) -> None:
        """What is known from before: the last reading's time, and the newest block's."""
        self._last_ms = max(self._last_ms, last_time_s * 1000)
        self._known_ms = max(self._known_ms, last_time_s * 1000, block_time_s * 1000)
        if self._ledger_ms is None:
            self.block_time_s = max(self.block_time_s, block_time_s)
        if is_new_boot:
            self._settles_at_ms = self._clock.elapsed_ms() + SETTLE_MS

    def heard(self, block: TimedBlock) -> None:
        """A node says that this is the ledger's newest block. It may lie: what it says now replaces what it said."""
        if block.time_s > MAX_TIME_S:
            return
        now_ms = self._clock.elapsed_ms()
        if block.time_s != self.block_time_s or self._ledger_ms is None:
            self._ledger_ms = block.time_s * 1000 - now_ms
            if not _agree(self._pace_ms, self._ledger_ms):
                self._pace_ms, self._pace_since_ms, self._pace_blocks = self._ledger_ms, now_ms, 0
            self._pace_blocks += 1
        self._heard_ms = now_ms
        self.block_time_s = block.time_s

    def time_s(self, elapsed_ms: int) -> int | None:
        """Unix time of a moment, a recent one; None while the clock is not set. Never falls."""
        before_ms = self._clock.elapsed_ms()
        time_of_day_ms = round(self._clock.precise_time_s() * 1000)
        now_ms = self._clock.elapsed_ms()
        shown_ms = time_of_day_ms - (before_ms + now_ms) // 2
        self._look_for_steps(shown_ms, now_ms - before_ms)
        believed_ms = self._judge(shown_ms, now_ms)
        if believed_ms is None:
            self._wait(shown_ms + now_ms)
            return None
        if self._is_waiting:
            logger.warning("the clock can be believed again; readings are signed")
            self._is_waiting = False
            self._flags |= StatusFlag.CLOCK_SET
        self._believed_ms = believed_ms
        self._last_ms = max(believed_ms + elapsed_ms, self._floor_ms())
        return self._last_ms // 1000

    def now_s(self) -> float:
        """Unix time now as it was believed with the last sample; the computer's before the first."""
        if self._believed_ms is None:
            return self._clock.precise_time_s()
        return (self._believed_ms + self._clock.elapsed_ms()) / 1000

    def take_flags(self) -> StatusFlag:
        """CLOCK_SET where the clock was set since this was asked last."""
        flags, self._flags = self._flags, NO_FLAGS
        return flags

    def _floor_ms(self) -> int:
        return max(self._last_ms, self.block_time_s * 1000, self._earliest_ms)

    def _look_for_steps(self, shown_ms: int, blur_ms: int) -> None:
        """`blur_ms` passed while the two clocks were read: much on an accelerated clock of a busy computer."""
        last_ms, self._shown_ms = self._shown_ms, shown_ms
        last_blur_ms, self._blur_ms = self._blur_ms, blur_ms
        if last_ms is not None and abs(shown_ms - last_ms) > STEP_MS + blur_ms + last_blur_ms:
            logger.warning("the computer's clock was set, by %+.1f s", (shown_ms - last_ms) / 1000)
            self._flags |= StatusFlag.CLOCK_SET
            self._settles_at_ms = None  # somebody did set it
            self._goes_by_ledger = False

    def _judge(self, shown_ms: int, now_ms: int) -> int | None:
        """The clock to go by: the computer's, unless the two others agree against it."""
        earliest_ms = self._floor_ms() - LIFT_MS - now_ms
        believed_ms, ledger_ms = self._believed_ms, self._ledger_ms
        if now_ms - self._heard_ms > WITNESS_MS:
            ledger_ms = None
        if self._is_settling(shown_ms, ledger_ms, now_ms):
            return self._by_the_ledger(ledger_ms, earliest_ms, now_ms)
        if shown_ms >= earliest_ms and not (_agree(believed_ms, ledger_ms) and not _agree(shown_ms, ledger_ms)):
            return shown_ms
        if believed_ms is not None and believed_ms >= earliest_ms and not _agree(shown_ms, ledger_ms):
            return believed_ms
        return self._by_the_ledger(ledger_ms, earliest_ms, now_ms)

    def _is_settling(self, shown_ms: int, ledger_ms: int | None, now_ms: int) -> bool:
        """Whether this boot's clock may be that of the last shutdown, which a time server is about to put right."""
        if self._settles_at_ms is None:
            return False
        if now_ms >= self._settles_at_ms or _agree(shown_ms, ledger_ms) or self._is_synchronised():
            self._settles_at_ms = None
        return self._settles_at_ms is not None

    def _by_the_ledger(self, ledger_ms: int | None, earliest_ms: int, now_ms: int) -> int | None:
        """The ledger's time, for a meter that no time server reaches."""
        if ledger_ms is None or ledger_ms < earliest_ms or self._pace_blocks < 2:
            return None
        is_far = ledger_ms + now_ms > max(self._known_ms, self._last_ms) + MAX_LEDGER_LEAP_MS
        if is_far or now_ms - self._pace_since_ms < PROOF_MS:
            return None
        if not self._goes_by_ledger:
            logger.warning("the computer's clock is behind the ledger's, which the meter goes by: set the clock right")
            self._goes_by_ledger = True
            self._flags |= StatusFlag.CLOCK_SET
        return ledger_ms

    def _wait(self, shown_ms: int) -> None:
        if self._is_waiting or self._settles_at_ms is not None:
            return
        self._is_waiting = True
        logger.error(
            "THE CLOCK IS NOT SET: it shows Unix time %d, the last reading or block is of %d. Measurements go on, but "
            "nothing is signed until the time is right: connect the computer to a time server, or set its clock",
            shown_ms // 1000,
            self._floor_ms() // 1000,
        )


class BelievedClock:
    """A `Clock` with the meter's time of day, for who decides by it: a computer that is set wrong changes nothing."""

    def __init__(self, clock: Clock, meter_clock: MeterClock) -> None:
        self._clock = clock
        self._meter_clock = meter_clock

    def time_s(self) -> int:
        return int(self._meter_clock.now_s())

    def precise_time_s(self) -> float:
        return self._meter_clock.now_s()

    def elapsed_ms(self) -> int:
        return self._clock.elapsed_ms()

    async def sleep_s(self, duration_s: float) -> None:
        await self._clock.sleep_s(duration_s)


def is_synchronised() -> bool:
    """Whether systemd's time service has set the clock in this boot; False also where another service does."""
    return _SYNCHRONISED.exists()


def _agree(one_ms: int | None, other_ms: int | None) -> bool:
    return one_ms is not None and other_ms is not None and abs(one_ms - other_ms) <= AGREE_MS
