"""One chain in one data directory: opened and checked against its genesis, written by one thread, read by many.

It puts store, engine and importer together and knows nothing of networks, pools or miners.
"""

import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from chain.account import EMPTY_TRIE_ROOT, Account, StateReader
from chain.block import Block
from chain.candidates import Candidates
from chain.consensus.engine import Engine, engine_for
from chain.consensus.qbft.signing import Recover, recover_signer
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import Genesis
from chain.header import Header
from chain.header_chain import HeaderChain
from chain.importer import DEFAULT_REORGANISATION_CAP, Importer, ImportResult, UnknownParent
from chain.queries import ChainQueries
from chain.state_fetch import StateFetch
from chain.store.blocks import BlockStore, BlockView
from chain.store.database import DEFAULT_PAGE_CACHE_MIB, Database, DatabaseReader, read_meta, write_meta
from chain.store.past_tries import PastTries
from chain.store.state import StateStore
from chain.store.state_reader import StateUnavailable, StateView
from primitives.clock import Clock
from primitives.errors import InvalidBlock, NeedsPerson, UserError

DEFAULT_HISTORY_BLOCKS = 1_024
"""How far back states can be asked for where the node is no archive."""

_STATE_DIGEST = "genesis_state"

T = TypeVar("T")


class LatestAccounts:
    """The state as of the last imported block, whichever that is at the moment of asking; for one thread."""

    def __init__(self, reader: DatabaseReader) -> None:
        self._reader = reader

    def account(self, address: bytes) -> Account | None:
        with self._reader.snapshot() as connection:
            return StateView(connection).reader().account(address)

    def storage_root(self, address: bytes) -> bytes:
        with self._reader.snapshot() as connection:
            stored = StateView(connection).reader().stored(address)
            return EMPTY_TRIE_ROOT if stored is None else stored.storage_root

    def read(self, question: Callable[[StateReader], T]) -> T:
        """The answer to a question about one consistent state, which it must not keep."""
        with self._reader.snapshot() as connection:
            return question(StateView(connection).reader())


class Ledger:
    """An open ledger. Import in one thread at a time; `view` may be used by any."""

    def __init__(
        self,
        genesis: Genesis,
        database: Database,
        clock: Clock,
        archive: bool,
        reorganisation_cap: int,
        recover: Recover,
    ) -> None:
        self.config = genesis.config
        self.database = database
        self.blocks = BlockStore(database)
        self.state = StateStore(
            database, history_blocks=max(DEFAULT_HISTORY_BLOCKS, reorganisation_cap), archive=archive
        )
        self._begin_or_check(genesis)
        self.engine: Engine = engine_for(self.config, self.genesis_hash, recover)
        self.candidates = Candidates()
        """What was executed on the head and not imported yet; a builder on this ledger is given it."""
        self._clock = clock
        self._reorganisation_cap = reorganisation_cap
        self._importer = Importer(
            self.config,
            database,
            self.blocks,
            self.state,
            self.engine,
            clock,
            reorganisation_cap=reorganisation_cap,
            candidates=self.candidates,
        )
        self.state_fetch = StateFetch(database, self.blocks, self.state)
        """For a ledger that takes over a state instead of executing all blocks; in the thread that imports."""
        self._idle_readers: queue.SimpleQueue[DatabaseReader] = queue.SimpleQueue()
        self.latest_accounts = LatestAccounts(database.reader())
        self._past_tries = PastTries(database.reader())

    @classmethod
    def open(
        cls,
        directory: Path,
        genesis: Genesis,
        clock: Clock,
        *,
        archive: bool = False,
        reorganisation_cap: int = DEFAULT_REORGANISATION_CAP,
        page_cache_mib: int = DEFAULT_PAGE_CACHE_MIB,
        recover: Recover = recover_signer,
    ) -> Self:
        """Open the directory's ledger, or begin it with the genesis.

        `recover` finds the signers of a certificate's seals. Raises UserError where the ledger belongs to another
        chain, is damaged, or is in use by another node.
        """
        with ExitStack() as stack:
            database = stack.enter_context(Database.open(directory, page_cache_mib=page_cache_mib))
            with database.reading():
                ledger = cls(genesis, database, clock, archive, reorganisation_cap, recover)
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

    def total_difficulty(self) -> int:
        """Of the chain up to the head."""
        with self.database.reading():
            total = self.blocks.total_difficulty(self.blocks.head().hash)
        if total is None:
            raise RuntimeError("the total difficulty of the head is missing from the database")
        return total

    def validators_of_next(self) -> ValidatorSet:
        """Who votes on the block after the head. Raises UserError where nobody can: that needs an override."""
        number = self.head().number + 1
        try:
            with self.database.reading():
                validators = self.engine.validators_of(number, self.state.reader())
        except InvalidBlock as error:
            raise UserError(
                f"nobody can make block {number}: {error}. The operators of the network have to agree on an override "
                "of validators for that block, the same in the settings of every node"
            ) from error
        if validators is None:
            raise RuntimeError("a proof-of-work chain has no validators")
        return validators

    def import_block(self, block: Block, certificate: bytes = b"") -> ImportResult:
        """Take a block in, with what proves it beside its header (qbft).

        Raises InvalidBlock, and changes nothing, where a rule is broken.
        """
        with self.database.reading():
            return self._importer.import_block(block, certificate)

    def check_proposal(self, block: Block) -> None:
        """Raises InvalidBlock unless the block, once certified, can be imported next. It is not executed again then."""
        with self.database.reading():
            self._importer.check_proposal(block)

    def header_chain(self, parent_hash: bytes) -> HeaderChain:
        """For checking headers that follow a block which is here; it reads nothing of this ledger later.

        Raises UnknownParent, also where a qbft chain's state at that block is not kept, and InvalidBlock where the
        state names no validators.
        """
        with self.database.reading():
            parent = self.blocks.header(parent_hash)
            if parent is None:
                raise UnknownParent(f"the block 0x{parent_hash.hex()} is not known")
            anchor = self._importer.anchor(parent)
            try:
                state = self.state.reader_at(parent.number) if self.engine.is_final else self.state.reader()
            except StateUnavailable as error:
                raise UnknownParent(f"the validators after block {parent.number} cannot be told: {error}") from error
            validators = self.engine.validators_of(parent.number + 1, state)
        return HeaderChain(self.config, self.engine, self._clock, parent, validators, anchor)

    @contextmanager
    def view(self) -> Iterator[ChainQueries]:
        """Questions on one snapshot, from any thread."""
        try:
            reader = self._idle_readers.get_nowait()
        except queue.Empty:
            reader = self.database.reader()
        try:
            with reader.snapshot() as connection:
                state = StateView(connection, self._past_tries.trie)
                yield ChainQueries(self.config, BlockView(connection), state, self._reorganisation_cap)
        finally:
            self._idle_readers.put(reader)

    def close(self) -> None:
        self._past_tries.close()
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
            raise NeedsPerson(
                f"the accounts in the genesis file are not those that the ledger in {self.database.directory} began "
                "with: use the genesis file it was made with, or another data directory"
            )
