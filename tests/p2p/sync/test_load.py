"""Who may be asked for more: not one that is late, has nothing, or is busy enough."""

from p2p.limits import EMPTY_HANDED_S
from p2p.sync.load import Load, is_late


def test_a_peer_that_is_late_gets_no_more_and_its_questions_do_not_count() -> None:
    load = Load(10.0, [100.0])
    assert load.is_free(109.0, 2)
    assert not load.is_free(109.0, 1)
    assert not load.is_free(110.0, 2)
    load.since_s.append(105.0)
    assert (load.running(109.0), load.running(110.0), load.running(115.0)) == (2, 1, 0)


def test_a_peer_that_had_nothing_rests_for_a_while() -> None:
    load = Load(10.0)
    load.came_empty(50.0)
    assert not load.is_free(50.0, 1)
    assert load.is_free(50.0 + EMPTY_HANDED_S, 1)


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    load = Load(10.0, [1_000.0])
    load.came_empty(1_000.0)
    assert is_late(1_000.0, 10.0, 10.0)
    assert not load.has_nothing(10.0)


def test_whoever_failed_is_asked_last() -> None:
    busy, failing = Load(10.0, [1.0, 2.0]), Load(10.0, failures=1)
    assert busy.rank < failing.rank
