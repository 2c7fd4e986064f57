"""What one machine sends another on one connection: in order, late, and not at all while the way is cut.

Where a way is cut, what is sent waits; when it is open again, the wait goes on for as long as it took already, as TCP
repeats itself less and less often.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.host import Host

if TYPE_CHECKING:
    from tests.simulation.network import SimulatedNetwork

GIVING_UP_S = (3.0, 40.0)
"""After so long without a way the sender's system may say that there is none."""
GIVES_UP = 0.5
"""Probability that it ever does; otherwise the node itself has to notice."""
MAX_BACKOFF_S = 120.0
"""Linux sends again at least that often."""


class Way:
    """What one machine sends another on one connection, in order."""

    def __init__(
        self, network: "SimulatedNetwork", sender: Host, receiver: Host, give_up: Callable[[], None] | None = None
    ) -> None:
        """`give_up` is called where the sender's system says that the receiver cannot be reached."""
        self._network = network
        self._sender = sender
        self._receiver = receiver
        self._give_up = give_up
        self._queue: deque[tuple[float, Callable[[], object]]] = deque()
        self._number = network.number_of_way()
        self._stalled_since_s: float | None = None
        self._is_awake = False

    def send(self, deliver: Callable[[], object], size: int = 0) -> None:
        network = self._network
        due_s = network.loop.time() + network.delay_s(size)
        if self._queue:
            due_s = max(due_s, self._queue[-1][0])
        self._queue.append((due_s, deliver))
        if not self._is_awake and self._stalled_since_s is None:
            self._wake_in(due_s - network.loop.time())

    def end(self) -> None:
        """Nothing more gets through."""
        self._queue.clear()
        self._network.stalled.pop(self._number, None)

    def try_again(self) -> None:
        network = self._network
        if self._stalled_since_s is None or network.is_cut(self._sender, self._receiver):
            return
        waited_s = min(network.loop.time() - self._stalled_since_s, MAX_BACKOFF_S)
        self._stalled_since_s = None
        network.stalled.pop(self._number, None)
        self._wake_in(network.random.uniform(0.0, waited_s))

    def _wake_in(self, delay_s: float) -> None:
        self._is_awake = True
        self._network.later(delay_s, self._arrive)

    def _arrive(self) -> None:
        self._is_awake = False
        network = self._network
        if not self._queue:
            return
        if network.is_cut(self._sender, self._receiver):
            self._stalled_since_s = network.loop.time()
            network.stalled[self._number] = self
            if self._give_up is not None and network.happens(GIVES_UP):
                since_s = self._stalled_since_s
                network.later(network.random.uniform(*GIVING_UP_S), lambda: self._no_way(since_s))
            return
        now_s = network.loop.time()
        while self._queue and self._queue[0][0] <= now_s:
            self._queue.popleft()[1]()
        if self._queue:
            self._wake_in(self._queue[0][0] - now_s)

    def _no_way(self, since_s: float) -> None:
        if self._stalled_since_s == since_s and self._give_up is not None:
            self.end()
            self._give_up()
