"""What a policy asks for at a moment, and how long it goes on asking: rules without a device, a ledger or a task.

A rule that cures its own cause would swing: a cut supply takes no power, a heater that saves takes less. So a cut holds
off, each time twice as long where the load is back, and saving goes on for a while after the power has fallen. The day
is that of the supplier's local time.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from contracts.policy import MeterPolicy
from contracts.tariff_charge import DAY_S, local_second
from meter.drivers.driver import Registers
from meter.ledger_terms import NO_POLICY
from meter.mqtt_settings import check_topic
from primitives.errors import UserError
from wallet.settings_file import check_ranges


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """[policy]: how the meter follows what its owner has written to the ledger."""

    enabled: bool = True
    poll_interval_s: Decimal = Decimal(0)
    """How often the ledger is looked at; 0 for as often as the relay does."""
    overload_hold_s: int = 300
    """The supply stays off so long after a cut for maximum load; doubled while the load comes back."""
    overload_longest_hold_s: int = 3600
    saving_hold_s: int = 300
    """Power-saving mode goes on for so long after the power was last above its limit."""
    alert_pause_s: int = 900
    """Power has to be below the limit for so long before another crossing is told."""
    alert_command: tuple[str, ...] = ()
    """Program and arguments; two words are added: what the alert is of (power or energy), and the sentence."""
    alert_topic: str = ""
    """MQTT topic for the sentence."""
    alert_timeout_s: Decimal = Decimal(10)

    def check(self, *, has_mqtt: bool) -> None:
        """Raises UserError for values that make no sense."""
        check_ranges(
            (
                ("policy.poll_interval_s", self.poll_interval_s, 0, DAY_S),
                ("policy.overload_hold_s", self.overload_hold_s, 10, DAY_S),
                ("policy.overload_longest_hold_s", self.overload_longest_hold_s, self.overload_hold_s, DAY_S),
                ("policy.saving_hold_s", self.saving_hold_s, 0, DAY_S),
                ("policy.alert_pause_s", self.alert_pause_s, 0, DAY_S),
                ("policy.alert_timeout_s", self.alert_timeout_s, Decimal("0.1"), 120),
            )
        )
        if self.alert_command and not self.alert_command[0]:
            raise UserError('policy.alert_command is a list of words such as ["/usr/bin/tell", "owner"]')
        if self.alert_topic:
            check_topic(self.alert_topic, "policy.alert_topic")
            if not has_mqtt:
                raise UserError("policy.alert_topic needs the section [mqtt] with the broker")


@dataclass(frozen=True, slots=True)
class PolicyMemory:
    """What has to survive a restart."""

    day: int = 0
    """Local day, counted from 1970-01-01."""
    day_start_wh: int = 0
    """Import register when the day began, or when the meter first looked in it."""
    told_energy_wh: int = 0
    """The limit whose crossing was told on this day; 0: none."""
    overload_until_s: int = 0
    overload_count: int = 0
    """Cuts one after the other, without a quiet time of overload_longest_hold_s between."""


@dataclass(frozen=True, slots=True)
class Alert:
    kind: str
    """power or energy."""
    text: str


class PolicyRules:
    """Fed with samples in their order; asked at any time.

    Holds count in seconds of a clock that is never set (`now_s`); only off-times and days go by the time of day.
    """

    def __init__(self, settings: PolicySettings, memory: PolicyMemory, policy: MeterPolicy = NO_POLICY) -> None:
        self.policy = policy
        self.memory = memory
        self.zone_s = 0
        self.power_w = 0
        self._settings = settings
        self._register_wh: int | None = None
        self._overload_w = 0
        self._last_overload_s = memory.overload_until_s
        self._saving_until_s = 0
        self._is_told_of_power = False
        self._quiet_since_s: int | None = None

    def take(self, policy: MeterPolicy, now_s: int) -> None:
        """Another version: what it no longer asks for ends at once."""
        before, after = self.policy.values, policy.values
        self.policy = policy
        if not after.is_overloaded(self._overload_w):
            self.memory = replace(self.memory, overload_until_s=0, overload_count=0)
        if after.saving_above_power_w != before.saving_above_power_w:
            self._saving_until_s = 0
        if after.alert_above_power_w != before.alert_above_power_w:
            self._is_told_of_power, self._quiet_since_s = False, None
        self._look_at_power(now_s)

    def observe(self, registers: Registers, power_w: int, now_s: int, *, is_timed: bool = True) -> None:
        """A sample; power is negative while more is given than taken. Without a time it begins no day."""
        day = local_second(registers.time_s, self.zone_s) // DAY_S
        if day != self.memory.day and is_timed:
            # What was taken since the last sample of the day before belongs to the new day.
            start_wh = registers.import_wh if self._register_wh is None else self._register_wh
            self.memory = replace(self.memory, day=day, day_start_wh=start_wh, told_energy_wh=0)
        self._register_wh = registers.import_wh
        self.power_w = power_w
        self._look_at_power(now_s)

    @property
    def day_energy_wh(self) -> int:
        """Taken in the local day so far."""
        return 0 if self._register_wh is None else max(0, self._register_wh - self.memory.day_start_wh)

    def overload(self, now_s: int) -> str:
        """Why the supply is cut for its load; empty where it is not."""
        until_s = self.memory.overload_until_s
        # After a start the clock may be another one: nobody is cut off for longer than the longest hold.
        if not 0 < until_s - now_s <= self._settings.overload_longest_hold_s:
            return ""
        limit_w = self.policy.values.maximum_load_w
        return f"maximum load: {self._overload_w or 'more'} W were taken, {limit_w} W are allowed"

    def is_saving(self, now_s: int) -> bool:
        values = self.policy.values
        is_held = values.saving_above_power_w != 0 and 0 < self._saving_until_s - now_s <= self._settings.saving_hold_s
        return is_held or values.is_saving(self.power_w, self.day_energy_wh)

    def circuits_off(self, time_s: int) -> frozenset[int]:
        """At a Unix time."""
        return self.policy.values.circuits_off(time_s + self.zone_s)

    def alerts(self, now_s: int) -> list[Alert]:
        """What is to be told now: each crossing of a power once, of a day's energy once a day."""
        values, told = self.policy.values, []
        limit_w, limit_wh = values.alert_above_power_w, values.alert_above_energy_wh
        if limit_w and self.power_w > limit_w:
            if not self._is_told_of_power:
                told.append(Alert("power", f"{self.power_w} W are taken, more than {limit_w} W"))
            self._is_told_of_power, self._quiet_since_s = True, None
        elif self._is_told_of_power:
            if self._quiet_since_s is None:
                self._quiet_since_s = now_s
            if now_s - self._quiet_since_s >= self._settings.alert_pause_s or now_s < self._quiet_since_s:
                self._is_told_of_power = False
        if limit_wh and self.day_energy_wh > limit_wh and self.memory.told_energy_wh != limit_wh:
            told.append(Alert("energy", f"{self.day_energy_wh} Wh were taken today, more than {limit_wh} Wh"))
            self.memory = replace(self.memory, told_energy_wh=limit_wh)
        return told

    def _look_at_power(self, now_s: int) -> None:
        values, settings = self.policy.values, self._settings
        if values.saving_above_power_w and self.power_w > values.saving_above_power_w:
            self._saving_until_s = now_s + settings.saving_hold_s
        if not values.is_overloaded(self.power_w):
            return
        is_cut = bool(self.overload(now_s))
        is_back = 0 <= now_s - self._last_overload_s <= settings.overload_longest_hold_s
        # While the cut lasts (the switch may need a moment) it is the same overload.
        count = self.memory.overload_count if is_cut else (self.memory.overload_count + 1 if is_back else 1)
        hold_s = min(settings.overload_longest_hold_s, settings.overload_hold_s << min(max(count, 1) - 1, 16))
        self._overload_w = self.power_w
        # The hold counts from the cut; the quiet time between two from its end.
        self.memory = replace(self.memory, overload_until_s=now_s + hold_s, overload_count=count)
        self._last_overload_s = now_s + hold_s
