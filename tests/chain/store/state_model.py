"""A plain model of the state, changes for it, and what the store should hold of it."""

from hypothesis import strategies as st

from chain.account import EMPTY_CODE_HASH, Account, StateChanges
from chain.store.schema import STATE_TABLES, UNDO_TABLES
from chain.store.state import StateStore
from chain.trie.root import state_root
from primitives.keccak import keccak256

CODE = b"\x60\x00"
PRESENT_TABLES = ("buckets", "upper_nodes", "slots", "slot_nodes")
"""What they hold follows from the state alone, whatever the way to it was."""


class Model:
    """What the state should be: accounts by address, and their slots."""

    def __init__(self, accounts=None, storage=None):
        self.accounts = dict(accounts or {})
        self.storage = {address: dict(slots) for address, slots in (storage or {}).items()}

    def copy(self):
        return Model(self.accounts, self.storage)

    def apply(self, changes):
        for address, account in changes.accounts.items():
            if account is None:
                self.accounts.pop(address, None)
                self.storage.pop(address, None)
            else:
                self.accounts[address] = account
        for address, slots in changes.storage.items():
            if address in self.accounts:
                present = self.storage.setdefault(address, {})
                present.update(slots)
                self.storage[address] = {slot: value for slot, value in present.items() if value}

    @property
    def root(self):
        return state_root(self.accounts, self.storage)

    def changes(self):
        return StateChanges(dict(self.accounts), self.storage)


def rows(database, tables=PRESENT_TABLES):
    return {table: database.connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


def fresh_rows(database, model):
    empty(database)
    store = StateStore(database)
    with database.transaction():
        store.initialise(model.changes())
    return rows(database)


def empty(database):
    """As it was when it was made; opening a new one for every example takes longer than the example."""
    StateStore(database)  # without an archive
    for table in (*STATE_TABLES, *UNDO_TABLES, "meta"):
        database.connection.execute(f"DELETE FROM {table}")


def commit(database, store, number, changes):
    prepared = store.prepare(changes)
    with database.transaction():
        store.commit(number, prepared)


def neighbours(count):
    """Addresses whose keys begin with the same four nibbles, so that nodes and accounts share a bucket."""
    by_bucket = {}
    for number in range(300_000):
        address = number.to_bytes(20, "little")
        found = by_bucket.setdefault(keccak256(address)[:2], [])
        found.append(address)
        if len(found) == count:
            return found
    raise AssertionError("not enough addresses to find neighbours")


ADDRESSES = [*neighbours(8), *(bytes([i]) * 20 for i in range(6))]
addresses = st.sampled_from(ADDRESSES)
accounts = st.builds(
    Account,
    st.sampled_from([0, 1, 255, 256, 2**64 - 1]),
    st.one_of(st.integers(0, 3), st.integers(0, 2**256 - 1)),
    st.sampled_from([EMPTY_CODE_HASH, keccak256(CODE)]),
)
slot_changes = st.dictionaries(st.integers(0, 12), st.one_of(st.just(0), st.integers(0, 2**256 - 1)), max_size=6)
block_changes = st.builds(
    StateChanges,
    st.dictionaries(addresses, st.one_of(st.none(), accounts, accounts), max_size=7),
    st.dictionaries(addresses, slot_changes, max_size=3),
)
