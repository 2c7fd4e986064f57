"""Follows the policy that the owner has written to the ledger, in the newest block, and remembers it without a ledger.

With each new block the version is asked, one number; the values only where it has changed. What the values ask for is
meter/policy_rules.py; here it is done: circuits are switched, power-saving mode is driven and shown, alerts are told.
The supply itself is the relay's, which asks `overload`.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from contracts.policy import MeterPolicy, OffTime, PolicyValues
from meter.ledger import NodeTrouble
from meter.ledger_terms import NO_POLICY, LedgerTerms
from meter.live import Observation
from meter.policy_rules import Alert, PolicyMemory, PolicyRules, PolicySettings
from meter.relay_store import RelayStore
from meter.switches.actuator import Actuator
from meter.switches.command import run_command
from meter.switches.switch import SwitchTrouble
from primitives.clock import Clock
from wallet.client import InvalidAnswer

logger = logging.getLogger(__name__)

POLICY_KEY, MEMORY_KEY, STATUS_KEY = "policy", "policy memory", "policy status"
# Between two questions for the supplier's offset from UTC, in polls: ten minutes. It changes twice a year.
ZONE_POLLS = 120
# Alerts that wait for their command; of more, the oldest are of no use any more.
MAX_WAITING_ALERTS = 8
# An overload that goes on moves the end of its cut with each sample; the disk learns of that so often at most.
WRITE_INTERVAL_S = 60


@dataclass(slots=True)
class PolicyDevices:
    """What a policy can move; each may be missing."""

    circuits: Mapping[int, Actuator] = field(default_factory=dict)
    """By the number that off-times have."""
    saving: Actuator | None = None
    publish: Callable[[str, bytes], None] | None = None
    """Puts a message on an MQTT topic."""


class Policies:
    """Of one meter; observes samples and runs beside them."""

    def __init__(
        self,
        meter: bytes,
        terms: LedgerTerms,
        store: RelayStore,
        clock: Clock,
        settings: PolicySettings,
        devices: PolicyDevices,
        poll_interval_s: float = 5.0,
    ) -> None:
        self._meter = meter
        self._terms = terms
        self._store = store
        self._clock = clock
        self._settings = settings
        self._devices = devices
        self._poll_interval_s = poll_interval_s
        policy, zone_s = _policy_from(store.get(POLICY_KEY))
        self.rules = PolicyRules(settings, _memory_from(store.get(MEMORY_KEY)), policy)
        self.rules.zone_s = zone_s
        self._began_s = clock.time_s() - clock.elapsed_ms() // 1000
        self._head: tuple[int, bytes] | None = None
        self._zone_asked_ms: int | None = None
        self._written_ms = clock.elapsed_ms()
        self._written = self.rules.memory
        self._wake = asyncio.Event()
        self._acting = asyncio.Lock()
        self._wanted: tuple[bool, frozenset[int]] | None = None
        self._alerts: list[Alert] = []
        self._is_in_reach = True
        self._unknown_circuits: frozenset[int] = frozenset()

    def observe(self, observation: Observation) -> None:
        """A sample: rules are looked at in it, not at the next poll."""
        sample = observation.sample
        self.rules.observe(sample.registers, sample.power_w, self._steady_s(), is_timed=sample.is_timed)
        self._look()

    def overload(self) -> str:
        """For the relay: why the supply is cut, or nothing."""
        return self.rules.overload(self._steady_s())

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll())
                group.create_task(self._react())
        finally:
            for actuator in self._actuators():
                await actuator.close()

    async def follow(self) -> None:
        """Look once at the ledger's newest block, and do what the policy says."""
        try:
            await self._ask_ledger()
            self._is_in_reach = True
        except NodeTrouble as error:
            if self._is_in_reach:
                version = self.rules.policy.version
                logger.warning("no ledger in reach (%s); the meter goes on by version %d of its policy", error, version)
            self._is_in_reach = False
        await self.act()

    async def act(self) -> None:
        """Bring switches into the state that the rules ask for now, and tell what is to be told."""
        async with self._acting:
            await self._act()

    async def _act(self) -> None:
        self._look()
        saving, circuits_off = self._wanted or (False, frozenset())
        self._warn_of_unknown(circuits_off)
        work = [_drive(actuator, number not in circuits_off) for number, actuator in self._devices.circuits.items()]
        if self._devices.saving is not None:
            work.append(_drive(self._devices.saving, saving))
        alerts, self._alerts = self._alerts, []
        work += [self._tell(alert) for alert in alerts]
        await asyncio.gather(*work)
        self._write_memory()
        self._publish_state(saving, circuits_off)

    async def _poll(self) -> None:
        while True:
            await self.follow()
            await self._clock.sleep_s(self._poll_interval_s)

    async def _react(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.act()

    async def _ask_ledger(self) -> None:
        head = await self._terms.node.block("latest")
        if head is None:
            raise InvalidAnswer("the node has no newest block")
        if (head.number, head.hash) == self._head:
            return
        rules, now_ms = self.rules, self._clock.elapsed_ms()
        if self._zone_asked_ms is None or now_ms - self._zone_asked_ms >= ZONE_POLLS * self._poll_interval_s * 1000:
            rules.zone_s = await self._terms.zone_s(self._meter, self._clock.time_s(), head.number)
            self._zone_asked_ms = now_ms
        version = await self._terms.policy_version(self._meter, head.number)
        if version != rules.policy.version:
            policy = await self._terms.policy(self._meter, head.number) if version else NO_POLICY
            logger.warning("version %d of the policy holds from block %d on", policy.version, head.number)
            rules.take(policy, self._steady_s())
        self._store.put(POLICY_KEY, _policy_text(rules.policy, rules.zone_s))
        self._head = (head.number, head.hash)

    def _look(self) -> None:
        """Ask the rules; wakes who acts where something has changed."""
        now_s = self._steady_s()
        wanted = (self.rules.is_saving(now_s), self.rules.circuits_off(self._clock.time_s()))
        alerts = self.rules.alerts(now_s)
        if wanted != self._wanted or alerts:
            if self._wanted is not None and wanted[0] != self._wanted[0]:
                logger.warning("power-saving mode %s", "begins" if wanted[0] else "ends")
            self._wanted = wanted
            self._alerts = [*self._alerts, *alerts][-MAX_WAITING_ALERTS:]
            self._wake.set()

    def _steady_s(self) -> int:
        """The time of day as it was at the start, and what has passed since: setting the clock ends no hold."""
        return self._began_s + self._clock.elapsed_ms() // 1000

    async def _tell(self, alert: Alert) -> None:
        logger.warning("ALERT: %s", alert.text)
        if self._settings.alert_topic and self._devices.publish is not None:
            self._devices.publish(self._settings.alert_topic, alert.text.encode())
        if self._settings.alert_command:
            command = (*self._settings.alert_command, alert.kind, alert.text)
            try:
                status, told = await run_command(command, float(self._settings.alert_timeout_s))
            except SwitchTrouble as error:
                logger.error("nobody was told of an alert: %s", error)
            else:
                if status != 0:
                    logger.error("nobody was told of an alert: %s ended with status %d%s", command[0], status, told)

    def _warn_of_unknown(self, circuits_off: frozenset[int]) -> None:
        unknown = circuits_off - self._devices.circuits.keys()
        if unknown and unknown != self._unknown_circuits:
            numbers = ", ".join(str(number) for number in sorted(unknown))
            logger.error("the policy switches circuits that [[circuits]] in the settings does not have: %s", numbers)
        self._unknown_circuits = unknown

    def _write_memory(self) -> None:
        memory, written = self.rules.memory, self._written
        now_ms = self._clock.elapsed_ms()
        is_only_longer = asdict(memory) == {**asdict(written), "overload_until_s": memory.overload_until_s}
        if is_only_longer and memory.overload_until_s and now_ms - self._written_ms < WRITE_INTERVAL_S * 1000:
            return
        self._store.put(MEMORY_KEY, json.dumps(asdict(memory)))
        self._written, self._written_ms = memory, now_ms

    def _publish_state(self, saving: bool, circuits_off: frozenset[int]) -> None:
        """For `meter status`; written only where something has changed."""
        troubles = {actuator.name: actuator.trouble for actuator in self._actuators() if actuator.trouble}
        state = {
            "version": self.rules.policy.version,
            "is_saving": saving,
            "circuits_off": sorted(circuits_off),
            "troubles": troubles,
        }
        self._store.put(STATUS_KEY, json.dumps(state))

    def _actuators(self) -> list[Actuator]:
        saving = self._devices.saving
        return [*self._devices.circuits.values(), *([] if saving is None else [saving])]


async def _drive(actuator: Actuator, is_on: bool) -> None:
    if actuator.wanted != is_on:
        if actuator.wanted is not None:
            logger.info("%s is switched %s by the policy", actuator.name, "on" if is_on else "off")
        await actuator.want(is_on)
    else:
        await actuator.tend()


def _policy_text(policy: MeterPolicy, zone_s: int) -> str:
    return json.dumps({"zone_s": zone_s, **asdict(policy)}, separators=(",", ":"))


def _policy_from(text: str | None) -> tuple[MeterPolicy, int]:
    """(policy, zone) as they were remembered; no policy where there is nothing that makes sense."""
    try:
        document = json.loads(text or "")
        values = document["values"]
        off_times = tuple([OffTime(**one) for one in values.pop("off_times")])
        policy = MeterPolicy(document["version"], document["set_at_s"], PolicyValues(**values, off_times=off_times))
        return policy, int(document["zone_s"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return NO_POLICY, 0


def _memory_from(text: str | None) -> PolicyMemory:
    try:
        memory = PolicyMemory(**json.loads(text or ""))
    except (ValueError, TypeError, RecursionError):
        return PolicyMemory()
    return memory if all(type(value) is int and value >= 0 for value in asdict(memory).values()) else PolicyMemory()
