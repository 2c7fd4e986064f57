"""Makes up the load of a household, hour by hour, for demos without a measured file and for the simulated home.

Plausible, not measured: standby, morning and evening peaks, weekends, seasons, appliances and a solar panel under
clouds. Seeded and in whole Wh, so that the same seed gives the same file everywhere. Written in the columns of the
CityLearn files (month, hour 1 to 24, day_type 1 to 7, kWh in the hour, W per kW of panel).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from primitives.errors import UserError

DAYS_PER_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# Ten years are enough for any demo, and 88,000 lines.
MAX_DAYS = 3650

_STANDBY_WH = 180
# Lights, cooking, screens: Wh in each hour of a working day, and of a day at home.
_WORKDAY_WH = (40, 30, 30, 30, 40, 120, 380, 520, 300, 160, 140, 160, 220, 180, 150, 160, 260, 480, 720, 780, 640, 460,
               260, 110)  # fmt: skip
_WEEKEND_WH = (60, 40, 30, 30, 30, 60, 140, 300, 480, 520, 460, 480, 640, 520, 400, 360, 400, 520, 680, 720, 620, 480,
               320, 160)  # fmt: skip
# Heating or cooling at its hour of greatest need, Wh, by month.
_CLIMATE_WH = (700, 620, 420, 200, 120, 480, 900, 980, 640, 180, 380, 660)
# Sunrise and sunset in whole hours, and the sun's best W per kW of panel, by month.
_SUN = (
    (8, 17, 420),
    (7, 18, 520),
    (7, 19, 640),
    (6, 20, 740),
    (6, 21, 800),
    (5, 21, 830),
    (5, 21, 820),
    (6, 20, 770),
    (7, 20, 680),
    (7, 19, 560),
    (7, 17, 440),
    (8, 17, 380),
)
# (Wh in the hour, first hour, last hour, chance in 1000 in each of these hours)
_APPLIANCES = ((2000, 6, 8, 90), (1500, 17, 20, 180), (900, 9, 21, 60), (1100, 19, 22, 120))


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One hour."""

    month: int
    hour: int
    day_type: int
    load_wh: int
    generation_w_per_kw: int


@dataclass(frozen=True, slots=True)
class HourLoad:
    """What a household draws in one hour: what goes on all through it, and the appliances that are switched on."""

    base_wh: int
    appliances_wh: tuple[int, ...]


def generate_profile(days: int, seed: int) -> Iterator[ProfileRow]:
    """Hours from the first of January, a Monday, on. Raises UserError."""
    _check_days(days)
    randomness = random.Random(seed)
    habit_percent = draw_habit(randomness)
    for day in range(days):
        month = month_of(day % 365)
        cloud_percent = draw_clouds(randomness)
        day_type = day % 7 + 1
        for hour in range(24):
            load = hour_load(month, day_type, hour, habit_percent, randomness)
            sun_w = sun_w_per_kw(month, hour * 60) * cloud_percent // 100
            yield ProfileRow(month + 1, hour + 1, day_type, load.base_wh + sum(load.appliances_wh), sun_w)


def write_profile(path: Path, days: int, seed: int, *, overwrite: bool = False) -> int:
    """Write the rows to a CSV file; how many. Raises UserError, also where there is a file that is not to be lost."""
    _check_days(days)
    count = 0
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8", newline="") as file:
            file.write("month,hour,day_type,non_shiftable_load,solar_generation\n")
            for row in generate_profile(days, seed):
                kilowatt_hours = f"{row.load_wh // 1000}.{row.load_wh % 1000:03d}"
                file.write(f"{row.month},{row.hour},{row.day_type},{kilowatt_hours},{row.generation_w_per_kw}\n")
                count += 1
    except FileExistsError as error:
        raise UserError(f"there is a file {path} already: name another, or add --overwrite") from error
    except OSError as error:
        raise UserError(f"cannot write the profile to {path}: {error.strerror}") from error
    return count


def _check_days(days: int) -> None:
    if not 1 <= days <= MAX_DAYS:
        raise UserError(f"a profile has 1 to {MAX_DAYS} days, not {days}")


def month_of(day_of_year: int) -> int:
    """0 to 11; a year has 365 days here."""
    for month, length in enumerate(DAYS_PER_MONTH):
        if day_of_year < length:
            return month
        day_of_year -= length
    raise ValueError("a year has 365 days here")


def draw_habit(randomness: random.Random) -> int:
    """How much this household uses, in percent of an ordinary one."""
    return randomness.randint(75, 125)


def draw_clouds(randomness: random.Random) -> int:
    """What clouds leave of the sun on a day, in percent."""
    return min(randomness.randint(25, 130), 100)


def hour_load(month: int, day_type: int, hour: int, habit_percent: int, randomness: random.Random) -> HourLoad:
    """`month` and `hour` from 0, `day_type` from 1 (Monday)."""
    habit_wh = (_WEEKEND_WH if day_type >= 6 else _WORKDAY_WH)[hour] * habit_percent // 100
    habit_wh = habit_wh * randomness.randint(70, 130) // 100
    # Most around 18 h, least around 6 h.
    climate_wh = _CLIMATE_WH[month] * (12 - abs(hour - 18) % 24 if hour >= 6 else hour) // 12
    climate_wh = max(climate_wh, 0) * randomness.randint(50, 120) // 100
    appliances_wh = tuple(
        [
            energy_wh
            for energy_wh, first, last, chance in _APPLIANCES
            if first <= hour <= last and randomness.randrange(1000) < chance
        ]
    )
    return HourLoad(_STANDBY_WH + habit_wh + climate_wh, appliances_wh)


def sun_w_per_kw(month: int, minute: int) -> int:
    """W per kW of panel without clouds at a minute of the day: a parabola from sunrise to sunset."""
    sunrise, sunset, best_w = _SUN[month]
    if not sunrise * 60 <= minute <= sunset * 60:
        return 0
    return best_w * 4 * (minute - sunrise * 60) * (sunset * 60 - minute) // ((sunset - sunrise) * 60) ** 2
