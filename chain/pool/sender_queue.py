"""The transactions of one sender in the pool, by nonce: which of them could run one after the other from here.

The pending ones are an unbroken run of nonces from the account's next, each affordable together with those before it
and small enough for a block, and for the sender's allowance where it has one (chain/pool/membership.py). All others are
queued: they wait for a nonce, for money, for room or for a role. No I/O, no limits.
"""

from dataclasses import dataclass

from chain.account import Account
from chain.transaction import Transaction
from chain.validity import most_it_can_cost


@dataclass(slots=True, eq=False)
class PooledTransaction:
    """A transaction and what the pool knows about it."""

    transaction: Transaction
    sender: bytes
    sequence: int
    """Rises with every arrival."""
    is_local: bool
    """Submitted to this very node: in the journal, and evicted after the others."""
    queued_since_s: int
    """When it arrived or last stopped being pending."""
    is_announced: bool = False

    @property
    def hash(self) -> bytes:
        return self.transaction.hash

    @property
    def size(self) -> int:
        return len(self.transaction.encoded)

    def tip(self, base_fee: int) -> int:
        """Wei per gas that the miner gets at this base fee; negative where the base fee itself is not covered."""
        transaction = self.transaction
        return min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - base_fee)


class SenderQueue:
    """One sender's transactions."""

    __slots__ = (
        "_counted_pending",
        "address",
        "balance",
        "entries",
        "gas_allowance",
        "next_nonce",
        "pending_end",
        "tail_nonce",
    )

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.entries: dict[int, PooledTransaction] = {}
        self.next_nonce = 0
        """Of the account at the head."""
        self.balance = 0
        self.gas_allowance: int | None = None
        """Gas that may be used in a block, where that is bounded; 0 for a sender that is not admitted."""
        self.pending_end = 0
        """The first nonce that is not pending."""
        self.tail_nonce = -1
        """The highest nonce held; -1 where there is none."""
        self._counted_pending = 0

    @property
    def pending_count(self) -> int:
        return self.pending_end - self.next_nonce

    @property
    def queued_count(self) -> int:
        return len(self.entries) - self.pending_count

    @property
    def gas(self) -> int:
        """That all of them together may use."""
        return sum([entry.transaction.gas_limit for entry in self.entries.values()])

    def cost_between(self, first: int, end: int) -> int:
        """Wei that the held transactions with nonces from `first` to before `end` may cost together."""
        return sum([most_it_can_cost(e.transaction) for nonce, e in self.entries.items() if first <= nonce < end])

    def pending(self) -> list[PooledTransaction]:
        """The pending ones, in nonce order."""
        return [self.entries[nonce] for nonce in range(self.next_nonce, self.pending_end)]

    def queued(self) -> list[PooledTransaction]:
        """The others, in nonce order."""
        return [self.entries[nonce] for nonce in sorted(self.entries) if nonce >= self.pending_end]

    def settle(self, account: Account) -> list[PooledTransaction]:
        """Take over the account at a new head; the entries whose nonce has been used leave, and are returned.

        `refresh` must follow.
        """
        self.next_nonce, self.balance = account.nonce, account.balance
        used = [entry for nonce, entry in self.entries.items() if nonce < account.nonce]
        for entry in used:
            del self.entries[entry.transaction.nonce]
        return used

    def refresh(self, block_gas_limit: int, now_s: int) -> int:
        """Find anew which are pending, after entries, account or gas limit changed; how many more than last time."""
        entries = self.entries
        most_gas = block_gas_limit if self.gas_allowance is None else min(block_gas_limit, self.gas_allowance)
        was_pending_end = self.pending_end
        nonce, left = self.next_nonce, self.balance
        while (entry := entries.get(nonce)) is not None:
            left -= most_it_can_cost(entry.transaction)
            if left < 0 or entry.transaction.gas_limit > most_gas:
                break
            nonce += 1
        self.pending_end = nonce
        self.tail_nonce = max(entries, default=-1)
        if nonce < was_pending_end:
            for demoted, entry in entries.items():
                if nonce <= demoted < was_pending_end:
                    entry.queued_since_s = now_s
        gained = self.pending_count - self._counted_pending
        self._counted_pending = self.pending_count
        return gained

    def lowest_tip(self, base_fee: int) -> int:
        """The smallest tip among all entries: the last one cannot run before the cheapest has."""
        return min([entry.tip(base_fee) for entry in self.entries.values()])
