"""The supply relay: follows what the imported chain says, never what was merely sent.

After every new block, and with every minute, it asks `supplyAllowed` of the contract that bills the meter, in the
newest block that counts (meter/relay_rules.py: final or latest) and for the time of its own clock, so a reorganisation
that takes a top-up away switches like any other block; the events say why. Without a ledger in reach the meter's own
account decides, or the state that its owner chose. A person may decide otherwise for some time. What breaks the circuit
is a switch (meter/switches), which is tried again where it fails.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.reading_format import StatusFlag
from meter.account_book import AccountBook
from meter.ledger import MeterLedger, NodeTrouble, SupplyEvent
from meter.live import Noting, Observation
from meter.override import Override, OverrideFile
from meter.relay_rules import Decider, Decision, RelaySettings, Situation, decide, wait_s
from meter.relay_store import RelayStore
from meter.switch_journal import Switching, SwitchJournal
from meter.switches.actuator import Actuator
from meter.switches.switch import Switch
from primitives.clock import Clock
from wallet.amounts import format_amount
from wallet.answers import BlockSummary
from wallet.client import InvalidAnswer, RpcError

logger = logging.getLogger(__name__)

# Events are asked for only to give a reason; after a long absence the newest thousand blocks hold it.
MAX_REASON_BLOCKS = 1000
# Of why a node does not answer, in a reason.
MAX_TROUBLE_CHARACTERS = 120
# A ledger whose newest block is older than fail_safe_after_s is not in reach, though its node may be; but blocks may be
# so far apart in any case.
LEAST_STALE_S = 600
# Before the meter begins to measure; on a real clock, since switch and node are real.
START_PATIENCE_S = 1.0

STATUS_KEY, OVERRIDE_KEY = "relay", "override"


@dataclass(slots=True)
class RelayExtras:
    """What a relay has beside ledger and switch; each may be missing."""

    book: AccountBook | None = None
    override: OverrideFile | None = None
    overload: Callable[[], str] = lambda: ""
    """Why the supply is cut for overload; empty where it is not."""
    noting: Noting | None = None
    listeners: list[Callable[[bool], None]] = field(default_factory=list)
    """Told when the switch has done it."""


class Relay:
    """One meter's relay; an observer of samples as well."""

    def __init__(
        self,
        meter: bytes,
        ledger: MeterLedger,
        switch: Switch,
        journal: SwitchJournal,
        store: RelayStore,
        clock: Clock,
        settings: RelaySettings,
        extras: RelayExtras | None = None,
    ) -> None:
        self._meter = meter
        self._ledger = ledger
        self._actuator = Actuator("the supply relay", switch, clock)
        self._journal = journal
        self._store = store
        self._clock = clock
        self._settings = settings
        self._extras = extras or RelayExtras()
        self._head: tuple[int, bytes] | None = None
        self._block_number: int | None = None
        self._asked_minute: int | None = None
        self._ledger_allows: bool | None = None
        self._ledger_reason = ""
        self._heard_ms = clock.elapsed_ms()
        self._silence = ""
        self._has_kept = False
        self._decider = Decider.LAST_STATE
        self._override: Override | None = None
        self._order_text = store.get(OVERRIDE_KEY) or ""
        self._beginning: asyncio.Future[None] | None = None
        self._acting = asyncio.Lock()
        self._wake = asyncio.Event()
        last = journal.last()
        # A relay that never heard of a ledger supplies nobody, unless its owner chose so.
        self.is_on = last.is_on if last is not None else settings.fail_safe == "on"
        self._switched_ms = self._last_switched_ms()

    @property
    def known_state(self) -> bool | None:
        """Of the switch, as far as it can be known; None while it does not obey, or was not tried yet."""
        return self._actuator.wanted if self._actuator.is_done and not self._actuator.trouble else None

    async def start(self) -> None:
        """Take the last known state, then the ledger's if it answers; a first start waits for its word.

        A switch or node that takes its time does not hold the meter up: `run` waits for the rest.
        """
        self._beginning = asyncio.ensure_future(self._begin())
        try:
            await asyncio.wait({self._beginning}, timeout=START_PATIENCE_S)
        except asyncio.CancelledError:
            self._beginning.cancel()
            raise
        if self._beginning.done():
            self._beginning.result()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                if self._beginning is not None:
                    await self._beginning
                group.create_task(self._poll())
                group.create_task(self._react())
        finally:
            await self._actuator.close()

    async def _begin(self) -> None:
        if self._journal.last() is not None:
            await self._drive()
        await self.follow()

    async def follow(self) -> None:
        """Look once at the ledger, and obey."""
        try:
            await self._ask_ledger()
        except NodeTrouble as error:
            self._silence = str(error)
            self._ledger_allows = None
            if self._extras.book is not None:
                await self._extras.book.carry_on()
        await self._act()

    def observe(self, observation: Observation) -> None:
        """A sample: the local account goes on, and what cannot wait for the next poll is done at once."""
        if self._extras.book is not None:
            self._extras.book.observe(observation.sample.registers)
        self._note_override()
        if self._decide().is_on != self.is_on:
            self._wake.set()

    async def _poll(self) -> None:
        while True:
            await self._clock.sleep_s(self._settings.poll_interval_s)
            await self.follow()

    async def _react(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._act()

    async def _ask_ledger(self) -> None:
        head = await self._ledger.node.block("latest")
        if head is None:
            raise InvalidAnswer("the node has no newest block")
        time_s = self._clock.time_s()
        if time_s - head.time_s > max(self._settings.fail_safe_after_s, LEAST_STALE_S):
            raise InvalidAnswer(f"the node's newest block {head.number} is {time_s - head.time_s} s old")
        is_new = (head.number, head.hash) != self._head or self._ledger_allows is None
        # Friendly hours begin and end with the minute, without a block.
        if is_new or time_s // 60 != self._asked_minute:
            block = await self._block_that_counts(head)
            allowed = await self._ledger.supply_allowed(self._meter, time_s, block.number)
            reason = await self._reason(allowed, head, block) if allowed != self.is_on else ""
            if is_new and self._extras.book is not None:
                await self._extras.book.learn(block.number, time_s)
            self._ledger_allows, self._ledger_reason = allowed, reason
            self._head, self._block_number = (head.number, head.hash), block.number
            self._asked_minute = time_s // 60
            self._silence, self._has_kept = "", False
        self._heard_ms = self._clock.elapsed_ms()

    async def _block_that_counts(self, head: BlockSummary) -> BlockSummary:
        depth = self._settings.confirmations if self._settings.finality == "final" else 0
        if depth == 0 or head.number == 0:
            return head
        block = await self._ledger.node.block(max(0, head.number - depth))
        if block is None:
            raise InvalidAnswer(f"the node does not know its block {max(0, head.number - depth)}")
        return block

    async def _reason(self, allowed: bool, head: BlockSummary, block: BlockSummary) -> str:
        number, truth = block.number, str(allowed).lower()
        if allowed == self._ledger_allows:  # something else keeps the supply in another state
            return self._ledger_reason or f"supplyAllowed is {truth} in block {number}"
        seen = self._block_number if self._block_number is not None else number - 1
        if self._silence:
            return f"the ledger is in reach again: supplyAllowed is {truth} in block {number}"
        if self._head == (head.number, head.hash):
            return f"the hour: supplyAllowed is {truth} by now in block {number}"
        if self._head is not None and self._head[0] >= head.number:
            return f"the chain was reorganised: supplyAllowed is {truth} in block {number} now"
        first_block = min(max(seen + 1, number - MAX_REASON_BLOCKS + 1), number)
        holds = f"supplyAllowed is {truth} in block {number}"
        try:
            events = await self._ledger.supply_events(self._meter, first_block, number)
        except (RpcError, InvalidAnswer) as error:  # the ledger has told what holds, and is obeyed without a reason
            return f"{holds}; why is not known ({str(error)[:MAX_TROUBLE_CHARACTERS]})"
        return _reason_of(events, allowed) or holds

    def _decide(self) -> Decision:
        override, book = self._override, self._extras.book
        time_s = self._clock.time_s()
        situation = Situation(
            self.is_on,
            self._ledger_allows,
            None if book is None else book.allows(time_s),
            self._silence_s(),
            override.is_on if override is not None and override.holds_at(time_s) else None,
            bool(self._extras.overload()),
        )
        return decide(situation, self._settings)

    async def _act(self) -> None:
        """Decide, switch where it is time, and look after the switch."""
        async with self._acting:
            self._look_for_override()
            decision = self._decide()
            since_s = (self._clock.elapsed_ms() - self._switched_ms) / 1000
            waits_s = wait_s(self.is_on, decision, since_s, self._settings)
            reason = self._why(decision)
            self._decider = decision.decider
            self._note_override()
            if decision.is_on != self.is_on and waits_s == 0:
                self.is_on = decision.is_on
                self._switched_ms = self._clock.elapsed_ms()
                self._note(decision, reason)
            elif self._journal.last() is None and decision.decider is Decider.LEDGER:
                self._note(decision, "the first state that the ledger told")
            self._tell_of_silence(decision)
            await self._drive()
            self._publish(decision, reason, waits_s)

    async def _drive(self) -> None:
        """Bring the switch where it is to be; listeners hear of it when it is there."""
        if self._actuator.wanted != self.is_on:
            is_set = await self._actuator.want(self.is_on)
        else:
            is_set = await self._actuator.tend()
        if is_set:
            for listener in self._extras.listeners:
                listener(self.is_on)

    def _look_for_override(self) -> None:
        """Take the newest order of a person over, and keep it in the journal once."""
        if self._extras.override is None:
            return
        order = self._extras.override.read()
        self._override = order if order is not None and order.holds_at(self._clock.time_s()) else None
        text = self._override.text() if self._override is not None else ""
        if text == self._order_text:
            return
        is_ended = not text and order is not None and order.is_on is None
        self._note_order(text or (order.text() if order is not None and is_ended else f"over: {self._order_text}"))
        self._order_text = text
        self._store.put(OVERRIDE_KEY, text)

    def _note_override(self) -> None:
        """Each reading tells that a person decided in some of its time."""
        if self._decider is Decider.OVERRIDE and self._extras.noting is not None:
            self._extras.noting.note(StatusFlag.OVERRIDE, "a person decides on the supply")

    def _why(self, decision: Decision) -> str:
        match decision.decider:
            case Decider.OVERLOAD:
                return self._extras.overload()
            case Decider.OVERRIDE:
                return self._override.text() if self._override is not None else ""
            case Decider.LEDGER:
                truth = str(decision.is_on).lower()
                return self._ledger_reason or f"supplyAllowed is {truth} in block {self._block_number}"
            case Decider.FAIL_SAFE:
                return f"no ledger for {self._silence_s():.0f} s: {self._silence[:MAX_TROUBLE_CHARACTERS]}"
            case Decider.LOCAL_ACCOUNT:
                book = self._extras.book
                balance_wei = book.local.balance_wei if book is not None and book.local is not None else 0
                what = "credit" if balance_wei > 0 else "overdrawn"
                own = f"by the meter's own account {format_amount(abs(balance_wei))} {what}"
                return f"{own}; no ledger in reach: {self._silence[:MAX_TROUBLE_CHARACTERS]}"
            case Decider.LAST_STATE:
                return f"no ledger in reach: {self._silence[:MAX_TROUBLE_CHARACTERS]}"

    def _note(self, decision: Decision, reason: str) -> None:
        block_number = self._block_number if decision.decider is Decider.LEDGER else None
        self._journal.record(Switching(self._clock.time_s(), block_number, decision.is_on, reason))
        logger.warning("supply %s: %s", "on" if decision.is_on else "off", reason)

    def _note_order(self, text: str) -> None:
        self._journal.record(Switching(self._clock.time_s(), None, self.is_on, text, is_order=True))
        logger.warning("%s", text)

    def _tell_of_silence(self, decision: Decision) -> None:
        silence_s = self._silence_s()
        if decision.decider is Decider.LAST_STATE and silence_s >= self._settings.fail_safe_after_s:
            if not self._has_kept:
                logger.warning("no ledger for %.0f s (%s); the supply stays as it is", silence_s, self._silence)
            self._has_kept = True

    def _publish(self, decision: Decision, reason: str, waits_s: float) -> None:
        """For `meter status`; written only where something has changed."""
        is_persons = decision.decider in (Decider.OVERRIDE, Decider.OVERLOAD)
        state = {
            "decider": decision.decider.value,
            "reason": reason if is_persons else "",
            "waits_to_be": ("on" if decision.is_on else "off") if waits_s else "",
            "trouble": self._actuator.trouble,
        }
        self._store.put(STATUS_KEY, json.dumps(state))

    def _silence_s(self) -> float:
        return (self._clock.elapsed_ms() - self._heard_ms) / 1000

    def _last_switched_ms(self) -> int:
        """When the state changed for the last time, by the clock that is never set; long ago where it never did."""
        now_ms, last = self._clock.elapsed_ms(), self._journal.last()
        changed_s = 0 if last is None else last.time_s
        return now_ms - max(0, self._clock.time_s() - changed_s) * 1000


def _reason_of(events: list[SupplyEvent], allowed: bool) -> str | None:
    name = "Restored" if allowed else "Exhausted"
    fitting = [event for event in events if event.name == name]
    return f"{name} in block {fitting[-1].block_number}" if fitting else None
