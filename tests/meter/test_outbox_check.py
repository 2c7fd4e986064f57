"""Edits of the outbox's file, by any program that can write it: what was not signed by the meter does not count."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter.alterations import Kind
from meter.drivers.driver import Registers
from meter.head import Head, first_head
from meter.outbox import Outbox
from meter.outbox_check import MAX_ROUNDS, check_outbox, genuine_waiting
from meter.reading import Reading, ReadingDomain
from meter.signer import KeySigner, SignerUnavailable
from primitives.errors import UserError

SIGNER, OTHER = KeySigner(b"\x21" * 32), KeySigner(b"\x22" * 32)
DOMAIN = ReadingDomain(5, b"\x10" * 20)


class Notes:
    """The daemon's ear."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        assert flags is StatusFlag.TAMPER
        assert at_once
        self.reasons.append(reason)


class Card:
    """An outbox of ten readings, which can be edited between two starts of the meter or while it runs."""

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, Notes()
        self.outbox = self._open()
        self.outbox.adopt(first_head(), bytes(32), 0)
        self.append(10)

    def _open(self) -> Outbox:
        outbox = Outbox.open(self.path, DOMAIN, SIGNER.address, SIGNER)
        outbox.alterations.note_untold(self.notes)
        return outbox

    def append(self, count: int = 1, flags: int = 0) -> None:
        for _ in range(count):
            head = self.outbox.head()
            assert head is not None
            number = head.sequence + 1
            reading = Reading(SIGNER.address, number, 1000 * number, 7 * number, 0, 1, flags, head.hash)
            self.outbox.append(DOMAIN.sign(reading, SIGNER), b"state %d" % number)

    def edit(self, statement: str, *values: object) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self._open()
        check_outbox(self.outbox)

    def waiting(self, after: int = 0) -> list[int]:
        last = first_head()
        return [one.reading.sequence for one in genuine_waiting(self.outbox, last, after, 100)]

    def kinds(self) -> list[Kind]:
        return [one.kind for one in reversed(self.outbox.alterations.newest(100))]


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    card = Card(tmp_path / "outbox.sqlite")
    yield card
    card.outbox.close()


def test_untouched_outbox_is_left_alone(card: Card) -> None:
    before = card.outbox.stored_head()
    card.restart()
    assert card.outbox.stored_head() == before
    assert card.waiting() == list(range(1, 11))
    assert (card.kinds(), card.notes.reasons) == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        "import_wh = 3",
        "time_s = 1",
        "flags = 1",
        "power_w = 77",
        "previous_hash = zeroblob(32)",
        "hash = zeroblob(32)",
        "r = zeroblob(32)",
        "vs = x''",
        "r = zeroblob(900)",
        "import_wh = -1",
        "flags = 9223372036854775807",
        "previous_hash = x'00'",
    ],
)
@pytest.mark.parametrize("while_running", [True, False])
def test_edited_reading_is_taken_out_and_told(
    card: Card, change: str, while_running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    card.edit(f"UPDATE readings SET {change} WHERE sequence = 4")
    if not while_running:
        card.restart()
    assert card.waiting() == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert card.waiting() == [1, 2, 3, 5, 6, 7, 8, 9, 10]  # said once
    assert card.kinds() == [Kind.READING]
    assert card.notes.reasons == [
        "reading 4 was altered in the outbox (not as the meter signed it) and will not be sent"
    ]
    assert "TAMPERING: reading 4 was altered" in caplog.text
    content = card.outbox.database.connection.execute("SELECT content FROM alterations").fetchone()[0]
    assert content.startswith("[[4, "), "what stood there is kept"


def test_reading_signed_by_another_key(card: Card) -> None:
    forged = DOMAIN.sign(Reading(OTHER.address, 4, 4000, 1, 0, 1, 0, bytes(32)), OTHER)
    card.edit(
        "UPDATE readings SET import_wh = 1, hash = ?, r = ?, vs = ? WHERE sequence = 4",
        forged.reading.hash,
        *forged.signature,
    )
    assert card.waiting() == [1, 2, 3, 5, 6, 7, 8, 9, 10]


def test_readings_in_another_order(card: Card) -> None:
    card.edit("UPDATE readings SET sequence = 99 WHERE sequence = 4")
    card.edit("UPDATE readings SET sequence = 4 WHERE sequence = 5")
    card.edit("UPDATE readings SET sequence = 5 WHERE sequence = 99")
    card.restart()
    assert card.waiting() == [1, 2, 3, 6, 7, 8, 9, 10]
    assert card.kinds() == [Kind.READING]


def test_deleted_readings_are_missed(card: Card) -> None:
    card.edit("DELETE FROM readings WHERE sequence IN (3, 4, 8)")
    card.restart()
    for _ in range(2):
        assert card.waiting() == [1, 2, 5, 6, 7, 9, 10]
    assert card.notes.reasons == [
        "readings 3 to 4 are gone from the outbox, and the ledger does not have what stood there",
        "reading 8 is gone from the outbox, and the ledger does not have what stood there",
    ]


def test_readings_that_the_ledger_took_are_not_missed(card: Card) -> None:
    card.outbox.settle([one.reading for one in card.outbox.waiting(0, 3)], 9)
    assert card.waiting() == list(range(4, 11))
    assert card.kinds() == []


def test_a_number_of_settled_readings_that_none_can_have(card: Card) -> None:
    card.edit("UPDATE identity SET settled_sequence = ?", 2**63 - 1)
    card.restart()
    assert card.waiting() == list(range(1, 11))


@pytest.mark.parametrize(
    "change",
    ["import_wh = 1", "driver_state = x'00'", "driver_state = NULL", "seal_r = zeroblob(32)", "seal_vs = NULL"],
)
def test_edited_head_is_put_right_from_the_last_signed_reading(card: Card, change: str) -> None:
    card.edit(f"UPDATE head SET {change}")
    card.restart()
    head, is_sealed = card.outbox.stored_head()
    newest = card.outbox.newest(1)[0].signed.reading
    assert is_sealed
    assert head == Head(10, newest.hash, Registers(10_000, 70, 0), None)
    assert card.kinds() == [Kind.HEAD]
    card.append()
    card.restart()
    assert card.waiting() == list(range(1, 12))


def test_older_head_with_its_seal_does_not_use_a_sequence_twice(card: Card) -> None:
    connection = card.outbox.database.connection
    columns = "sequence, hash, time_s, import_wh, driver_state, seal_r, seal_vs"
    old = connection.execute(f"SELECT {columns} FROM head").fetchone()
    card.append(2)
    card.edit(
        "UPDATE head SET sequence = ?, hash = ?, time_s = ?, import_wh = ?, driver_state = ?, seal_r = ?, seal_vs = ?",
        *old,
    )
    card.restart()
    head = card.outbox.head()
    assert head is not None
    assert (head.sequence, head.driver_state) == (12, None)
    assert card.kinds() == [Kind.HEAD]


def test_a_head_that_was_edited_while_the_key_cannot_sign(card: Card, caplog: pytest.LogCaptureFixture) -> None:
    """The element is pulled out: the meter starts, goes by what is right, and tells when it can sign."""

    class Away:
        address = SIGNER.address
        is_away = True

        def sign(self, message_hash: bytes) -> tuple[int, int, int]:
            if self.is_away:
                raise SignerUnavailable("the element does not answer")
            return SIGNER.sign(message_hash)

    signer = Away()
    card.edit("UPDATE head SET import_wh = 1")
    card.outbox.close()
    card.outbox = Outbox.open(card.path, DOMAIN, SIGNER.address, signer)
    card.outbox.alterations.note_untold(card.notes)
    check_outbox(card.outbox)
    assert "TAMPERING: the head of the outbox was altered. The meter goes on behind reading 10" in caplog.text
    head = card.outbox.head()
    assert head is not None
    assert (head.sequence, head.registers.import_wh) == (10, 70)
    assert card.outbox.stored_head()[0] != head  # nothing was changed
    with pytest.raises(SignerUnavailable):
        card.append()
    signer.is_away = False
    card.append()
    assert card.kinds() == [Kind.HEAD]
    assert len(card.notes.reasons) == 1
    card.restart()
    assert (card.kinds(), card.waiting()) == ([Kind.HEAD], list(range(1, 12)))


def test_nothing_genuine_left_asks_the_ledger(card: Card) -> None:
    card.edit("UPDATE head SET sequence = 3")
    card.edit("UPDATE readings SET import_wh = 1")
    card.restart()
    assert card.outbox.head() is None
    assert card.outbox.count() == 0
    assert card.kinds() == [Kind.READING, Kind.HEAD]
    assert "goes on behind where the ledger stands" in card.notes.reasons[-1]


def test_head_edited_while_the_meter_runs_does_not_count(card: Card) -> None:
    card.edit("UPDATE head SET import_wh = 1, sequence = 4")
    card.append()
    head, is_sealed = card.outbox.stored_head()
    assert is_sealed
    assert head is not None
    assert (head.sequence, head.registers.import_wh) == (11, 77)
    assert card.notes.reasons == ["the head of the outbox was altered while the meter ran, behind reading 10"]


def test_readings_put_behind_the_head(card: Card) -> None:
    card.edit(
        "INSERT INTO readings SELECT sequence + 7, time_s, import_wh, export_wh, power_w, flags, previous_hash, hash, "
        "r, vs, 0, NULL FROM readings WHERE sequence > 8"
    )
    card.append()
    assert card.waiting() == list(range(1, 12))
    assert card.notes.reasons == ["readings 16 to 17 were put into the outbox, and this meter never signed them there"]


def test_more_altered_than_is_looked_at_in_one_go(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.outbox_check.MAX_CHECKED_AT_START", 3)
    card.edit("UPDATE readings SET import_wh = 1 WHERE sequence > 2")
    card.restart()
    assert card.waiting() == [1, 2]
    monkeypatch.setattr("meter.outbox_check.MAX_CHECKED_AT_START", 1)
    card.append(MAX_ROUNDS + 1)
    card.edit("UPDATE readings SET import_wh = 1")
    with pytest.raises(UserError, match=r"were altered\. Move it away"):
        card.restart()


def test_told_by_the_next_reading_also_after_a_restart(card: Card) -> None:
    card.edit("UPDATE readings SET import_wh = 1 WHERE sequence = 4")
    card.waiting()
    card.notes.reasons.clear()
    card.restart()
    assert len(card.notes.reasons) == 1, "no reading has told it yet"
    card.append(flags=StatusFlag.TAMPER)
    assert [one.told_sequence for one in card.outbox.alterations.newest(9)] == [11]
    card.notes.reasons.clear()
    card.restart()
    assert card.notes.reasons == []


def test_told_again_where_the_reading_that_told_is_set_aside(card: Card) -> None:
    card.edit("UPDATE readings SET import_wh = 1 WHERE sequence = 4")
    card.waiting()
    card.append(2, flags=StatusFlag.TAMPER)
    card.notes.reasons.clear()
    card.outbox.quarantine(11, "the ledger refuses it")
    assert len(card.notes.reasons) == 1
    card.append(flags=StatusFlag.TAMPER)
    assert [one.told_sequence for one in card.outbox.alterations.newest(9)] == [13]


NUMBERS = st.integers(-(2**63), 2**63 - 1)
BYTES = st.binary(max_size=70)
EDITS = st.one_of(
    st.tuples(st.sampled_from(["time_s", "import_wh", "export_wh", "power_w", "flags", "attempts"]), NUMBERS),
    st.tuples(st.sampled_from(["previous_hash", "hash", "r", "vs"]), BYTES),
)
HEAD_EDITS = st.one_of(
    st.tuples(st.sampled_from(["sequence", "time_s", "import_wh", "export_wh"]), NUMBERS),
    st.tuples(st.sampled_from(["hash", "driver_state", "seal_r", "seal_vs"]), BYTES),
)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 10), EDITS), max_size=6),
    head=st.lists(HEAD_EDITS, max_size=2),
    moved=st.none() | NUMBERS,
)
def test_whatever_is_written_into_the_file_only_what_was_signed_comes_out(
    rows: list[tuple[int, tuple[str, object]]], head: list[tuple[str, object]], moved: int | None
) -> None:
    with TemporaryDirectory() as folder:
        card = Card(Path(folder) / "outbox.sqlite")
        genuine = {one.reading.sequence: one for one in card.outbox.waiting(0, 100)}
        for sequence, (column, value) in rows:
            card.edit(f"UPDATE readings SET {column} = ? WHERE sequence = ?", value, sequence)
        for column, value in head:
            card.edit(f"UPDATE head SET {column} = ?", value)
        if moved is not None:
            card.edit("UPDATE OR REPLACE readings SET sequence = ? WHERE sequence = 5", moved)
        card.restart()
        found = genuine_waiting(card.outbox, first_head(), 0, 100)
        assert all(genuine[one.reading.sequence] == one for one in found)
        stood = card.outbox.head()
        if stood is not None:
            card.append(2)
            assert card.outbox.stored_head()[1]
            assert all(DOMAIN.verify(one) is None for one in genuine_waiting(card.outbox, first_head(), 0, 100))
        card.outbox.close()


def test_what_is_asked_of_a_long_outbox_goes_by_its_order(card: Card) -> None:
    """Not through all of a million readings."""
    asked: list[str] = []
    card.outbox.database.connection.set_trace_callback(asked.append)
    card.waiting(3)
    card.append()
    card.outbox.newest(5)
    card.outbox.settle([one.reading for one in card.outbox.waiting(0, 2)], 7)
    check_outbox(card.outbox)
    card.outbox.database.connection.set_trace_callback(None)
    queries = [one for one in asked if " readings" in one and one.startswith(("SELECT", "UPDATE", "DELETE"))]
    assert len(queries) >= 6
    for query in queries:
        plan = card.outbox.database.connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
        assert all(row[3].startswith("SEARCH") for row in plan), (query, plan)


def test_old_alterations_make_room(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.alterations.MAX_ALTERATIONS", 3)
    for number in range(5):
        card.edit("UPDATE head SET import_wh = ?", number)
        card.append()
    assert card.outbox.alterations.count() == 3
