"""The time of day that a meter puts into what it signs: the computer's, where it can be believed.

Between two looks the monotonic clock counts. The computer's clock may be set by a person or a time server at any
moment, and has not been set at all after a boot without network. So three clocks are compared: the computer's, the one
that was believed before and went on by the monotonic clock, and the ledger's newest block. No time is told that lies
before the last one told, the last reading's, or the newest known block's.
"""

import logging
from typing import Protocol

from contracts.reading_format import StatusFlag
from meter.drivers.measurement import NO_FLAGS
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


class TimedBlock(Protocol):
    """A block's header, of which only the time counts here."""

    @property
    def time_s(self) -> int: ...


class MeterClock:
    """Tells the time of a moment of the monotonic clock, or that nobody knows it."""

    def __init__(self, clock: Clock, earliest_s: int = EARLIEST_S) -> None:
        self._clock = clock
        self._earliest_ms = earliest_s * 1000
        # Unix time minus monotonic time: what is believed, what the computer showed at the last look, the ledger's.
        self._believed_ms: int | None = None
        self._shown_ms: int | None = None
        self._blur_ms = 0
        self._ledger_ms: int | None = None
        self._heard_ms = 0
        self._last_ms = 0
        self.block_time_s = 0
        self._is_waiting = False
        self._flags = NO_FLAGS

    def start(self, last_time_s: int, block_time_s: int = 0) -> None:
        """What is known from before: the last reading's time, and the newest block's."""
        self._last_ms = max(self._last_ms, last_time_s * 1000)
        self.block_time_s = max(self.block_time_s, block_time_s)

    def heard(self, block: TimedBlock) -> None:
        """A node says that this is the ledger's newest block. It may lie: what it says now replaces what it said."""
        now_ms = self._clock.elapsed_ms()
        if block.time_s != self.block_time_s or self._ledger_ms is None:
            self._ledger_ms = block.time_s * 1000 - now_ms
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

    def _judge(self, shown_ms: int, now_ms: int) -> int | None:
        """The clock to go by: the computer's, unless the two others agree against it."""
        earliest_ms = self._floor_ms() - LIFT_MS - now_ms
        believed_ms, ledger_ms = self._believed_ms, self._ledger_ms
        if now_ms - self._heard_ms > WITNESS_MS:
            ledger_ms = None
        if shown_ms >= earliest_ms and not (_agree(believed_ms, ledger_ms) and not _agree(shown_ms, ledger_ms)):
            return shown_ms
        if believed_ms is not None and believed_ms >= earliest_ms and not _agree(shown_ms, ledger_ms):
            return believed_ms
        return None

    def _wait(self, shown_ms: int) -> None:
        if self._is_waiting:
            return
        self._is_waiting = True
        logger.error(
            "THE CLOCK IS NOT SET: it shows Unix time %d, the last reading or block is of %d. Measurements go on, but "
            "nothing is signed until the time is right: connect the computer to a time server, or set its clock",
            shown_ms // 1000,
            self._floor_ms() // 1000,
        )


def _agree(one_ms: int | None, other_ms: int | None) -> bool:
    return one_ms is not None and other_ms is not None and abs(one_ms - other_ms) <= AGREE_MS
