"""The votes' file: what was saved is there again, only the present height, and nobody else may use it."""

import sqlite3
from pathlib import Path

import pytest

from chain.consensus.qbft.events import Vote, VoteKind
from chain.consensus.qbft.vote_store import VOTES_FILE, SqliteVoteStore
from primitives.errors import UserError

PREPARE = Vote(5, VoteKind.PREPARE, b"prepare")
COMMIT = Vote(5, VoteKind.COMMIT, b"commit")


def test_saved_votes_are_there_after_a_restart(tmp_path: Path) -> None:
    store = SqliteVoteStore.open(tmp_path / "new")
    assert store.load() == ()
    store.save([PREPARE])
    store.save([COMMIT])
    store.close()
    again = SqliteVoteStore.open(tmp_path / "new")
    assert again.load() == (PREPARE, COMMIT)
    again.close()


def test_the_newest_of_a_kind_and_the_greatest_height_are_kept(tmp_path: Path) -> None:
    store = SqliteVoteStore.open(tmp_path)
    store.save([PREPARE, COMMIT])
    newer = Vote(5, VoteKind.PREPARE, b"next round")
    store.save([newer])
    assert store.load() == (newer, COMMIT)
    next_height = Vote(6, VoteKind.COMMIT, b"next height")
    store.save([next_height])
    assert store.load() == (next_height,)
    store.close()


def test_every_write_is_synchronous(tmp_path: Path) -> None:
    store = SqliteVoteStore.open(tmp_path)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    store = SqliteVoteStore.open(tmp_path)
    store.save([PREPARE])
    with pytest.raises(sqlite3.Error):
        store.save([Vote(6, VoteKind.COMMIT, b"x"), Vote(6, VoteKind.PREPARE, None)])  # type: ignore[arg-type]
    assert store.load() == (PREPARE,)
    store.close()


def test_a_second_user_is_refused(tmp_path: Path) -> None:
    store = SqliteVoteStore.open(tmp_path)
    store.save([PREPARE])
    with pytest.raises(UserError, match="another node"):
        SqliteVoteStore.open(tmp_path)
    store.close()


def test_a_foreign_or_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / VOTES_FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match="damaged"):
        SqliteVoteStore.open(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    connection = sqlite3.connect(other / VOTES_FILE)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(UserError, match="not a file of votes"):
        SqliteVoteStore.open(other)


def test_a_disk_that_takes_no_votes_is_told_to_a_person(tmp_path: Path) -> None:
    store = SqliteVoteStore.open(tmp_path)
    store._connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(UserError, match=r"cannot be written .* full"):
        store.save([Vote(1, VoteKind.PROPOSAL, bytes(100_000))])
    assert store.load() == ()
    store.close()
