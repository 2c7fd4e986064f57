"""What is put together from a meter's settings, where that is worth a remark."""

from contextlib import closing
from pathlib import Path

import pytest

from meter.assembly import build_keeper, meter_address, reading_domain
from meter.outbox import Outbox
from meter.settings import load_settings
from meter.signer import make_key_file
from primitives.clock import ManualClock


def remarks(folder: Path, runtime_folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    make_key_file(folder / "meter.json", "secret")
    (folder / "meter.toml").write_text(
        '[meter]\nkey = "meter.json"\noutbox = "outbox.sqlite"\n'
        f'runtime_folder = "{runtime_folder}"\n'
        '[ledger]\nchain_id = 1947\n[driver]\nkind = "simulated-home"\n'
    )
    settings = load_settings(folder / "meter.toml")
    with closing(Outbox.open(settings.meter.outbox, reading_domain(settings), meter_address(settings))) as outbox:
        build_keeper(settings, outbox, ManualClock())
    return caplog.messages


def test_a_folder_in_memory_that_is_named_but_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    absent = tmp_path / "absent"
    (told,) = remarks(tmp_path, absent, caplog)
    assert told.startswith(f"meter.runtime_folder, {absent}, is no folder that this program can write to: make it;")


def test_one_that_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").mkdir()
    assert remarks(tmp_path, tmp_path / "run", caplog) == []
