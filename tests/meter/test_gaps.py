"""Gaps in the meter's database: each is there, none twice, and a bad line does not wear the card out."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import meter.gaps as gaps_module
from meter.database import Database, open_database
from meter.gaps import MAX_WAITING, Gap, GapJournal


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "outbox.sqlite")) as opened:
        yield opened


def test_a_gap_is_listed_while_it_lasts_and_when_it_is_over(database: Database) -> None:
    journal = GapJournal(database)
    journal.end(50)
    journal.begin(100, "the board\nis unplugged")
    journal.begin(120, "something else")
    assert journal.newest(9) == []
    journal.flush()
    assert journal.newest(9) == [Gap(100, None, "the board is unplugged")]
    journal.end(160)
    journal.flush()
    journal.flush()
    assert journal.newest(9) == [Gap(100, 160, "the board is unplugged")]
    journal.begin(200, "again")
    journal.end(210)
    journal.flush()
    assert journal.newest(9) == [Gap(200, 210, "again"), Gap(100, 160, "the board is unplugged")]


def test_it_goes_on_over_a_restart(database: Database) -> None:
    journal = GapJournal(database)
    journal.begin(100, "unplugged")
    journal.flush()
    journal = GapJournal(database)
    journal.begin(100, "the program was not running")
    journal.end(300)
    journal.flush()
    assert journal.newest(9) == [Gap(100, 300, "unplugged")]


def test_gaps_that_touch_are_one(database: Database) -> None:
    journal = GapJournal(database)
    journal.begin(100, "unplugged")
    journal.end(160)
    journal.flush()
    # A power cut: the state that was kept is older than the end of that gap.
    journal = GapJournal(database)
    journal.begin(150, "no power")
    journal.end(900)
    journal.flush()
    assert journal.newest(9) == [Gap(100, 900, "unplugged")]


def test_a_line_that_fails_all_the_time_is_put_together(database: Database) -> None:
    journal = GapJournal(database)
    for number in range(10 * MAX_WAITING):
        journal.begin(100 * number, "noise")
        journal.end(100 * number + 50)
    journal.flush()
    found = journal.newest(1000)
    assert len(found) == MAX_WAITING
    assert found[-1] == Gap(0, 50, "noise")
    assert found[0].until_s == 100 * (10 * MAX_WAITING - 1) + 50


def test_gaps_of_a_time(database: Database) -> None:
    journal = GapJournal(database)
    for begin_s in (100, 300, 500):
        journal.begin(begin_s, "x")
        if begin_s < 500:
            journal.end(begin_s + 50)
    journal.flush()
    assert [gap.from_s for gap in journal.between(150, 300)] == []
    assert [gap.from_s for gap in journal.between(140, 301)] == [100, 300]
    assert [gap.from_s for gap in journal.between(10_000, 20_000)] == [500]


def test_old_ones_make_room(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps_module, "MAX_GAPS", 3)
    journal = GapJournal(database)
    for number in range(5):
        journal.begin(100 * number, "x" * 1000)
        journal.end(100 * number + 50)
        journal.flush()
    found = journal.newest(9)
    assert [gap.from_s for gap in found] == [400, 300, 200]
    assert found[0].reason == "x" * (gaps_module.MAX_REASON_CHARS - 4) + " ..."
