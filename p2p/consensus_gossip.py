"""Messages of the validators' consensus between peers. What they say is not this file's business: bytes come and go.

Validators that are all connected with each other talk directly, and nobody passes anything on. Where one is missing,
its messages ask to be passed on: every node sends them to its other peers, once, after the consensus has found them to
be of a present validator. Nothing here is reliable; the consensus repeats what matters.
"""

from collections.abc import Callable, Collection
from enum import Enum, auto
from hashlib import blake2b
from typing import Protocol

from p2p import limits
from p2p.identity import NodeId
from p2p.messages import AnnounceBlocks, BlockAnnouncement, Consensus
from p2p.rate import TokenBucket
from p2p.reputation import Offence
from p2p.session import PeerSession
from primitives.clock import Clock


class Judgement(Enum):
    """What the consensus thinks of a message."""

    RELEVANT = auto()
    """Of a present validator, for a present height: others may need it too."""
    USELESS = auto()
    """Old, early, or of somebody who is no validator here: nobody's fault."""
    INVALID = auto()
    """No honest node sends or passes this on."""


class Party(Protocol):
    """Who takes part in the consensus, or only watches."""

    def take(self, data: bytes, origin: NodeId) -> Judgement:
        """Take in the bytes of a message that this peer said, or passed on; quick."""


class ConsensusGossip:
    """The consensus' link to all peers."""

    def __init__(self, own_node_id: NodeId, clock: Clock, reserve_slots: Callable[[Collection[NodeId]], None]) -> None:
        """`reserve_slots` keeps room for the validators' connections (PeerSet.set_validators)."""
        self._own_node_id = own_node_id
        self._clock = clock
        self._reserve_slots = reserve_slots
        self._party: Party | None = None
        self._validators: frozenset[NodeId] = frozenset()
        self._sessions: dict[NodeId, PeerSession] = {}
        self._rates: dict[NodeId, TokenBucket] = {}
        """How many messages each peer may still send. They grow with the validators, so they have their own count."""
        self._passed_on: dict[bytes, float] = {}
        """Digest of a message to the time when it was passed on, in that order."""

    def serve(self, party: Party) -> None:
        """Whom messages are for."""
        self._party = party

    def set_validators(self, validators: Collection[NodeId]) -> None:
        """Those of the next height."""
        if len(validators) != len(self._validators):
            self._rates.clear()
        self._validators = frozenset(validators)
        self._reserve_slots(self._validators)
        for session in self._sessions.values():
            self._grant(session)

    # Sending

    def broadcast(self, data: bytes) -> None:
        """To all other validators, by way of others where they are not connected."""
        others = self._validators - {self._own_node_id}
        is_direct = others <= self._sessions.keys()
        message = Consensus(not is_direct, data)
        for node_id, session in self._sessions.items():
            if not is_direct or node_id in others:
                session.post(message)

    def send(self, validator: NodeId, data: bytes) -> None:
        """To one validator, by way of others where it is not connected."""
        session = self._sessions.get(validator)
        if session is not None:
            session.post(Consensus(False, data))
            return
        for other in self._sessions.values():
            other.post(Consensus(True, data))

    def show_head(self, validator: NodeId, number: int, block_hash: bytes) -> None:
        """Tell a validator that is behind of this block."""
        if (session := self._sessions.get(validator)) is not None:
            session.post(AnnounceBlocks((BlockAnnouncement(number, block_hash),)))

    # The sessions

    def joined(self, session: PeerSession) -> None:
        self._sessions[session.node_id] = session
        self._grant(session)

    def left(self, session: PeerSession) -> None:
        if self._sessions.get(session.node_id) is session:
            del self._sessions[session.node_id]
            self._rates.pop(session.node_id, None)

    def take_message(self, session: PeerSession, message: Consensus) -> None:
        """A peer sent, or passed on, a message."""
        if self._party is None:
            return
        if not self._rate_of(session).take():
            session.offend(Offence.FLOOD, "too many messages of the consensus")
            return
        judgement = self._party.take(message.data, session.node_id)
        if judgement is Judgement.INVALID:
            session.offend(Offence.INVALID_MESSAGE, "a message of the consensus that no honest node sends")
        elif judgement is Judgement.RELEVANT and message.relay:
            self._pass_on(session, message)

    def _rate_of(self, session: PeerSession) -> TokenBucket:
        rate = self._rates.get(session.node_id)
        if rate is None:
            per_s = limits.MESSAGES_PER_S + limits.CONSENSUS_MESSAGES_PER_VALIDATOR_S * len(self._validators)
            rate = self._rates[session.node_id] = TokenBucket(self._clock, limits.MESSAGE_BURST, per_s)
        return rate

    def _pass_on(self, origin: PeerSession, message: Consensus) -> None:
        if self._own_node_id not in self._validators and len(message.data) > limits.MAX_RELAYED_CONSENSUS_BYTES:
            return  # The others would refuse it from us, and hold it against us.
        digest = blake2b(message.data, digest_size=16).digest()
        now_s = self._clock.precise_time_s()
        passed_on_s = self._passed_on.pop(digest, None)
        is_new = passed_on_s is None or not 0 <= now_s - passed_on_s < limits.CONSENSUS_MEMORY_S
        self._passed_on[digest] = now_s if passed_on_s is None or is_new else passed_on_s
        if len(self._passed_on) > limits.MAX_REMEMBERED_CONSENSUS_MESSAGES:
            del self._passed_on[next(iter(self._passed_on))]
        if not is_new:
            return
        for session in self._sessions.values():
            if session is not origin:
                session.post(message)

    def _grant(self, session: PeerSession) -> None:
        """How large a message the peer may send now."""
        is_validator = session.node_id in self._validators
        if not self._validators:
            session.consensus_limit_bytes = 0
        elif is_validator:
            session.consensus_limit_bytes = limits.MAX_CONSENSUS_MESSAGE_BYTES
        else:
            session.consensus_limit_bytes = limits.MAX_RELAYED_CONSENSUS_BYTES
