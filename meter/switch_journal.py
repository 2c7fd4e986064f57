"""What the relay of a meter did and why: each switching with its time, block and reason, in the meter's database."""

from dataclasses import dataclass

from meter.database import Database, DiskFull

# At one switching an hour more than a year; older ones make room.
MAX_SWITCHINGS = 10_000


@dataclass(frozen=True, slots=True)
class Switching:
    time_s: int
    block_number: int | None
    """The newest block that the decision rests on; None where no ledger was in reach."""
    is_on: bool
    reason: str


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
                (switching.time_s, switching.block_number, int(switching.is_on), switching.reason),
            )
            connection.execute(
                "DELETE FROM switchings WHERE id <= (SELECT max(id) FROM switchings) - ?", (MAX_SWITCHINGS,)
            )

    def newest(self, limit: int) -> list[Switching]:
        """The last switchings, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT time_s, block_number, is_on, reason FROM switchings ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [Switching(row[0], row[1], bool(row[2]), row[3]) for row in rows]

    def last(self) -> Switching | None:
        newest = self.newest(1)
        return newest[0] if newest else None
