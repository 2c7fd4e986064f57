"""Work in a thread that can be stopped from outside: what makes a runaway eth_call harmless.

Gas bounds a call, but some gas is slow: pairings or rounds of BLAKE2 in Python can take minutes within the gas of one
block. Asking for the time in the interpreter's loop would slow every block down, so the thread is interrupted instead
(PyThreadState_SetAsyncExc): the exception comes between two Python instructions, like a keyboard interrupt.
Only for work that reads; whatever it holds must be released by `finally`.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")


class TimeLimitExceeded(Exception):
    """The work was stopped."""


class Stoppable(Generic[A, T]):
    """One function that is run once, in any thread, and can be stopped from any other."""

    def __init__(self, function: Callable[[A], T]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._is_stopped = False
        self._thread_id: int | None = None

    def run(self, argument: A) -> T:
        """The function's answer. Raises TimeLimitExceeded when stopped before or while it ran."""
        try:
            with self._lock:
                if self._is_stopped:
                    raise TimeLimitExceeded
                self._thread_id = threading.get_ident()
            try:
                return self._function(argument)
            finally:
                self._leave()
        except _Interrupt:
            # Comes at most once, and not later than here: stop() acts once, _leave() takes back what is not delivered.
            raise TimeLimitExceeded from None

    def stop(self) -> None:
        """Interrupt the function if it runs, prevent it if it does not yet; nothing after it has ended."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            if self._thread_id is not None:
                _raise_in(self._thread_id, _Interrupt)

    def _leave(self) -> None:
        with self._lock:
            if self._is_stopped and self._thread_id is not None:
                _raise_in(self._thread_id, None)
            self._thread_id = None


class _Interrupt(BaseException):
    """No Exception, so that nothing on the way takes it for a failure it may handle."""


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), exception)
