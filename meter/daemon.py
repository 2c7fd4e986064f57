"""The metering daemon: driver -> reading -> signature -> outbox -> submitter, and the relay, in one task group.

Wires parts that were made elsewhere (meter/assembly.py); holds no rule of its own. When a reading is signed is decided
in meter/recorder.py. What else a meter does is an observer of its samples, a service that runs beside, or both
(meter/live.py). A task that dies takes the daemon down loudly.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from contracts.reading_format import StatusFlag
from meter.backoff import backoff_s
from meter.drivers.driver import Driver, Sample
from meter.drivers.measurement import NO_FLAGS
from meter.ledger import NodeTrouble
from meter.live import Observation, Observer, Service
from meter.outbox import Outbox
from meter.outbox_check import check_outbox
from meter.recorder import Recorder
from meter.relay import Relay
from meter.signer import SignerUnavailable
from meter.submitter import Submitter
from primitives.clock import Clock
from primitives.errors import plain_cause

logger = logging.getLogger(__name__)

# How often a daemon that has played its file to the end looks whether the ledger has everything.
FINISH_POLL_S = 1.0
# How often a key that is busy with the last reading is asked again.
BUSY_POLL_S = 0.1
# A node that hangs must not cost a meter that has an outbox its first measurements; on a real clock, as nodes are.
ADOPT_PATIENCE_S = 5.0
# A proof that is looked for through a year of blocks takes longer than a watchdog waits; begun anew it would never end.
ADOPT_TELL_S = 60.0


class MeterDaemon:
    """One meter. Its relay, observers and services are added before it runs; they may `note` in its readings."""

    def __init__(
        self,
        outbox: Outbox,
        driver: Driver,
        submitter: Submitter,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self.outbox = outbox
        self.submitter = submitter
        self.relay: Relay | None = None
        self.observers: list[Observer] = []
        self.services: list[Service] = []
        self.on_trouble: list[Callable[[str], None]] = []
        """Each is told whenever something keeps the samples away and is dealt with; it must neither wait nor raise."""
        self._driver = driver
        self._recorder = recorder
        self._clock = clock
        self._supply_is_on: bool | None = None

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        """Set flags in the next reading (meter/live.py, Noting)."""
        self._recorder.note(flags, reason, at_once=at_once)

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
                carrying = [group.create_task(service.run()) for service in self.services]
                if self.relay is not None:
                    await self.relay.start()
                    carrying.append(group.create_task(self.relay.run()))
                self.outbox.alterations.note_untold(self)
                check_outbox(self.outbox)
                await self._adopt()
                carrying.append(group.create_task(self.submitter.run()))
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
            try:
                self._recorder.stop()
            finally:
                await self._driver.close()

    async def _adopt(self) -> None:
        """Nothing is signed by a new outbox before it has seen where the ledger stands; an old one may be offline."""
        telling = asyncio.create_task(self._tell_that_it_asks())
        try:
            await self._adopt_from_ledger()
        finally:
            telling.cancel()

    async def _tell_that_it_asks(self) -> None:
        while True:
            await asyncio.sleep(ADOPT_TELL_S)
            self.tell_trouble("the ledger is asked where this meter's readings stand")

    async def _adopt_from_ledger(self) -> None:
        failures = 0
        while True:
            try:
                await self.submitter.adopt(None if self.outbox.head() is None else ADOPT_PATIENCE_S)
                return
            except TimeoutError:
                logger.warning("the node does not answer at once; readings are kept until it does")
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
        """Hand each sample to the recorder, which signs those that are due, until the source ends."""
        self._driver.start(*self._recorder.resume())
        while (sample := await self._driver.read()) is not None:
            self._tell(sample)
            self._recorder.take(sample)
        while not self._recorder.finish():
            await self._clock.sleep_s(BUSY_POLL_S)

    def _tell(self, sample: Sample) -> None:
        observation = Observation(sample, sample.measurement)
        for observer in self.observers:
            observer.observe(observation)

    async def _finish(self) -> None:
        while self.outbox.count() > self.outbox.count_quarantined():
            await self._clock.sleep_s(FINISH_POLL_S)
