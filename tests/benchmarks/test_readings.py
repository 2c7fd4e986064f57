"""The blocks of benchmarks.readings, with fewer meters: all readings are accepted, and execution in memory agrees."""

from pathlib import Path

import pytest

from benchmarks import reading_blocks, readings
from benchmarks.reading_blocks import BATCH, produce


@pytest.mark.parametrize(("per_transaction", "meters"), [(1, 2), (BATCH, BATCH)])
def test_readings_are_accepted_and_execution_in_memory_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_transaction: int, meters: int
) -> None:
    monkeypatch.setitem(reading_blocks.METERS, per_transaction, meters)
    blocks = list(produce(tmp_path, per_transaction, 2))
    assert [len(block.transactions) for block in blocks] == [meters // per_transaction] * 2
    assert readings._executed(per_transaction, blocks) > 0
