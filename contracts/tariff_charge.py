"""What a reading costs by a version of a tariff, in whole wei: contracts/src/TariffMath.sol in Python, to the wei.

For those who must know a cost without a ledger in reach. A test compares it with the contract.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.tariff_format import TariffVersion

DAY_S = 86_400
FIRST_WEEKDAY = 3
"""1970-01-01 was a Thursday; weekdays count from Monday, 0."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TariffPosition:
    """Where a meter stands within its billing period; days are local ones, counted from 1970-01-01."""

    used_wh: int = 0
    end_day: int = 0
    """With which the next period begins."""
    charged_day: int = 0
    """The last day whose standing charge is charged."""


@dataclass(frozen=True, slots=True)
class TariffCharge:
    energy_wei: int = 0
    standing_wei: int = 0
    export_wei: int = 0
    """What the energy given is credited with."""


def charge(
    version: TariffVersion | None,
    position: TariffPosition,
    imported_wh: int,
    exported_wh: int,
    previous_time_s: int,
    time_s: int,
    zone_s: int,
) -> tuple[TariffPosition, TariffCharge]:
    """The position after a reading, and its cost. `previous_time_s` 0: unknown, and no day is due.

    Without a version nothing costs anything, and the position stays.
    """
    if version is None:
        return position, TariffCharge()
    second = local_second(time_s, zone_s)
    day = second // DAY_S
    used_wh, end_day = position.used_wh, position.end_day
    if day >= end_day:
        used_wh, end_day = 0, period_end(version, day)
    standing_wei = 0
    if day > position.charged_day and previous_time_s:
        before = max(local_second(previous_time_s, zone_s) // DAY_S, position.charged_day)
        standing_wei = max(0, day - before) * version.standing_wei_per_day
    energy_wei = _energy_wei(version, used_wh, imported_wh, prices_at(version, second))
    moved = TariffPosition(used_wh + imported_wh, end_day, max(day, position.charged_day))
    return moved, TariffCharge(energy_wei, standing_wei, exported_wh * version.export_price_wei_per_wh)


def local_second(time_s: int, zone_s: int) -> int:
    """The last local second of what a reading of this time covers, counted from 1970-01-01."""
    return max(0, time_s + zone_s - 1)


def period_end(version: TariffVersion, day: int) -> int:
    """The first local day of the billing period after the one that a day falls in."""
    if version.period_days:
        periods = (day - version.anchor_day) // version.period_days
        return version.anchor_day + (periods + 1) * version.period_days
    first = (_EPOCH + timedelta(days=day)).replace(day=1)
    return ((first + timedelta(days=32)).replace(day=1) - _EPOCH).days


def prices_at(version: TariffVersion, second: int) -> tuple[int, ...]:
    """The price of each step, in wei per Wh, at a local second: of the first time of use it falls in, or its own."""
    weekday = (second // DAY_S + FIRST_WEEKDAY) % 7
    minute = second % DAY_S // 60
    for window in version.windows:
        if window.weekdays >> weekday & 1 and window.from_minute <= minute < window.until_minute:
            return window.prices_wei_per_wh
    return tuple([slab.price_wei_per_wh for slab in version.slabs])


def _energy_wei(version: TariffVersion, used_wh: int, imported_wh: int, prices: tuple[int, ...]) -> int:
    total_wh = used_wh + imported_wh
    cost_wei = 0
    if used_wh < version.allowance_wh:
        until_wh = min(total_wh, version.allowance_wh)
        cost_wei = (until_wh - used_wh) * version.allowance_price_wei_per_wh
        used_wh = until_wh
    for slab, price in zip(version.slabs, prices, strict=True):
        if total_wh <= slab.up_to_wh:
            return cost_wei + (total_wh - used_wh) * price
        if used_wh < slab.up_to_wh and not version.whole:
            cost_wei += (slab.up_to_wh - used_wh) * price
            used_wh = slab.up_to_wh
    raise ValueError("the last step of a tariff must be open")
