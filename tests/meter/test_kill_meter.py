"""A meter on the real clocks, killed with SIGKILL: the energy over all its lives is power times the time between."""

import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from contracts.reading_format import StatusFlag
from meter.checkpoint import read_boot_id
from meter.energy_rules import RulesSettings
from meter.outbox import Outbox
from tests.meter.kill_meter import POWER_MW
from tests.meter.kill_outbox import DOMAIN, METER

ROOT = Path(__file__).parents[2]
WH_PER_MS = POWER_MW // 1000 // 3_600_000


def live(folder: Path, samples: int) -> list[tuple[int, int, int]]:
    """Run until so many samples were told, then kill: (elapsed_ms, import_wh, flags) of each."""
    script = [sys.executable, "-m", "tests.meter.kill_meter", str(folder)]
    with subprocess.Popen(script, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(samples)]
        process.kill()
        lines += process.stdout.read().splitlines()
    told = [line.split() for line in lines]
    return [(int(words[0]), int(words[1]), int(words[2])) for words in told if len(words) == 3]


@pytest.mark.skipif(not read_boot_id(), reason="needs the name of the boot, as Linux tells it in /proc/sys/kernel")
def test_killed_three_times(tmp_path: Path) -> None:
    lives = [live(tmp_path, samples) for samples in (4, 9, 15)]
    told = [sample for samples in lives for sample in samples]
    began_ms = told[0][0]
    assert WH_PER_MS == 1
    for elapsed_ms, import_wh, flags in told:
        assert import_wh == (elapsed_ms - began_ms) * WH_PER_MS
        assert flags == StatusFlag.JUMP
    assert RulesSettings().connection_w * 1000 < POWER_MW
    with closing(Outbox.open_for_reading(tmp_path / "outbox.sqlite", DOMAIN, METER)) as outbox:
        readings = [stored.signed.reading for stored in reversed(outbox.newest(1000))]
    restarts = [reading for reading in readings if reading.flags & StatusFlag.RESTARTED]
    assert len(restarts) == 3
    assert not any(reading.flags & (StatusFlag.GAP | StatusFlag.POWER_LOST) for reading in readings)
    for earlier, later in pairwise(readings):
        assert later.sequence == earlier.sequence + 1
        assert later.import_wh >= earlier.import_wh
