"""When a meter could not measure, and why: in the meter's database, for its owner and for whoever reads its bills.

Rows wait in memory until a checkpoint is due anyway (meter/checkpoint.py), so that a line that fails every few seconds
writes no more than once a minute; what a power cut takes with it lies within the gap that the cut makes.
"""

from dataclasses import dataclass, replace

from meter.database import Database, DiskFull

# A gap every hour for more than a year; older ones make room.
MAX_GAPS = 10_000
# Between two checkpoints; more are put together, since a line that bad has no good moments.
MAX_WAITING = 20
MAX_REASON_CHARS = 200
_CUT = " ..."


@dataclass(frozen=True, slots=True)
class Gap:
    from_s: int
    until_s: int | None
    """None while it lasts."""
    reason: str


class GapJournal:
    def __init__(self, database: Database) -> None:
        self._database = database
        rows = self._rows("ORDER BY id DESC LIMIT 1", ())
        self._last: Gap | None = rows[0] if rows else None
        # Rows that are not in the table yet; the first one may be a new state of the table's last row.
        self._waiting: list[Gap] = []
        self._continues_row = False

    def begin(self, from_s: int, reason: str) -> None:
        """Something is missing since a time; nothing new where that is known already."""
        last = self._last
        if last is not None and last.until_s is None:
            return
        reason = " ".join(reason.split())
        if len(reason) > MAX_REASON_CHARS:
            reason = reason[: MAX_REASON_CHARS - len(_CUT)] + _CUT
        if last is not None and last.until_s is not None and (last.until_s >= from_s or self._is_crowded()):
            self._change(replace(last, until_s=None))
        else:
            self._last = Gap(from_s, None, reason)
            self._waiting.append(self._last)

    def end(self, until_s: int) -> None:
        """Measurements are there again; nothing where nothing was missing."""
        if self._last is not None and self._last.until_s is None:
            self._change(replace(self._last, until_s=max(until_s, self._last.from_s)))

    def flush(self) -> None:
        """Put on the disk what is new; where that is full it waits on."""
        if not self._waiting:
            return
        try:
            self._write()
        except DiskFull as error:
            self._database.left_out("The list of gaps", error)
        else:
            self._waiting, self._continues_row = [], False

    def _write(self) -> None:
        with self._database.transaction() as connection:
            if self._continues_row:
                connection.execute("DELETE FROM gaps WHERE id = (SELECT max(id) FROM gaps)")
            for gap in self._waiting:
                connection.execute(
                    "INSERT INTO gaps (from_s, until_s, reason) VALUES (?, ?, ?)", (gap.from_s, gap.until_s, gap.reason)
                )
            connection.execute("DELETE FROM gaps WHERE id <= (SELECT max(id) FROM gaps) - ?", (MAX_GAPS,))

    def newest(self, limit: int) -> list[Gap]:
        """The last gaps on the disk, newest first."""
        return self._rows("ORDER BY id DESC LIMIT ?", (limit,))

    def between(self, from_s: int, until_s: int, limit: int = MAX_GAPS) -> list[Gap]:
        """Gaps that touch a time, in order."""
        condition = "WHERE from_s < ? AND coalesce(until_s, ?) > ? ORDER BY from_s, id LIMIT ?"
        return self._rows(condition, (until_s, until_s, from_s, limit))

    def _is_crowded(self) -> bool:
        return len(self._waiting) >= MAX_WAITING

    def _change(self, gap: Gap) -> None:
        """Another state of the last gap."""
        if self._waiting:
            self._waiting[-1] = gap
        else:
            self._waiting, self._continues_row = [gap], True
        self._last = gap

    def _rows(self, condition: str, values: tuple[int, ...]) -> list[Gap]:
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT from_s, until_s, reason FROM gaps {condition}", values).fetchall()
        return [Gap(*row) for row in rows]
