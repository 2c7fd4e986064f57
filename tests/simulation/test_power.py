"""The disks of the simulation: what was synced is kept, what was not is lost, and a commit is whole or not there."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from chain.consensus.qbft.events import Vote, VoteKind
from chain.consensus.qbft.vote_store import VOTES_FILE, SqliteVoteStore
from tests.chain.ledger_world import World
from tests.simulation.power import CutAt, Disk, PowerSupply, powered_databases
from tests.simulation.virtual_time import Life, PowerCut, VirtualLoop

ROW = "INSERT INTO row VALUES (?)"


class Machine:
    """A disk, and lives that use it one after another."""

    def __init__(self, root: Path, seed: int = 1) -> None:
        self.disk = Disk(root, Random(seed))
        self.next_cut: CutAt | None = None
        self.is_on = True

    def run(self, work: Callable[[Path], object]) -> None:
        """One life, which ends after the work, or with the power."""
        loop = VirtualLoop()
        life = Life(loop, "one")
        life.power = PowerSupply(self.disk, lambda path: self.next_cut, self._off)
        self.is_on = True

        async def main() -> None:
            await asyncio.wait([life.start(self._work(work))])

        with powered_databases():
            task = loop.create_task(main())
            assert loop.run_while_pending(task, 1)
        loop.clear_up([life])
        if self.is_on:
            self.disk.power_cut()
        self.disk.close_abandoned()

    async def _work(self, work: Callable[[Path], object]) -> None:
        try:
            work(self.disk.directory)
        except PowerCut:
            assert not self.is_on

    def _off(self) -> None:
        self.is_on = False


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "disk")
    yield machine
    machine.disk.power_cut()
    machine.disk.close_abandoned()


def connect(directory: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / "rows.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.executescript("CREATE TABLE IF NOT EXISTS row (number)")
    return connection


def insert(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(ROW, (number,))
    connection.execute("COMMIT")


def rows(machine: Machine) -> list[int]:
    found: list[int] = []

    def read(directory: Path) -> None:
        found.extend(number for (number,) in connect(directory, "FULL").execute("SELECT number FROM row"))

    machine.next_cut = None
    machine.run(read)
    return found


def test_a_synced_commit_outlives_the_power_and_an_open_transaction_does_not(machine: Machine) -> None:
    def work(directory: Path) -> None:
        connection = connect(directory, "FULL")
        insert(connection, 1)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(ROW, (2,))

    machine.run(work)
    assert rows(machine) == [1]


def test_a_commit_that_is_not_synced_is_lost_until_one_is(machine: Machine) -> None:
    machine.run(lambda directory: insert(connect(directory, "FULL"), 1))
    machine.run(lambda directory: insert(connect(directory, "NORMAL"), 2))
    assert rows(machine) == [1]

    def both(directory: Path) -> None:
        connection = connect(directory, "NORMAL")
        insert(connection, 3)
        connection.execute("PRAGMA synchronous=FULL")
        insert(connection, 4)

    machine.run(both)
    assert rows(machine) == [1, 3, 4]


@pytest.mark.parametrize(("cut", "kept"), [(CutAt.BEFORE, [1]), (CutAt.AFTER, [1, 2])])
def test_power_that_fails_around_a_commit(machine: Machine, cut: CutAt, kept: list[int]) -> None:
    def work(directory: Path) -> None:
        connection = connect(directory, "FULL")
        insert(connection, 1)
        machine.next_cut = cut
        insert(connection, 2)
        raise AssertionError("there was no power for this")

    machine.run(work)
    assert rows(machine) == kept


def test_power_that_fails_in_a_commit_leaves_all_of_it_or_nothing(tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(30):
        machine = Machine(tmp_path / str(seed), seed)

        def work(directory: Path, machine: Machine = machine) -> None:
            connection = connect(directory, "FULL")
            insert(connection, 0)
            machine.next_cut = CutAt.DURING
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(ROW, [(number,) for number in range(1, 2_000)])
            connection.execute("COMMIT")

        machine.run(work)
        outcomes.add(len(rows(machine)))
    assert outcomes <= {1, 2_000}
    assert 1 in outcomes


def test_files_that_are_lost_with_the_power(machine: Machine) -> None:
    vote = Vote(7, VoteKind.PREPARE, b"prepare")
    machine.run(lambda directory: SqliteVoteStore.open(directory).save([vote]))
    found: list[tuple[Vote, ...]] = []
    machine.run(lambda directory: found.append(SqliteVoteStore.open(directory).load()))
    machine.disk.is_lossless = lambda path: not path.name.startswith(VOTES_FILE)
    machine.run(lambda directory: None)
    machine.run(lambda directory: found.append(SqliteVoteStore.open(directory).load()))
    assert found == [(vote,), ()]


def test_a_ledger_keeps_every_block_that_it_imported(machine: Machine) -> None:
    heads: list[int] = []

    def grow(directory: Path) -> None:
        world = World.open(directory)
        heads.append(world.ledger.head().number)
        world.nonces = {}
        for _ in range(3):
            world.ledger.import_block(world.build())

    machine.run(grow)
    machine.run(grow)
    machine.run(grow)
    assert heads == [0, 3, 6]
