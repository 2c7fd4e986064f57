"""Ten kills of a node and a meter at random moments, as `make soak` does them two hundred times.

Everything that was promised (accepted transfers, readings on the meter's disk, blocks) is there in the end, once, and
the state is that of a ledger that executes all blocks without ever being killed.
"""

from pathlib import Path

import pytest

from tests.soak.run import soak

KILLS = 10
SEED = 2


@pytest.mark.slow
async def test_ten_kills(tmp_path: Path) -> None:
    folder = tmp_path / "soak"
    outcome = await soak(folder, KILLS, SEED, lambda: None)
    assert sum(outcome.record.kills.values()) == KILLS
    assert outcome.record.mining_processes > 0
    assert outcome.record.readings
    assert outcome.transfers > 0
