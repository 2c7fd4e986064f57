"""When a reading is signed, and of which sample: in turn at whole multiples of the interval, out of turn for a reason.

A reading in turn is that of the last sample at or before the boundary; where a newer block was heard of before that is
known, of the first sample behind the boundary. What happens between two readings (flags, registers, the driver's state)
is kept with every sample (meter/checkpoint.py), so that a crash costs none of it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from contracts.reading_format import StatusFlag
from meter.checkpoint import Checkpoint, CheckpointKeeper
from meter.database import DiskFull
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import NO_FLAGS
from meter.events import EventBudget
from meter.head import Head
from meter.meter_clock import MeterClock
from meter.outbox import Outbox, OutboxFullError
from meter.reading import Reading
from meter.signer import Signer, SignerBusy, SignerUnavailable
from primitives.clock import Clock
from primitives.errors import InvalidReading

logger = logging.getLogger(__name__)

# A reading that could not be signed (the outbox is full, the key cannot be reached) is tried again so soon.
RETRY_MS = 60_000
# A secure element that is busy is asked again with each sample, for the same reading; it is left for a newer one then.
BUSY_MS = 60_000


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A reading that is being signed: nothing in it changes, so that its signature fits when it comes."""

    reading: Reading
    sample: Sample
    is_event: bool
    is_urgent: bool
    """Something was to be read at once when it was begun."""
    begun_ms: int


class Recorder:
    """Signs the readings of one meter."""

    def __init__(
        self,
        outbox: Outbox,
        signer: Signer,
        clock: Clock,
        meter_clock: MeterClock,
        keeper: CheckpointKeeper,
        *,
        interval_s: int,
        spacing_s: int,
        boot_id: str,
        most_events_per_hour: int,
    ) -> None:
        """`spacing_s`: as a driver's."""
        self._outbox = outbox
        self._signer = signer
        self._clock = clock
        self._meter_clock = meter_clock
        self._keeper = keeper
        self._interval_s = interval_s
        self._spacing_s = spacing_s
        self._boot_id = boot_id
        self._budget = EventBudget(most_events_per_hour)
        self.on_signed: list[Callable[[], None]] = []
        """Called when another reading is on the disk."""
        self._head: Head | None = None
        self._ledger = bytes(32)
        self._noted = NO_FLAGS
        self._is_urgent = False
        self._last: Sample | None = None
        self._unsigned: Sample | None = None
        self._retry_at_ms: int | None = None
        self._is_told = False
        self._number = 0
        self._attempt: _Attempt | None = None
        # A boundary was passed while the reading before it was being signed.
        self._is_owed = False

    def resume(self) -> tuple[bytes | None, Registers]:
        """What the driver goes on from: its last known state, and the registers of the last reading."""
        self._head = head = self._outbox.head()
        if head is None:
            raise RuntimeError("measuring begins before the outbox has a head")
        self._noted |= StatusFlag.RESTARTED
        self._is_urgent = True
        self._keeper.open()
        self._ledger = self._outbox.genesis_hash() or bytes(32)
        last, kept = self._keeper.newest, self._keeper.behind(self._ledger, head.sequence, head.hash)
        if last is not None:
            self._number = last.number + 1
            self._budget.hour, self._budget.count = last.event_hour, last.event_count
            is_new_boot = bool(self._boot_id) and last.boot_id not in ("", self._boot_id)
            self._meter_clock.start(head.registers.time_s, last.block_time_s, is_new_boot=is_new_boot)
            if is_new_boot and not last.is_clean:
                self._noted |= StatusFlag.POWER_LOST
        if kept is not None:
            self._noted |= StatusFlag(kept.flags)
        return head.driver_state if kept is None else kept.driver_state, head.registers

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        """As meter/live.py, Noting. A new flag is on the card when this returns, once there was a sample."""
        is_new = bool(flags & ~self._noted)
        if is_new or at_once:
            logger.info("noted for the next reading: %s", reason)
        self._noted |= flags
        self._is_urgent = self._is_urgent or at_once
        if is_new:
            self._keep(on_card=True)

    def take(self, sample: Sample) -> None:
        """One more sample: sign what is due."""
        if self._attempt is not None:
            self._try()
        before, is_owed = self._unsigned, False
        if before is not None and sample.is_timed and self._period(sample) > self._period(before):
            if self._attempt is not None:
                self._is_owed = self._is_owed or before is not self._attempt.sample
            elif not (is_owed := self._is_passed_over(before, sample)):
                self._sign(before, is_event=False)
        self._noted |= sample.flags
        self._last = sample
        if sample.is_timed:
            self._unsigned = sample
            if self._attempt is None:
                self._sign_what_is_due(sample, is_owed=is_owed or self._is_owed)
        self._keep(on_card=self._keeper.is_due())

    def _sign_what_is_due(self, sample: Sample, *, is_owed: bool) -> None:
        if is_owed or self._is_due(sample):
            self._is_owed = False
            self._sign(sample, is_event=False)
        elif self._is_urgent and self._retry_at_ms is None and self._may_interrupt(sample):
            self._sign(sample, is_event=True)

    def finish(self) -> bool:
        """The source has ended: what is not signed yet is signed now. False while the key is busy: ask again."""
        if self._attempt is not None:
            self._try()
        if self._attempt is None and self._unsigned is not None:
            self._sign(self._unsigned, is_event=False)
        return self._attempt is None

    def stop(self) -> None:
        """The program ends in order."""
        self._keep(on_card=True, is_clean=True)
        self._keeper.close()
        self._last = None

    def _period(self, sample: Sample) -> int:
        """The number of the interval that a sample lies in; one at a boundary is the last of its interval."""
        return -(-sample.registers.time_s // self._interval_s)

    def _is_passed_over(self, before: Sample, sample: Sample) -> bool:
        """Whether a block came between two samples: no reading is older than the newest one when it is signed.

        A file of the past is: there the later sample would be none the better.
        """
        return before.registers.time_s < self._meter_clock.block_time_s <= sample.registers.time_s

    def _is_due(self, sample: Sample) -> bool:
        """Whether no later sample lies before the boundary, as far as is known now; or an earlier try failed."""
        if self._retry_at_ms is not None and self._clock.elapsed_ms() >= self._retry_at_ms:
            return True
        time_s = sample.registers.time_s
        to_boundary_s = self._period(sample) * self._interval_s - time_s
        return to_boundary_s == 0 or to_boundary_s < self._spacing_s

    def _may_interrupt(self, sample: Sample) -> bool:
        if self._budget.allows(sample.registers.time_s):
            self._is_told = False
            return True
        if not self._is_told:
            logger.warning("too many readings out of turn in this hour: the next one in turn says what happens now")
            self._is_told = True
        return False

    def _sign(self, sample: Sample, *, is_event: bool) -> None:
        """Put a signed reading on the disk; where that fails the next one covers its energy."""
        head = self._outbox.head()
        if head is None:
            raise RuntimeError("a reading is signed before the outbox has a head")
        registers = sample.registers
        try:
            reading = Reading(
                self._outbox.meter,
                head.sequence + 1,
                registers.time_s,
                registers.import_wh,
                registers.export_wh,
                sample.power_w,
                int(self._noted),
                head.hash,
            )
        except InvalidReading as error:
            self._tell_failure(error)
            return
        self._attempt = _Attempt(reading, sample, is_event, self._is_urgent, self._clock.elapsed_ms())
        # What is noted meanwhile, such as an edit that this reading is put over, is for the next one.
        self._noted, self._is_urgent = NO_FLAGS, False
        self._try()

    def _try(self) -> None:
        """Sign the reading that was begun, or leave it as it is where the key is busy with it."""
        attempt = self._attempt
        if attempt is None:
            raise RuntimeError("no reading was begun")
        try:
            self._outbox.append(self._outbox.domain.sign(attempt.reading, self._signer), attempt.sample.state)
        except (InvalidReading, OutboxFullError, DiskFull, SignerUnavailable) as error:
            if isinstance(error, SignerBusy) and self._clock.elapsed_ms() - attempt.begun_ms < BUSY_MS:
                return
            self._attempt = None
            self._noted |= StatusFlag(attempt.reading.flags)
            self._is_urgent = self._is_urgent or attempt.is_urgent
            self._tell_failure(error)
            return
        self._attempt = None
        if attempt.is_event:
            self._budget.spend(attempt.reading.time_s)
        self._head = self._outbox.head()
        self._is_urgent, self._retry_at_ms = self._is_urgent or bool(self._noted), None
        if self._unsigned is attempt.sample:
            self._unsigned = None
        for listener in self.on_signed:
            listener()

    def _tell_failure(self, error: Exception) -> None:
        logger.error("NO READING WAS SIGNED: %s. The next one that can be covers its energy", error)
        self._retry_at_ms = self._clock.elapsed_ms() + RETRY_MS

    def _keep(self, *, on_card: bool, is_clean: bool = False) -> None:
        if self._last is None or self._head is None:
            return
        self._number += 1
        checkpoint = Checkpoint(
            self._outbox.meter,
            self._ledger,
            self._head.sequence,
            self._head.hash,
            self._last.state,
            int(self._noted) | (0 if self._attempt is None else self._attempt.reading.flags),
            self._number,
            self._boot_id,
            is_clean,
            self._meter_clock.block_time_s,
            self._budget.hour,
            self._budget.count,
        )
        self._keeper.keep(checkpoint, on_card=on_card)
