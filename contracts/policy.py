"""A meter's policy as its contract has it (contracts/src/Policy.sol), for those who show it, write it or obey it.

Values and their meaning only: nobody is asked here. The days and minutes are those of the supplier's local time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_OFF_TIMES = 16
MAX_POWER_W = 2**32 - 1
MAX_ENERGY_WH = 2**53 - 1
MAX_CIRCUIT = 255
DAY_MINUTES = 1_440
ALL_WEEKDAYS = 127
FIRST_WEEKDAY = 3
"""1970-01-01 was a Thursday; weekdays count from Monday, 0."""
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class OffTime:
    """A circuit is off on these weekdays between these minutes of the local day."""

    circuit: int
    weekdays: int
    """Bit 0 Monday to bit 6 Sunday."""
    from_minute: int
    until_minute: int
    """The minute before which it ends, up to 1440."""

    def holds_at(self, local_s: int) -> bool:
        """Whether it holds in a second counted from 1970-01-01 00:00 in local time."""
        day, second = divmod(local_s, DAY_S)
        weekday = (day + FIRST_WEEKDAY) % 7
        return bool(self.weekdays >> weekday & 1) and self.from_minute * 60 <= second < self.until_minute * 60


@dataclass(frozen=True, slots=True)
class PolicyValues:
    """What a meter is to do. 0 stands for "never" or "no limit"."""

    saving_above_power_w: int = 0
    saving_above_energy_wh: int = 0
    maximum_load_w: int = 0
    alert_above_power_w: int = 0
    alert_above_energy_wh: int = 0
    off_times: tuple[OffTime, ...] = ()

    def arguments(self) -> tuple[object, ...]:
        """As the contract's functions take them."""
        off_times = [(one.circuit, one.weekdays, one.from_minute, one.until_minute) for one in self.off_times]
        return (
            self.saving_above_power_w,
            self.saving_above_energy_wh,
            self.maximum_load_w,
            self.alert_above_power_w,
            self.alert_above_energy_wh,
            off_times,
        )

    def is_saving(self, power_w: int, day_energy_wh: int) -> bool:
        """Whether power-saving mode is on at this power and this much energy taken in the local day."""
        above_power = self.saving_above_power_w != 0 and power_w > self.saving_above_power_w
        return above_power or (self.saving_above_energy_wh != 0 and day_energy_wh > self.saving_above_energy_wh)

    def is_overloaded(self, power_w: int) -> bool:
        return self.maximum_load_w != 0 and power_w > self.maximum_load_w

    def circuits_off(self, local_s: int) -> frozenset[int]:
        """The circuits that are off in a second counted from 1970-01-01 00:00 in local time."""
        return frozenset([one.circuit for one in self.off_times if one.holds_at(local_s)])


@dataclass(frozen=True, slots=True)
class MeterPolicy:
    """A version of a meter's policy; version 0 is none, and its values ask for nothing."""

    version: int
    set_at_s: int
    values: PolicyValues


def decode_values(answer: Sequence[Any]) -> PolicyValues:
    """The values as the contract's answers and events have them."""
    off_times = tuple([OffTime(*one) for one in answer[5]])
    return PolicyValues(answer[0], answer[1], answer[2], answer[3], answer[4], off_times)


def decode_policy(answer: Sequence[Any]) -> MeterPolicy:
    """The answer of `policyOf`."""
    version, set_at_s, values = answer
    return MeterPolicy(version, set_at_s, decode_values(values))
