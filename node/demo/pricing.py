"""The demo's tariff, and what energy costs by it: reckoned here once more, beside the contract, for plans and books."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.tariff_format import ALL_WEEKDAYS, Slab, TariffVersion, TimeOfUse

DAY_S = 86_400
MILLI = 10**12
"""A thousandth of a WATT a kWh, in wei per Wh."""
EXPORT_PRICE_WEI_PER_WH = 50 * MILLI
TARIFF_NAME = "four steps, dearer at evening"
TARIFF = TariffVersion(
    slabs=(Slab(200 * MILLI, 6_000), Slab(260 * MILLI, 14_000), Slab(320 * MILLI, 24_000), Slab(400 * MILLI)),
    windows=(TimeOfUse(ALL_WEEKDAYS, 17 * 60, 21 * 60, (280 * MILLI, 340 * MILLI, 400 * MILLI, 480 * MILLI)),),
    period_days=1,
    export_price_wei_per_wh=EXPORT_PRICE_WEI_PER_WH,
)
"""Four steps that begin anew each day, so that one day shows them all; other prices from 17 to 21 h."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Energy taken from the grid up to a moment: seconds since the midnight with which the demo's first day begins."""

    second: int
    energy_wh: int


def cost_wei(taken: Iterable[Taken]) -> int:
    """What a meter's readings cost by TARIFF; all of a reading belongs to the last second before its moment."""
    day, used_wh, total_wei = -1, 0, 0
    for one in taken:
        at = one.second - 1
        if at // DAY_S != day:
            day, used_wh = at // DAY_S, 0
        prices = _prices(at % DAY_S // 60)
        below_wh = 0
        for slab, price in zip(TARIFF.slabs, prices, strict=True):
            first, last = max(used_wh, below_wh), min(used_wh + one.energy_wh, slab.up_to_wh)
            total_wei += max(last - first, 0) * price
            below_wh = slab.up_to_wh
        used_wh += one.energy_wh
    return total_wei


def _prices(minute: int) -> tuple[int, ...]:
    for window in TARIFF.windows:
        if window.from_minute <= minute < window.until_minute:
            return window.prices_wei_per_wh
    return tuple([slab.price_wei_per_wh for slab in TARIFF.slabs])
