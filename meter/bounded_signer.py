"""A key that may take its time, or hang: its signatures are made in a thread of their own, and nobody waits long.

A secure element takes milliseconds, or a second on a busy bus, and now and then its library never comes back. A meter
measures every second meanwhile. So whoever asks gets the signature where it is there within a moment, and SignerBusy
where it is not; who asks for the same once more later gets it then. Signatures are made in the order of asking.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from meter.signer import Signer, SignerBusy, SignerUnavailable
from primitives.errors import UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 0.25
"""A meter's samples wait so long at most, of the second or five between two."""
OPEN_PATIENCE_S = 15.0
"""At the start of the program, where nothing is measured yet; readers on a USB bus take seconds."""
COMMAND_PATIENCE_S = 60.0
"""A person waits for an answer."""
HANGS_S = 3600.0
"""Nothing but a new start of the program gets a thread out of a library that does not come back."""
MAX_KEPT = 16
"""Signatures that were asked for: of a reading, of the outbox's head, of transactions."""

Signed = tuple[int, int, int]


class WorkerThread:
    """One thread that does one thing after another. A daemon thread: one that hangs does not keep a program alive."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._busy_since_s: float | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def do(self, job: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return future

    def end(self) -> None:
        """Once it has done what it was given."""
        self._jobs.put(None)

    @property
    def busy_s(self) -> float:
        """How long it has been at what it is doing now."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, future = entry
            self._busy_since_s = time.monotonic()
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                future.set_exception(error)
            self._busy_since_s = None


def do_within(name: str, job: Callable[[], T], patience_s: float = COMMAND_PATIENCE_S) -> T:
    """For a person's command. Raises SignerUnavailable where it takes longer, and what the job raises."""
    worker = WorkerThread(name)
    future = worker.do(job)
    worker.end()
    try:
        return future.result(patience_s)
    except TimeoutError as error:
        raise SignerUnavailable(
            f"{name} has not answered within {patience_s:.0f} s: unplug it, plug it in again, and look by its maker's "
            "program what became of it"
        ) from error


class BoundedSigner:
    """`Signer` around one that is opened, and signs, in a thread."""

    def __init__(
        self, address: bytes, name: str, open_signer: Callable[[], Signer], patience_s: float = PATIENCE_S
    ) -> None:
        """Waits for the opening, but not for ever. Raises what `open_signer` raises within that time."""
        self.address = address
        self._name = name
        self._patience_s = patience_s
        self._worker = WorkerThread(name)
        self._signatures: dict[bytes, Future[Signed]] = {}
        self._opening = self._worker.do(open_signer)
        try:
            self._opening.result(OPEN_PATIENCE_S)
        except TimeoutError:
            logger.warning("%s does not answer yet; readings are signed as soon as it does", name)
        except BaseException:
            self._worker.end()
            raise

    def sign(self, message_hash: bytes) -> Signed:
        """(y_parity, r, s). Raises SignerBusy where it takes longer, SignerUnavailable, and what the signer raises."""
        future, patience_s = self._signatures.get(message_hash), 0.0
        if self._worker.busy_s > HANGS_S and (future is None or not future.done()):
            raise UserError(f"{self._name} has hung for an hour: only another start of the meter gets out of that")
        if future is None:
            patience_s = 0.0 if self._unfinished() else self._patience_s
            future = self._begin(message_hash)
        try:
            return future.result(patience_s)
        except TimeoutError as error:
            raise SignerBusy(f"{self._name} has not answered yet") from error
        except BaseException:
            del self._signatures[message_hash]
            raise

    def _begin(self, message_hash: bytes) -> "Future[Signed]":
        if len(self._unfinished()) >= MAX_KEPT:
            raise SignerUnavailable(f"{self._name} does not answer")
        while len(self._signatures) >= MAX_KEPT:
            del self._signatures[next(key for key, future in self._signatures.items() if future.done())]
        opening = self._opening
        self._signatures[message_hash] = future = self._worker.do(lambda: opening.result().sign(message_hash))
        return future

    def _unfinished(self) -> list[bytes]:
        return [key for key, future in self._signatures.items() if not future.done()]
