"""What a light client has proved, in one small SQLite file: the newest header, what proves it, who votes next, and the
last KEPT_HEADERS headers below it.

Nothing here is checked again when it is read: whoever can write this file can write the genesis file as well. Several
commands may use it at a time; each writes only on top of what it has read.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chain.consensus.qbft.validators import ADDRESS_BYTES, ValidatorSet
from chain.header import Header, decode_header
from chain.trie.root import state_root
from primitives import rlp
from primitives.errors import Invalid, UserError
from wallet.light.branch import KEPT_HEADERS, Branch, Proved
from wallet.light.source import SealedHeader
from wallet.light.trust import Trust

APPLICATION_ID = 0x57414C43
""""WALC", in the file's header."""
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0
"""Another command writes for some milliseconds."""
NAME_DIGITS = 16
"""Of the chain's identity in the file's name: enough that no two chains of one person share them."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE headers (number INTEGER PRIMARY KEY, header BLOB NOT NULL, certificate BLOB NOT NULL);
"""


class _Damaged(Invalid):
    """The file lacks what must be in it."""


class StoreMoved(Exception):
    """Another command has stored something meanwhile: read anew, and go on from there."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known about the chain."""

    proved: Proved
    is_settled: bool
    """Whether all nodes that were named have been compared once; from then on no deep fork is followed."""
    checked_s: int
    """When a node last had nothing newer, on the client's clock; 0 for never."""

    @property
    def head(self) -> Header:
        return self.proved.head.header


class LightStore:
    """One chain's file. For one thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection, trust: Trust) -> None:
        self.path = path
        self._connection = connection
        self._trust = trust

    @classmethod
    def open(cls, folder: Path, trust: Trust) -> Self:
        """The file of this chain in the folder, made where it is absent. Raises UserError.

        It begins anew where an override of validators is another one than what it holds was proved with.
        """
        identity = trust.identity
        path = folder / f"{trust.config.chain_id}-{identity.hex()[:NAME_DIGITS]}.sqlite"
        with _plain_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                store = cls(path, connection, trust)
                store._set_up(identity)
            except BaseException:
                connection.close()
                raise
        return store

    @property
    def genesis(self) -> Header:
        with _plain_errors(self.path):
            header = self.header(0)
            if header is None:
                raise _Damaged
            return header

    def record(self) -> Record:
        with self._transaction(writes=False):
            return self._record()

    def header(self, number: int) -> Header | None:
        """A proved header that is kept: the last KEPT_HEADERS, and the genesis block's."""
        with _plain_errors(self.path):
            row = self._connection.execute("SELECT header FROM headers WHERE number = ?", (number,)).fetchone()
            return None if row is None else decode_header(row[0])

    def kept_below(self, number: int) -> int:
        """The lowest number from which on all headers up to `number` are kept."""
        return max(number - KEPT_HEADERS + 1, 0)

    def advance(self, before: Record, branch: Branch) -> None:
        """Make the branch's proved headers those of the chain, in place of whatever was above its fork.

        Raises StoreMoved where the file does not hold `before` any more.
        """
        proved, headers = branch.proved, list(branch.unstored)
        head_number = proved.head.header.number
        with self._transaction():
            if self._record().proved.head.header != before.head:
                raise StoreMoved
            self._connection.execute(
                "DELETE FROM headers WHERE number > max(?, 0) OR 0 < number AND number < ?",
                (branch.fork_number, self.kept_below(head_number)),
            )
            self._put_headers(headers)
            self._put_proved(proved)

    def mark(self, checked_s: int, *, is_settled: bool) -> None:
        """Note that nodes were asked, and that they had nothing newer at this time."""
        with self._transaction():
            self._put("checked", rlp.encode_int(checked_s))
            if is_settled:
                self._put("settled", b"\x01")

    def reset(self) -> None:
        """Begin anew from the genesis block."""
        with self._transaction():
            self._begin(self.genesis)

    def size_bytes(self) -> int:
        """On the disk."""
        with _plain_errors(self.path):
            return self.path.stat().st_size

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self, identity: bytes) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes is fetched again; WAL keeps the file whole.
        connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            if version == application == 0:
                for statement in _TABLES.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._put("identity", identity)
                genesis = self._trust.genesis
                self._begin(genesis.header(state_root(genesis.state.accounts, genesis.state.storage)))
            elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION) or self._get("identity") != identity:
                raise UserError(f"{self.path} is not this client's, or of another version; remove it, or move it away.")
            elif self._get("overrides") != self._overrides(self._record().head.number):
                self._begin(self.genesis)

    def _begin(self, genesis: Header) -> None:
        self._connection.execute("DELETE FROM headers")
        self._put_headers([SealedHeader(genesis)])
        self._put("settled", b"")
        self._put("checked", b"")
        start = Proved(SealedHeader(genesis), genesis.difficulty, self._trust.first_validators(), None)
        self._put_proved(start)

    def _record(self) -> Record:
        row = self._connection.execute(
            "SELECT header, certificate FROM headers ORDER BY number DESC LIMIT 1"
        ).fetchone()
        if row is None:
            raise _Damaged
        head = SealedHeader(decode_header(row[0]), row[1])
        total_difficulty = rlp.decode_int(self._get("total_difficulty"), 64)
        proved = Proved(head, total_difficulty, _unpack(self._get("validators")), _unpack(self._get("sealed_by")))
        return Record(proved, self._get("settled") != b"", rlp.decode_int(self._get("checked")))

    def _put_proved(self, proved: Proved) -> None:
        self._put("total_difficulty", rlp.encode_int(proved.total_difficulty))
        self._put("validators", _pack(proved.validators))
        self._put("sealed_by", _pack(proved.sealed_by))
        self._put("overrides", self._overrides(proved.head.header.number))

    def _put_headers(self, headers: Sequence[SealedHeader]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO headers VALUES (?, ?, ?)",
            [(one.header.number, one.header.encode(), one.certificate) for one in headers],
        )

    def _overrides(self, head_number: int) -> bytes:
        """Those that decide about what is proved up to this head, and about the validators of the next block."""
        return rlp.encode(
            [
                [rlp.encode_int(one.block_number), _pack(one.validators)]
                for one in sorted(self._trust.config.validator_overrides, key=lambda one: one.block_number)
                if one.block_number <= head_number + 1
            ]
        )

    def _get(self, name: str) -> bytes:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise _Damaged
        return bytes(row[0])

    def _put(self, name: str, value: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[None]:
        with _plain_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _pack(validators: ValidatorSet | None) -> bytes:
    return b"" if validators is None else b"".join(validators.addresses)


def _unpack(packed: bytes) -> ValidatorSet | None:
    if not packed:
        return None
    try:
        return ValidatorSet.of(packed[at : at + ADDRESS_BYTES] for at in range(0, len(packed), ADDRESS_BYTES))
    except ValueError as error:
        raise _Damaged from error


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """What the disk or a damaged file raises, as a sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(f"{path} cannot be used: {error}.") from error
    except (sqlite3.DatabaseError, Invalid) as error:
        raise UserError(f"{path} is damaged: remove it, and it will be made again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be used: {error.strerror}.") from error
