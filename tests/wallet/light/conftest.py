"""What the tests of the light client share."""

from collections.abc import Iterator

import pytest

from tests.wallet.light.light_world import Home


@pytest.fixture(autouse=True)
def _files_are_closed() -> Iterator[None]:
    """Homes come and go in the middle of a test; their files are closed behind it."""
    yield
    while Home.opened:
        Home.opened.pop().close()
