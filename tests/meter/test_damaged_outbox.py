"""A card spoils the outbox: the meter goes on by itself, nothing is deleted, and what is genuine in it still counts."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import meter.damaged_outbox as damaged_outbox
from meter.alterations import Kind
from meter.checkpoint import state_file
from meter.damaged_outbox import MAX_KEPT, open_outbox
from meter.database import PAGE_BYTES, DamagedFile, companions
from meter.head import first_head
from meter.kept_values import KeptValues
from meter.outbox import Outbox
from meter.outbox_check import check_outbox
from meter.reading import Reading, ReadingDomain
from meter.relay_store import RelayStore
from meter.signer import KeySigner
from meter.switch_journal import Switching, SwitchJournal
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.fake_node import CHAIN_ID, GENESIS_TIME_S, METER, METER_KEY, OTHER_KEY
from tests.meter.submitter_scene import DOMAIN, STEP_WH, Scene

SIGNER = KeySigner(METER_KEY)
CLOCK = ManualClock(1_764_111_298)
GENESIS_HASH = b"\x01" * 32
STAMP = "damaged-20251125-225458"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


def opened(path: Path) -> Outbox:
    return open_outbox(path, DOMAIN, METER, SIGNER, CLOCK)


def make(path: Path, count: int) -> None:
    with closing(Outbox.open(path, DOMAIN, METER, SIGNER)) as outbox:
        outbox.database.connection.execute("PRAGMA synchronous = OFF")
        outbox.adopt(first_head(), GENESIS_HASH, 7)
        SwitchJournal(outbox.database).record(Switching(1, 5, True, "Restored"))
        RelayStore(outbox.database).put("account", "known")
        append(outbox, count, b"state")


def append(outbox: Outbox, count: int, state: bytes) -> None:
    for _ in range(count):
        head = outbox.head()
        assert head is not None
        import_wh = head.registers.import_wh + STEP_WH
        reading = Reading(METER, head.sequence + 1, GENESIS_TIME_S, import_wh, 0, 5, 0, head.hash)
        outbox.append(DOMAIN.sign(reading, SIGNER), state)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An outbox with 200 readings, made once."""
    path = tmp_path_factory.mktemp("full") / "outbox.sqlite"
    make(path, 200)
    return path.read_bytes()


@pytest.fixture
def damaged(path: Path, full: bytes) -> bytes:
    """The outbox at `path` has lost some of its readings; what it holds then."""
    path.write_bytes(full)
    return spoil(path)


def spoil(path: Path, begin: float = 0.4, end: float = 0.6) -> bytes:
    """Overwrite some of the file; what it holds then."""
    content = bytearray(path.read_bytes())
    first, last = int(len(content) * begin) // 1024 * 1024, int(len(content) * end)
    content[first:last] = b"\xa5" * (last - first)
    path.write_bytes(content)
    return bytes(content)


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def test_an_outbox_that_is_whole_is_opened_as_it_is(path: Path) -> None:
    make(path, 3)
    with closing(opened(path)) as outbox:
        assert outbox.count() == 3
        assert outbox.alterations.count() == 0
    assert aside(path) == []


def test_what_is_genuine_in_it_is_saved(path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with closing(opened(path)) as outbox:
        stored = outbox.stored(0, 1000)
        assert 20 < len(stored) < 200
        for one in stored:
            DOMAIN.verify(one.signed)
        head, is_sealed = outbox.stored_head()
        assert is_sealed
        assert head is not None
        assert (head.sequence, head.driver_state) == (200, b"state")
        assert (outbox.genesis_hash(), outbox.confirmed_block()) == (GENESIS_HASH, 7)
        assert SwitchJournal(outbox.database).last() == Switching(1, 5, True, "Restored")
        (told,) = outbox.alterations.newest(9)
        assert (told.kind, told.first_sequence, told.told_sequence) == (Kind.DAMAGED, 200, None)
    (kept,) = aside(path)
    assert kept.name == f"outbox.sqlite.{STAMP}"
    assert kept.read_bytes() == damaged, "never deleted, nor changed"
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith(f"THE OUTBOX {path} WAS DAMAGED (")
    assert f"kept as outbox.sqlite.{STAMP}, and another was begun: {len(stored)} readings were saved" in line
    assert {part.name for part in path.parent.iterdir()} == {path.name, f"{path.name}.lock", kept.name}


@pytest.mark.usefixtures("damaged")
def test_without_its_head_the_newest_genuine_reading_is_gone_on_from(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE head SET import_wh = import_wh + 5")
    with closing(opened(path)) as outbox:
        assert outbox.stored_head() == (None, False)
        check_outbox(outbox)
        head = outbox.head()
        assert head is not None
        assert head.sequence == outbox.newest(1)[0].signed.reading.sequence


@pytest.mark.usefixtures("damaged")
def test_edited_readings_are_not_saved(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE readings SET import_wh = 1 WHERE sequence < 5")
        connection.execute("UPDATE readings SET r = x'00' WHERE sequence = 5")
        connection.execute("UPDATE readings SET hash = zeroblob(32) WHERE sequence = 6")
    with closing(opened(path)) as outbox:
        assert outbox.stored(0, 1)[0].signed.reading.sequence == 7


HEADER = b"SQLite format 3\0"


@pytest.mark.parametrize("content", [HEADER + b"\xa5" * 5000, HEADER, b"\0" * 5000, b"\xff" * 5000])
def test_where_nothing_can_be_read_the_ledger_is_asked(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    state_file(path).touch()  # a meter ran here
    if content == HEADER:
        content += b"\0"
        path.write_bytes(content)
    with closing(opened(path)) as outbox:
        assert outbox.head() is None
        assert outbox.count() == 0
        assert outbox.alterations.newest(1)[0].kind is Kind.DAMAGED
    assert aside(path)[0].read_bytes() == content


@pytest.mark.parametrize("content", [b'{"crypto": "a key file, named by mistake"}' * 40, b"PK\x03\x04" * 300])
def test_what_may_be_another_programs_file_is_left_where_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(UserError, match="is no outbox, or one that is damaged from its beginning"):
            opened(path)
    assert path.read_bytes() == content
    assert aside(path) == []


def test_the_damaged_outbox_of_another_meter_is_left_where_it_is(path: Path, damaged: bytes) -> None:
    other = KeySigner(OTHER_KEY)
    with pytest.raises(UserError, match="name another file for this meter's outbox"):
        open_outbox(path, DOMAIN, other.address, other, CLOCK)
    with pytest.raises(UserError, match="name another file for this meter's outbox"):
        open_outbox(path, ReadingDomain(CHAIN_ID + 1, DOMAIN.contract), METER, SIGNER, CLOCK)
    assert path.read_bytes() == damaged


def test_the_log_of_a_damaged_file_is_read_and_kept_too(path: Path, full: bytes) -> None:
    path.write_bytes(full)
    with closing(Outbox.open(path, DOMAIN, METER, SIGNER)) as outbox:
        append(outbox, 1, b"newest")
        beside = [(part, part.read_bytes()) for part in companions(path)]
    for part, content in beside:  # as after a power cut
        part.write_bytes(content)
    spoil(path)
    with closing(opened(path)) as outbox:
        head = outbox.head()
        assert head is not None
        assert (head.sequence, head.driver_state) == (201, b"newest")


@pytest.mark.parametrize("cut_at", [1, 2])
def test_a_power_cut_between_leaves_what_can_be_gone_on_from(
    path: Path, damaged: bytes, cut_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = 0
    honest: Callable[[Path, Path], Path] = Path.rename

    def rename(self: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        if renamed == cut_at:
            raise KeyboardInterrupt
        return honest(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            opened(path)
    with closing(opened(path)) as outbox:
        assert outbox.count() > 20
        assert outbox.alterations.count() == 1
    assert damaged in [one.read_bytes() for one in aside(path)]
    assert not path.with_name(path.name + ".renewed").exists()


def test_a_card_that_is_worn_out_is_not_filled_with_copies(path: Path, damaged: bytes) -> None:
    for number in range(MAX_KEPT):
        for suffix in ("", "-wal"):
            path.with_name(f"{path.name}.damaged-20251125-22545{number}{suffix}").touch()
    with pytest.raises(UserError, match="as 10 before it that are kept beside it: the card or disk is worn out"):
        opened(path)
    assert path.read_bytes() == damaged


@pytest.mark.usefixtures("damaged")
def test_a_million_rows_are_not_all_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damaged_outbox, "MAX_SAVED_ROWS", 20)
    with closing(opened(path)) as outbox:
        assert [one.signed.reading.sequence for one in outbox.stored(0, 99)] == [*range(1, 11), *range(191, 201)]


async def test_what_was_saved_is_charged_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.outbox.database.connection.execute("PRAGMA synchronous = OFF")
    await scene.submitter.adopt()
    scene.measure(20)
    await scene.settle()
    scene.node.is_down = True
    scene.measure(150)
    scene.outbox.close()
    spoil(scene.path)
    opened(scene.path).close()
    scene.node.is_down = False
    scene.crash()
    check_outbox(scene.outbox)
    await scene.submitter.adopt()
    scene.measure(1)
    await scene.settle()
    head = scene.outbox.head()
    accepted = scene.node.accepted_sequences()
    assert head is not None
    assert (accepted[-1], scene.node.charged_wh()) == (head.sequence, head.registers.import_wh)
    assert accepted == sorted(set(accepted))
    assert len(accepted) > 50
    scene.outbox.close()


@pytest.mark.parametrize(
    "edit",
    [
        "ALTER TABLE transactions RENAME COLUMN sender TO other",
        "DROP TABLE switchings",
        "ALTER TABLE relay_memory ADD COLUMN other TEXT DEFAULT 'x'",
        "CREATE TRIGGER eat AFTER INSERT ON readings BEGIN DELETE FROM readings; END",
        "DROP TABLE gaps; CREATE VIEW gaps AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
        "SELECT id, id AS rowid, 1 AS from_s, 1 AS until_s, 'x' AS reason FROM n WHERE id < 0",
    ],
)
def test_tables_that_somebody_made_otherwise_are_damage(
    path: Path, full: bytes, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damaged_outbox, "SALVAGE_S", 0.5)
    path.write_bytes(full)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(edit)
    with closing(opened(path)) as outbox:
        append(outbox, 1, b"state")
        assert outbox.count() >= 1
        assert RelayStore(outbox.database).get("account") == "known"
        assert [one.kind for one in outbox.alterations.newest(9)] == [Kind.DAMAGED]
    assert path.with_name(f"{path.name}.{STAMP}").exists()


def test_damage_that_only_the_running_meter_meets_is_mended_at_its_next_start(path: Path, full: bytes) -> None:
    """An index that is spoilt: SQLite's own check at the start passes it."""
    path.write_bytes(full)
    with closing(sqlite3.connect(path)) as connection:
        places = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
    content = bytearray(full)
    gaps, index = ((places[name] - 1) * PAGE_BYTES for name in ("gaps", "sqlite_autoindex_kept_values_1"))
    content[index : index + PAGE_BYTES] = content[gaps : gaps + PAGE_BYTES]
    path.write_bytes(content)
    with closing(opened(path)) as outbox, pytest.raises(DamagedFile):
        KeptValues(outbox.database).get("settings")
    with closing(opened(path)) as outbox:
        assert KeptValues(outbox.database).get("settings") is None
        assert outbox.count() == 200
    with closing(opened(path)) as outbox:
        assert outbox.alterations.count() == 1


def test_what_sqlite_says_of_a_spoilt_table_of_contents_need_be_no_text(path: Path, full: bytes) -> None:
    path.write_bytes(full.replace(b"CREATE TABLE gaps", b"CREATE\xffTABLE\xedgaps"))
    with closing(opened(path)) as outbox:
        assert outbox.alterations.count() == 1
    path.write_bytes(full)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE switchings SET reason = CAST(x'ff41' AS TEXT)")
    with closing(opened(path)) as outbox:
        assert SwitchJournal(outbox.database).newest(1)[0].reason == "\ufffdA"
