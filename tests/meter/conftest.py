"""Fixtures of the meter's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.meter.broker import Broker, running_broker
from tests.meter.submitter_scene import BATCH, Scene


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A real broker that lets everybody in."""
    async with running_broker(tmp_path) as running:
        yield running


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A meter that has asked the ledger where it stands."""
    made = Scene(tmp_path)
    await made.submitter.adopt()
    yield made
    made.outbox.close()  # which one that is, crashes have decided


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.sending.MAX_BATCH", BATCH)
