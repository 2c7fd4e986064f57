"""Transactions between peers: hashes are announced, and each transaction is fetched once, from one peer at a time.

What becomes pending here is announced to every peer that is not known to have it. A peer that does not deliver what it
announced is passed over for another. Only what can be valid in no state counts against whoever sent it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from chain.transaction import BLOB, Transaction, check_chain, decode_transaction, sender_or_refuse
from chain.validity import check_by_itself
from p2p import limits
from p2p.backend import PoolBackend
from p2p.fetch_schedule import FetchSchedule
from p2p.identity import NodeId
from p2p.known_hashes import KnownHashes
from p2p.messages import AnnounceTransactions, GetTransactions, Transactions
from p2p.reputation import Offence
from p2p.session import PeerSession
from primitives.clock import Clock
from primitives.errors import InvalidTransaction


@dataclass(slots=True)
class _Peer:
    session: PeerSession
    known: KnownHashes = field(default_factory=lambda: KnownHashes(limits.MAX_KNOWN_TRANSACTIONS))
    unannounced: KnownHashes = field(default_factory=lambda: KnownHashes(limits.MAX_UNANNOUNCED_TRANSACTIONS))
    is_fetching: bool = False


class TransactionGossip:
    """The pool's link to all peers. `run` announces, beside the sessions."""

    def __init__(self, pool: PoolBackend, chain_id: int, clock: Clock) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._clock = clock
        self._peers: dict[NodeId, _Peer] = {}
        self._schedule = FetchSchedule(limits.MAX_WANTED_TRANSACTIONS)
        self._refused: dict[bytes, float] = {}
        """Hash to the time of the refusal, in its order."""
        self._fresh = asyncio.Event()

    async def run(self) -> None:
        """Announce what becomes pending, until cancelled."""
        unsubscribe = self._pool.subscribe(self._became_pending)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announce())
                group.create_task(self._announce_again())
        finally:
            unsubscribe()

    # The sessions

    def joined(self, session: PeerSession) -> None:
        """A new peer hears of everything that is pending."""
        peer = self._peers[session.node_id] = _Peer(session)
        peer.unannounced.update(transaction.hash for transaction in self._pool.pending())
        self._fresh.set()

    def left(self, session: PeerSession) -> None:
        if (peer := self._peers.get(session.node_id)) is not None and peer.session is session:
            del self._peers[session.node_id]
            self._schedule.forget_peer(session.node_id)

    def take_announcement(self, session: PeerSession, message: AnnounceTransactions) -> None:
        peer = self._peers.get(session.node_id)
        if peer is None:
            return
        peer.known.update(message.hashes)
        wanted = [item for item in message.hashes if item not in self._pool and not self._was_refused(item)]
        # More than it may have waiting is no offence: we may be the slow ones, and others announce the rest.
        self._schedule.announced(session.node_id, wanted)
        self._fetch()

    async def answer(self, session: PeerSession, request: GetTransactions) -> Transactions:
        found: list[bytes] = []
        size = 0
        peer = self._peers.get(session.node_id)
        for item in request.hashes:
            transaction = self._pool.get(item)
            if transaction is None or size >= limits.SOFT_RESPONSE_BYTES:
                continue
            found.append(transaction.encoded)
            size += len(transaction.encoded)
            if peer is not None:
                peer.known.add(item)
        return Transactions(request.request_id, tuple(found))

    # Fetching

    def _fetch(self) -> None:
        """Give everybody who is idle something to deliver."""
        for node_id, peer in self._peers.items():
            if peer.is_fetching:
                continue
            hashes = self._schedule.take(node_id, limits.MAX_REQUESTED_TRANSACTIONS)
            if hashes:
                peer.is_fetching = peer.session.spawn(
                    self._fetch_from(peer, hashes), partial(self._fetched, peer, hashes)
                )
                if not peer.is_fetching:
                    self._schedule.failed(node_id, hashes)

    async def _fetch_from(self, peer: _Peer, hashes: list[bytes]) -> None:
        encoded = await peer.session.get_transactions(tuple(hashes))
        await self._take_in(peer.session, set(hashes), encoded)

    def _fetched(self, peer: _Peer, hashes: list[bytes]) -> None:
        """What did not come left the peer's pool, or the answer was full: whoever else announced it is asked."""
        peer.is_fetching = False
        self._schedule.failed(peer.session.node_id, hashes)
        self._fetch()

    async def _take_in(self, session: PeerSession, asked: set[bytes], encoded: Sequence[bytes]) -> None:
        for start in range(0, len(encoded), limits.ADMISSION_BATCH):
            transactions = []
            for item in encoded[start : start + limits.ADMISSION_BATCH]:
                try:
                    transaction = decode_transaction(item)
                except InvalidTransaction as error:
                    session.offend(Offence.INVALID_TRANSACTION, str(error))
                    continue
                if transaction.hash not in asked:
                    session.offend(Offence.WRONG_ANSWER, "a transaction that was not asked for, or twice")
                    return
                asked.discard(transaction.hash)
                transactions.append(transaction)
            self._admit(session, transactions)
            if session.is_ending:
                return
            await asyncio.sleep(0)

    def _admit(self, session: PeerSession, transactions: Sequence[Transaction]) -> None:
        for transaction, refusal in zip(transactions, self._pool.add(transactions), strict=True):
            self._schedule.settle(transaction.hash)
            if refusal is None:
                continue
            self._remember_refusal(transaction.hash)
            if (reason := self._never_valid(transaction)) is not None:
                session.offend(Offence.INVALID_TRANSACTION, reason)

    def _never_valid(self, transaction: Transaction) -> str | None:
        """Why it could be valid in no state. Stale, unpaid, too cheap or known already are nobody's fault."""
        try:
            check_chain(transaction, self._chain_id)
            check_by_itself(transaction)
            sender_or_refuse(transaction)
        except InvalidTransaction as error:
            return str(error)
        return "a blob transaction" if transaction.type == BLOB else None

    def _remember_refusal(self, transaction_hash: bytes) -> None:
        self._refused.pop(transaction_hash, None)
        self._refused[transaction_hash] = self._clock.precise_time_s()
        if len(self._refused) > limits.MAX_REMEMBERED_REFUSALS:
            del self._refused[next(iter(self._refused))]

    def _was_refused(self, transaction_hash: bytes) -> bool:
        since_s = self._refused.get(transaction_hash)
        if since_s is None:
            return False
        if 0 <= self._clock.precise_time_s() - since_s < limits.REFUSAL_MEMORY_S:
            return True
        del self._refused[transaction_hash]
        return False

    # Announcing

    async def _announce(self) -> None:
        while True:
            await self._fresh.wait()
            await self._clock.sleep_s(limits.ANNOUNCE_INTERVAL_S)
            self._fresh.clear()
            for peer in self._peers.values():
                self._announce_to(peer)

    async def _announce_again(self) -> None:
        """A peer whose ledger was behind has refused what is good now; one that stalled has nothing to ask for."""
        seen: set[bytes] = set()
        while True:
            await self._clock.sleep_s(limits.ANNOUNCE_AGAIN_INTERVAL_S)
            pending = [transaction.hash for transaction in self._pool.pending()]
            for peer in self._peers.values():
                for item in seen.intersection(pending):
                    peer.known.discard(item)
                peer.unannounced.update(item for item in pending if item in seen)
            seen = set(pending)
            self._fresh.set()

    def _became_pending(self, transactions: Sequence[Transaction]) -> None:
        for transaction in transactions:
            self._schedule.settle(transaction.hash)
            for peer in self._peers.values():
                if transaction.hash not in peer.known:
                    peer.unannounced.add(transaction.hash)
        self._fresh.set()

    def _announce_to(self, peer: _Peer) -> None:
        """All that waits; what the peer's queue has no room for waits for the next time."""
        hashes = [item for item in peer.unannounced if item not in peer.known and item in self._pool]
        sent = 0
        while sent < len(hashes):
            batch = tuple(hashes[sent : sent + limits.MAX_ANNOUNCED_TRANSACTIONS])
            if not peer.session.post(AnnounceTransactions(batch)):
                break
            peer.known.update(batch)
            sent += len(batch)
        peer.unannounced.clear()
        peer.unannounced.update(hashes[sent:])
