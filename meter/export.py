"""A meter's readings and gaps over a time as rows of a table: from the ledger, and those that still wait here.

The ledger is what counts, so its events come first; what this computer has beside them (readings that wait or were set
aside, and the times in which nothing was measured) is put between them. Rows are made one at a time, so that a table of
years needs no more memory than one of a day.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from meter.gaps import Gap
from meter.ledger import MeterLedger
from meter.log_stretches import accepted_readings, first_block_from
from meter.outbox import Outbox, StoredReading
from meter.reading import Reading, flag_names

STORED_AT_ONCE = 500

Progress = Callable[[int, int], None]
"""Told how many blocks were looked through, and how many there are."""


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A line of the table; what does not apply is empty. Its fields are the columns."""

    row: str
    """reading or gap"""
    time: str
    """Of the reading, or when the gap began: UTC, as in 2026-06-01T12:00:00Z."""
    time_s: int
    until: str = ""
    until_s: int | str = ""
    """When the gap ended; empty while it lasts."""
    sequence: int | str = ""
    import_wh: int | str = ""
    """The register."""
    export_wh: int | str = ""
    taken_wh: int | str = ""
    """Since the reading before, where that one is known here."""
    given_wh: int | str = ""
    power_w: int | str = ""
    flags: str = ""
    where: str = ""
    """ledger, waiting (on this computer), or set aside"""
    remark: str = ""
    """Why it was set aside, or why nothing was measured."""


COLUMNS = tuple([item.name for item in fields(ExportRow)])


@dataclass(frozen=True, slots=True)
class Span:
    """From a Unix time on, up to and without another."""

    from_s: int
    until_s: int


@dataclass(frozen=True, slots=True)
class _Placed:
    """A reading, and where it is."""

    reading: Reading
    where: str
    remark: str = ""


async def export_rows(
    ledger: MeterLedger | None,
    outbox: Outbox | None,
    gaps: Iterable[Gap],
    meter: bytes,
    span: Span,
    told: Progress = lambda done, total: None,
) -> AsyncGenerator[ExportRow, None]:
    """In order of time. Without a ledger, what is on this computer alone; without an outbox, what the ledger has.

    Raises NodeTrouble, and UserError where the outbox cannot be read.
    """
    pending = iter(gaps)
    gap = next(pending, None)
    last: Reading | None = None
    async with aclosing(_merged(ledger, outbox, meter, span, told)) as merged:
        async for placed in merged:
            reading = placed.reading
            if reading.time_s >= span.until_s:
                break
            is_next = last is not None and reading.sequence == last.sequence + 1
            before, last = last if is_next else None, reading
            if reading.time_s < span.from_s:
                continue
            while gap is not None and gap.from_s <= reading.time_s:
                yield _gap_row(gap)
                gap = next(pending, None)
            yield _reading_row(placed, before)
    while gap is not None:
        yield _gap_row(gap)
        gap = next(pending, None)


async def _merged(
    ledger: MeterLedger | None, outbox: Outbox | None, meter: bytes, span: Span, told: Progress
) -> AsyncGenerator[_Placed, None]:
    """By sequence. A reading that is in both is the ledger's."""
    stored = _stored_readings(outbox) if outbox is not None else iter(())
    here = next(stored, None)
    if ledger is not None:
        async for reading in _ledger_readings(ledger, meter, span, told):
            while here is not None and here.signed.reading.sequence <= reading.sequence:
                if here.signed.reading.sequence < reading.sequence:
                    yield _placed_here(here)
                here = next(stored, None)
            yield _Placed(reading, "ledger")
    while here is not None:
        yield _placed_here(here)
        here = next(stored, None)


async def _ledger_readings(
    ledger: MeterLedger, meter: bytes, span: Span, told: Progress
) -> AsyncGenerator[Reading, None]:
    """Accepted readings, from the block of the span's beginning on: none is accepted before its own time.

    They may be accepted long after it, so the end is the first reading behind the span, or the newest block.
    """
    newest = await ledger.node.block_number()
    first = begin = await first_block_from(ledger, span.from_s, newest)
    stretches, last_sequence = accepted_readings(ledger, meter), 0
    while begin <= newest:
        told(begin - first, newest - first + 1)
        stretch = await stretches.forward(begin, newest)
        found = [one.reading for one in stretch.found]
        for reading in found:
            if reading.sequence > last_sequence:  # a node may say the same twice; a table must not
                last_sequence = reading.sequence
                yield reading
        if found and found[-1].time_s >= span.until_s:
            break
        begin = stretch.last_block + 1


def _stored_readings(outbox: Outbox) -> Iterator[StoredReading]:
    after = 0
    while page := outbox.stored(after, STORED_AT_ONCE):
        yield from page
        after = page[-1].signed.reading.sequence


def _placed_here(stored: StoredReading) -> _Placed:
    if stored.quarantined is None:
        return _Placed(stored.signed.reading, "waiting")
    return _Placed(stored.signed.reading, "set aside", stored.quarantined)


def _reading_row(placed: _Placed, before: Reading | None) -> ExportRow:
    reading = placed.reading
    return ExportRow(
        row="reading",
        time=_time_text(reading.time_s),
        time_s=reading.time_s,
        sequence=reading.sequence,
        import_wh=reading.import_wh,
        export_wh=reading.export_wh,
        taken_wh="" if before is None else reading.import_wh - before.import_wh,
        given_wh="" if before is None else reading.export_wh - before.export_wh,
        power_w=reading.power_w,
        flags="; ".join(flag_names(reading.flags)),
        where=placed.where,
        remark=placed.remark,
    )


def _gap_row(gap: Gap) -> ExportRow:
    return ExportRow(
        row="gap",
        time=_time_text(gap.from_s),
        time_s=gap.from_s,
        until="" if gap.until_s is None else _time_text(gap.until_s),
        until_s="" if gap.until_s is None else gap.until_s,
        remark=gap.reason,
    )


def _time_text(time_s: int) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"@{time_s}"  # no calendar reaches it
