"""The metering daemon: driver -> reading -> signature -> outbox -> submitter, and the relay, in one task group.

Wires parts that were made elsewhere (meter/assembly.py); holds no rule of its own but when a reading is signed. What
else a meter does is an observer of its samples, a service that runs beside, or both (meter/live.py). A task that dies
takes the daemon down loudly.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Driver, Sample
from meter.drivers.measurement import NO_FLAGS
from meter.ledger import NodeTrouble
from meter.live import Observation, Observer, Service
from meter.outbox import Outbox, OutboxFullError
from meter.outbox_check import check_outbox
from meter.reading import Reading
from meter.relay import Relay
from meter.signer import Signer, SignerUnavailable
from meter.submitter import Submitter, backoff_s
from primitives.clock import Clock
from primitives.errors import InvalidReading, plain_cause

logger = logging.getLogger(__name__)

# How often a daemon that has played its file to the end looks whether the ledger has everything.
FINISH_POLL_S = 1.0


class MeterDaemon:
    """One meter. Its relay, observers and services are added before it runs; they may `note` in its readings."""

    def __init__(
        self,
        outbox: Outbox,
        driver: Driver,
        submitter: Submitter,
        signer: Signer,
        clock: Clock,
        reading_interval_s: int,
    ) -> None:
        self.outbox = outbox
        self.submitter = submitter
        self.relay: Relay | None = None
        self.observers: list[Observer] = []
        self.services: list[Service] = []
        self.on_trouble: list[Callable[[str], None]] = []
        """Each is told whenever something keeps the samples away and is dealt with; it must neither wait nor raise."""
        self._driver = driver
        self._signer = signer
        self._clock = clock
        self._reading_interval_s = reading_interval_s
        self._supply_is_on: bool | None = None
        self._noted = NO_FLAGS
        self._is_urgent = False

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        """Set flags in the next reading (meter/live.py, Noting)."""
        if at_once or flags & ~self._noted:
            logger.info("noted for the next reading: %s", reason)
        self._noted |= flags
        self._is_urgent = self._is_urgent or at_once

    def tell_trouble(self, reason: str) -> None:
        for listener in self.on_trouble:
            listener(reason)

    def set_supply(self, is_on: bool) -> None:
        """For the relay's switch: the household is supplied from now on, or not. A switching is a reason to read."""
        self._driver.set_supply(is_on)
        if self._supply_is_on not in (None, is_on):
            self.note(NO_FLAGS, f"the supply was switched {'on' if is_on else 'off'}", at_once=True)
        self._supply_is_on = is_on

    async def run(self, *, until_settled: bool = False) -> None:
        """Until cancelled, or until the source has ended and the ledger has every reading that it will take.

        Raises UserError for what only a person can put right.
        """
        try:
            async with asyncio.TaskGroup() as group:
                if self.relay is not None:
                    await self.relay.start()
                carrying = [group.create_task(service.run()) for service in self.services]
                self.outbox.alterations.note_untold(self)
                check_outbox(self.outbox)
                await self._adopt()
                carrying.append(group.create_task(self.submitter.run()))
                if self.relay is not None:
                    carrying.append(group.create_task(self.relay.run()))
                await self._measure()
                logger.info("the source of measurements has come to its end")
                if until_settled:
                    await self._finish()
                    for task in carrying:
                        task.cancel()
        except BaseExceptionGroup as failures:
            if (cause := plain_cause(failures)) is not None:
                raise cause from failures
            raise
        finally:
            await self._driver.close()

    async def _adopt(self) -> None:
        """Nothing is signed by a new outbox before it has seen where the ledger stands; an old one may be offline."""
        failures = 0
        while True:
            try:
                await self.submitter.adopt()
                return
            except (*NodeTrouble, SignerUnavailable) as error:
                if self.outbox.head() is not None:
                    logger.warning("no ledger in reach (%s); readings are kept until it is", error)
                    return
                failures += 1
                delay_s = backoff_s(failures, random.Random())
                logger.warning("a new meter has to ask the ledger once before it signs (%s); trying again", error)
                self.tell_trouble(f"a new meter has to ask the ledger once ({error})")
                await self._clock.sleep_s(delay_s)

    async def _measure(self) -> None:
        """Sign a reading of each sample that is due, until the source ends."""
        head = self.outbox.head()
        if head is None:
            raise RuntimeError("measuring begins before the outbox has a head")
        self._driver.start(head.driver_state, head.registers)
        last_signed_s = head.registers.time_s
        self._noted |= StatusFlag.RESTARTED
        unsigned: Sample | None = None
        while (sample := await self._driver.read()) is not None:
            self._tell(sample)
            self._noted |= sample.flags
            unsigned = sample
            is_due = sample.registers.time_s - last_signed_s >= self._reading_interval_s
            if (is_due or self._is_urgent) and sample.is_timed and self._sign(sample):
                last_signed_s, unsigned = sample.registers.time_s, None
        if unsigned is not None:
            self._sign(unsigned)

    def _tell(self, sample: Sample) -> None:
        observation = Observation(sample, sample.measurement)
        for observer in self.observers:
            observer.observe(observation)

    def _sign(self, sample: Sample) -> bool:
        """Put a signed reading on the disk; False where it has to be left to the next one."""
        head = self.outbox.head()
        if head is None:
            raise RuntimeError("a reading is signed before the outbox has a head")
        registers = sample.registers
        try:
            reading = Reading(
                self.outbox.meter,
                head.sequence + 1,
                registers.time_s,
                registers.import_wh,
                registers.export_wh,
                sample.power_w,
                int(self._noted),
                head.hash,
            )
            self.outbox.append(self.outbox.domain.sign(reading, self._signer), sample.state)
        except (InvalidReading, OutboxFullError, SignerUnavailable) as error:
            logger.error("NO READING WAS SIGNED: %s. The next one that can be covers its energy", error)
            return False
        # What was noted meanwhile, such as an edit that this reading was put over, is for the next one.
        self._noted &= ~StatusFlag(reading.flags)
        self._is_urgent = bool(self._noted)
        self.submitter.wake()
        return True

    async def _finish(self) -> None:
        while self.outbox.count() > self.outbox.count_quarantined():
            await self._clock.sleep_s(FINISH_POLL_S)
