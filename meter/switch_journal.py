"""What the relay of a meter did and why: each switching with its time, block and reason, in the meter's database.

Orders by hand stand between them as they came and ended, also those that switched nothing: they are no switchings.
"""

from dataclasses import dataclass

from meter.database import Database, DiskFull

# At one switching an hour more than a year; older ones make room.
MAX_SWITCHINGS = 10_000
# In place of a block's number, in the row of an order.
_ORDER = -1


@dataclass(frozen=True, slots=True)
class Switching:
    time_s: int
    block_number: int | None
    """The newest block that the decision rests on; None where no ledger was in reach."""
    is_on: bool
    reason: str
    is_order: bool = False
    """Nothing was switched: a person's order came, or was over, while the supply was like this."""


class SwitchJournal:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, switching: Switching) -> None:
        """A full disk does not keep the relay from switching."""
        try:
            self._insert(switching)
        except DiskFull as error:
            self._database.left_out("The journal of switchings", error)

    def _insert(self, switching: Switching) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO switchings (time_s, block_number, is_on, reason) VALUES (?, ?, ?, ?)",
                (
                    switching.time_s,
                    _ORDER if switching.is_order else switching.block_number,
                    int(switching.is_on),
                    switching.reason,
                ),
            )
            # However many orders came since: the last switching is what a relay begins with.
            connection.execute(
                "DELETE FROM switchings WHERE id <= (SELECT max(id) FROM switchings) - ? "
                "AND id IS NOT (SELECT max(id) FROM switchings WHERE block_number IS NOT ?)",
                (MAX_SWITCHINGS, _ORDER),
            )

    def newest(self, limit: int, *, with_orders: bool = False) -> list[Switching]:
        """The last switchings, newest first."""
        chosen = "" if with_orders else "WHERE block_number IS NOT :order "
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT time_s, block_number, is_on, reason FROM switchings {chosen}ORDER BY id DESC LIMIT :limit",
                {"limit": limit, "order": _ORDER},
            ).fetchall()
        return [
            Switching(time_s, None if block == _ORDER else block, bool(is_on), reason, block == _ORDER)
            for time_s, block, is_on, reason in rows
        ]

    def last(self) -> Switching | None:
        newest = self.newest(1)
        return newest[0] if newest else None
