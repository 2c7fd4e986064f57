"""What a meter took from the grid and gave to it, hour by hour, over the last weeks: as the ledger keeps it, or a file.

Hours and days are those of the supplier's local time, numbered from 1970-01-01. The Meter contract keeps the hours of
the last 32 days that had readings; which hours of a day had none it does not say, so they count as hours without
energy: on the safe side for who sells, and for who buys.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from wallet.client import BlockTag, InvalidAnswer, RpcClient
from wallet.contract_call import ask
from wallet.meter_contract import METER

HOUR_S, DAY_S, DAY_HOURS = 3_600, 86_400, 24
KEPT_DAYS = 32
"""Of the Meter contract (HOURS_KEPT_DAYS): more cannot be asked for."""
MAX_HOUR_WH = 2**40
"""The contract's cells have 40 bits; a node that says more is mistaken."""


class Direction(IntEnum):
    """Of the energy; the place of its register in an hour's pair."""

    TAKEN = 0
    GIVEN = 1


@dataclass(frozen=True, slots=True)
class History:
    """Energy by local hour."""

    zone_s: int
    """Local time is so many seconds ahead of UTC."""
    hours: Mapping[int, tuple[int, int]]
    """Number of the local hour -> Wh taken, Wh given; of days with any energy, or that a reading covers."""
    known_until: int
    """The first local hour that is not over by the readings."""

    def energy_wh(self, direction: Direction, from_s: int, until_s: int) -> int | None:
        """Of a time (local seconds) in the past. Of hours that begin or end within it the share by time counts.

        An hour that the readings do not cover yet is taken from the day before. None where a day is missing.
        """
        watt_seconds = 0
        for hour in range(from_s // HOUR_S, -(-until_s // HOUR_S)):
            known = hour if hour < self.known_until else hour - DAY_HOURS
            if known >= self.known_until or known not in self.hours:
                return None
            overlap_s = min(until_s, (hour + 1) * HOUR_S) - max(from_s, hour * HOUR_S)
            watt_seconds += self.hours[known][direction] * overlap_s
        return watt_seconds // HOUR_S

    @property
    def day_count(self) -> int:
        return len({hour // DAY_HOURS for hour in self.hours})


class LedgerHistory:
    """Asks the ledger, and remembers the days that are closed: they do not change any more."""

    def __init__(self, meter: bytes) -> None:
        self._meter = meter
        self._closed: dict[int, list[tuple[int, int]]] = {}
        self._zone_s: int | None = None

    async def read(self, client: RpcClient, reading_time_s: int, zone_s: int, block: BlockTag = "latest") -> History:
        """Up to the last reading, which is of `reading_time_s`. Raises UserError, InvalidAnswer."""
        if zone_s != self._zone_s:
            # Another clock: which hours are one day is another question, and the contract knows the answer.
            self._closed.clear()
            self._zone_s = zone_s
        local_s = reading_time_s + zone_s
        last_day, known_until = local_s // DAY_S, local_s // HOUR_S
        hours: dict[int, tuple[int, int]] = {}
        for day in range(max(0, last_day - KEPT_DAYS + 1), last_day + 1):
            for hour, energy in enumerate(await self._day(client, day, block, is_closed=day < last_day)):
                if day * DAY_HOURS + hour < known_until:
                    hours[day * DAY_HOURS + hour] = energy
        self._closed = {day: kept for day, kept in self._closed.items() if day > last_day - KEPT_DAYS}
        return History(zone_s, hours, known_until)

    async def _day(self, client: RpcClient, day: int, block: BlockTag, *, is_closed: bool) -> list[tuple[int, int]]:
        """24 pairs, or none where the day has no energy: it had no readings, or nothing flowed."""
        kept = self._closed.get(day)
        if kept is not None:
            return kept
        taken, given = await ask(client, METER, "hoursOf", [self._meter, day], block)
        if max((*taken, *given)) >= MAX_HOUR_WH:
            raise InvalidAnswer("the meters' contract tells of more energy in an hour than it can keep")
        found = list(zip(taken, given, strict=True)) if any(taken) or any(given) or not is_closed else []
        if is_closed:
            self._closed[day] = found
        return found


def history_of_rows(net_wh: Iterable[Fraction | None], row_interval_s: int) -> dict[int, tuple[int, int]]:
    """Hours of measured rows, the first row at hour 0; whole Wh as registers show them, so that nothing is lost.

    Where a row's value is missing nothing was measured, as a meter would have it.
    """
    hours: dict[int, tuple[int, int]] = {}
    sums, shown = [Fraction(0), Fraction(0)], [0, 0]
    for number, net in enumerate(net_wh):
        if net is not None:
            sums[Direction.GIVEN if net < 0 else Direction.TAKEN] += abs(net)
        risen = [int(total) - before for total, before in zip(sums, shown, strict=True)]
        shown = [int(total) for total in sums]
        # All energy of a row belongs to the hour in which it ends, as the ledger has it.
        hour = ((number + 1) * row_interval_s - 1) // HOUR_S
        taken, given = hours.get(hour, (0, 0))
        hours[hour] = taken + risen[Direction.TAKEN], given + risen[Direction.GIVEN]
    return hours
