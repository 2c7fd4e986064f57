"""The running meter's last values for a program beside it: current, bounded, and never a reason to stop."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meter.live_values as live_values
from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.factors import Factor, Factors
from meter.drivers.measurement import Measurement
from meter.live import Observation
from meter.live_values import LiveValues, live_file, read_live

SAMPLE = Sample(Registers(), 0, StatusFlag(0), b"")


def observation(power_mw: int | None, *values: tuple[str, int]) -> Observation:
    return Observation(SAMPLE, Measurement(0, power_mw, values=values))


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(live_values, "MIN_INTERVAL_S", 0)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path / "outbox.sqlite"


def test_the_last_values(outbox: Path) -> None:
    assert read_live(outbox) is None
    writer = LiveValues(live_file(outbox))
    writer.observe(observation(1_402_340, ("voltage_1_mv", 231_870)))
    writer.observe(observation(None, ("voltage_1_mv", 231_880)))
    writer.observe(Observation(SAMPLE))
    told = read_live(outbox)
    assert told is not None
    assert told.values == (("voltage_1_mv", 231_880),)
    assert 0 <= told.age_s < 10
    assert (told.get("voltage_1_mv"), told.get("power_mw"), told.factors) == (231_880, None, Factors())
    factors = Factors((Factor("current", 1, 1_031_250),))
    LiveValues(live_file(outbox), lambda: factors).observe(observation(1))
    told = read_live(outbox)
    assert told is not None
    assert told.factors == factors
    assert read_live(outbox.with_name("another.sqlite")) is None


def test_the_folder_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is in memory, as for a meter that is started by hand."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    outbox = tmp_path / "outbox.sqlite"
    named = tmp_path / "named"
    named.mkdir()
    file = live_file(outbox, named)
    assert file is not None
    assert file.parent == named
    LiveValues(file).observe(observation(7))
    told = read_live(outbox, named)
    assert told is not None
    assert told.get("power_mw") == 7
    assert read_live(outbox) is None


def test_a_fast_clock_writes_seldom(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LiveValues(live_file(outbox))
    monkeypatch.setattr(live_values, "MIN_INTERVAL_S", 3600)
    writer.observe(observation(1))
    writer.observe(observation(2))
    told = read_live(outbox)
    assert told is not None
    assert told.values == (("power_mw", 1),)


def test_no_folder_or_a_full_one_stops_nothing(outbox: Path, tmp_path: Path) -> None:
    LiveValues(None).observe(observation(1))
    LiveValues(tmp_path / "gone" / "x.values").observe(observation(1))
    assert read_live(outbox) is None


@given(st.binary(max_size=200) | st.sampled_from([b'{"monotonic_s": 1}', b"[]", b"[" * 60_000, b"1", b"\xff"]))
def test_garbage_is_nothing(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.values"
        path.write_bytes(content)
        assert live_values._read(path) is None
