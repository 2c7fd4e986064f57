"""The supply relay: follows what the imported chain says, never what was merely sent.

After every new block, and with every minute, it asks `supplyAllowed` of the contract that bills the meter, at that
block and for the time of its own clock, so a reorganisation that takes a top-up away switches like any other block;
the events say why. Without a ledger in reach it keeps, or takes, the state that its owner chose. A `Switch` is
whatever breaks the circuit: simulated here, hardware by the same two lines.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from meter.ledger import MeterLedger, NodeTrouble, SupplyEvent
from meter.switch_journal import Switching, SwitchJournal
from primitives.clock import Clock
from wallet.answers import BlockSummary
from wallet.client import InvalidAnswer

logger = logging.getLogger(__name__)

FailSafe = Literal["keep", "on", "off"]
FAIL_SAFE_STATES: tuple[FailSafe, ...] = ("keep", "on", "off")

# Events are asked for only to give a reason; after a long absence the newest thousand blocks hold it.
MAX_REASON_BLOCKS = 1000


class Switch(Protocol):
    """What connects the household. It may be called with the state that it has already."""

    async def set(self, is_on: bool) -> None: ...


class SimulatedSwitch:
    """A switch that tells listeners, such as a driver that plays the household."""

    def __init__(self, *listeners: Callable[[bool], None]) -> None:
        self.is_on: bool | None = None
        self._listeners = listeners

    async def set(self, is_on: bool) -> None:
        self.is_on = is_on
        for listener in self._listeners:
            listener(is_on)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    fail_safe: FailSafe = "keep"
    """With no ledger in reach for fail_safe_after_s: keep the state, or switch on or off."""
    fail_safe_after_s: float = 3600.0
    poll_interval_s: float = 5.0


class Relay:
    """One meter's relay."""

    def __init__(
        self,
        meter: bytes,
        ledger: MeterLedger,
        switch: Switch,
        journal: SwitchJournal,
        clock: Clock,
        settings: RelaySettings,
    ) -> None:
        self._meter = meter
        self._ledger = ledger
        self._switch = switch
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._head: tuple[int, bytes] | None = None
        self._asked_minute: int | None = None
        self._heard_s = clock.precise_time_s()
        self._is_failing_safe = False
        last = journal.last()
        # A relay that never heard of a ledger supplies nobody, unless its owner chose so.
        self.is_on = last.is_on if last is not None else settings.fail_safe == "on"

    async def start(self) -> None:
        """Take the last known state, then the ledger's if it answers."""
        await self._switch.set(self.is_on)
        await self.follow()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep_s(self._settings.poll_interval_s)
            await self.follow()

    async def follow(self) -> None:
        """Look once at the ledger, and obey."""
        try:
            block = await self._ledger.node.block("latest")
            if block is None:
                raise InvalidAnswer("the node has no newest block")
            time_s = self._clock.time_s()
            is_new = (block.number, block.hash) != self._head or self._is_failing_safe
            # Friendly hours begin and end with the minute, without a block.
            if is_new or time_s // 60 != self._asked_minute:
                allowed = await self._ledger.supply_allowed(self._meter, time_s, block.number)
                self._asked_minute = time_s // 60
                reason = await self._reason(allowed, block) if allowed != self.is_on else ""
                self._head = (block.number, block.hash)
                self._is_failing_safe = False
                await self._obey(allowed, block.number, reason)
            self._heard_s = self._clock.precise_time_s()
        except NodeTrouble as error:
            await self._fail_safe(str(error))

    async def _reason(self, allowed: bool, block: BlockSummary) -> str:
        block_number = block.number
        seen = self._head[0] if self._head is not None else block_number - 1
        if self._is_failing_safe:
            return f"the ledger is in reach again: supplyAllowed is {str(allowed).lower()} in block {block_number}"
        if self._head == (block.number, block.hash):
            return f"the hour: supplyAllowed is {str(allowed).lower()} by now in block {block_number}"
        if seen >= block_number:
            return f"the chain was reorganised: supplyAllowed is {str(allowed).lower()} in block {block_number} now"
        first_block = max(seen + 1, block_number - MAX_REASON_BLOCKS + 1)
        events = await self._ledger.supply_events(self._meter, first_block, block_number)
        return _reason_of(events, allowed) or f"supplyAllowed is {str(allowed).lower()} in block {block_number}"

    async def _obey(self, is_on: bool, block_number: int | None, reason: str) -> None:
        if is_on == self.is_on:
            if self._journal.last() is None:
                self._note(is_on, block_number, "the first state that the ledger told")
            return
        await self._switch.set(is_on)
        self.is_on = is_on
        self._note(is_on, block_number, reason)

    def _note(self, is_on: bool, block_number: int | None, reason: str) -> None:
        self._journal.record(Switching(self._clock.time_s(), block_number, is_on, reason))
        logger.warning("supply %s: %s", "on" if is_on else "off", reason)

    async def _fail_safe(self, trouble: str) -> None:
        silence_s = self._clock.precise_time_s() - self._heard_s
        if silence_s < self._settings.fail_safe_after_s or self._is_failing_safe:
            return
        self._is_failing_safe = True
        if self._settings.fail_safe == "keep":
            logger.warning("no ledger for %.0f s (%s); the supply stays as it is", silence_s, trouble)
        else:
            await self._obey(self._settings.fail_safe == "on", None, f"no ledger for {silence_s:.0f} s: {trouble}")


def _reason_of(events: list[SupplyEvent], allowed: bool) -> str | None:
    name = "Restored" if allowed else "Exhausted"
    fitting = [event for event in events if event.name == name]
    return f"{name} in block {fitting[-1].block_number}" if fitting else None
