"""What `meter status` tells of the running meter: current, bounded, and never a reason to stop."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import NO_FLAGS, Measurement
from meter.live import Observation
from meter.running_page import FRESH_S, MIN_INTERVAL_S, PageWriter, RunningPage, page_file, read_page


def observation(power_w: int, *, is_timed: bool = True, flags: StatusFlag = NO_FLAGS) -> Observation:
    return Observation(Sample(Registers(), power_w, flags, b"", is_timed=is_timed), Measurement(0))


class Stage:
    """A meter with an outbox, a folder in memory, and time that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.outbox = folder / "outbox.sqlite"
        self.now_s = time.monotonic() - 1000
        path = page_file(self.outbox)
        assert path is not None
        self.path = path
        self.writer = PageWriter(path, "rpict", lambda: self.now_s)

    def page(self) -> RunningPage:
        page = read_page(self.outbox)
        assert page is not None
        return page


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return Stage(tmp_path)


def test_the_folder_that_the_settings_name(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.sqlite"
    named = tmp_path / "named"
    named.mkdir()
    path = page_file(outbox, named)
    assert path is not None
    assert path.parent == named
    PageWriter(path, "rpict").observe(observation(7))
    page = read_page(outbox, named)
    assert page is not None
    assert page.power_w == 7
    assert read_page(outbox) is None


def test_the_last_sample(stage: Stage) -> None:
    assert read_page(stage.outbox) is None
    stage.now_s = time.monotonic()
    stage.writer.observe(observation(1402, flags=StatusFlag.GAP))
    assert stage.page().lines() == ["Device    rpict: 1402 W, just now", "Flags     gap"]
    assert stage.page().to_json()["clock_is_set"] is True


def test_while_the_device_is_silent_the_page_tells_what_it_said_last_and_what_is_wrong(stage: Stage) -> None:
    stage.writer.observe(observation(1402))
    measured_s = stage.now_s
    stage.writer.trouble("unplugged")
    stage.now_s += 17
    stage.writer.observe(replace(observation(0, flags=StatusFlag.GAP), measurement=None))
    page = stage.page()
    assert (page.power_w, page.measured_s, page.written_s) == (1402, measured_s, stage.now_s)
    assert (page.trouble, page.flags) == ("unplugged", ("gap",))


def test_trouble_and_its_end_are_told_at_once(stage: Stage) -> None:
    stage.writer.observe(observation(7))
    stage.writer.trouble("unplugged\n\x1b[31m")
    assert stage.page().trouble == "unplugged [31m"  # nothing that moves a cursor
    assert stage.page().lines() == ["Device    NO MEASUREMENTS from rpict: unplugged [31m"]
    assert stage.page().power_w == 7
    stage.writer.observe(observation(8))
    assert (stage.page().trouble, stage.page().power_w) == ("", 8)


def test_a_clock_that_is_not_set(stage: Stage) -> None:
    stage.writer.observe(observation(7))
    stage.writer.observe(observation(7, is_timed=False))
    assert "NOT SET" in stage.page().lines()[-1]


def test_it_is_not_written_more_often_than_anybody_looks(stage: Stage) -> None:
    stage.writer.observe(observation(1))
    stage.writer.observe(observation(2))
    assert stage.page().power_w == 1
    stage.now_s += MIN_INTERVAL_S
    stage.writer.observe(observation(3))
    assert stage.page().power_w == 3


def test_an_old_page_says_so(stage: Stage) -> None:
    stage.now_s = time.monotonic() - FRESH_S - 20
    stage.writer.observe(observation(5))
    assert stage.page().lines() == ["Device    rpict: 5 W, 3 minutes ago; nothing since: does the meter run?"]


def test_a_folder_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none" / "file.page"):
        writer = PageWriter(path, "rpict")
        writer.observe(observation(1))
        writer.trouble("silent")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        json.dumps({"device": "x", "power_w": "much"}).encode(),
        b'{"device": 1, "power_w": 1, "measured_s": NaN, "written_s": 1, "trouble": "", "is_timed": true, "flags": []}',
        b'{"device": 1, "power_w": 1, "measured_s": 1, "written_s": 1, "trouble": "", "is_timed": true, "flags": 7}',
    ],
)
def test_what_is_no_page(stage: Stage, content: bytes) -> None:
    stage.path.write_bytes(content)
    assert read_page(stage.outbox) is None


@given(st.text(max_size=50))
def test_any_text_is_shown_on_one_line(text: str) -> None:
    page = RunningPage("rpict", None, 0.0, 0.0, "", True, ())
    writer = PageWriter(None, "rpict")
    writer.trouble(text)
    assert writer._page.trouble.isprintable()
    assert page.lines()[0].startswith("Device")
