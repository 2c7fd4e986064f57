"""The pool under any sequence of arrivals, blocks, reorganisations, hours and restarts, against a simple model.

The model knows the accounts and what was accepted; after every step it asks: do the counts agree, do the limits hold,
could a block take the pending ones in the order given, and was nothing lost without a reason?
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chain.account import Account
from chain.header import Header
from chain.pool.admission import PoolFull
from chain.pool.journal import PoolJournal
from chain.transaction import Transaction
from chain.validity import most_it_can_cost
from primitives.clock import ManualClock
from tests.chain.pool_world import ADDRESSES, Accounts, child, header, pool, transaction

_SENDERS = 4
_COST = 21_000 * 1_000
_MAX_TRANSACTIONS, _MAX_QUEUED, _MAX_PER_SENDER, _LIFETIME_S = 10, 4, 6, 100
_MAX_BYTES = 1_400
_senders = st.integers(0, _SENDERS - 1)


class PoolMachine(RuleBasedStateMachine):
    @initialize(balances=st.lists(st.integers(2, 9), min_size=_SENDERS, max_size=_SENDERS))
    def begin(self, balances: list[int]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pool-"))
        self.clock = ManualClock()
        self.accounts = Accounts({ADDRESSES[n]: Account(0, balance * _COST) for n, balance in enumerate(balances)})
        self.head = header()
        self.blocks: list[tuple[Header, Accounts, list[Transaction]]] = []
        """The blocks so far, each with the head and the accounts before it."""
        self.own: dict[bytes, Transaction] = {}
        """Acknowledged to users of this node and, as far as can be told, still promised."""
        self.open_pool()

    def open_pool(self) -> None:
        self.journal = PoolJournal(self.directory / "pool.sqlite")
        self.pool = pool(
            self.accounts,
            self.head,
            self.clock,
            self.journal,
            max_transactions=_MAX_TRANSACTIONS,
            max_queued=_MAX_QUEUED,
            max_per_sender=_MAX_PER_SENDER,
            queued_lifetime_s=_LIFETIME_S,
            max_bytes=_MAX_BYTES,
        )

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.directory)

    def held(self) -> dict[bytes, Transaction]:
        content = self.pool.content()
        runs = [*content.pending.values(), *content.queued.values()]
        return {held.hash: held for run in runs for held in run}

    def account(self, address: bytes) -> Account:
        return self.accounts.account(address) or Account()

    @rule(
        arrivals=st.lists(
            st.tuples(_senders, st.sampled_from([0, 0, 0, 0, 1, 2, -1]), st.integers(1, 40), st.booleans()),
            min_size=1,
            max_size=8,
        ),
        data_bytes=st.sampled_from([0, 0, 300]),
    )
    def arrive(self, arrivals: list[tuple[int, int, int, bool]], data_bytes: int) -> None:
        for sender, ahead, tip, is_local in arrivals:
            nonce = max(self.pool.pending_nonce(ADDRESSES[sender]) + ahead, 0)
            gas_limit, fee = 21_000 + 16 * data_bytes, 900 + 5 * tip
            self.arrive_one(
                transaction(sender, nonce, tip=tip, max_fee_per_gas=fee, gas_limit=gas_limit, data=bytes(data_bytes)),
                is_local,
            )

    def arrive_one(self, candidate: Transaction, is_local: bool) -> None:
        before = self.held()
        # The journal is flushed when it is closed; that `submit` waits for the disk is tested in test_pool_journal.py.
        (refusal,) = self.pool.add([candidate], is_local=is_local)
        after = self.held()
        if refusal is not None:
            assert after == before
            if isinstance(refusal, PoolFull):
                assert self.is_crowded(before, candidate)
            return
        if is_local:
            self.own[candidate.hash] = candidate
        assert candidate.hash in after
        for lost in before.keys() - after.keys():
            gone = before[lost]
            self.own.pop(lost, None)
            if (gone.sender, gone.nonce) == (candidate.sender, candidate.nonce):
                continue
            assert self.is_crowded(before, candidate), "evicted from a pool with room"
            assert not any(other.sender == gone.sender and other.nonce > gone.nonce for other in after.values())

    def is_crowded(self, held: dict[bytes, Transaction], newcomer: Transaction) -> bool:
        size = sum(len(other.encoded) for other in (*held.values(), newcomer))
        # The newcomer may be one more queued, or make its sender's later ones so.
        return len(held) >= _MAX_TRANSACTIONS or size > _MAX_BYTES or self.pool.status().queued >= _MAX_QUEUED

    @rule(count=st.integers(0, 5), skip=st.booleans(), foreign=st.none() | _senders)
    def block(self, count: int, skip: bool, foreign: int | None) -> None:
        """A block of ours: the first few of the selection; or one that holds a stranger's transaction as well."""
        accounts = dict(self.accounts.accounts)
        included: list[Transaction] = []
        if foreign is not None and accounts[ADDRESSES[foreign]].balance >= _COST:
            elsewhere = transaction(foreign, accounts[ADDRESSES[foreign]].nonce, value=1, max_fee_per_gas=10)
            self.execute(accounts, elsewhere)
            included.append(elsewhere)
        else:
            selection = self.pool.pending()
            if skip and selection.peek() is not None:
                selection.skip_sender()
            for _ in range(count):
                best = selection.peek()
                if best is None:
                    break
                self.execute(accounts, best)
                included.append(best)
                selection.take()
        self.blocks.append((self.head, self.accounts, included))
        self.follow(Accounts(accounts), child(self.head), included, [])

    def execute(self, accounts: dict[bytes, Account], executed: Transaction) -> None:
        nonce, balance, code_hash = accounts[executed.sender]
        assert executed.nonce == nonce, "out of order"
        assert most_it_can_cost(executed) <= balance, "not affordable"
        accounts[executed.sender] = Account(nonce + 1, balance - most_it_can_cost(executed), code_hash)

    @precondition(lambda self: self.blocks)
    @rule(depth=st.integers(1, 3), data=st.data())
    def reorganise(self, depth: int, data: st.DataObject) -> None:
        """The last blocks are undone; the other branch is one empty block of another hash."""
        returned: list[Transaction] = []
        for _ in range(min(depth, len(self.blocks))):
            self.head, self.accounts, transactions = self.blocks.pop()
            returned = transactions + returned
        gas_used = data.draw(st.integers(1, 1_000))
        before = (self.head, self.accounts)
        self.follow(self.accounts, child(self.head, gas_used=gas_used), [], returned)
        self.blocks.append((*before, []))
        crowded = len(self.pool) > _MAX_TRANSACTIONS - 1 or self.pool.status().queued > _MAX_QUEUED - 1
        taken = {(held.sender, held.nonce) for held in self.held().values()}
        big = self.pool.status().encoded_bytes > _MAX_BYTES - 500
        assert crowded or big or all((back.sender, back.nonce) in taken for back in returned)

    @rule(sender=_senders, amount=st.integers(1, 4))
    def receive(self, sender: int, amount: int) -> None:
        nonce, balance, code_hash = self.account(ADDRESSES[sender])
        accounts = {**self.accounts.accounts, ADDRESSES[sender]: Account(nonce, balance + amount * _COST, code_hash)}
        self.blocks.append((self.head, self.accounts, []))
        self.follow(Accounts(accounts), child(self.head), [], [])

    def follow(
        self, accounts: Accounts, head: Header, included: list[Transaction], returned: list[Transaction]
    ) -> None:
        before, content = self.held(), self.pool.content()
        queued = {held.hash for run in content.queued.values() for held in run}
        self.accounts, self.head = accounts, head
        self.pool.head_changed(accounts, head, included, returned)
        for lost in before.keys() - self.held().keys():
            gone = before[lost]
            is_used = gone.nonce < self.account(gone.sender).nonce
            may_expire = lost in queued and self.aged_s > _LIFETIME_S
            assert is_used or may_expire or returned, "lost without a reason"
            if not is_used:
                self.own.pop(lost, None)

    aged_s = 0

    @rule(hours=st.integers(1, 80))
    def wait(self, hours: int) -> None:
        self.clock.advance_s(hours)
        self.aged_s += hours

    @rule()
    def restart(self) -> None:
        """Close without a word and come back: the users' own transactions are there again, strangers' are not."""
        self.journal.close()
        promised = {key: own for key, own in self.own.items() if key in self.pool}
        self.open_pool()
        self.aged_s = 0
        assert promised.keys() <= self.held().keys()

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "pool"):
            return
        status = self.pool.status()
        held = self.held()
        assert len(self.pool) == len(held) == status.pending + status.queued <= _MAX_TRANSACTIONS
        assert status.queued <= _MAX_QUEUED
        assert status.encoded_bytes == sum(len(one.encoded) for one in held.values()) <= _MAX_BYTES

    @invariant()
    def pending_ones_could_run_in_the_order_given(self) -> None:
        if not hasattr(self, "pool"):
            return
        content = self.pool.content()
        for address, run in content.pending.items():
            account = self.account(address)
            assert [one.nonce for one in run] == list(range(account.nonce, account.nonce + len(run)))
            assert sum(map(most_it_can_cost, run)) <= account.balance
            assert self.pool.pending_nonce(address) == account.nonce + len(run)
        order = list(self.pool.pending())
        assert len(order) == self.pool.status().pending
        accounts = dict(self.accounts.accounts)
        for position, one in enumerate(order):
            self.execute(accounts, one)
            # Nobody whose turn it is pays a better tip.
            for later in order[position + 1 :]:
                if later.nonce == accounts[later.sender].nonce and later.sender != one.sender:
                    assert later.max_priority_fee_per_gas <= one.max_priority_fee_per_gas

    @invariant()
    def queued_ones_lack_something(self) -> None:
        if not hasattr(self, "pool"):
            return
        content = self.pool.content()
        for address, run in content.queued.items():
            account = self.account(address)
            pending = content.pending.get(address, [])
            first = run[0]
            is_gap = first.nonce != account.nonce + len(pending)
            left = account.balance - sum(map(most_it_can_cost, pending))
            assert is_gap or most_it_can_cost(first) > left
            assert len(run) + len(pending) <= _MAX_PER_SENDER + sum(len(block[2]) for block in self.blocks) + 3


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=40, stateful_step_count=20)
