"""Files that must not lose anything: all or nothing, for their owner's eyes, and no foreign file is touched."""

import sqlite3
from pathlib import Path

import pytest

from primitives.errors import UserError
from wallet.durable_file import DurableFile, FileKind

KIND = FileKind("the file of this test", 0x77000001, 3, ("CREATE TABLE one (x INTEGER) STRICT",))


def count(file: DurableFile) -> int:
    with file.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM one").fetchone()[0])


def _insert_and_fail(file: DurableFile) -> None:
    with file.transaction() as connection:
        connection.execute("INSERT INTO one VALUES (2)")
        raise KeyError


def test_a_transaction_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.db"
    with DurableFile(path, KIND) as file:
        with file.transaction() as connection:
            connection.execute("INSERT INTO one VALUES (1)")
        with pytest.raises(KeyError):
            _insert_and_fail(file)
        assert count(file) == 1
        with file.reading() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    with DurableFile(path, KIND) as file:
        assert count(file) == 1
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_of_an_earlier_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    DurableFile(path, KIND).close()
    five = FileKind(
        KIND.title, KIND.application_id, 5,
        ("CREATE TABLE one (x INTEGER, y INTEGER, z INTEGER) STRICT",),
        {3: ("ALTER TABLE one ADD COLUMN y INTEGER",), 4: ("ALTER TABLE one ADD COLUMN z INTEGER",)},
    )  # fmt: skip
    for name in ("file.db", "file.db", "new.db"):
        with DurableFile(tmp_path / name, five) as file, file.transaction() as connection:
            connection.execute("INSERT INTO one (x, y, z) VALUES (1, 2, 3)")
            assert connection.execute("PRAGMA user_version").fetchone()[0] == 5
    with pytest.raises(UserError, match="another version"):
        DurableFile(path, KIND)


def test_foreign_damaged_and_other_versions_are_named(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    before = foreign.read_bytes()
    with pytest.raises(UserError, match="another program"):
        DurableFile(foreign, KIND)
    assert foreign.read_bytes() == before
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database, but long enough to be looked at" * 40)
    with pytest.raises(UserError, match="cannot be used"):
        DurableFile(damaged, KIND)
    with pytest.raises(UserError, match="cannot be made"):
        DurableFile(damaged / "below" / "file.db", KIND)
    DurableFile(tmp_path / "own.db", KIND).close()
    with pytest.raises(UserError, match="another version"):
        DurableFile(tmp_path / "own.db", FileKind(KIND.title, KIND.application_id, 4, KIND.tables))


def test_what_sqlite_says_of_a_damaged_file_need_be_no_text(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    DurableFile(path, KIND).close()
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE one", b"CREATE\xffTABLE\xedone"))
    with pytest.raises(UserError, match="the file of this test, cannot be used"):
        DurableFile(path, KIND)
