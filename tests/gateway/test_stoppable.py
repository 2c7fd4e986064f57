"""Work in a thread that is stopped from outside."""

import threading

import pytest

from gateway.stoppable import Stoppable, TimeLimitExceeded


def test_work_that_ends_by_itself_is_answered() -> None:
    work: Stoppable[int, int] = Stoppable(lambda number: number + 1)
    assert work.run(1) == 2
    work.stop()
    # Nothing is left over that would strike later.
    assert sum(range(1_000)) == 499_500


def test_what_the_work_raises_comes_through() -> None:
    def fail(number: int) -> int:
        raise KeyError(number)

    with pytest.raises(KeyError):
        Stoppable(fail).run(1)


def test_work_stopped_before_it_began_does_not_begin() -> None:
    begun = []
    work: Stoppable[int, None] = Stoppable(begun.append)
    work.stop()
    with pytest.raises(TimeLimitExceeded):
        work.run(1)
    assert not begun


@pytest.mark.parametrize("repetition", range(20))
def test_a_loop_without_end_is_stopped_and_cleans_up(repetition: int) -> None:
    running, released = threading.Event(), threading.Event()

    def forever(_: int) -> None:
        try:
            running.set()
            while True:
                try:
                    sum(range(100))
                except Exception:  # noqa: BLE001 - what the interrupt must get past
                    continue
        finally:
            released.set()

    work: Stoppable[int, None] = Stoppable(forever)
    outcome: list[type[BaseException]] = []

    def run() -> None:
        try:
            work.run(1)
        except TimeLimitExceeded as error:
            outcome.append(type(error))
        # The thread goes on unharmed.
        outcome.append(type(ValueError(sum(range(10_000)))))

    thread = threading.Thread(target=run)
    thread.start()
    running.wait()
    work.stop()
    work.stop()
    thread.join()
    assert released.is_set()
    assert outcome == [TimeLimitExceeded, ValueError]


def test_stopping_just_as_the_work_ends_never_strikes_what_comes_after() -> None:
    """Races the stop against the end, many times: the answer or TimeLimitExceeded, and nothing afterwards."""
    answers = {"answered": 0, "stopped": 0}

    def run_many() -> None:
        for work in works:
            try:
                work.run(30)
                answers["answered"] += 1
            except TimeLimitExceeded:
                answers["stopped"] += 1

    works: list[Stoppable[int, int]] = [Stoppable(lambda number: sum(range(number))) for _ in range(3_000)]
    thread = threading.Thread(target=run_many)
    thread.start()
    for work in works:
        work.stop()
    thread.join()
    assert answers["answered"] + answers["stopped"] == len(works)
