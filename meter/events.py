"""Readings out of turn: how many there may be, and the limits of power and energy that are a reason for one."""

from dataclasses import astuple, dataclass, replace

from contracts.reading_format import MAX_ZONE_S, MIN_ZONE_S, StatusFlag
from meter.kept_values import KeptValues
from meter.live import Noting, Observation
from wallet.settings_file import DAY_S, Range

HOUR_S = 3600
# A limit that was passed counts again when power has come down to 95 % of it: a load at the limit is one event.
REARM_PERCENT = 95

_DAY_NAME = "day of the energy limits"


@dataclass(frozen=True, slots=True)
class EventSettings:
    """[events]: what is a reason for a reading out of turn."""

    most_per_hour: int = 12
    """So many readings out of turn in an hour at most; what else happens waits for the next one in turn."""
    import_above_w: int = 0
    """Power taken from the grid above which a reading is signed; 0: none."""
    export_above_w: int = 0
    """Power given to the grid above which a reading is signed; 0: none."""
    day_import_above_wh: int = 0
    """Energy taken in a day above which a reading is signed; 0: none."""
    day_export_above_wh: int = 0
    zone_s: int = 0
    """Seconds that the day begins earlier than in UTC: 3600 for UTC+1."""

    def ranges(self) -> tuple[Range, ...]:
        return (
            ("events.most_per_hour", self.most_per_hour, 0, 200),
            ("events.import_above_w", self.import_above_w, 0, 10**9),
            ("events.export_above_w", self.export_above_w, 0, 10**9),
            ("events.day_import_above_wh", self.day_import_above_wh, 0, 10**12),
            ("events.day_export_above_wh", self.day_export_above_wh, 0, 10**12),
            ("events.zone_s", self.zone_s, MIN_ZONE_S, MAX_ZONE_S),
        )


@dataclass(slots=True)
class EventBudget:
    """How many readings out of turn the current hour has left; kept over restarts, so that these are no way around."""

    most_per_hour: int
    hour: int = 0
    """Since 1970."""
    count: int = 0

    def allows(self, time_s: int) -> bool:
        return time_s // HOUR_S != self.hour or self.count < self.most_per_hour

    def spend(self, time_s: int) -> None:
        hour = time_s // HOUR_S
        if hour != self.hour:
            self.hour, self.count = hour, 0
        self.count += 1


@dataclass(frozen=True, slots=True)
class _Day:
    """Where the registers stood when a day began, and which of its limits were passed (1 import, 2 export)."""

    number: int
    import_wh: int
    export_wh: int
    told: int = 0

    def encode(self) -> str:
        return " ".join(map(str, astuple(self)))

    @classmethod
    def decode(cls, text: str | None) -> "_Day | None":
        try:
            return None if text is None else cls(*map(int, text.split()))
        except (ValueError, TypeError):
            return None


class ThresholdWatch:
    """Observer: notes THRESHOLD when power or the energy of the day passes a limit."""

    def __init__(self, settings: EventSettings, noting: Noting, kept: KeptValues) -> None:
        self._settings = settings
        self._noting = noting
        self._kept = kept
        # Of the limits of power that were passed, import and export.
        self._is_above = [False, False]
        self._day = _Day.decode(kept.get(_DAY_NAME))
        self._last_wh: tuple[int, int] | None = None

    def observe(self, observation: Observation) -> None:
        sample = observation.sample
        power_w = observation.power_w
        if power_w is None:
            return
        self._look_at_power(0, "taken", power_w, self._settings.import_above_w)
        self._look_at_power(1, "given", -power_w, self._settings.export_above_w)
        if sample.is_timed:
            registers = sample.registers
            self._look_at_day(registers.time_s, (registers.import_wh, registers.export_wh))

    def _look_at_power(self, index: int, what: str, power_w: int, limit_w: int) -> None:
        if not limit_w:
            return
        if power_w > limit_w and not self._is_above[index]:
            self._is_above[index] = True
            self._note(f"{power_w} W are {what}, more than the limit of {limit_w} W")
        elif power_w * 100 <= limit_w * REARM_PERCENT:
            self._is_above[index] = False

    def _look_at_day(self, time_s: int, registers_wh: tuple[int, int]) -> None:
        limits = (self._settings.day_import_above_wh, self._settings.day_export_above_wh)
        if not any(limits):
            return
        number = (time_s + self._settings.zone_s) // DAY_S
        if self._day is None or number != self._day.number:
            # Of a day that begins while the meter runs all energy counts; of its very first one, what it sees of it.
            began_wh = registers_wh if self._last_wh is None else self._last_wh
            self._day = _Day(number, *began_wh)
            self._kept.set(_DAY_NAME, self._day.encode())
        self._last_wh = registers_wh
        for bit, (what, now_wh, limit_wh) in enumerate(zip(("taken", "given"), registers_wh, limits, strict=True)):
            energy_wh = now_wh - (self._day.import_wh, self._day.export_wh)[bit]
            if limit_wh and energy_wh > limit_wh and not self._day.told >> bit & 1:
                self._day = replace(self._day, told=self._day.told | 1 << bit)
                self._kept.set(_DAY_NAME, self._day.encode())
                self._note(f"{energy_wh} Wh were {what} today, more than the limit of {limit_wh} Wh")

    def _note(self, reason: str) -> None:
        self._noting.note(StatusFlag.THRESHOLD, reason, at_once=True)
