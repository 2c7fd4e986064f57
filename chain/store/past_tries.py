"""Tries of past states, for proofs and for nodes that fetch a whole state: the present tries, with what changed since
laid over them.

The undo rows tell which leaves were different; putting these back into the present trie, in a database of its own that
is never saved, gives the nodes that were different. What was worked out once is kept and, as the head moves on, brought
up to it: undoing only the newest blocks leads to a trie that what is here already lies over. So hundreds of questions
about one state cost little more than those about the present one.
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from heapq import merge
from itertools import islice

from chain.account import EMPTY_TRIE_ROOT
from chain.store.account_table import AccountTable, decode_inner, read_account
from chain.store.cache import MISSING, GenerationCache, Missing
from chain.store.database import DatabaseReader, read_meta
from chain.store.records import StatePosition, decode_position
from chain.store.state_reader import BLOCKS, PastTrie, StateUnavailable
from chain.store.trie_source import AccountTrie, SlotTrie, StateTrie, first_key, last_key
from chain.trie.nibbles import to_nibbles
from chain.trie.node import Leaf, Node
from chain.trie.update import DamagedTrie, update
from primitives.keccak import keccak256

MAX_PAST_STATES = 8
"""Kept at a time, those asked for last: of some nodes that fetch different states, and of proofs in between."""

MAX_CHANGED_ROWS = 65_536
"""Accounts, or slots of one account, that are put back at once: some five seconds of a PC, several times that of a Pi.
Where more have changed, who asks for a newer state gets an answer."""

MAX_UNDO_ROWS = 16 * MAX_CHANGED_ROWS
"""Rows gone through for that: the same accounts change again and again."""

MAX_KEPT_PAGES = 16_384
"""64 MiB at most in a temporary file for one past state: what 65,536 changed accounts of a million take."""

PAGE_CACHE_KIB = 1_024
"""Of that, in memory."""

RUN_LENGTH = 4_096
"""Rows put back in one go, so that memory stays small."""

NODE_CACHE_LIMIT = 256
"""Nodes of a storage trie kept while a piece or a proof is made."""

_ACCOUNTS = b""
_STEP = b"\x00"
"""Whose rows and nodes are of a step that is being worked out; no address."""

_TABLES = """
CREATE TABLE bases (owner BLOB PRIMARY KEY, number INTEGER, state_root BLOB, root BLOB) WITHOUT ROWID;
CREATE TABLE rows (owner BLOB, key BLOB, row BLOB, PRIMARY KEY (owner, key)) WITHOUT ROWID;
CREATE TABLE nodes (owner BLOB, path BLOB, node BLOB, PRIMARY KEY (owner, path)) WITHOUT ROWID;
"""

# Of several old rows of a key the oldest counts: min() makes SQLite take the other columns from its row.
_OLD_ACCOUNTS = (
    "SELECT key, record, min(number) FROM undo_accounts WHERE number BETWEEN :first AND :last GROUP BY key ORDER BY key"
)
_OLD_SLOTS = BLOCKS + (
    "SELECT undo.key, undo.value, min(undo.number) FROM block CROSS JOIN undo_slots AS undo "
    "ON undo.number = block.number AND undo.address = :address GROUP BY undo.key ORDER BY undo.key"
)
_ACCOUNT_ROWS = "SELECT 1 FROM undo_accounts WHERE number BETWEEN :first AND :last LIMIT :limit"
_SLOT_ROWS = BLOCKS + (
    "SELECT 1 FROM block CROSS JOIN undo_slots AS undo "
    "ON undo.number = block.number AND undo.address = :address LIMIT :limit"
)


class PastTries:
    """The past tries of one database. One question at a time: others wait for it."""

    def __init__(self, reader: DatabaseReader) -> None:
        """`reader` is for this alone."""
        self._reader = reader
        self._lock = threading.Lock()
        self._states: OrderedDict[bytes, _PastState] = OrderedDict()

    @contextmanager
    def trie(self, wanted: PastTrie) -> Iterator[StateTrie]:
        """As long as the context lasts. Raises StateUnavailable where the state is gone, or too much has changed."""
        with self._lock, self._reader.snapshot() as connection:
            moment = _Moment(connection)
            if moment.state_root(wanted.number) != wanted.state_root:
                raise StateUnavailable(f"block {wanted.number} was replaced by another one")
            yield self._state(wanted.state_root).trie(moment, wanted)

    def close(self) -> None:
        """Give the temporary files free; whoever asks afterwards starts anew."""
        with self._lock:
            while self._states:
                self._forget(next(iter(self._states)))

    def _state(self, root: bytes) -> "_PastState":
        state = self._states.get(root)
        if state is None:
            while len(self._states) >= MAX_PAST_STATES:
                self._forget(next(iter(self._states)))
            state = self._states[root] = _PastState()
        self._states.move_to_end(root)
        return state

    def _forget(self, root: bytes) -> None:
        self._states.pop(root).close()


class _Moment:
    """The database as one snapshot shows it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        encoded = read_meta(connection, "state")
        self.position = StatePosition(0, EMPTY_TRIE_ROOT, 0) if encoded is None else decode_position(encoded)

    def state_root(self, number: int) -> bytes | None:
        """The root after a canonical block; None where it is not kept."""
        if number == self.position.number:
            return self.position.root
        row = self.connection.execute("SELECT root FROM undo_roots WHERE number = ?", (number + 1,)).fetchone()
        return None if row is None else row[0]

    def trie(self, address: bytes) -> StateTrie:
        if address == _ACCOUNTS:
            return AccountTrie(AccountTable(self.connection))
        return SlotTrie(self.connection, GenerationCache(NODE_CACHE_LIMIT), address)

    def root(self, address: bytes) -> bytes:
        if address == _ACCOUNTS:
            return self.position.root
        stored = read_account(self.connection, keccak256(address))
        return EMPTY_TRIE_ROOT if stored is None else stored.storage_root

    def old_rows(self, address: bytes, number: int) -> Iterator[tuple[bytes, bytes | None]]:
        """(key, row) of what blocks above `number` changed, as it was before; in order. Raises StateUnavailable."""
        question = {"address": address, "first": number + 1, "last": self.position.number, "limit": MAX_UNDO_ROWS + 1}
        execute = self.connection.execute
        count, rows = (_ACCOUNT_ROWS, _OLD_ACCOUNTS) if address == _ACCOUNTS else (_SLOT_ROWS, _OLD_SLOTS)
        if len(execute(count, question).fetchall()) > MAX_UNDO_ROWS:
            raise _too_much(number)
        for index, (key, row, _) in enumerate(execute(rows, question)):
            if index >= MAX_CHANGED_ROWS:
                raise _too_much(number)
            yield key, row


class _Layer:
    """Rows and nodes that are different in another state of a trie."""

    def __init__(self, connection: sqlite3.Connection, owner: bytes) -> None:
        self._connection = connection
        self._owner = owner

    def node(self, path: bytes) -> bytes | Missing | None:
        """RLP, or None where no inner node stands in the other state; Missing where there is no difference."""
        row = self._connection.execute(
            "SELECT node FROM nodes WHERE owner = ? AND path = ?", (self._owner, path)
        ).fetchone()
        return MISSING if row is None else row[0]

    def rows(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        return self._connection.execute(
            "SELECT key, row FROM rows WHERE owner = ? AND key BETWEEN ? AND ? ORDER BY key",
            (self._owner, first, last),
        )

    def put(self, rows: Mapping[bytes, bytes | None], nodes: Mapping[bytes, bytes | None]) -> None:
        execute_many = self._connection.executemany
        execute_many("REPLACE INTO rows VALUES (?, ?, ?)", [(self._owner, *row) for row in rows.items()])
        execute_many("REPLACE INTO nodes VALUES (?, ?, ?)", [(self._owner, *node) for node in sorted(nodes.items())])


class _LaidOver:
    """A trie with a layer over it (StateTrie)."""

    def __init__(self, trie: StateTrie, layer: _Layer) -> None:
        self._trie = trie
        self._layer = layer

    def node(self, path: bytes) -> Node | None:
        encoded = self.encoded(path)
        if encoded is not None:
            return decode_inner(encoded)
        for key, row in self.rows(first_key(path), last_key(path)):
            return Leaf(to_nibbles(key)[len(path) :], self._trie.leaf_value(row))
        return None

    def encoded(self, path: bytes) -> bytes | None:
        node = self._layer.node(path)
        return self._trie.encoded(path) if isinstance(node, Missing) else node

    def rows(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        over = ((key, 0, row) for key, row in self._layer.rows(first, last))
        under = ((key, 1, row) for key, row in self._trie.rows(first, last))
        covered = None
        for key, layer, row in merge(over, under, key=lambda entry: entry[:2]):
            if layer == 0:
                covered = key
            elif key == covered:
                continue
            if row is not None:
                yield key, row

    def leaf_value(self, row: bytes) -> bytes:
        return self._trie.leaf_value(row)


class _PastState:
    """What is different in the tries of one past state, in a temporary database.

    Each trie lies over the one after its base block, and is brought up to the head when it is asked for.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute(f"PRAGMA max_page_count = {MAX_KEPT_PAGES}")
        self._connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def trie(self, moment: _Moment, wanted: PastTrie) -> StateTrie:
        present = moment.trie(wanted.address)
        with self._transaction(wanted.number):
            row = self._connection.execute(
                "SELECT number, state_root, root FROM bases WHERE owner = ?", (wanted.address,)
            ).fetchone()
            base = wanted if row is None else PastTrie(row[0], row[1], row[2], wanted.address)
            if moment.state_root(base.number) != base.state_root:  # a reorganisation
                self._clear()
                base = wanted
            if base.number != moment.position.number:
                self._bring_up(moment, present, base)
        return _LaidOver(present, _Layer(self._connection, wanted.address))

    def _bring_up(self, moment: _Moment, present: StateTrie, base: PastTrie) -> None:
        """Work out the trie after the base block, and lay what is here over that."""
        step = _Layer(self._connection, _STEP)
        source = _LaidOver(present, step)
        root = moment.root(base.address)
        old_rows = moment.old_rows(base.address, base.number)
        while run := dict(islice(old_rows, RUN_LENGTH)):
            values = {key: None if row is None else present.leaf_value(row) for key, row in run.items()}
            result = update(source, values)
            root = result.root
            step.put(run, result.nodes)
        if root != base.root:
            raise DamagedTrie(f"undoing blocks does not lead back to the trie after block {base.number}")
        for table, columns in (("rows", "key, row"), ("nodes", "path, node")):
            self._connection.execute(
                f"INSERT OR IGNORE INTO {table} SELECT ?, {columns} FROM {table} WHERE owner = ?", (base.address, _STEP)
            )
            self._connection.execute(f"DELETE FROM {table} WHERE owner = ?", (_STEP,))
        self._connection.execute(
            "REPLACE INTO bases VALUES (?, ?, ?, ?)",
            (base.address, moment.position.number, moment.position.root, moment.root(base.address)),
        )

    def _clear(self) -> None:
        for table in ("bases", "rows", "nodes"):
            self._connection.execute(f"DELETE FROM {table}")

    @contextmanager
    def _transaction(self, number: int) -> Iterator[None]:
        """What is broken off, as a question that takes too long, leaves what was here before."""
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise _too_much(number) from error
            raise


def _too_much(number: int) -> StateUnavailable:
    return StateUnavailable(f"too much has changed since block {number} to prove its state: ask for a newer one")
