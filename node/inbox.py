"""Events that wait for the chain thread, in the order in which they came.

What the node itself says is never dropped, and is little. Messages of the consensus come from peers, who may repeat,
garble or make them up: each peer fills its own place only, and the same bytes wait once, whoever brings them. What is
dropped will be repeated by whoever has said it.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

from chain.consensus.qbft.events import Event, MessageReceived
from chain.consensus.qbft.messages import Message
from p2p.identity import NodeId

MAX_WAITING_OF_PEER = 512
"""Messages that one peer brought. While the chain thread executes a full block a peer may pass on all that 128
validators say in a round, which is 257 messages, and then the next round's."""


@dataclass(frozen=True, slots=True)
class _Brought:
    """Who brought a message that waits, and what it takes of that peer's place."""

    origin: NodeId
    digest: bytes
    size_bytes: int


class EventInbox:
    """For one event loop."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[tuple[Event | None, _Brought | None]] = asyncio.Queue()
        self._is_head_waiting = False
        self._digests: set[bytes] = set()
        self._count_of: Counter[NodeId] = Counter()
        self._bytes_of: Counter[NodeId] = Counter()

    def __len__(self) -> int:
        return self._events.qsize()

    def put(self, event: Event) -> None:
        """Of this node itself."""
        self._events.put_nowait((event, None))

    def put_head(self) -> None:
        """The head may have moved. Said once, however often it moves before anybody looks."""
        if not self._is_head_waiting:
            self._is_head_waiting = True
            self._events.put_nowait((None, None))

    def put_message(self, message: Message, data: bytes, origin: NodeId, max_bytes: int) -> bool:
        """What a peer brought; False, and dropped, where it waits already, or too much of that peer does.

        `data` is the message's encoding; of one peer no more than `max_bytes` wait, or a single message.
        """
        waiting_bytes = self._bytes_of[origin]
        if self._count_of[origin] >= MAX_WAITING_OF_PEER or (waiting_bytes and waiting_bytes + len(data) > max_bytes):
            return False
        digest = blake2b(data, digest_size=16).digest()
        if digest in self._digests:
            return False
        self._digests.add(digest)
        self._count_of[origin] += 1
        self._bytes_of[origin] += len(data)
        self._events.put_nowait((MessageReceived(message), _Brought(origin, digest, len(data))))
        return True

    async def get(self) -> Event | None:
        """The next event; None stands for whatever is the head by then."""
        event, brought = await self._events.get()
        if event is None:
            self._is_head_waiting = False
        if brought is not None:
            self._digests.discard(brought.digest)
            _subtract(self._count_of, brought.origin, 1)
            _subtract(self._bytes_of, brought.origin, brought.size_bytes)
        return event


def _subtract(counts: Counter[NodeId], origin: NodeId, amount: int) -> None:
    counts[origin] -= amount
    if not counts[origin]:
        del counts[origin]
