"""The peers as synchronisation sees them: what each claims, who was named by gossip, and who rests after a failure.

Claims are worth a question, nothing more. A peer that led nowhere rests, longer each time, so that one that lies about
its chain cannot keep the node from asking the others.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from p2p import limits
from p2p.identity import NodeId
from p2p.session import PeerSession
from primitives.clock import Clock


@dataclass(slots=True, eq=False)
class SyncPeer:
    """One peer, for as long as its session lasts."""

    session: PeerSession
    is_named: bool = False
    """It has shown a block whose ancestors are not here."""
    was_claimed: int = 0
    """The total difficulty that it claimed at the last look: a claim of this moment may be of a block in the import."""
    rests_until_s: float = 0.0
    rest_s: float = 0.0
    """How long it rested last; 0 after a success."""
    failures: int = 0
    """Rounds in a row that led nowhere."""
    is_slow: bool = False
    """Others are asked for headers first."""

    @property
    def claimed_difficulty(self) -> int:
        return self.session.claimed_head.total_difficulty

    @property
    def claimed_number(self) -> int:
        return self.session.claimed_head.number


class SyncPeers:
    """All peers with a session."""

    def __init__(self, clock: Clock, prefers_heavy: bool = False) -> None:
        """`prefers_heavy`: a slow peer with a heavier claim is chosen before a quick one with a lighter."""
        self._clock = clock
        self._prefers_heavy = prefers_heavy
        self._peers: dict[NodeId, SyncPeer] = {}

    def __iter__(self) -> Iterator[SyncPeer]:
        """Those whose session is not ending, in the order of their coming."""
        return (peer for peer in self._peers.values() if not peer.session.is_ending)

    def get(self, node_id: NodeId) -> SyncPeer | None:
        return self._peers.get(node_id)

    def joined(self, session: PeerSession) -> None:
        self._peers[session.node_id] = SyncPeer(session)

    def left(self, session: PeerSession) -> None:
        peer = self._peers.get(session.node_id)
        if peer is not None and peer.session is session:
            del self._peers[session.node_id]

    def best_ahead(self, own_difficulty: int) -> SyncPeer | None:
        """Whom to catch up with: the heaviest claim above our own chain of those that were named or stand by it."""
        return self._best(lambda peer: peer.is_named or peer.was_claimed > own_difficulty < peer.claimed_difficulty)

    def best_above(self, number: int, besides: SyncPeer) -> SyncPeer | None:
        """Another peer that claims to know blocks above this number."""
        return self._best(lambda peer: peer is not besides and peer.claimed_number > number)

    def another_claims_more(self, total_difficulty: int, besides: SyncPeer) -> bool:
        """Whether another peer, resting or not, claims a heavier chain than this, and may yet prove it."""
        others = (peer for peer in self if peer is not besides and peer.failures < limits.MAX_IGNORED_FAILURES)
        return any(peer.claimed_difficulty > total_difficulty for peer in others)

    def look(self) -> None:
        """Remember what everybody claims now."""
        for peer in self._peers.values():
            peer.was_claimed = peer.claimed_difficulty

    def failed(self, peer: SyncPeer) -> None:
        """It led nowhere: let it rest, twice as long as the last time."""
        peer.failures += 1
        peer.rest_s = min(max(limits.SYNC_REST_S, 2 * peer.rest_s), limits.MAX_SYNC_REST_S)
        peer.rests_until_s = self._clock.precise_time_s() + peer.rest_s

    def reached(self, peer: SyncPeer) -> None:
        """All that it has is here."""
        peer.is_named = False
        peer.failures = 0
        peer.rest_s = 0.0
        peer.rests_until_s = self._clock.precise_time_s() + limits.MIN_SYNC_INTERVAL_S

    def _best(self, fits: Callable[[SyncPeer], bool]) -> SyncPeer | None:
        now_s = self._clock.precise_time_s()
        candidates = [peer for peer in self if fits(peer) and not self._is_resting(peer, now_s)]
        if self._prefers_heavy:
            return max(candidates, key=lambda peer: (peer.claimed_difficulty, not peer.is_slow), default=None)
        return max(candidates, key=lambda peer: (not peer.is_slow, peer.claimed_difficulty), default=None)

    @staticmethod
    def _is_resting(peer: SyncPeer, now_s: float) -> bool:
        # A clock that was set back must not let a peer rest for years.
        return 0 < peer.rests_until_s - now_s <= limits.MAX_SYNC_REST_S
