"""A home that does not exist: appliances, a solar panel and a battery, for demos and load tests.

What it draws at a second of Unix time depends on its seed and on that second alone, so that a home that is started
again goes on as if it had never stopped. It draws the same in each second of a minute, which makes a sample cheap: a
day is planned once. Loads and sun are those of meter/profile.py. A home has a register of its own, like a good meter,
or tells its power only; while the relay has cut the supply it takes and gives nothing.
"""

import json
import os
import random
from array import array
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from meter.drivers.measurement import Measurement, Source
from meter.profile import draw_clouds, draw_habit, hour_load, month_of, sun_w_per_kw
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import DAY_S, check_ranges

DEFAULT_BEGIN_S = 1_767_225_600
"""The first day of 2026. Each day since then is planned at the start, which takes about a millisecond."""
MAX_BEGIN_S = 2**40

MINUTE_S = 60
DAY_MINUTES = DAY_S // MINUTE_S
MJ_PER_MWH = 3600
"""Millijoules, that is mW for a second, in a thousandth of a Wh."""
APPLIANCE_MINUTES = 30
"""How long an appliance runs once it is switched on."""
# A refrigerator: mW above or below its mean, in minutes of its cycle.
FRIDGE_ON_MINUTES, FRIDGE_CYCLE_MINUTES = 15, 45
FRIDGE_ON_MW, FRIDGE_OFF_MW = 80_000, -40_000
CLOUD_MINUTES = 10
"""How long a passing cloud stays."""
BATTERY_EFFICIENCY_PERCENT = 90
RESTLESS_MW = 100
"""Up to 128 times as much is added to or taken from a minute."""
# Whoever wakes so little early, by two clocks that differ, is on time.
EARLY_MS = 50
# Written by ourselves; what is longer is not ours.
MAX_MEMORY_BYTES = 1024
_FIRST_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class SimulatedHomeSettings:
    """[driver]: a made-up home."""

    kind: str = "simulated-home"
    seed: int = 1
    """Another number makes another home."""
    source: str = "register"
    """`register`: it has a register of its own; `power`: it tells its power only."""
    interval_s: int = 5
    """From sample to sample."""
    panel_w: int = 4000
    """Peak power of the solar panel; 0 for none."""
    battery_wh: int = 5000
    """0 for none."""
    battery_power_w: int = 2500
    """With which it is charged and discharged at most."""
    begin_s: int = DEFAULT_BEGIN_S
    """Unix time at which the register stood at 0."""
    memory: Path | None = None
    """File in which the register is kept over restarts; needed only where the relay may cut the supply."""

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        check_ranges(
            (
                ("driver.seed", self.seed, 0, 2**63),
                ("driver.interval_s", self.interval_s, 1, 3600),
                ("driver.panel_w", self.panel_w, 0, 10**6),
                ("driver.battery_wh", self.battery_wh, 0, 10**6),
                ("driver.battery_power_w", self.battery_power_w, 0, 10**6),
                ("driver.begin_s", self.begin_s, 0, MAX_BEGIN_S),
            )
        )
        if self.source not in (Source.REGISTER.value, Source.POWER.value):
            raise UserError(f'driver.source is "{self.source}"; a simulated home has "register" or "power"')


def open_device(settings: SimulatedHomeSettings, clock: Clock) -> "SimulatedHome":
    """Raises UserError where the memory cannot be used."""
    return SimulatedHome(settings, clock)


class HomeDay:
    """What a home takes (above 0) or gives in each minute of a day, and how much until the minute begins."""

    def __init__(self, net_mw: list[int]) -> None:
        self._net_mw = array("q", net_mw)
        self._import_mj, self._export_mj = array("q", [0]), array("q", [0])
        for power_mw in net_mw:
            self._import_mj.append(self._import_mj[-1] + max(power_mw, 0) * MINUTE_S)
            self._export_mj.append(self._export_mj[-1] + max(-power_mw, 0) * MINUTE_S)

    def power_mw(self, second: int) -> int:
        return self._net_mw[second // MINUTE_S]

    def energy_mj(self, second: int) -> tuple[int, int]:
        """Taken and given from midnight until a second of the day, the whole day's until DAY_S; mW * s."""
        minute, rest_s = divmod(second, MINUTE_S)
        power_mw = self._net_mw[minute] if rest_s else 0
        return (
            self._import_mj[minute] + max(power_mw, 0) * rest_s,
            self._export_mj[minute] + max(-power_mw, 0) * rest_s,
        )


def plan_day(settings: SimulatedHomeSettings, day: int) -> HomeDay:
    """The day that begins `day` days after the Unix epoch, in UTC."""
    randomness = random.Random(f"{settings.seed} {day}")
    calendar = date.fromordinal(_FIRST_DAY + day)
    month = month_of(min(calendar.timetuple().tm_yday, 365) - 1)
    load_mw = _loads_mw(settings.seed, month, calendar.isoweekday(), randomness)
    panel_mw = _panel_mw(settings.panel_w, month, randomness)
    net_mw = _with_battery(settings, [load - panel for load, panel in zip(load_mw, panel_mw, strict=True)])
    # No inverter keeps the balance exactly, and no home draws the same for hours.
    restless = randomness.randbytes(DAY_MINUTES)
    return HomeDay([power + (byte - 128) * RESTLESS_MW for power, byte in zip(net_mw, restless, strict=True)])


def _loads_mw(seed: int, month: int, day_type: int, randomness: random.Random) -> list[int]:
    habit_percent = draw_habit(random.Random(seed))
    load_mw: list[int] = []
    runs: list[tuple[int, int]] = []
    for hour in range(24):
        load = hour_load(month, day_type, hour, habit_percent, randomness)
        load_mw += [load.base_wh * 1000] * 60
        runs += [(hour * 60 + randomness.randrange(60), energy_wh) for energy_wh in load.appliances_wh]
    for first, energy_wh in runs:
        power_mw = energy_wh * 1000 * 60 // APPLIANCE_MINUTES
        for minute in range(first, min(first + APPLIANCE_MINUTES, DAY_MINUTES)):
            load_mw[minute] += power_mw
    for minute in range(DAY_MINUTES):
        is_on = minute % FRIDGE_CYCLE_MINUTES < FRIDGE_ON_MINUTES
        load_mw[minute] += FRIDGE_ON_MW if is_on else FRIDGE_OFF_MW
    return load_mw


def _panel_mw(panel_w: int, month: int, randomness: random.Random) -> list[int]:
    if panel_w == 0:
        return [0] * DAY_MINUTES
    clouds_percent = draw_clouds(randomness)
    passing_percent = [randomness.randint(60, 100) for _ in range(DAY_MINUTES // CLOUD_MINUTES)]
    return [
        sun_w_per_kw(month, minute) * panel_w * clouds_percent * passing_percent[minute // CLOUD_MINUTES] // 10_000
        for minute in range(DAY_MINUTES)
    ]


def _with_battery(settings: SimulatedHomeSettings, net_mw: list[int]) -> list[int]:
    """A battery takes what would be given to the grid, and gives it back when something would be taken.

    It is empty at midnight, so that a day can be planned without those before it.
    """
    capacity_mj = settings.battery_wh * 1000 * MJ_PER_MWH
    stored_mj = 0
    most_mw = settings.battery_power_w * 1000
    shown_mw = []
    for power_mw in net_mw:
        if power_mw < 0:
            room_mw = (capacity_mj - stored_mj) * 100 // (BATTERY_EFFICIENCY_PERCENT * MINUTE_S)
            charged_mw = min(-power_mw, most_mw, room_mw)
            stored_mj += charged_mw * MINUTE_S * BATTERY_EFFICIENCY_PERCENT // 100
            shown_mw.append(power_mw + charged_mw)
        else:
            given_mw = min(power_mw, most_mw, stored_mj // MINUTE_S)
            stored_mj -= given_mw * MINUTE_S
            shown_mw.append(power_mw - given_mw)
    return shown_mw


class Household:
    """Power and energy of a home that is always supplied, at any second of Unix time."""

    def __init__(self, settings: SimulatedHomeSettings) -> None:
        self._settings = settings
        self._planned: tuple[int, HomeDay] | None = None
        self._import_mj = self._export_mj = 0
        self._rewind()

    def power_mw(self, time_s: int) -> int:
        """Above 0 it is taken from the grid, below it is given."""
        return self._day(time_s // DAY_S).power_mw(time_s % DAY_S)

    def energy_mj(self, time_s: int) -> tuple[int, int]:
        """Taken and given from `begin_s` until a time, in mW * s."""
        if time_s // DAY_S < self._summed_day:
            self._rewind()
        while self._summed_day < time_s // DAY_S:
            taken, given = self._day(self._summed_day).energy_mj(DAY_S)
            self._import_mj, self._export_mj = self._import_mj + taken, self._export_mj + given
            self._summed_day += 1
        taken, given = self._day(self._summed_day).energy_mj(time_s % DAY_S)
        return self._import_mj + taken, self._export_mj + given

    def _rewind(self) -> None:
        """To the day on which the register begins: what came before `begin_s` is not in it."""
        self._summed_day = self._settings.begin_s // DAY_S
        taken, given = self._day(self._summed_day).energy_mj(self._settings.begin_s % DAY_S)
        self._import_mj, self._export_mj = -taken, -given

    def _day(self, number: int) -> HomeDay:
        if self._planned is None or self._planned[0] != number:
            self._planned = (number, plan_day(self._settings, number))
        return self._planned[1]


@dataclass(frozen=True, slots=True)
class _Withheld:
    """What the home would have taken and given while its supply was off, and since when it is off now."""

    import_mj: int = 0
    export_mj: int = 0
    off_since_s: int | None = None

    def encode(self) -> bytes:
        return json.dumps([self.import_mj, self.export_mj, self.off_since_s]).encode()


class SimulatedHome:
    """A Device. It lives by the machine's time when it was opened and what has passed since: nobody can set it."""

    def __init__(self, settings: SimulatedHomeSettings, clock: Clock) -> None:
        self.source = Source(settings.source)
        self.interval_s = float(settings.interval_s)
        self._settings = settings
        self._clock = clock
        self._household = Household(settings)
        self._origin_ms = round(clock.precise_time_s() * 1000) - clock.elapsed_ms()
        if self._time_s() < settings.begin_s:
            raise UserError(
                f"driver.begin_s is {settings.begin_s}, and the clock shows {self._time_s()}: a simulated home cannot "
                "begin in the future. Set it to an earlier Unix time"
            )
        self._withheld = _Withheld() if settings.memory is None else _recall(settings.memory)

    async def read(self) -> Measurement | None:
        """The next sample, at the next whole multiple of the interval."""
        interval_ms = self._settings.interval_s * 1000
        wait_ms = interval_ms - (self._now_ms() + EARLY_MS) % interval_ms + EARLY_MS
        await self._clock.sleep_s(wait_ms / 1000)
        return self.measure()

    def measure(self) -> Measurement:
        """As the home is now."""
        time_s, elapsed_ms = self._time_s(), self._clock.elapsed_ms()
        off_since_s = self._withheld.off_since_s
        power_mw = self._household.power_mw(time_s) if off_since_s is None else 0
        if self.source is Source.POWER:
            return Measurement(elapsed_ms, power_mw)
        taken, given = self._household.energy_mj(time_s if off_since_s is None else off_since_s)
        return Measurement(
            elapsed_ms,
            power_mw,
            (taken - self._withheld.import_mj) // MJ_PER_MWH,
            (given - self._withheld.export_mj) // MJ_PER_MWH,
        )

    def set_supply(self, is_on: bool) -> None:
        """From now on the home takes and gives, or it does not."""
        withheld = self._withheld
        if is_on == (withheld.off_since_s is None):
            return
        now_s = self._time_s()
        if withheld.off_since_s is None:
            self._withheld = _Withheld(withheld.import_mj, withheld.export_mj, now_s)
        elif self.source is Source.POWER:
            self._withheld = _Withheld()
        else:
            before, after = self._household.energy_mj(withheld.off_since_s), self._household.energy_mj(now_s)
            self._withheld = _Withheld(
                withheld.import_mj + after[0] - before[0], withheld.export_mj + after[1] - before[1]
            )
        if self._settings.memory is not None:
            _remember(self._settings.memory, self._withheld)

    async def close(self) -> None:
        """There is nothing to release."""

    def _now_ms(self) -> int:
        return self._origin_ms + self._clock.elapsed_ms()

    def _time_s(self) -> int:
        return (self._now_ms() + EARLY_MS) // 1000


def _remember(path: Path, withheld: _Withheld) -> None:
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(withheld.encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise UserError(f"the simulated home cannot write its memory {path}: {error.strerror}") from error


def _recall(path: Path) -> _Withheld:
    """Raises UserError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MEMORY_BYTES + 1)
        if len(content) > MAX_MEMORY_BYTES:
            raise ValueError("too long")
        import_mj, export_mj, off_since_s = json.loads(content)
        numbers = [import_mj, export_mj, *([] if off_since_s is None else [off_since_s])]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("not a number that was written here")
    except FileNotFoundError:
        return _Withheld()
    except OSError as error:
        raise UserError(f"the simulated home cannot read its memory {path}: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not the memory of a simulated home: name another file in driver.memory") from error
    return _Withheld(import_mj, export_mj, off_since_s)
