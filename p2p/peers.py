"""Which peers this node talks to: it calls and answers, keeps the sessions, and takes leave of them.

Who may connect is decided by slots, reputation and address book; this file carries it out. Each connection is a task of
its own, and what goes wrong with it ends there. `run` ends all of them when it is cancelled.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from p2p import limits
from p2p.address_book import AddressBook, save_address_book
from p2p.backend import Connector, Wire
from p2p.fields import IpAddress
from p2p.framing import AlteredFrame, MaxBytes
from p2p.identity import NodeId
from p2p.messages import DisconnectReason, GetPeers, PeerAddress, Peers, Status
from p2p.node_url import NodeUrl
from p2p.owed_answers import OwedAnswers
from p2p.reputation import Offence, Reputation, Verdict
from p2p.session import Handlers, PeerSession, SessionEnded
from p2p.slots import ConnectionSlots, NoSlot, Slot
from p2p.transport import ConnectionLost, PeerTooSlow
from primitives.clock import Clock
from primitives.errors import Invalid

LOGGER = logging.getLogger(__name__)


class Follower(Protocol):
    """Who wants to know of sessions: gossip, synchronisation."""

    def joined(self, session: PeerSession) -> None: ...

    def left(self, session: PeerSession) -> None: ...


class PeerSet:
    """All sessions of this node."""

    def __init__(
        self,
        own_status: Callable[[], Status],
        clock: Clock,
        connector: Connector,
        slots: ConnectionSlots,
        reputation: Reputation,
        book: AddressBook,
        book_path: Path | None = None,
    ) -> None:
        """`clock` is the network's: the machine's own, or a simulation's. Without a path the book is not saved."""
        self._own_status = own_status
        self._clock = clock
        self._connector = connector
        self._slots = slots
        self._reputation = reputation
        self._book = book
        self._book_path = book_path
        self._handlers = Handlers()
        self._followers: Sequence[Follower] = ()
        self._validators: frozenset[NodeId] = frozenset()
        self._current: dict[NodeId, PeerSession] = {}
        """The session of each node, from the end of its handshake on."""
        self._sessions: dict[NodeId, PeerSession] = {}
        """Those that have exchanged Status."""
        self._dialing: set[NodeId] = set()
        self._told_s: dict[NodeId, int] = {}
        self._group: asyncio.TaskGroup | None = None
        self._reserve()

    def sessions(self) -> list[PeerSession]:
        return list(self._sessions.values())

    def session(self, node_id: NodeId) -> PeerSession | None:
        return self._sessions.get(node_id)

    def serve(self, handlers: Handlers, followers: Sequence[Follower]) -> None:
        """Who takes messages and hears of sessions; before `run`. GetPeers is answered here."""
        self._handlers = Handlers(handlers.notices, {**handlers.requests, GetPeers: self._tell_peers})
        self._followers = followers

    def set_validators(self, validators: Collection[NodeId]) -> None:
        """Whose slots are kept beside those of the static peers, from now on."""
        self._validators = frozenset(validators)
        self._reserve()

    def add_static(self, url: NodeUrl) -> bool:
        """Keep a connection to this node. False where it is this node itself, or there are too many."""
        added = self._book.add_static(url)
        self._reserve()
        return added

    def is_static(self, node_id: NodeId) -> bool:
        """Whether the operator named it."""
        return node_id in self._book.static_nodes()

    def remove_static(self, node_id: NodeId) -> None:
        self._book.remove_static(node_id)
        self._reserve()

    def disconnect(self, node_id: NodeId, reason: DisconnectReason) -> None:
        if (session := self._current.get(node_id)) is not None:
            session.end(reason, f"this node ends it: {reason.name}")

    async def run(self) -> None:
        """Call peers and keep the sessions until cancelled; all of them are closed then, and the book is saved."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._save_now_and_then())
                try:
                    while True:
                        self._dial_due()
                        await self._clock.sleep_s(limits.DIAL_INTERVAL_S)
                finally:
                    self._group = None  # no calls are taken while the sessions say goodbye
        finally:
            await self._save()

    # Calls that come in

    def take_call(self, address: IpAddress, accept: Callable[[MaxBytes], Awaitable[Wire]]) -> bool:
        """Somebody called. False where there is no room, or the address is banned: the caller is to be hung up on."""
        if self._group is None or self._reputation.is_banned(address):
            return False
        try:
            slot = self._slots.begin_inbound(address)
        except NoSlot as refusal:
            LOGGER.debug("a call from %s is refused: %s", address, refusal)
            return False
        self._group.create_task(self._answer(slot, accept))
        return True

    async def _answer(self, slot: Slot, accept: Callable[[MaxBytes], Awaitable[Wire]]) -> None:
        owed = OwedAnswers()
        try:
            wire = await accept(owed.max_bytes)
            await self._converse(slot, wire, owed)
        except (Invalid, ConnectionLost) as error:
            LOGGER.debug("no handshake with %s: %s", slot.address, error)
            if not isinstance(error, (ConnectionLost, AlteredFrame)):
                slow = isinstance(error, PeerTooSlow)
                self._reputation.record(slot.address, Offence.TOO_SLOW if slow else Offence.FAILED_HANDSHAKE)
        except Exception:
            # Ours, but found by a stranger: the other peers and the node go on.
            LOGGER.exception("A call from %s failed", slot.address)
        finally:
            self._slots.release(slot)

    # Calls that go out

    def _dial_due(self) -> None:
        exclude = self._slots.connected() | self._dialing
        static_missing = len(self._book.static_nodes() - exclude)
        wanted = self._slots.outbound_strangers_wanted() + static_missing
        count = min(wanted, limits.MAX_DIALS_AT_ONCE - len(self._dialing))
        if self._group is None or count <= 0:
            return
        for url in self._book.to_call(count, exclude):
            if not self._reputation.is_banned(url.node_id):
                self._dialing.add(url.node_id)
                self._group.create_task(self._dial(url))

    async def _dial(self, url: NodeUrl) -> None:
        slot: Slot | None = None
        was_useful = False
        try:
            address = url.address or await self._connector.resolve(url.host)
            slot = self._slots.begin_outbound(address, url.node_id)
            owed = OwedAnswers()
            wire = await self._connector.connect(address, url.port, url.node_id, owed.max_bytes)
            self._dialing.discard(url.node_id)
            was_useful = await self._converse(slot, wire, owed, url)
        except NoSlot:
            was_useful = True  # it is not the peer that failed
        except (Invalid, ConnectionLost) as error:
            LOGGER.debug("%s cannot be reached: %s", url, error)
        except Exception:
            LOGGER.exception("The call to %s failed", url)  # ours; the other peers and the node go on
        finally:
            self._dialing.discard(url.node_id)
            if slot is not None:
                self._slots.release(slot)
            if not was_useful:
                self._book.failed(url.node_id)

    # Sessions

    async def _converse(self, slot: Slot, wire: Wire, owed: OwedAnswers, url: NodeUrl | None = None) -> bool:
        """Keep a session until it ends; whether the peer was worth the call."""
        node_id = wire.node_id
        if self._reputation.is_banned(node_id) and not self._is_reserved(node_id):
            await wire.close(DisconnectReason.BANNED)
            return False
        try:
            self._slots.establish(slot, node_id)
        except NoSlot as refusal:
            await wire.close(refusal.reason)
            return refusal.reason is DisconnectReason.ALREADY_CONNECTED
        session = PeerSession(wire, owed, self._own_status(), self._clock, self._handlers, self._judge)
        replaced = self._current.get(node_id)
        self._current[node_id] = session
        since_s = self._clock.precise_time_s()
        try:
            if replaced is not None:
                replaced.end(DisconnectReason.ALREADY_CONNECTED, "another connection took its place")
                await replaced.finished.wait()
            await session.greet()
            if url is not None:
                self._book.succeeded(url)
            text = await self._run(session)
            LOGGER.info("%s is gone: %s", session, text)
            was_replaced = self._current.get(node_id) is not session
            return was_replaced or self._clock.precise_time_s() - since_s >= limits.MIN_USEFUL_SESSION_S
        except SessionEnded as ending:
            LOGGER.debug("no session with %s: %s", session, ending)
            return False
        finally:
            wire.abort()
            if self._current.get(node_id) is session:
                del self._current[node_id]
            session.finished.set()

    async def _run(self, session: PeerSession) -> str:
        LOGGER.info("connected to %s, %s", session, session.client_version)
        self._sessions[session.node_id] = session
        try:
            for follower in self._followers:
                follower.joined(session)
            if session.is_outbound:
                session.spawn(self._ask_for_peers(session))
                session.spawn(self._value(session))
            elif session.listening_port:
                listening = PeerAddress(session.node_id, session.remote_address, session.listening_port)
                self._book.heard_of(listening, session.remote_address)
            return await session.run()
        finally:
            del self._sessions[session.node_id]
            self._told_s.pop(session.node_id, None)
            for follower in self._followers:
                follower.left(session)

    def _judge(self, session: PeerSession, offence: Offence) -> Verdict:
        node_id = session.node_id
        verdict = self._reputation.record(node_id, offence, is_reserved=self._is_reserved(node_id))
        LOGGER.debug("%s: %s, %s", session, offence.name, verdict.name)
        if verdict is Verdict.BAN:
            LOGGER.warning("%s is banned for a while", session)
            self._book.forget(node_id)
        return verdict

    async def _value(self, session: PeerSession) -> None:
        """A node that only ever hangs up is called less and less often, though it answers."""
        await self._clock.sleep_s(limits.MIN_USEFUL_SESSION_S)
        self._book.lasted(session.node_id)

    # Peer exchange, and who is kept

    async def _ask_for_peers(self, session: PeerSession) -> None:
        """Only of those whom we called ourselves: whoever calls us may have come to fill the book."""
        while True:
            if self._slots.outbound_strangers_wanted():
                for peer in await session.get_peers():
                    self._book.heard_of(peer, session.remote_address)
            await self._clock.sleep_s(limits.ASK_FOR_PEERS_INTERVAL_S)

    async def _tell_peers(self, session: PeerSession, request: GetPeers) -> Peers:
        now_s, told_s = self._clock.time_s(), self._told_s.get(session.node_id)
        if told_s is not None and 0 <= now_s - told_s < limits.MIN_TELL_PEERS_INTERVAL_S:
            return Peers(request.request_id, ())
        self._told_s[session.node_id] = now_s
        told = self._book.to_tell(session.node_id, session.remote_address, limits.MAX_EXCHANGED_PEERS)
        return Peers(request.request_id, told)

    def _is_reserved(self, node_id: NodeId) -> bool:
        return node_id in self._validators or node_id in self._book.static_nodes()

    def _reserve(self) -> None:
        self._slots.reserve_for(self._validators | self._book.static_nodes())

    # The book's file

    async def _save_now_and_then(self) -> None:
        while True:
            await self._clock.sleep_s(limits.SAVE_INTERVAL_S)
            await self._save()

    async def _save(self) -> None:
        if self._book_path is None:
            return
        try:
            await asyncio.to_thread(save_address_book, self._book_path, self._book.to_json())
        except OSError as error:
            LOGGER.warning("The address book %s cannot be written: %s", self._book_path, error)
