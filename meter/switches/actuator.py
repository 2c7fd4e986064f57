"""Brings a switch into the wanted state and holds it there: tries again where it fails, looks whether it stayed.

A failure never ends the meter; it is logged once, and told to whoever asks, until the switch works again.
"""

import logging

from meter.switches.switch import Switch, SwitchTrouble
from primitives.clock import Clock

logger = logging.getLogger(__name__)

# Waiting doubles after each failure from the first to the longest: a Shelly that restarts is back within half a minute.
FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0
# How often a switch is asked for its state; somebody may have pressed its button.
LOOK_INTERVAL_S = 60.0


class Actuator:
    """One switch. Not started: it does nothing before `want` is called for the first time."""

    def __init__(self, name: str, switch: Switch, clock: Clock) -> None:
        self.name = name
        self.wanted: bool | None = None
        self.is_done = False
        """Whether the switch is in the wanted state, as far as it can be known."""
        self.trouble = ""
        """Why not; empty where all is well."""
        self._switch = switch
        self._clock = clock
        self._failures = 0
        self._due_ms = 0

    async def want(self, is_on: bool) -> bool:
        """Switch, at once; whether it worked. Where not, `tend` goes on trying."""
        if is_on == self.wanted and self.is_done:
            return True
        if is_on != self.wanted:
            self._failures = 0
        self.wanted = is_on
        self.is_done = False
        return await self._try()

    async def tend(self) -> bool:
        """Try again, or look whether the state is still there, where it is time; whether the state was set just now."""
        if self.wanted is None or self._clock.elapsed_ms() < self._due_ms:
            return False
        if not self.is_done:
            return await self._try()
        try:
            state = await self._switch.state()
        except SwitchTrouble as error:
            self._fail(error)
            return False
        self._succeed()
        if state in (None, self.wanted):
            return False
        logger.warning("%s was switched %s by somebody else; it is switched back", self.name, "on" if state else "off")
        self.is_done = False
        return await self._try()

    async def close(self) -> None:
        await self._switch.close()

    async def _try(self) -> bool:
        wanted = bool(self.wanted)
        try:
            await self._switch.set(wanted)
        except SwitchTrouble as error:
            self._fail(error)
            return False
        self.is_done = True
        self._succeed()
        return True

    def _succeed(self) -> None:
        if self.trouble:
            logger.warning("%s works again", self.name)
        self.trouble, self._failures = "", 0
        self._due_ms = self._clock.elapsed_ms() + round(LOOK_INTERVAL_S * 1000)

    def _fail(self, error: SwitchTrouble) -> None:
        if str(error) != self.trouble:
            logger.error("%s could not be switched %s: %s", self.name, "on" if self.wanted else "off", error)
        self.trouble = str(error)
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._due_ms = self._clock.elapsed_ms() + round(delay_s * 1000)
