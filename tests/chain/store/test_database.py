"""Opening, locking and damaging the database; transactions; snapshots beside a writer."""

import sqlite3
import subprocess
import sys
import threading

import pytest

from chain.store.database import DATABASE_FILE, LOCK_FILE, Database, read_meta, write_meta
from chain.store.schema import SCHEMA_VERSION
from primitives.errors import UserError
from primitives.keccak import keccak256


def put(database, value):
    with database.transaction():
        write_meta(database.connection, "state", value)


def test_what_was_committed_is_there_again(tmp_path):
    with Database.open(tmp_path / "new" / "data") as database:
        put(database, b"one")
    with Database.open(tmp_path / "new" / "data") as database:
        assert read_meta(database.connection, "state") == b"one"
        assert database.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert database.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_transaction_that_fails_leaves_nothing_and_tells_the_caches(tmp_path):
    forgotten = []
    with Database.open(tmp_path) as database:
        put(database, b"one")
        database.on_rollback(lambda: forgotten.append(read_meta(database.connection, "state")))
        with pytest.raises(ZeroDivisionError), database.transaction():
            fail_after_writing(database)
        assert forgotten == [b"one"]
        put(database, b"three")
        assert forgotten == [b"one"]


def fail_after_writing(database):
    write_meta(database.connection, "state", b"two")
    raise ZeroDivisionError


def test_a_second_node_on_the_directory_is_refused_in_plain_words(tmp_path):
    with Database.open(tmp_path):
        with pytest.raises(UserError, match="another node is using the data directory"):
            Database.open(tmp_path)
        script = (
            "import pathlib, sys\n"
            "from chain.store.database import Database\n"
            "from primitives.errors import UserError\n"
            "try: Database.open(pathlib.Path(sys.argv[1]))\n"
            "except UserError: print('refused')\n"
        )
        process = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
        assert process.stdout == "refused\n"
        with Database.open(tmp_path, read_only=True) as looking:
            assert read_meta(looking.connection, "state") is None
    Database.open(tmp_path).close()


def test_looking_needs_a_ledger_and_cannot_write(tmp_path):
    with pytest.raises(UserError, match="no ledger"):
        Database.open(tmp_path, read_only=True)
    Database.open(tmp_path).close()
    with Database.open(tmp_path, read_only=True) as database, pytest.raises(UserError, match="cannot be used"):
        put(database, b"one")


def test_garbage_and_foreign_files_are_refused_and_left_alone(tmp_path):
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / DATABASE_FILE).write_bytes(b"this is no database " * 500)
    with pytest.raises(UserError, match="damaged"):
        Database.open(garbage)
    assert (garbage / DATABASE_FILE).read_bytes() == b"this is no database " * 500
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    connection = sqlite3.connect(foreign / DATABASE_FILE)
    connection.execute("CREATE TABLE songs (name)")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(UserError, match="another program"):
            Database.open(foreign, read_only=read_only)


def test_another_version_is_refused(tmp_path):
    with Database.open(tmp_path) as database:
        database.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="version 99"):
        Database.open(tmp_path)


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path):
    with Database.open(tmp_path) as database:
        database.connection.executescript(
            """
            INSERT INTO codes VALUES (x'01', x'02');
            INSERT INTO slots VALUES (x'aa', x'10', x'01'), (x'aa', x'11', x'01'), (x'bb', x'10', x'01');
            INSERT INTO undo_slots VALUES (7, x'cc', x'10', x'01');
            DROP TABLE certificates;
            DROP TABLE storage_addresses;
            PRAGMA user_version = 1;
            """
        )
    with pytest.raises(UserError, match="version 1"):
        Database.open(tmp_path, read_only=True)
    for _ in range(2):
        with Database.open(tmp_path) as database:
            execute = database.connection.execute
            assert execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
            assert execute("SELECT * FROM codes").fetchall() == [(b"\x01", b"\x02")]
            assert execute("SELECT * FROM certificates").fetchall() == []
            assert set(execute("SELECT * FROM storage_addresses")) == {
                (keccak256(address), address) for address in (b"\xaa", b"\xbb", b"\xcc")
            }
    fresh = tmp_path / "fresh"
    with Database.open(tmp_path) as old, Database.open(fresh) as new:
        tables = [
            one.connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() for one in (old, new)
        ]
        assert tables[0] == tables[1]


def test_a_directory_that_cannot_be_made_is_told_plainly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Database.open(tmp_path / "file" / "data")


def test_damage_is_found_after_an_unclean_end(tmp_path):
    with Database.open(tmp_path) as database, database.transaction():
        database.connection.executemany(
            "INSERT INTO codes VALUES (?, ?)", [(bytes([i]) * 32, bytes(500)) for i in range(200)]
        )
    file = tmp_path / DATABASE_FILE
    content = bytearray(file.read_bytes())
    for page in range(len(content) // 4096 // 2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xee" * 100
    file.write_bytes(content)
    (tmp_path / LOCK_FILE).write_bytes(b"open\n")
    with pytest.raises(UserError, match="damaged"):
        Database.open(tmp_path)


def test_damage_met_while_running_is_told_plainly(tmp_path):
    with Database.open(tmp_path) as database, database.transaction():
        database.connection.executemany(
            "INSERT INTO codes VALUES (?, ?)", [(bytes([i]) * 32, bytes(500)) for i in range(200)]
        )
    file = tmp_path / DATABASE_FILE
    content = bytearray(file.read_bytes())
    content[4096 * 2 :] = b"\xee" * (len(content) - 4096 * 2)
    file.write_bytes(content)
    with Database.open(tmp_path) as database, pytest.raises(UserError, match="damaged"), database.transaction():
        database.connection.execute("SELECT sum(length(code)) FROM codes").fetchall()


def test_a_wrong_statement_stays_a_bug(tmp_path):
    with Database.open(tmp_path) as database, pytest.raises(sqlite3.OperationalError), database.transaction():
        database.connection.execute("SELECT nothing FROM nowhere")


def test_a_full_disk_is_told_plainly_and_loses_nothing(tmp_path):
    with Database.open(tmp_path) as database:
        put(database, b"one")
        pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
        database.connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UserError, match="is full"):
            put(database, bytes(100_000))
        assert read_meta(database.connection, "state") == b"one"
        put(database, b"two")


def test_a_snapshot_stands_still_while_the_writer_goes_on(tmp_path):
    with Database.open(tmp_path) as database:
        put(database, b"one")
        reader = database.reader()
        seen = []
        written = threading.Event()
        pinned = threading.Event()

        def look():
            with reader.snapshot() as connection:
                seen.append(read_meta(connection, "state"))
                pinned.set()
                written.wait()
                seen.append(read_meta(connection, "state"))
            with reader.snapshot() as connection:
                seen.append(read_meta(connection, "state"))

        thread = threading.Thread(target=look)
        thread.start()
        pinned.wait()
        put(database, b"two")
        written.set()
        thread.join()
        reader.close()
        assert seen == [b"one", b"one", b"two"]


def test_a_reader_cannot_write(tmp_path):
    with Database.open(tmp_path) as database:
        reader = database.reader()
        with pytest.raises(UserError, match="cannot be used"), reader.snapshot() as connection:
            write_meta(connection, "state", b"one")
        reader.close()


def test_the_database_knows_its_genesis(tmp_path):
    with Database.open(tmp_path) as database:
        assert database.genesis_hash is None
        database.check_genesis(b"\x01" * 32)
        with database.transaction():
            database.set_genesis(b"\x01" * 32)
        assert database.genesis_hash == b"\x01" * 32
        database.check_genesis(b"\x01" * 32)
        with pytest.raises(UserError, match="another data directory"):
            database.check_genesis(b"\x02" * 32)
        with pytest.raises(RuntimeError), database.transaction():
            database.set_genesis(b"\x02" * 32)
