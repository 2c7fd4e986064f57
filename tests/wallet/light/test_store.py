"""The light client's file: what is in it outlasts the client, and what is wrong with it is said in a sentence."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.chain.ledger_world import START_S, world_genesis
from tests.chain.qbft.authority_world import authority_genesis
from tests.wallet.light.light_world import Home, ScriptedSource, mined_chain, sealed_chain
from wallet.light.branch import KEPT_HEADERS, Branch
from wallet.light.source import SealedHeader
from wallet.light.store import StoreMoved

CLOCK = ManualClock(START_S + 10**7)


def test_a_new_file_begins_with_the_genesis_block(tmp_path: Path) -> None:
    with Home(tmp_path, authority_genesis(), CLOCK).store as store:
        record = store.record()
        assert record.head == store.genesis == store.header(0)
        assert record.proved.validators == authority_genesis().validators()
        assert (record.proved.sealed_by, record.is_settled, record.checked_s) == (None, False, 0)
        assert store.header(1) is None
    with Home(tmp_path, authority_genesis(), CLOCK).store as again:
        assert again.record() == record


def test_each_chain_has_a_file_of_its_own(tmp_path: Path) -> None:
    genesis_files = (authority_genesis(), world_genesis(), world_genesis(difficulty="asert"))
    homes = [Home(tmp_path, genesis, CLOCK) for genesis in genesis_files]
    # How difficulty moves does not stand in the genesis block, and yet decides about every header.
    assert len({home.store.genesis.hash for home in homes}) == 2
    assert len({home.store.path for home in homes}) == 3
    for home in homes:
        home.store.close()


def test_marks_are_kept(tmp_path: Path) -> None:
    with Home(tmp_path, authority_genesis(), CLOCK).store as store:
        store.mark(123, is_settled=False)
        assert (store.record().checked_s, store.record().is_settled) == (123, False)
        store.mark(456, is_settled=True)
        store.mark(789, is_settled=False)
        assert (store.record().checked_s, store.record().is_settled) == (789, True)
        store.reset()
        assert (store.record().checked_s, store.record().is_settled) == (0, False)


async def test_everything_proved_is_there_again(tmp_path: Path) -> None:
    home = Home(tmp_path, authority_genesis(), CLOCK)
    chain = sealed_chain(home.store.genesis, 20)
    await home.follower().follow(ScriptedSource(chain))
    before = home.store.record()
    assert before.proved.head == chain[20]
    home.store.close()
    with Home(tmp_path, authority_genesis(), CLOCK).store as again:
        assert again.record() == before
        assert [again.header(number) for number in range(22)] == [*[one.header for one in chain], None]


async def test_nothing_is_written_over_what_another_command_wrote(tmp_path: Path) -> None:
    home = Home(tmp_path, world_genesis(), CLOCK)
    chain = mined_chain([SealedHeader(home.store.genesis)], 3, home.trust.config)
    before = home.store.record()
    branch = Branch(home.trust.config, home.trust.engine(home.store.genesis), CLOCK, before.proved)
    for sealed in chain[1:]:
        branch.add(sealed, is_last=False)
    await home.follower().follow(ScriptedSource(chain[:2]))
    with pytest.raises(StoreMoved):
        home.store.advance(before, branch)
    assert home.head == chain[1].header


async def test_its_size_stays_bounded(tmp_path: Path) -> None:
    home = Home(tmp_path, world_genesis(), CLOCK)
    chain = mined_chain([SealedHeader(home.store.genesis)], 4 * KEPT_HEADERS, home.trust.config)
    sizes = []
    for end in range(KEPT_HEADERS, 4 * KEPT_HEADERS, KEPT_HEADERS // 2):
        await home.follower().follow(ScriptedSource(chain[:end]))
        sizes.append(home.store.size_bytes())
    assert max(sizes) < 2 * 2**20
    assert sizes[-1] <= max(sizes[:3]) * 1.2
    home.store.close()


def damaged(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA application_id = 7", "is not this client's"),
        ("PRAGMA user_version = 99", "of another version"),
        ("UPDATE meta SET value = x'00' WHERE name = 'identity'", "is not this client's"),
        ("DELETE FROM meta WHERE name = 'overrides'", "is damaged: remove it"),
        ("DELETE FROM meta WHERE name = 'total_difficulty'", "is damaged: remove it"),
        ("UPDATE meta SET value = x'00' WHERE name = 'total_difficulty'", "is damaged: remove it"),
        ("UPDATE meta SET value = x'0102' WHERE name = 'validators'", "is damaged: remove it"),
        ("UPDATE headers SET header = x'c0'", "is damaged: remove it"),
        ("DELETE FROM headers", "is damaged: remove it"),
        ("DROP TABLE headers", "cannot be used|is damaged"),
    ],
)
def test_a_file_that_is_wrong_is_said_to_be(tmp_path: Path, statement: str, message: str) -> None:
    home = Home(tmp_path, authority_genesis(), CLOCK)
    home.store.close()
    damaged(home.store.path, statement)
    with pytest.raises(UserError, match=message):
        Home(tmp_path, authority_genesis(), CLOCK).store.record()


def test_a_file_of_something_else(tmp_path: Path) -> None:
    home = Home(tmp_path, authority_genesis(), CLOCK)
    home.store.close()
    home.store.path.write_bytes(b"not a database at all, but longer than a header of one" * 100)
    with pytest.raises(UserError, match="is damaged: remove it"):
        Home(tmp_path, authority_genesis(), CLOCK)
    home.store.path.unlink()
    home.store.path.mkdir()
    with pytest.raises(UserError, match="cannot be used"):
        Home(tmp_path, authority_genesis(), CLOCK)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Home(tmp_path / "file" / "below", authority_genesis(), CLOCK)
