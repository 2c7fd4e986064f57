"""The state on disk: flat and current, with tries by path beside it, and undo rows for a way back.

Preparing (state_preparing.py) works out the new root and every row to write: the builder learns the root of a block it
is making, the importer checks the root of one it was sent. Committing writes those rows, in the caller's database
transaction. Reading states, past ones too, is in state_reader.py.
"""

from collections.abc import Iterable, Iterator, Mapping

from chain.account import Account, StateChanges
from chain.store import state_loading, state_preparing
from chain.store.database import Database, write_meta
from chain.store.records import AccountRow, StatePosition, decode_record, encode_record
from chain.store.schema import ARCHIVE_TABLES, STATE_TABLES, UNDO_TABLES
from chain.store.state_preparing import (
    CachedState,
    PreparedChanges,
    SlotRow,
    update_account_trie,
    update_slot_tries,
)
from chain.store.state_reader import StateView, has_archive
from chain.trie.node import EMPTY_ROOT
from chain.trie.update import DamagedTrie
from primitives.keccak import keccak256

__all__ = ["DEFAULT_HISTORY_BLOCKS", "PreparedChanges", "StateStore"]

DEFAULT_HISTORY_BLOCKS = 1_024
"""Blocks whose undo rows are kept: what queries may ask for. Reorganisations go less deep than that."""

PRUNED_BLOCKS_PER_COMMIT = 8
"""Blocks whose undo rows a commit removes at most, so that cutting the history of a former archive delays no block."""


class StateStore(StateView):
    """The present state and the way back from it, on the writing connection. For one thread."""

    def __init__(
        self, database: Database, *, history_blocks: int = DEFAULT_HISTORY_BLOCKS, archive: bool = False
    ) -> None:
        super().__init__(database.connection)
        self._history_blocks = history_blocks
        self._archive = archive
        self._present = CachedState(self._connection)
        self._position = super().position()
        if archive != has_archive(self._connection):
            self._change_archive()
        database.on_rollback(self._forget)

    @property
    def state_root(self) -> bytes:
        return self._position.root

    def position(self) -> StatePosition:
        return self._position

    def reader(self) -> CachedState:
        """The present state; what it answers changes with commit and rollback."""
        return self._present

    def prepare(self, changes: StateChanges) -> PreparedChanges:
        """The root that these changes to the present state lead to, and the rows. Writes nothing."""
        return state_preparing.prepare(self._present, self._position.root, changes)

    def commit(self, number: int, prepared: PreparedChanges) -> None:
        """Make the prepared changes those of block `number`. Inside a database transaction."""
        if prepared.parent_root != self._position.root:
            raise RuntimeError("the changes were prepared on another state than the present one")
        self._write_undo(number, prepared)
        self._write(prepared)
        history_from = self._position.history_from
        if not self._archive:
            history_from = self._prune(number - self._history_blocks)
        self._move_to(StatePosition(number, prepared.state_root, history_from))

    def rollback(self, number: int) -> None:
        """Undo block `number`, which must be the last committed. Inside a database transaction."""
        position = self._position
        if number != position.number or number <= position.history_from:
            raise RuntimeError(f"block {number} cannot be undone: the state is that of block {position.number}")
        root = self._connection.execute("SELECT root FROM undo_roots WHERE number = ?", (number,)).fetchone()[0]
        restored = self._prepare_undo(number)
        if restored.state_root != root:
            raise DamagedTrie(f"undoing block {number} does not lead back to the state root before it")
        self._write(restored)
        self._delete_undo(number)
        self._move_to(StatePosition(number - 1, root, position.history_from))

    def initialise(self, changes: StateChanges) -> None:
        """Load the genesis state into an empty database, as block 0. Inside a database transaction."""
        accounts = ((address, account) for address, account in changes.accounts.items() if account is not None)
        self.initialise_from(accounts, changes.storage, changes.codes)

    def initialise_from(
        self,
        accounts: Iterable[tuple[bytes, Account]],
        storage: Mapping[bytes, Mapping[int, int]],
        codes: Mapping[bytes, bytes],
    ) -> None:
        """The same with accounts that need not be in memory all at once. An address may occur once only."""
        self._present.forget()
        root = state_loading.load(self._connection, accounts, storage, codes)
        self._move_to(StatePosition(0, root, 0))

    def replace(
        self,
        number: int,
        state_root: bytes,
        accounts: Iterator[tuple[bytes, bytes]],
        storage: Iterable[tuple[bytes, bytes, Iterator[tuple[bytes, bytes]]]],
    ) -> None:
        """Put a whole other state, that after block `number`, in the place of all that is here; history begins there.

        Accounts are keys and records, storage is addresses, their roots, keys and values, all in order. Raises
        DamagedTrie where they do not have these roots. Inside a database transaction.
        """
        self._present.forget()
        for table in (*STATE_TABLES, *UNDO_TABLES, *(("account_history", "slot_history") if self._archive else ())):
            self._connection.execute(f"DELETE FROM {table}")
        for address, root, slots in storage:
            if state_loading.load_slots(self._connection, address, slots) != root:
                raise DamagedTrie(f"the storage of 0x{address.hex()} is not that of its account")
        if state_loading.load_accounts(self._connection, accounts) != state_root:
            raise DamagedTrie("the accounts do not have the state's root")
        self._move_to(StatePosition(number, state_root, number))

    def _write(self, prepared: PreparedChanges) -> None:
        """The rows of the new state; nothing of the way back."""
        self._present.account_table.write(prepared.accounts, prepared.account_trie)
        if prepared.slots:
            self._write_slots(prepared)
        if prepared.codes:
            self._connection.executemany("INSERT OR IGNORE INTO codes VALUES (?, ?)", prepared.codes.items())
        self._present.absorb(prepared)

    def _write_slots(self, prepared: PreparedChanges) -> None:
        execute_many = self._connection.executemany
        slots = prepared.slots
        execute_many(
            "REPLACE INTO slots VALUES (?, ?, ?)",
            [(address, key, new) for address, key, _, new in slots if new is not None],
        )
        execute_many(
            "DELETE FROM slots WHERE address = ? AND key = ?",
            [(address, key) for address, key, _, new in slots if new is None],
        )
        execute_many("INSERT OR IGNORE INTO storage_addresses VALUES (?, ?)", _first_storage(prepared))
        nodes = [(address, *node) for address, trie in prepared.slot_tries.items() for node in trie.nodes.items()]
        execute_many("REPLACE INTO slot_nodes VALUES (?, ?, ?)", [node for node in nodes if node[2] is not None])
        execute_many(
            "DELETE FROM slot_nodes WHERE address = ? AND path = ?", [node[:2] for node in nodes if node[2] is None]
        )

    def _write_undo(self, number: int, prepared: PreparedChanges) -> None:
        execute_many = self._connection.executemany
        self._connection.execute("INSERT INTO undo_roots VALUES (?, ?)", (number, prepared.parent_root))
        execute_many(
            "INSERT INTO undo_accounts VALUES (?, ?, ?)",
            [(number, key, None if old is None else encode_record(old)) for key, old, _ in prepared.accounts],
        )
        execute_many(
            "INSERT INTO undo_slots VALUES (?, ?, ?, ?)",
            [(number, address, key, old) for address, key, old, _ in prepared.slots],
        )
        if self._archive:
            execute_many(
                "INSERT INTO account_history VALUES (?, ?)", [(key, number) for key, _, _ in prepared.accounts]
            )
            execute_many(
                "INSERT INTO slot_history VALUES (?, ?, ?)",
                [(address, key, number) for address, key, _, _ in prepared.slots],
            )

    def _prepare_undo(self, number: int) -> PreparedChanges:
        """The changes that lead back from block `number`."""
        present = self._present
        accounts = [
            AccountRow(key, present.stored_by_key(key), None if record is None else decode_record(record))
            for key, record in self._connection.execute(
                "SELECT key, record FROM undo_accounts WHERE number = ?", (number,)
            ).fetchall()
        ]
        slots = [
            SlotRow(address, key, present.slot_by_key(address, key), value)
            for address, key, value in self._connection.execute(
                "SELECT address, key, value FROM undo_slots WHERE number = ?", (number,)
            ).fetchall()
        ]
        return PreparedChanges(
            self._position.root,
            update_account_trie(present, accounts),
            update_slot_tries(present, slots),
            accounts,
            slots,
        )

    def _delete_undo(self, number: int) -> None:
        if self._archive:
            self._connection.execute(
                "DELETE FROM account_history WHERE (key, number) IN "
                "(SELECT key, number FROM undo_accounts WHERE number = ?)",
                (number,),
            )
            self._connection.execute(
                "DELETE FROM slot_history WHERE (address, key, number) IN "
                "(SELECT address, key, number FROM undo_slots WHERE number = ?)",
                (number,),
            )
        for table in UNDO_TABLES:
            self._connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))

    def _prune(self, oldest: int) -> int:
        """Remove undo rows that only states before block `oldest` need; from which block on states can be told now.

        A former archive has more of them than one commit may remove; what they tell is not asked for any more, since
        without its index every question would go through them block by block.
        """
        history_from = self._position.history_from
        if oldest <= history_from:
            return history_from
        first = self._connection.execute("SELECT min(number) FROM undo_roots").fetchone()[0]
        last = min(oldest, first + PRUNED_BLOCKS_PER_COMMIT - 1)
        for table in UNDO_TABLES:
            self._connection.execute(f"DELETE FROM {table} WHERE number <= ?", (last,))
        return oldest

    def _move_to(self, position: StatePosition) -> None:
        write_meta(self._connection, "state", position.encode())
        self._position = position

    def _change_archive(self) -> None:
        """Begin or end keeping all states. What was pruned before stays pruned."""
        tables = ARCHIVE_TABLES if self._archive else "DROP TABLE account_history; DROP TABLE slot_history;"
        self._connection.executescript(f"BEGIN IMMEDIATE; {tables} COMMIT;")

    def _forget(self) -> None:
        """The database went back; so does everything here."""
        self._present.forget()
        self._position = super().position()


def _first_storage(prepared: PreparedChanges) -> list[tuple[bytes, bytes]]:
    """(key, address) of the accounts that had no storage before."""
    had_storage = {key for key, old, _ in prepared.accounts if old is not None and old.storage_root != EMPTY_ROOT}
    keys = ((keccak256(address), address) for address in prepared.slot_tries)
    return [(key, address) for key, address in keys if key not in had_storage]
