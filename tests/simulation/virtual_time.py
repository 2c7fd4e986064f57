"""Time that is made, not waited for: an event loop that jumps to the next timer, and clocks that go wrong.

Everything runs in one thread. What a node hands to another thread is done in this one, after a delay that the
simulation chooses. Tasks and callbacks belong to a life of a node; when that is over they never run again, not even to
clean up: that is what a power cut does.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1_700_000_000
"""What a right clock shows at the beginning, in Unix seconds."""

MAX_STEPS_AT_ONCE = 200_000
"""Callbacks without any time passing: more never end."""

CLEAR_UP_ROUNDS = 1_000
"""Steps that the longest clean-up of a task may take."""

FIRST_PRUNING = 64
"""Tasks a life gathers before those that have ended are forgotten for the first time."""


class Deadlock(AssertionError):
    """Everybody waits, and nothing is going to happen."""


class Livelock(AssertionError):
    """Somebody is busy for ever, and no time passes."""


class PowerCut(BaseException):
    """Raised inside a node when its power fails in the middle of what it does; nothing that it does then counts."""


class Life:
    """One run of a node, from power on to power cut."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, name: str, work_time_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.name = name
        self.is_over = False
        self.is_honest = True
        self.work_time_s = work_time_s
        """How long the next piece of work takes that the node hands to a thread."""
        self.power: object = None
        """What keeps its databases running (power.py), if anything."""
        self._loop = loop
        self.parked: list[asyncio.Handle] = []
        """What was still to be run when the power failed."""
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = FIRST_PRUNING

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task of this life; whatever it starts belongs to the life too."""
        return self._loop.create_task(work, context=self._context())

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call the function within this life, as for a call from outside."""
        return self._context().run(function, *arguments)

    def _context(self) -> Context:
        context = copy_context()
        context.run(_LIFE.set, self)
        return context

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Hold on to it: no coroutine of a dead node may be cleared away, which would run its `finally` parts."""
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._tasks = [kept for kept in self._tasks if not kept.done()]
            self._prune_at = 2 * len(self._tasks) + FIRST_PRUNING

    def pending_tasks(self) -> "list[asyncio.Task[Any]]":
        return [task for task in self._tasks if not task.done()]


_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def current_life() -> Life | None:
    """Whose code is running."""
    return _LIFE.get()


class SimulatedClock:
    """A node's clock: `offset_s` ahead of the right time at the beginning, and faster by the factor `rate`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offset_s: float = 0.0, rate: float = 1.0) -> None:
        self.offset_s = offset_s
        """May be changed: somebody set the clock."""
        self._loop = loop
        self._rate = rate

    def time_s(self) -> int:
        return int(self.precise_time_s())

    def precise_time_s(self) -> float:
        return START_S + self.offset_s + self._loop.time() * self._rate

    async def sleep_s(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s / self._rate)


class _Task(asyncio.Task[Any]):
    """The order of a set depends on the hashes, and they must not depend on where in memory a task lies."""

    def __init__(self, work: Coroutine[Any, Any, Any], *, serial: int, **settings: Any) -> None:
        self._serial = serial
        super().__init__(work, **settings)

    def __hash__(self) -> int:
        return self._serial


class _Future(asyncio.Future[Any]):
    def __init__(self, serial: int, loop: asyncio.AbstractEventLoop) -> None:
        self._serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets whose time passes only when nobody has anything left to do."""

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
        self.steps = 0
        """Callbacks run so far."""
        self.troubles: list[str] = []
        """What was reported to the loop's exception handler; nothing is while all is well."""
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = 0
        self._steps_now = 0
        self._stop_at_s: float | None = None
        self._is_clearing_up = False
        self.set_exception_handler(_collect_trouble)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now_s

    def run_while_pending(self, future: "asyncio.Future[Any]", limit_s: float) -> bool:
        """Run until the future is done, for so long at most; whether it is done."""
        self._stop_at_s = self._now_s + limit_s
        future.add_done_callback(_stop_loop)
        try:
            self.run_forever()
        finally:
            future.remove_done_callback(_stop_loop)
            self._stop_at_s = None
        return future.done()

    def clear_up(self, lives: list[Life]) -> None:
        """End everything that was begun, the dead included, and close the loop. What happens then means nothing."""
        self._is_clearing_up = True
        for _ in range(CLEAR_UP_ROUNDS):
            tasks = [task for life in lives for task in life.pending_tasks()]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            for life in lives:
                self._ready.extend(life.parked)
                life.parked.clear()
            self.call_soon(self.stop)
            self.run_forever()
        self.troubles.clear()
        self.close()

    def create_future(self) -> "asyncio.Future[Any]":
        self._serial += 1
        return _Future(self._serial, self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **more: Any
    ) -> "asyncio.Task[Any]":
        self._serial += 1
        task = _Task(coro, loop=self, name=name, context=context, serial=self._serial, **more)
        life = _LIFE.get() if context is None else context.get(_LIFE)
        if life is not None:
            life.keep(task)
        return task

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, timer))
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Do it in this thread, at once, when another thread would have been through with it."""
        answer: asyncio.Future[T] = self.create_future()
        life = _LIFE.get()
        self.call_later(0.0 if life is None else life.work_time_s(), _work, answer, func, args)
        return answer

    def _run_once(self) -> None:
        """The heart of the loop: let time pass where nothing else can happen, then run what is ready."""
        ready, timers = self._ready, self._timers
        if not ready and not self._stopping:
            self._pass_time()
        while timers and timers[0][0] <= self._now_s:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            life = _life_of(handle)
            if handle.cancelled():
                continue
            if life is not None and life.is_over and not self._is_clearing_up:
                life.parked.append(handle)
                continue
            self.steps += 1
            self._steps_now += 1
            handle._run()  # type: ignore[attr-defined]
        if self._steps_now > MAX_STEPS_AT_ONCE and not self._is_clearing_up:
            raise Livelock(f"{self._steps_now} callbacks, and no time has passed")

    def _pass_time(self) -> None:
        timers = self._timers
        while timers and _is_void(timers[0][2]):
            heapq.heappop(timers)
        if not timers:
            raise Deadlock("nobody is ready, and nothing is scheduled")
        next_s = timers[0][0]
        if self._stop_at_s is not None and next_s > self._stop_at_s:
            next_s = self._stop_at_s
            self.stop()
        if next_s > self._now_s:
            self._now_s = next_s
            self._steps_now = 0

    def _write_to_self(self) -> None:
        """There is no selector to be woken."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""


def _life_of(handle: asyncio.Handle) -> Life | None:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context.get(_LIFE)


def _is_void(timer: asyncio.TimerHandle) -> bool:
    life = _life_of(timer)
    return timer.cancelled() or (life is not None and life.is_over)


def _work(answer: "asyncio.Future[T]", function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    if answer.done():  # given up before it was begun
        return
    try:
        answer.set_result(function(*arguments))
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever waits
        answer.set_exception(error)


def _stop_loop(future: "asyncio.Future[Any]") -> None:
    future.get_loop().stop()


def _collect_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualLoop)
    error = context.get("exception")
    if not isinstance(error, PowerCut):
        loop.troubles.append(f"{context.get('message')}: {error!r}")
