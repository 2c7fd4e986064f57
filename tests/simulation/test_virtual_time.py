"""The loop that makes its own time: order, jumps, deadlocks, and lives that end in the middle of a sentence."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.simulation.virtual_time import (
    START_S,
    Deadlock,
    Life,
    Livelock,
    PowerCut,
    SimulatedClock,
    VirtualLoop,
    current_life,
)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    if not loop.is_closed():
        loop.close()


def run(loop: VirtualLoop, work: Coroutine[Any, Any, Any], limit_s: float = 1e9) -> Any:
    task = loop.create_task(work)
    try:
        assert loop.run_while_pending(task, limit_s)
    except BaseException:
        task.cancel()
        loop.clear_up([])
        raise
    return task.result()


def test_a_year_takes_no_time_and_timers_fire_in_order(loop: VirtualLoop) -> None:
    fired: list[tuple[str, float]] = []

    async def wait(name: str, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        fired.append((name, loop.time()))

    async def main() -> None:
        await asyncio.gather(wait("year", 31_536_000), wait("second", 1), wait("same second", 1), wait("now", 0))

    run(loop, main())
    assert fired == [("now", 0), ("second", 1), ("same second", 1), ("year", 31_536_000)]


def test_nothing_to_wait_for_is_a_deadlock(loop: VirtualLoop) -> None:
    async def main() -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        run(loop, main())


def test_being_busy_without_end_is_a_livelock(loop: VirtualLoop) -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - this is what has to be noticed
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(loop, main())


def test_a_limit_ends_the_run_and_it_can_be_taken_up_again(loop: VirtualLoop) -> None:
    async def main() -> str:
        await asyncio.sleep(10)
        return "done"

    task = loop.create_task(main())
    assert not loop.run_while_pending(task, 4)
    assert loop.time() == 4
    assert loop.run_while_pending(task, 7)
    assert (task.result(), loop.time()) == ("done", 10)


def test_work_for_a_thread_is_done_here_and_late(loop: VirtualLoop) -> None:
    async def main() -> list[object]:
        work = asyncio.get_running_loop().run_in_executor(None, lambda: (current_life(), loop.time()))
        failing = asyncio.to_thread(int, "no number")
        return await asyncio.gather(work, failing, return_exceptions=True)

    life = Life(loop, "one", work_time_s=lambda: 2.5)

    async def start() -> list[object]:
        return await life.start(main())

    done, failed = run(loop, start())
    assert done == (life, 2.5)
    assert isinstance(failed, ValueError)


def test_a_dead_life_does_nothing_more_not_even_clean_up(loop: VirtualLoop) -> None:
    seen: list[str] = []
    life = Life(loop, "one")

    async def child() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                seen.append("tick")
        finally:
            seen.append("cleaned up")

    async def node() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            loop.call_later(2.5, lambda: seen.append("callback"))

    async def main() -> None:
        life.start(node())
        await asyncio.sleep(2.1)
        life.is_over = True
        await asyncio.sleep(10)

    run(loop, main())
    assert seen == ["tick", "tick"]
    loop.clear_up([life])
    assert seen[2:] == ["cleaned up"]
    assert loop.is_closed()
    assert life.pending_tasks() == []


def test_power_that_fails_within_a_step_ends_it_there_without_trouble(loop: VirtualLoop) -> None:
    seen: list[str] = []
    life = Life(loop, "one")

    async def node() -> None:
        await asyncio.sleep(1)
        life.is_over = True
        raise PowerCut

    async def watch() -> None:
        await life.start(node())
        seen.append("went on")

    async def main() -> None:
        watching = life.start(watch())
        await asyncio.sleep(5)
        assert not watching.done()

    run(loop, main())
    assert (seen, loop.troubles) == ([], [])
    loop.clear_up([life])


def test_what_goes_wrong_in_a_callback_is_collected(loop: VirtualLoop) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(0)

    run(loop, main())
    assert "ValueError" in loop.troubles[0]


def test_clocks_are_off_and_drift(loop: VirtualLoop) -> None:
    clock = SimulatedClock(loop, offset_s=3, rate=2)

    async def main() -> None:
        await clock.sleep_s(10)

    run(loop, main())
    assert loop.time() == 5
    assert clock.time_s() == START_S + 13
    clock.offset_s -= 100
    assert clock.time_s() == START_S - 87


def test_tasks_in_a_set_come_in_the_order_of_their_making(loop: VirtualLoop) -> None:
    async def main() -> list[int]:
        tasks = {asyncio.ensure_future(asyncio.sleep(1, number)) for number in range(50)}
        done, _ = await asyncio.wait(tasks)
        return [task.result() for task in done]

    first = run(loop, main())
    second_loop = VirtualLoop()
    assert run(second_loop, main()) == first
    second_loop.close()
