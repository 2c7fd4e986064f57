"""What counts as a switching, and what is left of a long life."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meter.database import open_database
from meter.switch_journal import MAX_SWITCHINGS, Switching, SwitchJournal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SwitchJournal]:
    with closing(open_database(tmp_path / "outbox.sqlite")) as database:
        yield SwitchJournal(database)


def order(time_s: int) -> Switching:
    return Switching(time_s, None, True, "override on by eve", is_order=True)


def test_an_order_is_no_switching(journal: SwitchJournal) -> None:
    journal.record(order(1))
    assert (journal.newest(9), journal.last()) == ([], None)
    on, off = Switching(2, 5, True, "a top-up"), Switching(4, None, False, "no ledger")
    for one in (on, order(3), off, order(5)):
        journal.record(one)
    assert journal.newest(9) == [off, on]
    assert journal.newest(1) == [off]
    assert journal.newest(9, with_orders=True) == [order(5), off, order(3), on, order(1)]
    assert journal.last() == off


def test_the_last_switching_outlives_any_number_of_orders(
    journal: SwitchJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_SWITCHINGS > 1000
    monkeypatch.setattr("meter.switch_journal.MAX_SWITCHINGS", 3)
    for number in range(3):
        journal.record(Switching(number, number, number % 2 == 0, "the ledger"))
    for number in range(10, 20):
        journal.record(order(number))
    assert journal.newest(9) == [Switching(2, 2, True, "the ledger")]
    assert len(journal.newest(99, with_orders=True)) == 4
