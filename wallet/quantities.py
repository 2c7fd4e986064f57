"""Energy, prices, times and durations as people write them, to and from the whole Wh, wei and seconds of the contracts.

Exact, never through a float. Amounts of the coin are in wallet/amounts.py.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone

from primitives.errors import Invalid
from wallet.amounts import format_amount, parse_amount, to_decimal

WH_PER_KWH = 1_000
MAX_WH = 2**64 - 1
MAX_DURATION_S = 2**63 - 1
# What datetime can show; the year 9999.
MAX_SHOWN_TIME_S = 253_402_300_799
_EPOCH_ORDINAL = 719_163

_NUMBER = r"([0-9]{1,30})(?:\.([0-9]{1,30}))?"
_ENERGY = re.compile(_NUMBER + r"\s*(Wh|kWh|MWh)?", re.ASCII | re.IGNORECASE)
_ENERGY_DIGITS = {"wh": 0, "kwh": 3, "mwh": 6}
_POWER = re.compile(_NUMBER + r"\s*(W|kW)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,18})\s*(s|min|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
_UNIX_TIME = re.compile(r"@?([0-9]{9,12})", re.ASCII)


class InvalidQuantity(Invalid):
    """Text is no energy, price, time or duration, or one that the contracts cannot hold exactly."""


def parse_energy_wh(text: str) -> int:
    """Wh in "12", "12 kWh", "1500Wh" or "1.2 MWh"; kWh are meant where no unit stands."""
    match = _ENERGY.fullmatch(text.strip())
    if match is None:
        raise InvalidQuantity(f"{text[:80]!r} is no energy; write for example 12.5, 12.5kWh or 300Wh")
    digits = _ENERGY_DIGITS[(match[3] or "kWh").lower()]
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > digits:
        raise InvalidQuantity(f"{text.strip()} is less than a whole Wh, the smallest energy that is counted")
    energy_wh = int(match[1] + fraction.ljust(digits, "0"))
    if energy_wh > MAX_WH:
        raise InvalidQuantity(f"{text.strip()} is more than any register can show")
    return energy_wh


def format_energy(energy_wh: int) -> str:
    """In kWh, exact: "12.5 kWh"."""
    whole, fraction = divmod(abs(energy_wh), WH_PER_KWH)
    behind = f".{fraction:03}".rstrip("0") if fraction else ""
    return f"{'-' if energy_wh < 0 else ''}{whole}{behind} kWh"


def parse_power_w(text: str) -> int:
    """W in "2500", "2500 W" or "2.5kW"; W are meant where no unit stands."""
    match = _POWER.fullmatch(text.strip())
    if match is None:
        raise InvalidQuantity(f"{text[:80]!r} is no power; write for example 2500, 2500W or 2.5kW")
    digits = 3 if (match[3] or "W").lower() == "kw" else 0
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > digits:
        raise InvalidQuantity(f"{text.strip()} is less than a whole W")
    return int(match[1] + fraction.ljust(digits, "0"))


def parse_price_wei_per_wh(text: str) -> int:
    """Wei a Wh of a price in WATT a kWh, such as "2.96" or "20 mWATT"."""
    wei_per_kwh = parse_amount(text)
    if wei_per_kwh % WH_PER_KWH:
        raise InvalidQuantity(f"the price {text.strip()} a kWh is not a whole number of wei a Wh")
    return wei_per_kwh // WH_PER_KWH


def format_price(wei_per_wh: int) -> str:
    """ "2.96 WATT a kWh"."""
    return f"{format_amount(wei_per_wh * WH_PER_KWH)} a kWh"


def price_number(wei_per_wh: int) -> str:
    """The number of WATT a kWh alone: "2.96"."""
    return to_decimal(wei_per_wh * WH_PER_KWH)


def parse_time_s(text: str) -> int:
    """Unix time of "2026-12-01", "2026-12-01 18:30", "2026-12-01T18:30:00+05:30" or "@1796083200"; UTC is meant where
    no zone stands."""
    stripped = text.strip()
    unix = _UNIX_TIME.fullmatch(stripped)
    if unix is not None:
        return int(unix[1])
    try:
        moment = datetime.fromisoformat(stripped)
    except ValueError as error:
        raise InvalidQuantity(
            f"{text[:80]!r} is no time; write for example 2026-12-01, '2026-12-01 18:30' or 2026-12-01T18:30+05:30"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    time_s = moment.timestamp()
    if time_s < 0 or time_s != int(time_s):
        raise InvalidQuantity(f"{text[:80]!r} is before 1970, or no whole second")
    return int(time_s)


def format_time(time_s: int, zone_s: int = 0) -> str:
    """ "2026-12-01 18:30:00 UTC", or the clock of a zone so many seconds east of UTC: "2026-12-02 00:00:00 +05:30"."""
    if not 0 <= time_s <= MAX_SHOWN_TIME_S - 86_400:
        return f"second {time_s}"
    if zone_s == 0:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    moment = datetime.fromtimestamp(time_s, timezone(timedelta(seconds=zone_s)))
    return moment.strftime("%Y-%m-%d %H:%M:%S ") + moment.isoformat()[19:]


def format_day(day: int) -> str:
    """The date of a day counted from 1970-01-01; "day 3000000" where no calendar reaches it."""
    if not 0 <= day <= date.max.toordinal() - _EPOCH_ORDINAL:
        return f"day {day}"
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def parse_duration_s(text: str) -> int:
    """Seconds in "90", "90s", "15min", "3h" or "2d"."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidQuantity(f"{text[:80]!r} is no duration; write for example 90s, 15min, 3h or 2d")
    duration_s = int(match[1]) * _SECONDS[match[2] or "s"]
    if duration_s > MAX_DURATION_S:
        raise InvalidQuantity(f"{text.strip()} is longer than time is counted")
    return duration_s


def format_duration(duration_s: int) -> str:
    """In the largest unit that fits whole: "1 day", "3 hours", "90 seconds"."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if duration_s and duration_s % seconds == 0:
            return counted(duration_s // seconds, unit)
    return counted(duration_s, "second")


def counted(number: int, unit: str) -> str:
    """ "1 day", "2 days"."""
    return f"{number} {unit}{'' if number == 1 else 's'}"
