"""Journaled state: what transactions read and write over one unchanging StateReader. It is the interpreter's Host.

Everything that can be undone lives in a mapping, so that one journal of (mapping, key, value before) undoes balances,
storage, transient storage, accessed sets, refunds and logs alike. One State serves all transactions of a block; what it
changed in all is asked for at the end. It never writes to disk and knows neither fees nor the rules of a transaction.
Follows EIP-161, 1153, 2200, 2929, 3529, 6780 and 7610.
"""

from collections.abc import Iterable
from typing import Any

from chain.account import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, StateChanges, StateReader
from primitives.keccak import keccak256
from vm.host import Log

_ABSENT: Any = object()
_NO_HASH = bytes(32)
# The touch of the empty precompile 0x03 outlives a revert: what all clients did in main-net block 2,675,119, and since
# then a rule (EIP-161, errata; the official state tests hold it).
_RIPEMD160 = bytes(19) + b"\x03"


class EmptyState:
    """The reader under a genesis: nothing exists."""

    def account(self, address: bytes) -> Account | None:
        return None

    def storage(self, address: bytes, slot: int) -> int:
        return 0

    def code(self, code_hash: bytes) -> bytes:
        return b""

    def has_storage(self, address: bytes) -> bool:
        return False


class State:
    """All of vm.host.Host, the limits of a transaction, and mutators for genesis and block rewards."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        # As the reader has it, kept to tell what really changed; and as it is now. None: no such account.
        self._base_accounts: dict[bytes, Account | None] = {}
        self._accounts: dict[bytes, Account | None] = {}
        self._base_storage: dict[bytes, dict[int, int]] = {}
        self._storage: dict[bytes, dict[int, int]] = {}
        self._codes: dict[bytes, bytes] = {EMPTY_CODE_HASH: b""}
        # Accounts removed since the reader's state: the reader's slots of theirs are void.
        self._wiped: set[bytes] = set()
        # One transaction's own, all undone by the journal save the original values, which no revert can change.
        self._journal: list[tuple[Any, Any, Any]] = []
        self._original_slots: dict[tuple[bytes, int], int] = {}
        self._transient: dict[tuple[bytes, int], int] = {}
        self._warm_addresses: dict[bytes, bool] = {}
        self._warm_slots: dict[tuple[bytes, int], bool] = {}
        self._created: dict[bytes, bool] = {}
        self._destructed: dict[bytes, bool] = {}
        self._touched_empty: dict[bytes, bool] = {}
        self._logs: dict[int, Log] = {}
        self._refund = [0]

    # Accounts

    def account(self, address: bytes) -> Account | None:
        """The account now, or None where there is none."""
        try:
            return self._accounts[address]
        except KeyError:
            account = self._reader.account(address)
            self._base_accounts[address] = self._accounts[address] = account
            return account

    def balance(self, address: bytes) -> int:
        account = self.account(address)
        return 0 if account is None else account.balance

    def nonce(self, address: bytes) -> int:
        account = self.account(address)
        return 0 if account is None else account.nonce

    def code(self, address: bytes) -> bytes:
        account = self.account(address)
        if account is None or account.code_hash == EMPTY_CODE_HASH:
            return b""
        code = self._codes.get(account.code_hash)
        if code is None:
            code = self._codes[account.code_hash] = self._reader.code(account.code_hash)
        return code

    def code_hash(self, address: bytes) -> bytes:
        account = self.account(address)
        return _NO_HASH if account is None or account == EMPTY_ACCOUNT else account.code_hash

    def is_empty(self, address: bytes) -> bool:
        account = self.account(address)
        return account is None or account == EMPTY_ACCOUNT

    def is_occupied(self, address: bytes) -> bool:
        account = self.account(address)
        if account is None:
            return False
        # Slots written since the reader's state belong to a contract, whose nonce is 1 or more.
        return (
            account.nonce != 0
            or account.code_hash != EMPTY_CODE_HASH
            or (address not in self._wiped and self._reader.has_storage(address))
        )

    def create_account(self, address: bytes) -> None:
        account = self.account(address) or EMPTY_ACCOUNT
        self._put(address, Account(1, account.balance, account.code_hash))
        self._mark(self._created, address)

    def increment_nonce(self, address: bytes) -> None:
        self.set_nonce(address, self.nonce(address) + 1)

    def set_nonce(self, address: bytes, nonce: int) -> None:
        account = self.account(address) or EMPTY_ACCOUNT
        self._put(address, Account(nonce, account.balance, account.code_hash))

    def set_code(self, address: bytes, code: bytes) -> None:
        account = self.account(address) or EMPTY_ACCOUNT
        code_hash = keccak256(code)
        self._codes[code_hash] = code
        self._put(address, Account(account.nonce, account.balance, code_hash))

    def set_balance(self, address: bytes, balance: int) -> None:
        account = self.account(address) or EMPTY_ACCOUNT
        self._put(address, Account(account.nonce, balance, account.code_hash))

    def add_balance(self, address: bytes, amount: int) -> None:
        """Add wei (or, negative, take; the caller has checked that it is there) and touch the account (EIP-161)."""
        account = self.account(address)
        if amount:
            nonce, balance, code_hash = account or EMPTY_ACCOUNT
            self._put(address, Account(nonce, balance + amount, code_hash))
        elif account == EMPTY_ACCOUNT:
            self._mark(self._touched_empty, address)

    def transfer(self, sender: bytes, recipient: bytes, amount: int) -> None:
        if amount:
            self.add_balance(sender, -amount)
        self.add_balance(recipient, amount)

    def self_destruct(self, address: bytes, beneficiary: bytes) -> None:
        self.transfer(address, beneficiary, self.balance(address))
        if address in self._created:
            # What it gave to itself, or is given from here on, is destroyed with it.
            self.set_balance(address, 0)
            self._mark(self._destructed, address)

    # Storage

    def storage(self, address: bytes, slot: int) -> int:
        slots = self._storage.get(address)
        if slots is not None:
            value = slots.get(slot)
            if value is not None:
                return value
        return self._load_slot(address, slot)

    def original_storage(self, address: bytes, slot: int) -> int:
        original = self._original_slots.get((address, slot))
        return self.storage(address, slot) if original is None else original

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        before = self.storage(address, slot)
        if before == value:
            return
        self._original_slots.setdefault((address, slot), before)
        slots = self._storage[address]
        self._journal.append((slots, slot, before))
        slots[slot] = value

    def transient_storage(self, address: bytes, slot: int) -> int:
        return self._transient.get((address, slot), 0)

    def set_transient_storage(self, address: bytes, slot: int, value: int) -> None:
        key = (address, slot)
        self._journal.append((self._transient, key, self._transient.get(key, _ABSENT)))
        self._transient[key] = value

    # Accessed sets, refund, logs

    def warm_address(self, address: bytes) -> bool:
        warm = self._warm_addresses
        if address in warm:
            return True
        warm[address] = True
        self._journal.append((warm, address, _ABSENT))
        return False

    def warm_slot(self, address: bytes, slot: int) -> bool:
        key = (address, slot)
        warm = self._warm_slots
        if key in warm:
            return True
        warm[key] = True
        self._journal.append((warm, key, _ABSENT))
        return False

    def add_refund(self, gas: int) -> None:
        refund = self._refund
        self._journal.append((refund, 0, refund[0]))
        refund[0] += gas

    @property
    def refund(self) -> int:
        """Gas to be refunded by this transaction, before the cap of EIP-3529."""
        return self._refund[0]

    def add_log(self, log: Log) -> None:
        self._journal.append((self._logs, len(self._logs), _ABSENT))
        self._logs[len(self._logs)] = log

    # Journal and transaction

    def snapshot(self) -> int:
        return len(self._journal)

    def revert(self, snapshot: int) -> None:
        journal = self._journal
        touched_ripemd160 = _RIPEMD160 in self._touched_empty
        while len(journal) > snapshot:
            mapping, key, before = journal.pop()
            if before is _ABSENT:
                del mapping[key]
            else:
                mapping[key] = before
        if touched_ripemd160:
            self._mark(self._touched_empty, _RIPEMD160)

    def begin_transaction(
        self, warm_addresses: Iterable[bytes] = (), warm_slots: Iterable[tuple[bytes, int]] = ()
    ) -> None:
        """Start a journal with these addresses and slots accessed from the first (EIP-2929, 2930, 3651)."""
        self._forget_transaction()
        self._warm_addresses.update(dict.fromkeys(warm_addresses, True))
        self._warm_slots.update(dict.fromkeys(warm_slots, True))

    def end_transaction(self) -> tuple[Log, ...]:
        """Make the transaction's changes final, remove destructed and touched empty accounts; its logs in order."""
        logs = tuple(self._logs.values())
        for address in self._destructed:
            self._remove(address)
        for address in self._touched_empty:
            if self._accounts[address] == EMPTY_ACCOUNT:
                self._remove(address)
        self._forget_transaction()
        return logs

    def abandon_transaction(self) -> tuple[Log, ...]:
        """Undo all since begin_transaction; the logs that there would have been."""
        logs = tuple(self._logs.values())
        self.revert(0)
        self._forget_transaction()
        return logs

    def move_plainly(self, sender: bytes, recipient: bytes, amount: int, fee: int) -> None:
        """A whole transfer outside any journal: nonce + 1, amount + fee taken, amount given. The caller has checked.

        For transactions that cannot fail once they are valid; ended by end_transaction.
        """
        accounts = self._accounts
        nonce, balance, code_hash = accounts[sender] or EMPTY_ACCOUNT
        accounts[sender] = Account(nonce + 1, balance - amount - fee, code_hash)
        if amount:
            nonce, balance, code_hash = self.account(recipient) or EMPTY_ACCOUNT
            accounts[recipient] = Account(nonce, balance + amount, code_hash)
        elif self.account(recipient) == EMPTY_ACCOUNT:
            self._touched_empty[recipient] = True

    def changes(self) -> StateChanges:
        """What differs from the reader's state, over all transactions ended so far; only real differences.

        A removed account that held slots in the reader's state and came back cannot be told here. It cannot happen:
        only a genesis could hold an account with slots but neither nonce, code nor balance, and genesis refuses it.
        """
        changes = StateChanges()
        for address, account in self._accounts.items():
            base = self._base_accounts[address]
            if account == base:
                continue
            changes.accounts[address] = account
            if account is not None and account.code_hash != (base or EMPTY_ACCOUNT).code_hash:
                changes.codes[account.code_hash] = self._codes[account.code_hash]
        for address, slots in self._storage.items():
            if self.account(address) is None:
                continue
            base_slots = self._base_storage.get(address, {})
            changed = {slot: value for slot, value in slots.items() if value != base_slots.get(slot, 0)}
            if changed:
                changes.storage[address] = changed
        return changes

    def _put(self, address: bytes, account: Account) -> None:
        self._journal.append((self._accounts, address, self._accounts[address]))
        self._accounts[address] = account
        if account == EMPTY_ACCOUNT:
            self._mark(self._touched_empty, address)

    def _mark(self, marks: dict[bytes, bool], address: bytes) -> None:
        if address not in marks:
            marks[address] = True
            self._journal.append((marks, address, _ABSENT))

    def _load_slot(self, address: bytes, slot: int) -> int:
        slots = self._storage.setdefault(address, {})
        if address in self._wiped or self.account(address) is None:
            value = 0
        else:
            value = self._reader.storage(address, slot)
            self._base_storage.setdefault(address, {})[slot] = value
        slots[slot] = value
        return value

    def _remove(self, address: bytes) -> None:
        self._accounts[address] = None
        self._storage.pop(address, None)
        self._wiped.add(address)

    def _forget_transaction(self) -> None:
        self._journal.clear()
        self._original_slots.clear()
        self._transient.clear()
        self._warm_addresses.clear()
        self._warm_slots.clear()
        self._created.clear()
        self._destructed.clear()
        self._touched_empty.clear()
        self._logs.clear()
        self._refund[0] = 0
