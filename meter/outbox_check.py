"""Looks for what somebody else wrote into the outbox: at the start of the meter, and before readings are sent.

A reading counts where the meter's own key signed exactly what stands there; the head where the key sealed it and no
genuine reading stands behind it. What does not count is taken out and kept as evidence (meter/alterations.py), and
metering goes on: registers are cumulative, so the next reading carries the energy. The cost is bounded: at the start
the newest readings, afterwards each one before it is sent.
"""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Literal

from meter.alterations import Alteration, Kind, mark_untold
from meter.drivers.driver import Registers
from meter.head import Head
from meter.outbox import READING_COLUMNS, Outbox
from meter.reading import NO_HASH, Reading, Signature, SignedReading
from meter.signer import SignerUnavailable
from primitives.errors import InvalidReading, NeedsPerson

logger = logging.getLogger(__name__)

# Readings verified at a start, some 0.1 ms each here and a millisecond on a small computer.
MAX_CHECKED_AT_START = 1000
# Where so many times in a row all that was looked at had been altered, the file is worth nothing: a person has to look.
MAX_ROUNDS = 20


# Rows of altered readings that are kept as evidence: a batch.
MAX_ROWS_KEPT = 100

_Rows = Literal["sequence > ? AND quarantined IS NULL ORDER BY sequence", "sequence > ? ORDER BY sequence DESC"]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of the file that is yet to be checked: anybody may have written it."""

    sequence: int
    time_s: int
    import_wh: int
    export_wh: int
    power_w: int
    flags: int
    previous_hash: bytes
    r: bytes
    vs: bytes
    hash: bytes

    def as_text(self) -> list[object]:
        """For people who look for what was changed."""
        return [value.hex() if isinstance(value, bytes) else value for value in astuple(self)]


def check_outbox(outbox: Outbox) -> None:
    """At the start, before anything is signed; also while the key cannot sign.

    Raises UserError where hardly anything genuine is left.
    """
    for _ in range(MAX_ROUNDS):
        rows = _rows(outbox, "sequence > ? ORDER BY sequence DESC", -(2**63), MAX_CHECKED_AT_START)
        genuine, altered = _sorted_out(outbox, rows)
        _take_out(outbox, altered)
        if genuine or not rows:
            break
    else:
        raise NeedsPerson(
            f"{MAX_ROUNDS * MAX_CHECKED_AT_START} readings and more in the outbox {outbox.database.path} were altered. "
            "Move it away and keep it; the meter goes on behind the last reading on the ledger"
        )
    newest = genuine[0].reading if genuine else None
    stored, is_sealed = outbox.stored_head()
    if stored is None and newest is None:
        return
    head = stored if is_sealed else None
    if newest is not None and (head is None or newest.sequence > head.sequence):
        # The driver's state of a head that is not the newest would bring back energy that was counted already.
        head = Head(newest.sequence, newest.hash, Registers(newest.time_s, newest.import_wh, newest.export_wh), None)
    if is_sealed and head == stored:
        return
    behind = 0 if head is None else head.sequence
    where = "where the ledger stands" if head is None else f"reading {behind}, the last that it signed"
    try:
        outbox.restore(head)
    except SignerUnavailable as error:
        logger.error(
            "TAMPERING: the head of the outbox was altered. The meter goes on behind %s; the file is as it was found, "
            "for the key cannot sign now (%s). The first reading that can be signed is put over it and tells",
            where,
            error,
        )
        return
    outbox.alterations.record(
        Alteration(Kind.HEAD, behind, behind, f"the head of the outbox was altered; the meter goes on behind {where}")
    )


def genuine_waiting(outbox: Outbox, last: Head, after_sequence: int, limit: int) -> list[SignedReading]:
    """The oldest readings above a sequence that are to be sent, each verified; `last` is the ledger's last reading."""
    for _ in range(MAX_ROUNDS):
        rows = _rows(outbox, "sequence > ? AND quarantined IS NULL ORDER BY sequence", after_sequence, limit)
        genuine, altered = _sorted_out(outbox, rows)
        _take_out(outbox, altered)
        if not altered:
            if genuine:
                _look_for_gaps(outbox, last, after_sequence, genuine)
            return genuine
    return []


def _sorted_out(outbox: Outbox, rows: Sequence[StoredRow]) -> tuple[list[SignedReading], list[StoredRow]]:
    genuine, altered = [], []
    for row in rows:
        try:
            reading = Reading(
                outbox.meter,
                row.sequence,
                row.time_s,
                row.import_wh,
                row.export_wh,
                row.power_w,
                row.flags,
                row.previous_hash,
            )
            signed = SignedReading(reading, Signature(row.r, row.vs))
            outbox.domain.verify(signed)
            if reading.hash != row.hash:
                raise InvalidReading("its stored hash is another's")
        except InvalidReading as error:
            logger.debug("reading %d in the outbox: %s", row.sequence, error)
            altered.append(row)
        else:
            genuine.append(signed)
    return genuine, altered


def _take_out(outbox: Outbox, altered: Sequence[StoredRow]) -> None:
    if not altered:
        return
    first, last = min(row.sequence for row in altered), max(row.sequence for row in altered)
    which = f"reading {first} was" if first == last else f"{len(altered)} readings from {first} to {last} were"
    what = f"{which} altered in the outbox (not as the meter signed it) and will not be sent"
    _remove(outbox, Alteration(Kind.READING, first, last, what), altered)


def _look_for_gaps(outbox: Outbox, last: Head, after_sequence: int, genuine: Sequence[SignedReading]) -> None:
    """Readings that were taken away, and a chain that does not hang together."""
    first = max(after_sequence, outbox.settled_sequence()) + 1
    for gap in _missing(outbox, first, genuine[-1].reading.sequence):
        if not outbox.alterations.explains(gap[0]):
            which = f"reading {gap[0]} is" if gap[0] == gap[1] else f"readings {gap[0]} to {gap[1]} are"
            what = f"{which} gone from the outbox, and the ledger does not have what stood there"
            outbox.alterations.record(Alteration(Kind.MISSING, *gap, what))
    before = (last.sequence, last.hash if last.sequence else NO_HASH)
    for signed in genuine:
        reading = signed.reading
        if reading.sequence == before[0] + 1 and reading.previous_hash != before[1]:
            what = (
                f"reading {reading.sequence} does not follow on the reading {before[0]} before it: a second device "
                "signs with this meter's key, or an old copy of the outbox was put back"
            )
            outbox.alterations.record(Alteration(Kind.FOREIGN, reading.sequence, reading.sequence, what))
        before = (reading.sequence, reading.hash)


def _rows(outbox: Outbox, condition: _Rows, value: int, limit: int) -> list[StoredRow]:
    """Readings as they stand in the file, whatever that is."""
    with outbox.database.reading() as connection:
        found = connection.execute(
            f"SELECT sequence, {READING_COLUMNS}, hash FROM readings WHERE {condition} LIMIT ?", (value, limit)
        ).fetchall()
    return [StoredRow(*row) for row in found]


def _missing(outbox: Outbox, first_sequence: int, last_sequence: int) -> list[tuple[int, int]]:
    """The stretches, from one sequence to another, that are not here."""
    query = "SELECT sequence FROM readings WHERE sequence BETWEEN ? AND ? ORDER BY sequence"
    with outbox.database.reading() as connection:
        found = [row[0] for row in connection.execute(query, (first_sequence, last_sequence))]
    edges = [first_sequence - 1, *found, last_sequence + 1]
    return [(before + 1, after - 1) for before, after in pairwise(edges) if after - before > 1]


def _remove(outbox: Outbox, alteration: Alteration, rows: Sequence[StoredRow]) -> None:
    """Remove altered readings; what stood there is kept beside the reason."""
    with outbox.database.transaction() as connection:
        connection.executemany("DELETE FROM readings WHERE sequence = ?", [(row.sequence,) for row in rows])
        mark_untold(connection, alteration.first_sequence, alteration.last_sequence)
        outbox.alterations.insert(connection, alteration, [row.as_text() for row in rows[:MAX_ROWS_KEPT]])
    outbox.alterations.tell(alteration)
