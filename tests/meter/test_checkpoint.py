"""State between readings: whole or not there, the latest that fits the last reading, whoever is killed when."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.checkpoint import (
    PLACE_BYTES,
    Checkpoint,
    CheckpointFile,
    CheckpointKeeper,
    decode_checkpoint,
    keeper_of,
    read_boot_id,
    runtime_folder,
)
from primitives.clock import ManualClock

ROOT = Path(__file__).parents[2]
METER = b"\x01" * 20
HASH = b"\x02" * 32
LEDGER = b"\x03" * 32


def checkpoint(number: int, sequence: int = 5, head_hash: bytes = HASH, **values: object) -> Checkpoint:
    fields = {"driver_state": b"state %d" % number, "flags": 3, "boot_id": "b", "block_time_s": 9, **values}
    return Checkpoint(METER, LEDGER, sequence, head_hash, number=number, **fields)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[CheckpointFile]:
    with closing(CheckpointFile(tmp_path / "a.state", is_durable=False)) as opened:
        yield opened


class Stage:
    def __init__(self, folder: Path, interval_s: int = 60) -> None:
        self.clock = ManualClock()
        (folder / "run").mkdir(exist_ok=True)
        self.card, self.memory = folder / "outbox.sqlite.state", folder / "run" / "m.state"
        self.interval_s = interval_s

    def open(self) -> CheckpointKeeper:
        keeper = CheckpointKeeper(METER, self.card, self.memory, self.clock, self.interval_s)
        keeper.open()
        return keeper


def test_the_last_two_are_there(file: CheckpointFile) -> None:
    assert file.read() == []
    for number in range(1, 8):
        file.write(checkpoint(number))
    assert file.read() == [checkpoint(6), checkpoint(7)]


def test_a_torn_write_leaves_the_one_before(file: CheckpointFile) -> None:
    for number in (1, 2):
        file.write(checkpoint(number))
    whole = file.path.read_bytes()
    for place, kept in ((0, 2), (1, 1)):
        begin = place * PLACE_BYTES
        length = len(checkpoint(1).encode())
        for cut in range(length):
            torn = whole[: begin + cut] + bytes([whole[begin + cut] ^ 1]) + whole[begin + cut + 1 :]
            file.path.write_bytes(torn)
            assert [one.number for one in file.read()] == [kept]
        file.path.write_bytes(whole)
    file.path.write_bytes(whole[: PLACE_BYTES + 20])
    assert [one.number for one in file.read()] == [1]
    file.write(checkpoint(3))
    assert [one.number for one in file.read()] == [1, 3]


@given(st.binary(max_size=400))
def test_garbage_is_no_checkpoint(content: bytes) -> None:
    assert decode_checkpoint(content) is None


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
    st.booleans(),
    st.text("0123456789abcdef-", max_size=64),
    st.binary(max_size=2048),
    st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read(
    number: int, flags: int, is_clean: bool, boot_id: str, state: bytes, event_count: int
) -> None:
    one = Checkpoint(METER, LEDGER, number, HASH, state, flags, number, boot_id, is_clean, number, number, event_count)
    encoded = one.encode()
    assert len(encoded) <= PLACE_BYTES
    assert decode_checkpoint(encoded.ljust(PLACE_BYTES, b"x")) == one


def test_memory_has_every_sample_and_the_card_one_a_minute(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    keeper = stage.open()
    for number in range(1, 602):
        keeper.keep(checkpoint(number), on_card=keeper.is_due())
        stage.clock.advance_s(1)
    keeper.close()
    with closing(stage.open()) as again:
        assert again.newest == checkpoint(601)
    stage.memory.unlink()  # the power was cut
    with closing(stage.open()) as after:
        assert after.newest == checkpoint(601)
    stage.memory.unlink()
    assert stage.card.stat().st_size == 2 * PLACE_BYTES


def test_what_a_day_writes_to_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path)
    keeper = stage.open()
    pages, synced = 0, 0
    really_write, really_sync = os.pwrite, os.fdatasync

    def count_pages(descriptor: int, content: bytes, offset: int) -> int:
        nonlocal pages
        assert offset % PLACE_BYTES == 0
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(stage.card):
            pages += -(-len(content) // PLACE_BYTES)
        return really_write(descriptor, content, offset)

    def count_syncs(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        really_sync(descriptor)

    monkeypatch.setattr(os, "pwrite", count_pages)
    monkeypatch.setattr(os, "fdatasync", count_syncs)
    with closing(keeper):
        for number in range(86_400 // 5):
            keeper.keep(checkpoint(number), on_card=keeper.is_due())
            stage.clock.advance_s(5)
    assert pages == synced == 1440
    assert pages * PLACE_BYTES < 6_000_000


def test_only_one_that_follows_on_the_last_reading_counts(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with closing(stage.open()) as keeper:
        keeper.keep(checkpoint(7, sequence=5), on_card=True)
        keeper.keep(checkpoint(8, sequence=6), on_card=False)
    with closing(stage.open()) as keeper:
        assert keeper.behind(LEDGER, 6, HASH) == checkpoint(8, sequence=6)
        assert keeper.behind(LEDGER, 6, bytes(32)) is None
        assert keeper.behind(LEDGER, 7, HASH) is None
        # The outbox is lost, or an old copy: what came later counts, on the same ledger.
        assert keeper.behind(LEDGER, 5, HASH) == checkpoint(8, sequence=6)
        assert keeper.behind(bytes(32), 5, HASH) is None
        assert keeper.newest == checkpoint(8, sequence=6)


def test_one_of_another_meter_is_not_used(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with closing(stage.open()) as keeper:
        keeper.keep(replace(checkpoint(1), meter=b"\x09" * 20), on_card=True)
    with closing(stage.open()) as keeper:
        assert keeper.newest is None


def test_a_disk_that_fails_is_told_once_and_measuring_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path)
    with closing(stage.open()) as keeper:

        def full(*arguments: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            for number in range(5):
                keeper.keep(checkpoint(number), on_card=True)
        keeper.keep(checkpoint(9), on_card=True)
    assert caplog.text.count("cannot be kept") == 2  # once for each file
    with closing(stage.open()) as keeper:
        assert keeper.newest == checkpoint(9)


def test_a_folder_that_is_not_there_or_a_link_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link.state").symlink_to(target)
    missing = tmp_path / "no folder" / "a.state"
    with closing(CheckpointKeeper(METER, missing, tmp_path / "link.state", ManualClock(), 60)) as keeper:
        keeper.open()
        keeper.keep(checkpoint(1), on_card=True)
    assert caplog.text.count("cannot be kept") == 2
    assert target.read_text() == "precious"


def test_two_meters_may_share_the_folder_in_memory(tmp_path: Path) -> None:
    names = []
    for outbox, meter in (("a", METER), ("b", METER), ("a", bytes(20))):
        with closing(keeper_of(tmp_path / outbox, meter, ManualClock(), 60, tmp_path)) as keeper:
            keeper.open()
            names += [path.name for path in tmp_path.iterdir()]
    assert len(set(names)) == 2 + 3


def test_the_folder_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured, given, personal = [tmp_path / name for name in ("configured", "given", "personal")]
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{given}:/other")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(personal))
    personal.mkdir()
    if not os.access("/run/wattchain", os.W_OK):
        assert runtime_folder(configured) == personal
    given.mkdir()
    assert runtime_folder(None) == given
    configured.mkdir()
    assert runtime_folder(configured) == configured


def test_the_name_of_a_boot(tmp_path: Path) -> None:
    path = tmp_path / "boot_id"
    assert read_boot_id(path) == ""
    path.write_text(" 39486acd\n")
    assert read_boot_id(path) == "39486acd"
    path.write_bytes(b"\xff\xff")
    assert read_boot_id(path) == ""


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """A process that writes as fast as it can is killed: what it promised is there, or something later."""
    for _ in range(5):
        path = tmp_path / "memory.state"
        script = [sys.executable, "-m", "tests.meter.kill_checkpoint", str(path)]
        with subprocess.Popen(script, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            promised = [json.loads(writer.stdout.readline()) for _ in range(50)]
            writer.kill()
            rest = writer.stdout.read().splitlines()
        last = json.loads(rest[-2]) if len(rest) > 1 else promised[-1]
        with closing(CheckpointFile(path, is_durable=False)) as file:
            newest = file.read()[-1]
        assert newest.number >= last
        assert newest.driver_state == b"%d" % newest.number * 100
