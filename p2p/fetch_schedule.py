"""Who is asked for what was announced: each item of one peer at a time, and of another where that one fails.

Pure bookkeeping; it neither waits nor sends. Items are hashes of transactions or blocks.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from p2p.identity import NodeId


@dataclass(slots=True)
class _Wanted:
    announcers: dict[NodeId, None] = field(default_factory=dict)
    asked: NodeId | None = None


class FetchSchedule:
    """What is wanted, who announced it, who is being asked."""

    def __init__(self, max_of_peer: int) -> None:
        self._max_of_peer = max_of_peer
        self._wanted: dict[bytes, _Wanted] = {}
        self._of_peer: dict[NodeId, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, item: bytes) -> bool:
        return item in self._wanted

    def announced(self, node_id: NodeId, items: Iterable[bytes]) -> int:
        """A peer has these. How many were ignored, because more of its own wait than a peer may have waiting."""
        of_peer = self._of_peer.setdefault(node_id, {})
        ignored = 0
        for item in items:
            if item in of_peer:
                continue
            if len(of_peer) >= self._max_of_peer:
                ignored += 1
                continue
            of_peer[item] = None
            self._wanted.setdefault(item, _Wanted()).announcers[node_id] = None
        return ignored

    def take(self, node_id: NodeId, count: int, busy: Container[bytes] = ()) -> list[bytes]:
        """Up to `count` items to ask this peer for, the oldest first, and none of the busy ones, which may have come
        another way; nobody else is asked for them meanwhile."""
        taken: list[bytes] = []
        for item in self._of_peer.get(node_id, ()):
            if len(taken) == count:
                break
            wanted = self._wanted[item]
            if wanted.asked is None and item not in busy:
                wanted.asked = node_id
                taken.append(item)
        return taken

    def failed(self, node_id: NodeId, items: Iterable[bytes]) -> None:
        """The peer did not deliver these: it is not asked for them again, others that announced them may be."""
        for item in items:
            self._remove_announcer(node_id, item)

    def settle(self, item: bytes) -> None:
        """It is here, or is not wanted any more."""
        wanted = self._wanted.pop(item, None)
        for node_id in wanted.announcers if wanted else ():
            del self._of_peer[node_id][item]

    def forget_peer(self, node_id: NodeId) -> None:
        for item in self._of_peer.pop(node_id, {}):
            self._remove_announcer(node_id, item)

    def _remove_announcer(self, node_id: NodeId, item: bytes) -> None:
        self._of_peer.get(node_id, {}).pop(item, None)
        wanted = self._wanted.get(item)
        if wanted is None:
            return
        wanted.announcers.pop(node_id, None)
        if wanted.asked == node_id:
            wanted.asked = None
        if not wanted.announcers:
            del self._wanted[item]
