"""A full disk: what is worth a meter's end, which is nothing, and what is only left out until there is space again."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meter.database import Database, DiskFull, open_database
from meter.gaps import GapJournal
from meter.kept_values import KeptValues
from meter.relay_store import RelayStore
from meter.switch_journal import Switching, SwitchJournal

LONG = "x" * 30_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "outbox.sqlite")) as opened:
        yield opened


def fill(database: Database) -> None:
    """No page more than there is."""
    pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count = {pages}")


def make_space(database: Database) -> None:
    database.connection.execute("PRAGMA max_page_count = 100000")


def test_a_full_disk_is_an_error_of_its_own(database: Database) -> None:
    fill(database)
    with pytest.raises(DiskFull, match="THE DISK IS FULL"), database.transaction() as connection:
        connection.execute("INSERT INTO kept_values VALUES ('name', ?)", (LONG,))


def keep_value(database: Database) -> Callable[[], object]:
    kept = KeptValues(database)
    kept.set("name", LONG)
    return lambda: kept.get("name")


def record_switching(database: Database) -> Callable[[], object]:
    journal = SwitchJournal(database)
    journal.record(Switching(1, None, True, LONG))
    return journal.last


@pytest.mark.parametrize("keep", [keep_value, record_switching])
def test_what_is_left_out_is_told_once(
    database: Database, caplog: pytest.LogCaptureFixture, keep: Callable[[Database], Callable[[], object]]
) -> None:
    fill(database)
    for _ in range(3):
        assert keep(database)() is None
    assert caplog.text.count("THE DISK IS FULL") == 1
    make_space(database)
    assert keep(database)() is not None


def test_what_a_relay_remembers_is_written_as_soon_as_there_is_space(database: Database) -> None:
    store = RelayStore(database)
    fill(database)
    store.put("known account", LONG)
    assert store.get("known account") is None
    make_space(database)
    store.put("known account", LONG)
    assert store.get("known account") == LONG


def test_gaps_wait_for_space(database: Database) -> None:
    gaps = GapJournal(database)
    gaps.begin(100, "y" * 200)
    gaps.flush()
    fill(database)
    gaps.end(200)
    for begin_s in range(300, 300 + 200 * 15, 200):
        gaps.begin(begin_s, "z" * 200)
        gaps.end(begin_s + 100)
        gaps.flush()
    assert len(gaps.newest(100)) < 16
    make_space(database)
    gaps.flush()
    listed = [(gap.from_s, gap.until_s) for gap in reversed(gaps.newest(100))]
    assert listed == [(begin_s, begin_s + 100) for begin_s in range(100, 300 + 200 * 15, 200)]
