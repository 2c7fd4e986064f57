"""The durable outbox: nothing promised is lost at any statement, nothing is taken twice, trouble is said plainly."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import meter.outbox as outbox_module
from meter.database import LOG_PAGES, PAGE_BYTES, OutboxNotReady, open_database, open_for_reading
from meter.drivers.driver import Registers
from meter.head import Head, first_head
from meter.outbox import Outbox, OutboxFullError, OutgoingTransaction
from meter.reading import Reading, ReadingDomain, SignedReading
from meter.signer import KeySigner
from meter.switch_journal import MAX_SWITCHINGS, Switching, SwitchJournal
from primitives.errors import InvalidReading, UserError
from tests.meter.kill_outbox import DOMAIN, KEY, METER, reading_after

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with closing(Outbox.open(path, DOMAIN, METER)) as opened:
        opened.adopt(first_head(), b"\x01" * 32, 0)
        yield opened


def append(outbox: Outbox, count: int = 1) -> list[SignedReading]:
    made = []
    for _ in range(count):
        head = outbox.head()
        assert head is not None
        made.append(reading_after(head))
        outbox.append(made[-1], b"state %d" % made[-1].reading.sequence)
    return made


def test_killed_at_every_statement() -> None:
    # A killed process leaves what it wrote in the system's memory; where the file lies makes no difference to that.
    fast_folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with TemporaryDirectory(dir=fast_folder) as folder:
        script = [sys.executable, "-m", "tests.meter.kill_outbox", folder]
        done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 40


def test_a_reading_is_on_the_disk_before_append_returns(outbox: Outbox, path: Path) -> None:
    assert outbox.database.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox.database.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    made = append(outbox, 3)
    with closing(Outbox.open_for_reading(path, DOMAIN, METER)) as beside:
        assert beside.waiting(0, 10) == made
        assert [stored.signed for stored in beside.newest(2)] == [made[2], made[1]]
        head = beside.head()
    assert head == Head(3, made[2].reading.hash, Registers(3000, 21, 9), b"state 3")


def test_what_a_reading_writes_is_bounded_and_waits_for_the_card(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    with closing(Outbox.open(path, DOMAIN, METER, KeySigner(KEY))) as outbox:
        outbox.adopt(first_head(), b"\x01" * 32, 0)
        query = outbox.database.connection.execute
        assert query("PRAGMA synchronous").fetchone()[0] == 2, "FULL: each commit waits for the card"
        query("PRAGMA synchronous = OFF")  # the same bytes, without the waiting
        append(outbox, 10)
        before = log.stat().st_size
        append(outbox, 100)
        assert (log.stat().st_size - before) / 100 < 6000
        for _ in range(12):
            outbox.settle([one.reading for one in outbox.waiting(0, 100)], 1)
            append(outbox, 100)
        assert log.stat().st_size < 1.5 * LOG_PAGES * PAGE_BYTES


def test_the_chain_goes_on_after_reopening(outbox: Outbox, path: Path) -> None:
    first = append(outbox, 2)
    outbox.close()
    with closing(Outbox.open(path, DOMAIN, METER)) as again:
        (later,) = append(again)
    assert later.reading.sequence == 3
    assert later.reading.previous_hash == first[1].reading.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": 4}, "does not follow on reading 2"),
        ({"sequence": 2}, "does not follow on reading 2"),
        ({"previous_hash": bytes(32)}, "does not follow"),
        ({"time_s": 1999}, "the time of reading 3 falls from 2000 to 1999"),
        ({"import_wh": 13}, "the import register of reading 3 falls from 14 to 13"),
        ({"export_wh": 5}, "the export register of reading 3 falls"),
    ],
)
def test_what_does_not_continue_the_chain_is_refused(outbox: Outbox, changes: dict[str, object], message: str) -> None:
    append(outbox, 2)
    head = outbox.head()
    assert head is not None
    wrong: Reading = replace(reading_after(head).reading, **changes)  # type: ignore[arg-type]
    with pytest.raises(InvalidReading, match=message):
        outbox.append(DOMAIN.sign(wrong, KeySigner(KEY)), b"")
    assert outbox.head() == head
    assert outbox.count() == 2


def test_nothing_is_signed_before_the_ledger_was_asked(path: Path) -> None:
    with closing(Outbox.open(path, DOMAIN, METER)) as new:
        assert new.head() is None
        with pytest.raises(RuntimeError, match="before the ledger was asked"):
            new.append(reading_after(first_head()), b"")


def test_settling_takes_out_what_was_accepted_and_nothing_else(outbox: Outbox) -> None:
    made = append(outbox, 5)
    settlement = outbox.settle([made[0].reading, made[1].reading], 77)
    assert (settlement.deleted, settlement.foreign, settlement.superseded) == (2, (), ())
    assert outbox.waiting(0, 10) == made[2:]
    assert outbox.confirmed_block() == 77
    again = outbox.settle([made[0].reading], 78)
    assert (again.deleted, again.foreign, again.superseded) == (0, (), ())


def test_readings_that_were_passed_over_are_kept(outbox: Outbox) -> None:
    made = append(outbox, 4)
    settlement = outbox.settle([made[2].reading], 5)
    assert settlement.superseded == (1, 2)
    assert [stored.signed for stored in outbox.quarantined(9)] == made[:2]
    assert outbox.waiting(0, 9) == made[3:]
    assert (outbox.count(), outbox.count_quarantined()) == (3, 2)


def test_another_reading_under_our_sequence_is_foreign(outbox: Outbox) -> None:
    made = append(outbox, 2)
    foreign = replace(made[0].reading, import_wh=8)
    settlement = outbox.settle([foreign], 5)
    assert settlement.foreign == (1,)
    assert settlement.deleted == 0
    assert outbox.count() == 2


def test_growth_is_bounded_and_loses_no_energy(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_READINGS", 3)
    made = append(outbox, 3)
    with pytest.raises(OutboxFullError):
        append(outbox)
    outbox.settle([made[0].reading], 9)
    (later,) = append(outbox)
    assert later.reading.sequence == 4


def test_transactions_are_kept_until_forgotten(outbox: Outbox) -> None:
    huge = 2**200
    stored = [OutgoingTransaction(nonce, METER, bytes([nonce]) * 32, b"raw", 1, 2, huge) for nonce in (5, 3)]
    for one in stored:
        outbox.store_transaction(one)
    assert outbox.transactions() == [stored[1], stored[0]]
    outbox.store_transaction(replace(stored[0], raw=b"other"))
    outbox.forget_transactions([3])
    assert outbox.transactions() == [replace(stored[0], raw=b"other")]


def test_second_daemon_is_refused(outbox: Outbox, path: Path) -> None:
    with pytest.raises(UserError, match="another meter daemon already uses the outbox"):
        Outbox.open(path, DOMAIN, METER)
    outbox.close()
    Outbox.open(path, DOMAIN, METER).close()


@pytest.mark.parametrize(
    ("domain", "meter"),
    [(ReadingDomain(6, DOMAIN.contract), METER), (ReadingDomain(5, b"\x11" * 20), METER), (DOMAIN, b"\x12" * 20)],
)
def test_outbox_of_another_meter_or_ledger(outbox: Outbox, path: Path, domain: ReadingDomain, meter: bytes) -> None:
    outbox.close()
    with pytest.raises(UserError, match="name another file"):
        Outbox.open(path, domain, meter)
    with pytest.raises(UserError, match="name another file"):
        Outbox.open_for_reading(path, domain, meter)
    Outbox.open(path, DOMAIN, METER).close()


@pytest.mark.parametrize(
    "damage", [b"no database at all, but long enough to be looked at" * 30, b"SQLite format 3\0" * 99]
)
def test_file_that_is_no_database(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    for opening in (open_database, open_for_reading):
        with pytest.raises(UserError, match=r"damaged|another program"):
            opening(path)
    assert path.read_bytes() == damage, "what is not understood is not changed"


def test_damaged_pages_are_found_at_the_start(outbox: Outbox, path: Path) -> None:
    append(outbox, 200)
    outbox.close()
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged .* moves it aside"):
        Outbox.open(path, DOMAIN, METER)


def test_database_of_another_program_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    before = path.read_bytes()
    for opening in (open_database, open_for_reading):
        with pytest.raises(UserError, match="another program"):
            opening(path)
    assert path.read_bytes() == before


def test_outbox_of_a_later_version(outbox: Outbox, path: Path) -> None:
    outbox.database.connection.execute("PRAGMA user_version = 99")
    outbox.close()
    with pytest.raises(UserError, match="has format 99"):
        open_database(path)


def test_altered_values_are_named(outbox: Outbox) -> None:
    append(outbox)
    with outbox.database.transaction() as connection:
        connection.execute("UPDATE readings SET flags = 999999")
    with pytest.raises(UserError, match="was altered"):
        outbox.waiting(0, 1)


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot use the outbox"):
        open_database(tmp_path / "file" / "outbox.sqlite")
    with pytest.raises(OutboxNotReady, match="there is no outbox"):
        open_for_reading(tmp_path / "absent.sqlite")
    (tmp_path / "begun.sqlite").touch()  # a daemon has opened it, and not written its tables yet
    with pytest.raises(OutboxNotReady, match="there is no outbox"):
        open_for_reading(tmp_path / "begun.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot open the outbox"):
        open_database(tmp_path / "folder")


def test_full_disk_is_said_and_changes_nothing(outbox: Outbox) -> None:
    append(outbox, 2)
    pages = outbox.database.connection.execute("PRAGMA page_count").fetchone()[0]
    outbox.database.connection.execute(f"PRAGMA max_page_count = {pages}")
    head = outbox.head()
    with pytest.raises(UserError, match="THE DISK IS FULL"):
        append(outbox, 2000)
    after = outbox.head()
    assert head is not None
    assert after is not None
    assert after.sequence == outbox.count() >= head.sequence


def test_journal_of_switchings_is_bounded(outbox: Outbox) -> None:
    journal = SwitchJournal(outbox.database)
    assert journal.last() is None
    first, second = Switching(1, 5, True, "Restored"), Switching(2, None, False, "no ledger")
    journal.record(first)
    journal.record(second)
    assert journal.newest(5) == [second, first]
    with outbox.database.transaction() as connection:
        connection.execute("UPDATE switchings SET id = ? WHERE id = 2", (MAX_SWITCHINGS,))
    journal.record(first)
    assert journal.newest(5) == [first, second]
