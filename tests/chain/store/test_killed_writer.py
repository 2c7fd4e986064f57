"""A process that writes blocks is killed (SIGKILL) while it writes; what is opened again is at a whole block.

It says the number of every block whose transaction has returned, and is killed at some point after one of them: that
block must be there, one after it may be, and state, tries, undo rows and blocks must belong together.
"""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from chain.account import Account, StateChanges
from chain.store.blocks import BlockStore
from chain.store.database import Database
from chain.store.state import StateStore
from chain.trie.root import state_root
from tests.chain.store.block_factory import make_block

ACCOUNTS = 200
WRITER = """
import sys
from pathlib import Path
from tests.chain.store.test_killed_writer import write_blocks
write_blocks(Path(sys.argv[1]), 10_000)
"""


def changes_of(number):
    generator = random.Random(number)
    chosen = [generator.randrange(ACCOUNTS).to_bytes(20, "big") for _ in range(30)]
    accounts = {address: Account(number, generator.randrange(1, 2**80)) for address in chosen}
    slots = {generator.randrange(50): generator.randrange(3) for _ in range(10)}
    return StateChanges(accounts, {chosen[0]: slots})


def state_after(number):
    accounts, storage = {}, {}
    for block_number in range(number + 1):
        changes = changes_of(block_number)
        accounts.update(changes.accounts)
        for address, slots in changes.storage.items():
            storage.setdefault(address, {}).update(slots)
    return accounts, storage


def write_blocks(directory: Path, count: int) -> None:
    with Database.open(directory) as database:
        state, blocks = StateStore(database), BlockStore(database)
        database.connection.execute("PRAGMA wal_autocheckpoint = 50")  # so that kills fall into checkpoints too
        parent = blocks.canonical_block(state.position().number)
        for number in range(0 if parent is None else parent.number + 1, count):
            block, receipts = make_block(parent, number)
            with database.transaction():
                state.commit(number, state.prepare(changes_of(number)))
                blocks.put(block, number)
                blocks.connect(block, receipts)
            print(number, flush=True)
            parent = block


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_block(tmp_path):
    generator = random.Random(7)
    reached = -1
    for _ in range(6):
        wanted = reached + generator.randrange(6, 16)
        reported = kill_after(tmp_path, wanted)
        assert reported >= wanted
        reached = check(tmp_path, reported)
    assert reached > 12


def kill_after(directory, wanted):
    """Run a writer until it reports block `wanted`, and kill it there and then; the last block it reported."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, text=True)
    reported = -1
    for line in writer.stdout:
        reported = int(line)
        if reported >= wanted:
            writer.kill()
            break
    for line in writer.stdout:  # what it had said before the kill reached it
        reported = int(line)
    writer.stdout.close()
    assert writer.wait() == -9
    return reported


def check(directory, reported):
    """The block at which the store opens, after everything in it was checked."""
    with Database.open(directory) as database:
        state, blocks = StateStore(database), BlockStore(database)
        number = state.position().number
        assert number in (reported, reported + 1)
        assert blocks.head().number == number
        assert blocks.canonical_block(number + 1) is None
        assert len(blocks.receipts(blocks.head().hash)) == len(blocks.canonical_block(number).transactions)
        accounts, storage = state_after(number)
        assert state.state_root == state_root(accounts, storage)
        assert database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        # The stored tries are whole: going back and forth through the undo rows passes their nodes.
        for undone in range(number, max(0, number - 5), -1):
            with database.transaction():
                state.rollback(undone)
                blocks.disconnect(undone)
        assert state.state_root == state_root(*state_after(max(0, number - 5)))
        return state.position().number
