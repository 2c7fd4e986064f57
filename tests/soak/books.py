"""The books after a soak: the chain that was killed again and again, against one that never was, and all promises.

Everything is read from the files of the stopped node and meter; every block is executed once more in a new ledger.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from chain.block import Block
from chain.genesis import load_genesis
from chain.ledger import Ledger
from chain.receipt import Receipt
from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from meter.reading import Reading
from primitives.clock import ManualClock
from tests.soak.place import Place
from tests.soak.transfers import recipient


class BooksDiffer(AssertionError):
    """A promise was not kept."""


def check_blocks(place: Place) -> list[tuple[Block, list[Receipt]]]:
    """Import every block into a new ledger and compare it with the old one; the blocks. Raises BooksDiffer."""
    genesis = load_genesis(place.node_folder / "genesis.json")
    fresh_folder = place.folder / "fresh"
    blocks = []
    with Ledger.open(place.node_folder, genesis, ManualClock()) as ledger:
        head = ledger.head()
        clock = ManualClock(head.timestamp_s)
        with Ledger.open(fresh_folder, genesis, clock) as fresh:
            fresh.database.connection.execute("PRAGMA synchronous = OFF")  # nobody pulls this one's plug
            for number in range(1, head.number + 1):
                block = ledger.blocks.canonical_block(number)
                receipts = None if block is None else ledger.blocks.receipts(block.hash)
                if block is None or receipts is None:
                    raise BooksDiffer(f"block {number} of {head.number}, or its receipts, are missing")
                fresh.import_block(block)
                blocks.append((block, receipts))
            if fresh.head().hash != head.hash or fresh.state.state_root != ledger.state.state_root:
                raise BooksDiffer(f"the ledgers end at {fresh.head().number} and {head.number}, or in other states")
    _compare_tables(place.node_folder / "chain.sqlite", fresh_folder / "chain.sqlite")
    for path in (place.node_folder / "pool.sqlite", place.meter_folder / "outbox.sqlite"):
        _rows(path, "PRAGMA integrity_check", [("ok",)])
    return blocks


def check_transfers(place: Place, blocks: list[tuple[Block, list[Receipt]]], hashes: list[bytes]) -> None:
    """Every accepted transfer is on the chain, once. Raises BooksDiffer."""
    places = [transaction.hash for block, _ in blocks for transaction in block.transactions]
    if len(places) != len(set(places)):
        raise BooksDiffer("a transaction is on the chain twice")
    lost = [nonce for nonce, transfer_hash in enumerate(hashes) if transfer_hash not in set(places)]
    if lost:
        raise BooksDiffer(f"the accepted transfers {lost[:10]} are not on the chain")
    paid_wei: dict[bytes, int] = {}
    for nonce in range(len(hashes)):
        paid_wei[recipient(nonce)] = paid_wei.get(recipient(nonce), 0) + nonce + 1
    genesis = load_genesis(place.node_folder / "genesis.json")
    with Ledger.open(place.node_folder, genesis, ManualClock()) as ledger:
        for address, wei in paid_wei.items():
            account = ledger.latest_accounts.account(address)
            if account is None or account.balance != wei:
                raise BooksDiffer(f"0x{address.hex()} was paid {wei} wei and has another balance")


def check_readings(
    place: Place, blocks: list[tuple[Block, list[Receipt]]], on_disk: dict[int, bytes], charged_wh: int
) -> int:
    """Every reading that was on the meter's disk is accepted once, to the Wh; how many. Raises BooksDiffer."""
    accepted = _accepted_readings(place.meter, blocks)
    for position, reading in enumerate(accepted, start=1):
        if reading.sequence != position:
            raise BooksDiffer(f"reading {reading.sequence} was accepted where {position} was due")
    for sequence, reading_hash in on_disk.items():
        if sequence > len(accepted) or accepted[sequence - 1].hash != reading_hash:
            raise BooksDiffer(f"reading {sequence}, 0x{reading_hash.hex()}, was on the meter's disk, not on the ledger")
    outbox = place.meter_folder / "outbox.sqlite"
    _rows(outbox, "SELECT count(*) FROM readings", [(0,)])
    last = accepted[-1]
    expected = place.expected_registers_wh(len(accepted))
    _rows(outbox, "SELECT sequence, hash, import_wh, export_wh FROM head", [(last.sequence, last.hash, *expected)])
    if (last.import_wh, last.export_wh) != expected:
        raise BooksDiffer(f"the registers are {last.import_wh} and {last.export_wh} Wh, the profile makes {expected}")
    if charged_wh != last.import_wh:
        raise BooksDiffer(f"{last.import_wh} Wh were read, {charged_wh} Wh were charged")
    return len(accepted)


def _accepted_readings(meter: bytes, blocks: list[tuple[Block, list[Receipt]]]) -> list[Reading]:
    event = load_artifact("Meter").abi.event("ReadingAccepted")
    readings = []
    for _, receipts in blocks:
        for receipt in receipts:
            for log in receipt.logs:
                if log.address == METER_ADDRESS and log.topics[0] == event.topic:
                    _, _, *fields = event.decode_log(log.topics, log.data).values()
                    readings.append(Reading(meter, *cast(list[int], fields)))  # type: ignore[arg-type]
    return readings


def _compare_tables(path: Path, fresh_path: Path) -> None:
    """Row by row, all of them. Raises BooksDiffer."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH ? AS fresh", (str(fresh_path),))
        if connection.execute("PRAGMA main.integrity_check").fetchall() != [("ok",)]:
            raise BooksDiffer(f"{path} is damaged")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            for one, other in (("main", "fresh"), ("fresh", "main")):
                query = f"SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table} LIMIT 1"
                if (row := connection.execute(query).fetchone()) is not None:
                    raise BooksDiffer(f"table {table}: {row!r:.300} is in the {one} database only")


def _rows(path: Path, query: str, expected: list[tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(query).fetchall()
    if rows != expected:
        raise BooksDiffer(f"{path.name}: {query!r} answers {rows!r:.300}, not {expected!r:.300}")
