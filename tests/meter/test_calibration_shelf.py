"""Whatever is done to the file of calibrations: the meter starts, goes by what both have signed, and tells of it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from contracts.addresses import METER_ADDRESS
from contracts.calibration_format import Calibration, Quantity
from contracts.reading_format import StatusFlag
from meter.alterations import Kind
from meter.calibration import MAX_FILE_BYTES, CalibrationBook
from meter.calibration_shelf import KEPT_HISTORY, RETRY_MS, CalibrationShelf
from meter.database import companions
from meter.drivers.factors import Factor, Factors
from meter.head import first_head
from meter.kept_values import KeptValues
from meter.outbox import Outbox
from meter.reading import ReadingDomain
from meter.signed_calibration import History, Standing, history_text, sign_calibration
from meter.signer import KeySigner
from primitives.clock import ManualClock
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, OTHER_KEY

BEGIN_S = 1_700_000_000
PERSON = KeySigner(OTHER_KEY)


class Notes:
    def __init__(self) -> None:
        self.flags = StatusFlag(0)

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        self.flags |= flags


class Shop:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox.sqlite.calibrations"
        self.clock = ManualClock(BEGIN_S)
        domain = ReadingDomain(CHAIN_ID, METER_ADDRESS)
        self.outbox = Outbox.open(folder / "outbox.sqlite", domain, METER, KeySigner(METER_KEY))
        self.outbox.adopt(first_head(), bytes(32), 0)
        self.notes = Notes()
        self.outbox.alterations.note_untold(self.notes)
        self.shelf = self.new_shelf()

    def new_shelf(self) -> CalibrationShelf:
        return CalibrationShelf(self.path, CHAIN_ID, self.outbox, self.clock)

    def start(self) -> None:
        self.shelf.close()
        self.shelf = self.new_shelf()
        self.shelf.open()

    def calibrate(self, ppm: int) -> None:
        with CalibrationBook(self.path, CHAIN_ID, METER) as book:
            sequence, old_ppm = book.last()[0], book.factors().ppm("current", 1)
            change = Calibration(METER, PERSON.address, sequence + 1, BEGIN_S, Quantity.CURRENT, 1, old_ppm, ppm)
            book.add(sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), PERSON), BEGIN_S)

    def ppm(self) -> int:
        return self.shelf.history.factors().ppm("current", 1)

    def told(self) -> list[str]:
        return [one.what for one in self.outbox.alterations.newest(9)]

    def aside(self) -> list[str]:
        names = [path.name for path in self.path.parent.glob(self.path.name + ".altered-*")]
        return sorted(name for name in names if not name.endswith(("-wal", "-shm")))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.shelf.close()
    shop.outbox.close()


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    where = bytes(content).index(PERSON.address)
    content[where] ^= 1
    path.write_bytes(content)


def a_folder(path: Path) -> None:
    path.unlink()
    (path / "in").mkdir(parents=True)


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def giant(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)


def locked_away(path: Path) -> None:
    path.chmod(0)
    one_byte(path)


EDITS: dict[str, Callable[[Path], object]] = {
    "one byte": one_byte,
    "factor": lambda path: edit(path, "UPDATE calibrations SET new_ppm = 500000 WHERE sequence = 2"),
    "adopted": lambda path: edit(path, "INSERT INTO adopted VALUES (1, 0, 0, '[[\"power\", 1, 500000]]')"),
    "newest deleted": lambda path: edit(path, "DELETE FROM calibrations WHERE sequence = 2"),
    "other meter": lambda path: edit(path, "UPDATE identity SET chain_id = 1"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(os.urandom(9000)),
    "giant": giant,
    "folder": a_folder,
    "device": a_device,
    "pipe": a_pipe,
    "locked away": locked_away,
}


@pytest.mark.parametrize("what", EDITS)
def test_a_meter_whose_file_was_edited_starts_with_what_is_genuine(shop: Shop, what: str) -> None:
    shop.calibrate(1_200_000)
    shop.calibrate(1_250_000)
    shop.start()
    shop.shelf.close()
    before = shop.shelf.history
    EDITS[what](shop.path)
    left = shop.path.read_bytes() if what in ("one byte", "truncated", "garbage") else None
    shop.start()
    assert shop.shelf.history == before
    assert shop.notes.flags == StatusFlag.TAMPER
    assert [one.kind for one in shop.outbox.alterations.newest(9)] == [Kind.CALIBRATIONS]
    (name,) = shop.aside()
    assert name == "outbox.sqlite.calibrations.altered-20231114-221320"
    assert f"it was kept as {name}. The factors are those known to be genuine, by 2 calibrations" in shop.told()[0]
    if left is not None:
        assert shop.path.with_name(name).read_bytes() == left
    # The new file is a good one, which goes on.
    shop.calibrate(1_300_000)
    assert shop.shelf.look()
    assert shop.ppm() == 1_300_000
    shop.start()
    assert (shop.ppm(), len(shop.told())) == (1_300_000, 1)


@pytest.mark.parametrize("what", ["one byte", "factor", "adopted", "newest deleted"])
def test_a_meter_that_runs_notices(shop: Shop, what: str) -> None:
    shop.calibrate(1_200_000)
    shop.calibrate(1_250_000)
    shop.start()
    if what == "one byte":  # as an editor writes: another file under the name
        new = shop.path.with_name("new")
        new.write_bytes(shop.path.read_bytes())
        with closing(sqlite3.connect(shop.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        new.write_bytes(shop.path.read_bytes())
        one_byte(new)
        new.replace(shop.path)
    else:
        EDITS[what](shop.path)
    assert not shop.shelf.look()
    assert shop.ppm() == 1_250_000
    assert (len(shop.aside()), len(shop.told())) == (1, 1)
    assert shop.notes.flags == StatusFlag.TAMPER
    shop.calibrate(1_300_000)
    assert shop.shelf.look()
    assert shop.ppm() == 1_300_000


def test_a_file_that_is_taken_away_comes_back(shop: Shop) -> None:
    shop.calibrate(1_200_000)
    shop.start()
    shop.shelf.close()
    for part in companions(shop.path):
        part.unlink(missing_ok=True)
    shop.start()
    assert shop.ppm() == 1_200_000
    assert "was altered (it was taken away); nothing of it was left" in shop.told()[0]
    shop.path.unlink()  # and while the meter runs
    assert not shop.shelf.look()
    assert (shop.ppm(), len(shop.told())) == (1_200_000, 2)
    with CalibrationBook(shop.path, CHAIN_ID, METER) as book:
        assert book.history() == shop.shelf.history


def test_where_nothing_is_known_factors_are_one(shop: Shop) -> None:
    """An outbox that is new beside an edited file: the ledger is asked, and until then nothing is believed."""
    shop.calibrate(1_200_000)
    one_byte_after_checkpoint(shop.path)
    shop.start()
    assert shop.shelf.history == History()
    assert "The factors are 1 until the ledger tells others" in shop.told()[0]


def test_what_two_have_not_signed_is_not_brought_back(shop: Shop) -> None:
    """A node's word, taken over where nothing else was known: the ledger is asked again."""
    history = History(Standing(3, BEGIN_S, Factors((Factor("current", 1, 900_000),))))
    with CalibrationBook(shop.path, CHAIN_ID, METER) as book:
        book.fill(history)
    shop.start()
    assert shop.shelf.history == history
    shop.start()
    assert (shop.shelf.history, shop.told()) == (history, [])
    shop.shelf.close()
    edit(shop.path, "UPDATE adopted SET factors = '[[\"current\", 1, 800000]]'")
    shop.start()
    assert shop.shelf.history == History()
    assert "The factors are 1 until the ledger tells others" in shop.told()[0]


def one_byte_after_checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    one_byte(path)


@pytest.mark.parametrize("kept", ["", "nonsense", "[]", '{"base": [0, 0, "[]"], "records": [[1]]}', "[" * 100_000])
def test_who_edits_what_the_outbox_knows_gains_nothing(shop: Shop, kept: str) -> None:
    shop.calibrate(1_200_000)
    shop.start()
    shop.shelf.close()
    KeptValues(shop.outbox.database).set(KEPT_HISTORY, kept)
    shop.start()
    assert (shop.ppm(), shop.told()) == (1_200_000, [])
    # Both edited: no factor that two have not signed.
    shop.shelf.close()
    text = history_text(shop.shelf.history).replace("1200000", "1100000")
    KeptValues(shop.outbox.database).set(KEPT_HISTORY, text)
    edit(shop.path, "UPDATE calibrations SET new_ppm = 1100000")
    shop.start()
    assert shop.shelf.history == History()


def test_what_cannot_be_moved_aside_is_done_without(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.calibrate(1_200_000)
    shop.start()
    shop.shelf.close()
    edit(shop.path, "UPDATE calibrations SET new_ppm = 500000")

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        shop.start()
        for _ in range(3):
            shop.clock.advance_s(RETRY_MS // 1000)
            shop.shelf.look()
        assert shop.ppm() == 1_200_000
        assert len(shop.told()) == 1
        assert "it cannot be moved aside" in shop.told()[0]
    shop.clock.advance_s(RETRY_MS // 1000)
    shop.shelf.look()
    assert (shop.ppm(), len(shop.aside())) == (1_200_000, 1)
    shop.calibrate(1_300_000)
    assert shop.shelf.look()


def test_another_program_that_holds_the_file_is_no_tampering(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("meter.calibration_shelf.BUSY_TIMEOUT_S", 0.01)
    shop.calibrate(1_200_000)
    shop.start()
    shop.shelf.close()
    with closing(sqlite3.connect(shop.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        shop.start()
        assert (shop.ppm(), shop.told(), shop.aside()) == (1_200_000, [], [])
        assert "THE FILE OF CALIBRATIONS CANNOT BE USED" in caplog.text
    shop.calibrate(1_300_000)
    assert not shop.shelf.look()  # not looked at all the time
    shop.clock.advance_s(RETRY_MS // 1000)
    assert shop.shelf.look()
    assert (shop.ppm(), shop.told()) == (1_300_000, [])


def test_a_new_meter_has_a_file_and_nothing_to_tell(shop: Shop) -> None:
    shop.start()
    assert all(not part.name.endswith(".calibrations") or part.exists() for part in companions(shop.path))
    shop.start()
    assert (shop.shelf.history, shop.told(), shop.aside()) == (History(), [], [])
