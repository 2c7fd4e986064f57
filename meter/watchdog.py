"""Tells the service manager that a meter, or an agent, lives: while it gets on, or deals with what keeps it from that.

A meter whose device is unplugged lives, since it tries again; one that waits for ever inside of a driver does not, and
is restarted. Where no manager watches, nothing is done.
"""

import logging

from meter.live import Observation
from primitives.clock import Clock
from wallet.service_manager import ServiceManager

logger = logging.getLogger(__name__)

# A device may be silent for three intervals before that is trouble, which is then tried again within a minute; a new
# meter asks a ledger that does not answer again within 300 s.
MIN_QUIET_S = 360.0
QUIET_INTERVALS = 10
# Where no watchdog asks for more, the line of status is as new as this.
STATUS_INTERVAL_S = 30.0


def allowed_quiet_s(device_interval_s: float) -> float:
    """How long neither sample nor trouble may be heard of from a device."""
    return max(MIN_QUIET_S, QUIET_INTERVALS * device_interval_s)


class Liveness:
    """What a service's work tells of itself, told to the manager."""

    def __init__(self, manager: ServiceManager, clock: Clock, quiet_s: float | None, awaited: str, what: str) -> None:
        """`clock` is the wall's, as the manager's; without `quiet_s` a running event loop is enough. `what` waits for
        `awaited`, such as "measurement"."""
        self._manager = manager
        self._clock = clock
        self._awaited, self._what = awaited, what
        self._quiet_ms = None if quiet_s is None else quiet_s * 1000
        self._progress_ms = clock.elapsed_ms()
        self._status = f"no {awaited} yet"
        self._is_stuck = False
        self._gets_on: bool | None = None
        """False while something keeps it from that; None at the beginning."""

    def note(self, status: str, gets_on: bool) -> None:
        """It got on, or deals with what keeps it from that."""
        self._progress_ms = self._clock.elapsed_ms()
        self._status = status
        if gets_on is not self._gets_on:  # news is told at once, the rest now and then
            self._gets_on = gets_on
            self._manager.status(status)

    async def run(self) -> None:
        """Until cancelled."""
        interval_s = min(self._manager.ping_interval_s or STATUS_INTERVAL_S, STATUS_INTERVAL_S)
        self._progress_ms = self._clock.elapsed_ms()
        self._manager.ready(self._status)
        try:
            while True:
                self._tell()
                await self._clock.sleep_s(interval_s)
        finally:
            self._manager.stopping()

    def _tell(self) -> None:
        silence_ms = self._clock.elapsed_ms() - self._progress_ms
        if self._quiet_ms is None or silence_ms <= self._quiet_ms:
            self._is_stuck = False
            self._manager.alive()
        elif not self._is_stuck:
            self._is_stuck = True
            self._status = f"stuck: neither a {self._awaited} nor trouble for {silence_ms // 1000} s"
            logger.error("%s; a service manager that watches restarts the %s", self._status, self._what)
        self._manager.status(self._status)


class Watchdog(Liveness):
    """Service and observer of a meter."""

    def __init__(self, manager: ServiceManager, clock: Clock, quiet_s: float | None) -> None:
        """Without `quiet_s` as for a file that is played, whose next row may be a day away."""
        super().__init__(manager, clock, quiet_s, "measurement", "meter")

    def observe(self, observation: Observation) -> None:
        sample = observation.sample
        if self._quiet_ms is not None and observation.measurement is None:
            return  # the meter's own word that its device is silent
        untimed = "" if sample.is_timed else "; the clock is not set yet, so nothing is signed"
        registers = sample.registers
        self.note(f"{sample.power_w} W, {registers.import_wh} Wh taken, {registers.export_wh} Wh given{untimed}", True)

    def trouble(self, reason: str) -> None:
        """Something keeps the samples away, and is dealt with."""
        self.note(f"no measurements: {reason}", False)
