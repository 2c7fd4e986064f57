"""Fixtures of the meter's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.meter.broker import Broker, running_broker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A real broker that lets everybody in."""
    async with running_broker(tmp_path) as running:
        yield running
