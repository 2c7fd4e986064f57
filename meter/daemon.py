"""The metering daemon: driver -> reading -> signature -> outbox -> submitter, and the relay, in one task group.

Wires parts that were made elsewhere (meter/assembly.py); holds no rule of its own but when a reading is signed. A task
that dies takes the daemon down loudly.
"""

import asyncio
import logging
import random

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Driver, Sample
from meter.ledger import NodeTrouble
from meter.outbox import Outbox, OutboxFullError
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
    """One meter."""

    def __init__(
        self,
        outbox: Outbox,
        driver: Driver,
        submitter: Submitter,
        relay: Relay | None,
        signer: Signer,
        clock: Clock,
        reading_interval_s: int,
    ) -> None:
        self.outbox = outbox
        self.submitter = submitter
        self.relay = relay
        self._driver = driver
        self._signer = signer
        self._clock = clock
        self._reading_interval_s = reading_interval_s

    async def run(self, *, until_settled: bool = False) -> None:
        """Until cancelled, or until the source has ended and the ledger has every reading that it will take.

        Raises UserError for what only a person can put right.
        """
        try:
            async with asyncio.TaskGroup() as group:
                if self.relay is not None:
                    await self.relay.start()
                await self._adopt()
                carrying = [group.create_task(self.submitter.run())]
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
            self._driver.close()

    async def _adopt(self) -> None:
        """Nothing is signed by a new outbox before it has seen where the ledger stands; an old one may be offline."""
        failures = 0
        while True:
            try:
                await self.submitter.adopt()
                return
            except NodeTrouble as error:
                if self.outbox.head() is not None:
                    logger.warning("no ledger in reach (%s); readings are kept until it is", error)
                    return
                failures += 1
                delay_s = backoff_s(failures, random.Random())
                logger.warning("a new meter has to ask the ledger once before it signs (%s); trying again", error)
                await self._clock.sleep_s(delay_s)

    async def _measure(self) -> None:
        """Sign a reading of each sample that is due, until the source ends."""
        head = self.outbox.head()
        if head is None:
            raise RuntimeError("measuring begins before the outbox has a head")
        self._driver.start(head.driver_state, head.registers)
        last_signed_s = head.registers.time_s
        flags = StatusFlag.RESTARTED
        unsigned: Sample | None = None
        while (sample := await self._driver.read()) is not None:
            flags |= sample.flags
            unsigned = sample
            if sample.registers.time_s - last_signed_s >= self._reading_interval_s and self._sign(sample, flags):
                last_signed_s, flags, unsigned = sample.registers.time_s, StatusFlag(0), None
        if unsigned is not None:
            self._sign(unsigned, flags)

    def _sign(self, sample: Sample, flags: StatusFlag) -> bool:
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
                int(flags),
                head.hash,
            )
            self.outbox.append(self.outbox.domain.sign(reading, self._signer), sample.state)
        except (InvalidReading, OutboxFullError, SignerUnavailable) as error:
            logger.error("NO READING WAS SIGNED: %s. The next one that can be covers its energy", error)
            return False
        self.submitter.wake()
        return True

    async def _finish(self) -> None:
        while self.outbox.count() > self.outbox.count_quarantined():
            await self._clock.sleep_s(FINISH_POLL_S)
