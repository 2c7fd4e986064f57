"""One chain in one data directory: opened and checked against its genesis, written by one thread, read by many.

It puts store, engine and importer together and knows nothing of networks, pools or miners.
"""

import queue
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from chain.account import Account
from chain.block import Block
from chain.config import ChainConfig
from chain.consensus.engine import Engine, engine_for
from chain.genesis import Genesis
from chain.header import Header
from chain.importer import DEFAULT_REORGANISATION_CAP, Importer, ImportResult
from chain.queries import ChainQueries
from chain.store.blocks import BlockStore, BlockView
from chain.store.database import Database, DatabaseReader, read_meta, write_meta
from chain.store.state import StateStore
from chain.store.state_reader import StateView
from primitives.clock import Clock
from primitives.errors import UserError

DEFAULT_HISTORY_BLOCKS = 1_024
"""How far back states can be asked for where the node is no archive."""

_STATE_DIGEST = "genesis_state"


class LatestAccounts:
    """Accounts as of the last imported block, whichever that is at the moment of asking; for one thread."""

    def __init__(self, reader: DatabaseReader) -> None:
        self._reader = reader

    def account(self, address: bytes) -> Account | None:
        with self._reader.snapshot() as connection:
            return StateView(connection).reader().account(address)


class Ledger:
    """An open ledger. Import in one thread at a time; `view` may be used by any."""

    def __init__(
        self,
        config: ChainConfig,
        database: Database,
        clock: Clock,
        archive: bool,
        reorganisation_cap: int,
    ) -> None:
        self.config = config
        self.engine: Engine = engine_for(config)
        self.database = database
        self.blocks = BlockStore(database)
        self.state = StateStore(
            database, history_blocks=max(DEFAULT_HISTORY_BLOCKS, reorganisation_cap), archive=archive
        )
        self._reorganisation_cap = reorganisation_cap
        self._importer = Importer(
            config, database, self.blocks, self.state, self.engine, clock, reorganisation_cap=reorganisation_cap
        )
        self._idle_readers: queue.SimpleQueue[DatabaseReader] = queue.SimpleQueue()
        self.latest_accounts = LatestAccounts(database.reader())

    @classmethod
    def open(
        cls,
        directory: Path,
        genesis: Genesis,
        clock: Clock,
        *,
        archive: bool = False,
        reorganisation_cap: int = DEFAULT_REORGANISATION_CAP,
    ) -> Self:
        """Open the directory's ledger, or begin it with the genesis.

        Raises UserError where it belongs to another chain, is damaged, or is in use by another node.
        """
        with ExitStack() as stack:
            database = stack.enter_context(Database.open(directory))
            with database.reading():
                ledger = cls(genesis.config, database, clock, archive, reorganisation_cap)
                stack.push(ledger)
                ledger._begin_or_check(genesis)
            stack.pop_all()
        return ledger

    @property
    def genesis_hash(self) -> bytes:
        genesis_hash = self.blocks.canonical_hash(0)
        if genesis_hash is None:
            raise RuntimeError("the ledger has no genesis block")
        return genesis_hash

    def head(self) -> Header:
        with self.database.reading():
            return self.blocks.head()

    def import_block(self, block: Block) -> ImportResult:
        """Take a block in. Raises InvalidBlock, and changes nothing, where it breaks a rule."""
        with self.database.reading():
            return self._importer.import_block(block)

    @contextmanager
    def view(self) -> Iterator[ChainQueries]:
        """Questions on one snapshot, from any thread."""
        try:
            reader = self._idle_readers.get_nowait()
        except queue.Empty:
            reader = self.database.reader()
        try:
            with reader.snapshot() as connection:
                yield ChainQueries(self.config, BlockView(connection), StateView(connection), self._reorganisation_cap)
        finally:
            self._idle_readers.put(reader)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_or_check(self, genesis: Genesis) -> None:
        if self.database.genesis_hash is None:
            with self.database.transaction():
                self.state.initialise(genesis.state)
                header = genesis.header(self.state.state_root)
                self.blocks.put(Block(header, ()), header.difficulty)
                self.blocks.connect(Block(header, ()), ())
                self.database.set_genesis(header.hash)
                write_meta(self.database.connection, _STATE_DIGEST, genesis.state_digest)
            return
        stored = self.blocks.canonical_header(0)
        if stored is None:
            raise UserError(f"the ledger in {self.database.directory} is damaged: its first block is missing")
        # The first state is long gone, so its root is taken from the stored header and its content by the digest.
        self.database.check_genesis(genesis.header(stored.state_root).hash)
        if read_meta(self.database.connection, _STATE_DIGEST) != genesis.state_digest:
            raise UserError(
                f"the accounts in the genesis file are not those that the ledger in {self.database.directory} began "
                "with: use the genesis file it was made with, or another data directory"
            )
