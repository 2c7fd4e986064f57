"""`wattchain meter export`: readings and gaps of a time as a CSV table."""

import asyncio
import contextlib
import csv
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import click

from meter.assembly import meter_address, reading_domain
from meter.commands import settings_option
from meter.database import OutboxNotReady
from meter.export import COLUMNS, ExportRow, Span, export_rows
from meter.gaps import GapJournal
from meter.ledger import MeterLedger, NodeTrouble
from meter.outbox import Outbox
from meter.settings import MeterSettings, load_settings
from primitives.errors import UserError
from wallet.client import RpcClient
from wallet.command_line import json_option, print_result
from wallet.ledger_identity import LedgerIdentity
from wallet.progress_bar import progress_bar
from wallet.quantities import parse_time_s
from wallet.settings_file import MAX_TIME_S


@dataclass(slots=True)
class Counts:
    readings: int = 0
    gaps: int = 0
    first_s: int | None = None
    last_s: int | None = None

    def add(self, row: ExportRow) -> None:
        if row.row == "gap":
            self.gaps += 1
            return
        self.readings += 1
        self.first_s = row.time_s if self.first_s is None else self.first_s
        self.last_s = row.time_s


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@settings_option
@click.option("--from", "begin", metavar="TIME", help="Only from this time on, such as 2026-06-01. [default: all]")
@click.option("--to", "end", metavar="TIME", help="Only up to this time, such as 2026-07-01. [default: now]")
@click.option("--here", is_flag=True, help="Only what is on this computer; no node is asked.")
@click.option("--overwrite", is_flag=True, help="Put the table in the place of a file that is there.")
@json_option
def export(
    file: Path | None,
    settings_path: Path,
    begin: str | None,
    end: str | None,
    here: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the meter's readings, and the times in which nothing was measured, as a table (CSV) to FILE.

    Without FILE the table goes to standard output. Readings come from the ledger; those that still wait on this
    computer, or were set aside, stand where they belong between them. Times are UTC, energy is whole Wh.
    """
    span = Span(0 if begin is None else parse_time_s(begin), MAX_TIME_S if end is None else parse_time_s(end))
    if span.until_s <= span.from_s:
        raise UserError("--to must be later than --from")
    if file is None and as_json:
        raise UserError("--json tells what was written to a FILE: name one")
    if file is not None and file.exists() and not overwrite:
        raise UserError(f"there is a file {file} already: name another, or add --overwrite")
    settings = load_settings(settings_path)
    with _output(file) as out:
        counts = asyncio.run(_export(settings, span, out, asks_node=not here))
    if file is not None:
        result = {"file": str(file), **asdict(counts)}
        print_result(result, f"Wrote {counts.readings} readings and {counts.gaps} gaps to {file}.", as_json)


async def _export(settings: MeterSettings, span: Span, out: TextIO, *, asks_node: bool) -> Counts:
    meter = meter_address(settings)
    counts = Counts()
    writer = csv.writer(out, lineterminator="\n")
    async with contextlib.AsyncExitStack() as stack:
        outbox = None
        try:
            outbox = stack.enter_context(
                contextlib.closing(Outbox.open_for_reading(settings.meter.outbox, reading_domain(settings), meter))
            )
        except OutboxNotReady:
            if not asks_node:
                raise
        gaps = GapJournal(outbox.database).between(span.from_s, span.until_s) if outbox is not None else []
        ledger = None
        if asks_node:
            identity = LedgerIdentity(settings.ledger.chain_id, outbox.genesis_hash() if outbox is not None else None)
            node = await stack.enter_async_context(
                RpcClient(settings.ledger.node, spare_urls=settings.ledger.spare_nodes, ledger=identity)
            )
            ledger = MeterLedger(node, settings.ledger.meter_contract, settings.ledger.exhaustion_contract)
        writer.writerow(COLUMNS)
        with progress_bar("Reading the ledger") as told:
            try:
                async for row in export_rows(ledger, outbox, gaps, meter, span, told):
                    counts.add(row)
                    writer.writerow(asdict(row).values())
            except NodeTrouble as error:
                raise UserError(f"{error} With --here, what is on this computer alone is written") from error
    return counts


@contextlib.contextmanager
def _output(file: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is there whole or not at all."""
    if file is None:
        yield sys.stdout
        return
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", newline="") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
