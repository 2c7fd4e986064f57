"""Progress is told to whoever watches, else to the log, now and then."""

import logging

import pytest

from p2p.limits import SYNC_LOG_INTERVAL_S
from p2p.sync.progress import Phase, ProgressBoard, SyncProgress
from primitives.clock import ManualClock


def test_every_change_is_told_and_nothing_that_is_none() -> None:
    board, seen = ProgressBoard(ManualClock()), list[SyncProgress]()
    unsubscribe = board.subscribe(seen.append)
    board.update(phase=Phase.BLOCKS, current_block=1, highest_block=9)
    board.update(current_block=1)
    board.update(current_block=2)
    assert [one.current_block for one in seen] == [1, 2]
    unsubscribe()
    board.update(current_block=3)
    assert len(seen) == 2


def test_where_nobody_watches_there_is_a_line_in_the_log_at_times(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    board = ProgressBoard(clock)
    with caplog.at_level(logging.INFO, "p2p.sync.progress"):
        for number in range(4 * int(SYNC_LOG_INTERVAL_S)):
            board.update(phase=Phase.BLOCKS, current_block=number, highest_block=1_000)
            clock.advance_s(1)
        board.update(phase=Phase.STATE, accounts=5, state_share=0.5)
        unsubscribe = board.subscribe(lambda _: None)
        clock.advance_s(100)
        board.update(accounts=6)
        unsubscribe()
    assert [record.message for record in caplog.records] == [
        "executing blocks: block 8 of 1000",
        "executing blocks: block 16 of 1000",
        "executing blocks: block 24 of 1000",
        "fetching the state: block 31 of 1000, 50%, 5 accounts",
    ]


def test_what_takes_a_moment_leaves_no_line(caplog: pytest.LogCaptureFixture) -> None:
    board = ProgressBoard(ManualClock())
    with caplog.at_level(logging.INFO, "p2p.sync.progress"):
        board.update(phase=Phase.HEADERS)
        board.update(phase=Phase.NOTHING)
    assert not caplog.records
