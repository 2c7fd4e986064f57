"""The transaction pool: what waits to be put into a block, checked, bounded and in order.

Each sender's transactions stand in nonce order; those that could run now are pending, the others queued. When the pool
is full, chain/pool/eviction.py says who goes. What was submitted to this very node is journaled before it is
acknowledged. One asyncio loop uses a pool; it reads the state at the head and writes nothing but its journal.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from chain.account import EMPTY_ACCOUNT, Account
from chain.config import ZERO, ChainConfig
from chain.fees import expected_base_fee
from chain.header import Header
from chain.pool.admission import (
    AccountReader,
    AlreadyKnown,
    PoolFull,
    PoolLimits,
    check_account,
    check_form,
    check_funds,
    check_replacement,
)
from chain.pool.eviction import EvictionOrder
from chain.pool.journal import PoolJournal
from chain.pool.membership import MAX_ASKED_AGAIN, Membership, check_allowance
from chain.pool.selection import Selection
from chain.pool.sender_queue import PooledTransaction, SenderQueue
from chain.pool.status import PoolContent, PoolStatus
from chain.transaction import Transaction, decode_transaction
from chain.validity import most_it_can_cost
from primitives.clock import Clock
from primitives.errors import InvalidTransaction

_REPLACED = "replaced by a better paid one"

Subscriber = Callable[[Sequence[Transaction]], None]

_log = logging.getLogger(__name__)


class TransactionPool:
    """The pool of one node, at one head of the chain."""

    def __init__(
        self,
        config: ChainConfig,
        reader: AccountReader,
        head: Header,
        clock: Clock,
        journal: PoolJournal | None = None,
        limits: PoolLimits | None = None,
        membership: Membership | None = None,
    ) -> None:
        """Take back what the journal holds; without one nothing outlives the process.

        `membership` says who is admitted at the head; without it everybody is.
        """
        self._config = config
        self._reader = reader
        self._head = head
        self._clock = clock
        self._journal = journal
        self._limits = limits or PoolLimits()
        self._membership = membership
        self._unsure: set[bytes] = set()
        """Senders whose allowances may have changed."""
        self._base_fee = expected_base_fee(head, config)
        self._senders: dict[bytes, SenderQueue] = {}
        self._by_hash: dict[bytes, PooledTransaction] = {}
        self._bytes = 0
        self._pending_count = 0
        self._sequence = 0
        self._eviction = EvictionOrder()
        self._subscribers: list[Subscriber] = []
        self._settled: dict[bytes, int] = {}
        """Journaled transactions whose nonce the chain has used: hash to the head's number then."""
        self._shelf: list[Transaction] = []
        """Journaled ones that the pool had no room for when it began, the next one last: where the ledger was lost, all
        that the journal holds waits for a chain that has yet to be fetched. They stay in the journal."""
        self._replay_journal()

    # Coming in

    async def submit(self, transaction: Transaction) -> bytes:
        """Take a transaction of this node's own user; its hash, once it would outlive a power cut.

        Raises a subclass of InvalidTransaction that says why it is refused.
        """
        (refusal,) = await self.submit_many([transaction])
        if refusal is not None:
            raise refusal
        return transaction.hash

    async def submit_many(self, transactions: Sequence[Transaction]) -> list[InvalidTransaction | None]:
        """`submit` for many with one write to the disk: for each its refusal, or None where it is accepted."""
        refusals = self.add(transactions, is_local=True)
        if self._journal is not None:
            await self._journal.flush()
        return refusals

    def add(self, transactions: Sequence[Transaction], *, is_local: bool = False) -> list[InvalidTransaction | None]:
        """Take transactions from peers (or, by `submit`, local ones): for each its refusal, or None if accepted."""
        refusals: list[InvalidTransaction | None] = []
        touched = {}
        for transaction in transactions:
            try:
                queue = self._admit(transaction, is_local)
                touched[queue.address] = queue
                refusals.append(None)
            except InvalidTransaction as refusal:
                refusals.append(refusal)
        self._announce(touched.values())
        return refusals

    # Being asked

    def get(self, transaction_hash: bytes) -> Transaction | None:
        entry = self._by_hash.get(transaction_hash)
        return None if entry is None else entry.transaction

    def recognise(self, transactions: Iterable[Transaction]) -> None:
        """Let those that are equal to one in the pool know who signed them, so that each signature is looked at once.

        May be called by another thread: it reads one dictionary and changes nothing.
        """
        for transaction in transactions:
            if (entry := self._by_hash.get(transaction.hash)) is not None:
                transaction.take_sender_of(entry.transaction)

    def __contains__(self, transaction_hash: bytes) -> bool:
        return transaction_hash in self._by_hash

    def __len__(self) -> int:
        return len(self._by_hash)

    @property
    def minimum_priority_fee(self) -> int:
        """Wei per gas that a transaction must offer above the base fee to be taken."""
        return 0 if self._config.fee_rule == ZERO else self._limits.min_priority_fee_per_gas

    def pending_nonce(self, address: bytes) -> int:
        """The nonce that the sender's next transaction should have."""
        queue = self._senders.get(address)
        if queue is not None:
            return queue.pending_end
        return (self._reader.account(address) or EMPTY_ACCOUNT).nonce

    def pending(self, base_fee: int | None = None) -> Selection:
        """The pending transactions as a block would take them; the base fee is that of the next block unless given."""
        queues = self._senders.values()
        allowances = {queue.address: queue.gas_allowance for queue in queues if queue.gas_allowance is not None}
        runs = [queue.pending() for queue in queues]
        return Selection(runs, self._base_fee if base_fee is None else base_fee, allowances)

    def status(self) -> PoolStatus:
        return PoolStatus(self._pending_count, len(self._by_hash) - self._pending_count, self._bytes)

    def content(self) -> PoolContent:
        content = PoolContent({}, {})
        for address, queue in self._senders.items():
            if pending := queue.pending():
                content.pending[address] = [entry.transaction for entry in pending]
            if queued := queue.queued():
                content.queued[address] = [entry.transaction for entry in queued]
        return content

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call with transactions when they become pending, each once; the answer ends the subscription."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    # The chain moves

    def head_changed(
        self,
        reader: AccountReader,
        head: Header,
        included: Iterable[Transaction],
        returned: Iterable[Transaction] = (),
    ) -> None:
        """Follow the chain to a new head.

        `reader` is the state there, `included` the transactions of the blocks that joined the chain, `returned` those
        of the blocks that a reorganisation took out.
        """
        is_extension = head.parent_hash == self._head.hash
        self._reader, self._head = reader, head
        self._base_fee = expected_base_fee(head, self._config)
        self._eviction.forget()
        if self._membership is not None and self._membership.head_changed(head):
            self._unsure = set(self._senders)
        touched = {transaction.sender for transaction in included} & self._senders.keys()
        for transaction in returned:
            is_extension = False
            self._take_back(transaction, is_local=self._settled.pop(transaction.hash, None) is not None)
        if is_extension:
            # Elsewhere only a balance can have changed, and no one but the sender lowers it (EIP-3607).
            touched.update(queue.address for queue in self._senders.values() if queue.queued_count)
        else:
            touched.update(self._senders)
        touched |= self._ask_again()
        for address in touched:
            self._settle(self._senders[address])
        touched |= self._empty_shelf()
        self._expire_queued()
        self._trim()
        self._forget_settled()
        self._announce([self._senders[address] for address in touched if address in self._senders])

    # Within

    def _admit(self, transaction: Transaction, is_local: bool) -> SenderQueue:
        known = self._by_hash.get(transaction.hash)
        if known is not None:
            if is_local and not known.is_local:
                # Came from a peer first; the promise to our own user holds all the same.
                self._make_local(known)
            raise AlreadyKnown(f"already known: 0x{transaction.hash.hex()} is in the pool")
        sender = check_form(transaction, self._config, self._limits)
        account = self._reader.account(sender) or EMPTY_ACCOUNT
        check_account(transaction, account, self._head.gas_limit, self._limits)
        queue = self._senders.get(sender)
        if queue is None:
            queue = self._queue_of(sender, account)
        queue.balance = account.balance  # It may have received since its transactions were last looked at.
        queue.gas_allowance = self._allowance_of(sender)
        replaced = queue.entries.get(transaction.nonce)
        waiting_gas = queue.gas - (0 if replaced is None else replaced.transaction.gas_limit)
        check_allowance(transaction, sender, queue.gas_allowance, waiting_gas)
        if replaced is not None:
            check_replacement(transaction, replaced.transaction)
        # From the account's nonce, which may be ahead of the queue's while word of a new head is on its way.
        cost_of_earlier = queue.cost_between(account.nonce, transaction.nonce)
        check_funds(most_it_can_cost(transaction), cost_of_earlier, account.balance)
        if replaced is not None:
            self._remove([replaced])
        entry = self._insert(queue, transaction, is_local)
        self._make_room_for(entry, replaced)
        if is_local and self._journal is not None:
            self._journal.record(entry.hash, transaction.encoded)
        if replaced is not None:
            self._forget_journaled(replaced, _REPLACED)
        return queue

    def _make_room_for(self, entry: PooledTransaction, replaced: PooledTransaction | None) -> None:
        """Evict until the limits hold. Raises PoolFull, everything as before, where the newcomer itself would go."""
        evicted: list[PooledTransaction] = []
        while (victim := self._victim()) is not None:
            self._remove([victim])
            if victim is not entry:
                evicted.append(victim)
                continue
            for other in [*evicted, replaced] if replaced is not None else evicted:
                self._put_back(other)
            raise PoolFull(
                f"txpool is full: {len(self._by_hash)} transactions of {self._bytes} bytes, "
                f"{len(self._by_hash) - self._pending_count} of them queued, go before this one"
            )
        for victim in evicted:
            self._forget_journaled(victim, "evicted from the full pool")

    def _victim(self) -> PooledTransaction | None:
        limits = self._limits
        is_full = len(self._by_hash) > limits.max_transactions or self._bytes > limits.max_bytes
        is_queue_full = len(self._by_hash) - self._pending_count > limits.max_queued
        if not is_full and not is_queue_full:
            return None
        address = self._eviction.worst(self._senders.values(), self._base_fee, only_queued=not is_full)
        if address is None:
            # Senders whose last one is pending have nothing queued, so this cannot be: fail loudly.
            raise RuntimeError("the pool is over its limits and holds nothing to evict")
        queue = self._senders[address]
        return queue.entries[queue.tail_nonce]

    def _insert(self, queue: SenderQueue, transaction: Transaction, is_local: bool) -> PooledTransaction:
        self._sequence += 1
        entry = PooledTransaction(transaction, queue.address, self._sequence, is_local, self._clock.time_s())
        self._senders.setdefault(queue.address, queue)
        self._put_back(entry)
        return entry

    def _put_back(self, entry: PooledTransaction) -> None:
        queue = self._senders.get(entry.sender)
        if queue is None:
            account = self._reader.account(entry.sender) or EMPTY_ACCOUNT
            queue = self._senders[entry.sender] = self._queue_of(entry.sender, account)
        queue.entries[entry.transaction.nonce] = entry
        self._by_hash[entry.hash] = entry
        self._bytes += entry.size
        self._refresh(queue)

    def _remove(self, entries: Iterable[PooledTransaction]) -> None:
        """Take entries of one sender out of every index."""
        queue = None
        for entry in entries:
            queue = self._senders[entry.sender]
            queue.entries.pop(entry.transaction.nonce, None)
            del self._by_hash[entry.hash]
            self._bytes -= entry.size
        if queue is not None:
            self._refresh(queue)

    def _refresh(self, queue: SenderQueue) -> None:
        """Keep counts and order in step after the entries or the account of a queue changed."""
        self._pending_count += queue.refresh(self._head.gas_limit, self._clock.time_s())
        if not queue.entries:
            self._senders.pop(queue.address, None)
        self._eviction.update(queue, self._base_fee)

    def _settle(self, queue: SenderQueue) -> None:
        """Take over a sender's account at the new head; what has used its nonce leaves the pool."""
        used = queue.settle(self._reader.account(queue.address) or EMPTY_ACCOUNT)
        for entry in used:
            del self._by_hash[entry.hash]
            self._bytes -= entry.size
            if entry.is_local:
                self._settled[entry.hash] = self._head.number
        self._refresh(queue)

    def _queue_of(self, sender: bytes, account: Account) -> SenderQueue:
        queue = SenderQueue(sender)
        queue.settle(account)
        queue.gas_allowance = self._allowance_of(sender)
        return queue

    def _ask_again(self) -> set[bytes]:
        """Learn the allowances of some senders of whom it is not known since the registry changed; who they are."""
        asked: set[bytes] = set()
        while self._unsure and len(asked) < MAX_ASKED_AGAIN:
            queue = self._senders.get(self._unsure.pop())
            if queue is not None:
                queue.gas_allowance = self._allowance_of(queue.address)
                asked.add(queue.address)
        return asked

    def _allowance_of(self, sender: bytes) -> int | None:
        return None if self._membership is None else self._membership.gas_allowance(sender)

    def _take_back(self, transaction: Transaction, is_local: bool) -> None:
        """Put back what was in a block or in the journal: it was accepted once, so only its form is checked again.

        The sender must be settled afterwards. What it lacks now, it may get again: until then it is queued.
        """
        try:
            sender = check_form(transaction, self._config, self._limits)
        except InvalidTransaction as refusal:
            _log.warning("transaction 0x%s is not taken back: %s", transaction.hash.hex(), refusal)
            self._drop_from_journal(transaction.hash, is_local)
            return
        queue = self._senders.get(sender) or self._queue_of(sender, EMPTY_ACCOUNT)
        if transaction.nonce in queue.entries:
            self._drop_from_journal(transaction.hash, is_local)
        else:
            self._insert(queue, transaction, is_local)

    def _expire_queued(self) -> None:
        oldest_s = self._clock.time_s() - self._limits.queued_lifetime_s
        for queue in [queue for queue in self._senders.values() if queue.queued_count]:
            expired = [entry for entry in queue.queued() if entry.queued_since_s < oldest_s]
            self._remove(expired)
            for entry in expired:
                self._forget_journaled(entry, "waited too long for what it lacks")

    def _trim(self) -> None:
        while (victim := self._victim()) is not None:
            self._remove([victim])
            self._forget_journaled(victim, "evicted from the full pool")

    def _replay_journal(self) -> None:
        if self._journal is None:
            return
        for transaction_hash, encoded in self._journal.load().items():
            try:
                transaction = decode_transaction(encoded)
            except InvalidTransaction as error:
                _log.error("the pool's journal holds a malformed transaction, 0x%s: %s", transaction_hash.hex(), error)
                self._journal.forget(transaction_hash)
                continue
            self._take_back(transaction, is_local=True)
        for queue in list(self._senders.values()):
            self._settle(queue)
        while (victim := self._victim()) is not None:
            self._remove([victim])
            self._shelf.append(victim.transaction)
        if self._shelf:
            _log.warning("%d accepted transactions wait until there is room for them", len(self._shelf))

    def _empty_shelf(self) -> set[bytes]:
        """Take back as many as there is room for; their senders."""
        senders = set()
        while self._shelf and self._has_room_for(self._shelf[-1]):
            transaction = self._shelf.pop()
            known = self._by_hash.get(transaction.hash)
            if known is None:
                self._take_back(transaction, is_local=True)
            elif not known.is_local:
                self._make_local(known)
            if (queue := self._senders.get(transaction.sender)) is not None:
                self._settle(queue)
                senders.add(queue.address)
        return senders

    def _has_room_for(self, transaction: Transaction) -> bool:
        limits = self._limits
        is_full = len(self._by_hash) >= limits.max_transactions
        is_queue_full = len(self._by_hash) - self._pending_count >= limits.max_queued
        return not is_full and not is_queue_full and self._bytes + len(transaction.encoded) <= limits.max_bytes

    def _make_local(self, entry: PooledTransaction) -> None:
        entry.is_local = True
        self._eviction.update(self._senders[entry.sender], self._base_fee)
        if self._journal is not None:
            self._journal.record(entry.hash, entry.transaction.encoded)

    def _forget_journaled(self, entry: PooledTransaction, reason: str) -> None:
        """An entry has left the pool for good without being in a block."""
        level = logging.WARNING if entry.is_local and reason != _REPLACED else logging.DEBUG
        _log.log(level, "transaction 0x%s of 0x%s leaves the pool: %s", entry.hash.hex(), entry.sender.hex(), reason)
        self._drop_from_journal(entry.hash, entry.is_local)

    def _drop_from_journal(self, transaction_hash: bytes, is_local: bool) -> None:
        if is_local and self._journal is not None:
            self._journal.forget(transaction_hash)

    def _forget_settled(self) -> None:
        last = self._head.number - self._limits.settled_depth_blocks
        deep = [transaction_hash for transaction_hash, number in self._settled.items() if number <= last]
        for transaction_hash in deep:
            del self._settled[transaction_hash]
            self._drop_from_journal(transaction_hash, is_local=True)

    def _announce(self, queues: Iterable[SenderQueue]) -> None:
        fresh = [entry for queue in queues for entry in queue.pending() if not entry.is_announced]
        if not fresh:
            return
        for entry in fresh:
            entry.is_announced = True
        transactions = [entry.transaction for entry in fresh]
        for subscriber in list(self._subscribers):
            subscriber(transactions)
