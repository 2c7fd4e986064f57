"""Other settings, another program, an open cover: each is in a signed reading, power cut or not."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contracts.reading_format import StatusFlag
from meter.database import open_database
from meter.kept_values import KeptValues
from meter.tamper import ChangeWatch, CoverSwitch, TamperSettings, program_hash
from primitives.clock import ManualClock
from tests.meter.mock_pins import mock_pins

PIN = 17
OPENED = (StatusFlag.TAMPER | StatusFlag.COVER_OPEN, True)


class Notes:
    def __init__(self) -> None:
        self.seen: list[tuple[StatusFlag, bool]] = []
        self.was_noted = asyncio.Event()

    def note(self, flags: StatusFlag, reason: str, *, at_once: bool = False) -> None:
        self.seen.append((flags, at_once))
        self.was_noted.set()

    async def next(self) -> tuple[StatusFlag, bool]:
        await asyncio.wait_for(self.was_noted.wait(), 5)
        self.was_noted.clear()
        return self.seen[-1]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptValues]:
    with closing(open_database(tmp_path / "outbox.sqlite")) as database:
        yield KeptValues(database)


def start(kept: KeptValues, settings: str, program: str, *, is_signed: bool = True) -> list[tuple[StatusFlag, bool]]:
    notes = Notes()
    watch = ChangeWatch(kept, {"settings": settings, "program": program})
    watch.note(notes)
    if is_signed:
        watch.signed()
        watch.signed()
    return notes.seen


def test_changes_are_noted_once_they_are_signed(kept: KeptValues) -> None:
    assert start(kept, "a", "1") == []
    assert start(kept, "a", "1") == []
    assert start(kept, "b", "1", is_signed=False) == [(StatusFlag.SETTINGS_CHANGED, True)]
    # Killed before the reading: the next start says it again.
    assert start(kept, "b", "1") == [(StatusFlag.SETTINGS_CHANGED, True)]
    assert start(kept, "b", "1") == []
    assert start(kept, "a", "2") == [(StatusFlag.SETTINGS_CHANGED, True), (StatusFlag.PROGRAM_CHANGED, True)]


def test_every_file_of_the_program_counts(tmp_path: Path) -> None:
    (tmp_path / "meter").mkdir()
    file = tmp_path / "meter" / "a.py"
    file.write_text("x = 1")
    first = program_hash(tmp_path)
    assert program_hash(tmp_path) == first
    file.write_text("x = 2")
    changed = program_hash(tmp_path)
    file.rename(tmp_path / "meter" / "b.py")
    renamed = program_hash(tmp_path)
    (tmp_path / "meter" / "c.txt").write_text("no code")
    assert program_hash(tmp_path) == renamed
    assert len({first, changed, renamed, program_hash()}) == 4


@pytest.mark.parametrize("closed_is", ["connected", "open"])
async def test_a_cover_that_is_opened_and_closed(closed_is: str) -> None:
    with mock_pins() as pins:
        clock, notes = ManualClock(), Notes()
        pin: Any = pins.pin(PIN)

        def move(is_open: bool) -> None:
            # A switch to ground, against the pull-up.
            (pin.drive_low if is_open == (closed_is == "open") else pin.drive_high)()

        switch = CoverSwitch(TamperSettings(PIN, closed_is), notes, clock)
        task = asyncio.ensure_future(switch.run())
        if closed_is == "connected":  # nothing is connected to the mock at first
            assert await notes.next() == OPENED
            move(is_open=False)
            assert await notes.next() == (StatusFlag.COVER_OPEN, True)
        notes.seen.clear()
        for _ in range(3):
            for _ in range(5):
                await asyncio.sleep(0)
            clock.advance_s(1)
        assert notes.seen == []
        move(is_open=True)
        assert await notes.next() == OPENED
        for _ in range(3):
            for _ in range(5):
                await asyncio.sleep(0)
            clock.advance_s(1)
            assert await notes.next() == (StatusFlag.COVER_OPEN, False)
        move(is_open=False)
        assert await notes.next() == (StatusFlag.COVER_OPEN, True)
        task.cancel()
        await asyncio.wait((task,))


async def test_a_cover_that_is_open_at_the_start() -> None:
    with mock_pins():
        notes = Notes()
        task = asyncio.ensure_future(CoverSwitch(TamperSettings(PIN), notes, ManualClock()).run())
        assert await notes.next() == OPENED
        task.cancel()
        await asyncio.wait((task,))
