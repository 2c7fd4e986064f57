"""Two ledgers for tests of taking over a state, one that executed everything and one that fetches; what is between."""

import random
from contextlib import contextmanager
from dataclasses import replace

from chain.account import Account, StateChanges
from chain.block import Block
from chain.receipt import encode_receipts
from chain.state_fetch import KeptHeader, Needs, StateFetch, Taken
from chain.store.blocks import BlockStore
from chain.store.database import Database
from chain.store.past_tries import PastTries
from chain.store.schema import FETCH_TABLE_NAMES
from chain.store.state import StateStore
from chain.store.state_reader import StateView
from primitives.keccak import keccak256
from tests.chain.store.block_factory import make_block
from tests.chain.store.state_model import CODE, PRESENT_TABLES, Model, rows
from tests.chain.test_state_pieces import TWINS

SMALL = 190
"""Bytes of a piece: hardly more than a leaf."""


class Side:
    """A database with a state and a chain of blocks that the store alone looks at."""

    def __init__(self, directory):
        self.directory = directory
        self.open()

    def open(self):
        self.database = Database.open(self.directory)
        self.database.connection.execute("PRAGMA synchronous = OFF")
        self.blocks, self.state = BlockStore(self.database), StateStore(self.database)
        self.fetch = StateFetch(self.database, self.blocks, self.state)

    def reopen(self):
        self.database.close()
        self.open()

    def begin(self, model):
        with self.database.transaction():
            self.state.initialise(model.changes())
            self.add_block(None, 1, 0)

    def commit(self, changes, seed=1):
        parent = Block(self.blocks.head(), ())
        prepared = self.state.prepare(changes)
        with self.database.transaction():
            self.state.commit(parent.number + 1, prepared)
            self.add_block(parent, seed, parent.number + 1)

    def add_block(self, parent, seed, number):
        block, receipts = make_block(parent, seed + number)
        block = Block(replace(block.header, state_root=self.state.state_root, _hash=None), block.transactions)
        below = 0 if parent is None else self.blocks.total_difficulty(parent.hash)
        self.blocks.put(block, below + block.header.difficulty, b"seals of %d" % number if number else b"")
        self.blocks.connect(block, receipts)


def clear(side):
    side.fetch.abandon()
    for (table,) in side.database.connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall():
        side.database.connection.execute(f"DELETE FROM {table}")
    side.blocks, side.state = BlockStore(side.database), StateStore(side.database)
    side.fetch = StateFetch(side.database, side.blocks, side.state)


class Server:
    """Answers out of a database as a peer does."""

    def __init__(self, database, max_bytes=SMALL):
        self.database = database
        self.max_bytes = max_bytes
        self.past = PastTries(database.reader())
        self.pieces = 0
        self.codes = 0

    def piece(self, number, place):
        self.pieces += 1
        with self.view() as view:
            return view.piece_at(number, *place, self.max_bytes).encode()

    def code(self, code_hash):
        self.codes += 1
        with self.view() as view:
            return view.find_code(code_hash)

    @contextmanager
    def view(self):
        reader = self.database.reader()
        with reader.snapshot() as connection:
            yield StateView(connection, self.past.trie)
        reader.close()


def headers_of(blocks, first, last):
    headers = []
    for number in range(first, last + 1):
        header = blocks.canonical_header(number)
        headers.append(KeptHeader(header, blocks.certificate(header.hash)))
    return headers


def step(fetch, server, number, generator, count=3):
    """Ask for some of what is missing and take the answers in any order; whether anything was missing."""
    needs = fetch.needs(count)
    answers = [(place, server.piece(number, place)) for place in needs.places]
    generator.shuffle(answers)
    assert fetch.take_pieces(answers).bad is None
    assert fetch.take_codes([(code_hash, server.code(code_hash)) for code_hash in needs.codes]) == Taken()
    return needs != Needs((), ())


def fetch_all(fetch, server, number, generator=None):
    while step(fetch, server, number, generator or random.Random(1)):
        pass


def assert_same(fetched, executed, number):
    """Both ledgers stand at block `number`."""
    ours, theirs = fetched.database, executed.database
    assert rows(ours) == rows(theirs, PRESENT_TABLES)
    assert fetched.state.position().root == executed.state.position().root
    assert fetched.state.position().number == number
    for table in ("headers", "canonical", "certificates"):
        assert rows(ours, (table,)) == rows(theirs, (table,))
    held = set(theirs.connection.execute("SELECT DISTINCT address FROM slots"))
    assert held <= set(ours.connection.execute("SELECT address FROM storage_addresses"))
    tables = {name for (name,) in ours.connection.execute("SELECT name FROM sqlite_schema")}
    assert not tables & set(FETCH_TABLE_NAMES)
    codes = dict(ours.connection.execute("SELECT * FROM codes"))
    assert all(keccak256(code) == code_hash for code_hash, code in codes.items())
    assert ours.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def aim(ours, theirs, number):
    ours.fetch.keep_headers(headers_of(theirs.blocks, 1, number))
    ours.fetch.aim_at(theirs.blocks.canonical_header(number))


def everything(side):
    tables = [name for (name,) in side.database.connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )]  # fmt: skip
    return rows(side.database, tables)


def address(number):
    return number.to_bytes(20, "big")


@contextmanager
def pair_of_ledgers(directory):
    """A ledger of 400 accounts at block 3, one with much storage and one with twins; a new one; and the way between."""
    theirs, ours = Side(directory / "theirs"), Side(directory / "ours")
    model = Model({address(i): Account(0, i) for i in range(400)})
    theirs.begin(model)
    ours.begin(model)
    for number in (1, 2, 3):
        accounts = {address(i): Account(number, i) for i in range(number, 60)}
        accounts[address(7)] = Account(1, 5, keccak256(CODE))
        storage = {address(7): dict.fromkeys(range(150), number), address(8): {TWINS[0]: 1, TWINS[1]: number}}
        theirs.commit(StateChanges(accounts, storage, {keccak256(CODE): CODE}))
    server = Server(theirs.database, 600)
    yield theirs, ours, server
    server.past.close()
    theirs.database.close()
    ours.database.close()


# Whole ledgers

COUNTER = bytes.fromhex("60005460010160005560005460015560006000a0")
"""Code that adds one to slot 0, copies it to slot 1, and logs."""


def deploying(code):
    """Init code that returns the code."""
    return bytes.fromhex(f"60{len(code):02x}600c60003960{len(code):02x}6000f3") + code


def take_over(ledger, other, number, with_receipts=()):
    """Headers, pieces, codes and some receipts out of the other ledger's views, as its node hands them out."""
    headers = []
    for at in range(1, number + 1):
        header = other.blocks.canonical_header(at)
        receipts = encode_receipts(other.blocks.receipts(header.hash)) if at in with_receipts else b""
        headers.append(KeptHeader(header, other.blocks.certificate(header.hash), receipts))
    fetch = ledger.state_fetch
    fetch.keep_headers(headers)
    fetch.aim_at(headers[-1].header)
    while (needs := fetch.needs(8)) != Needs((), ()):
        with other.view() as chain:
            pieces = [(place, chain.state_piece(number, *place, SMALL).encode()) for place in needs.places]
            codes = [(code_hash, chain.code(code_hash)) for code_hash in needs.codes]
        assert fetch.take_pieces(pieces).bad is None
        assert fetch.take_codes(codes).bad is None
    fetch.finish()
