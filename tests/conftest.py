"""Settings that every test shares.

Property tests draw the same examples in every run, so that a red run can be repeated and a green one trusted; set
HYPOTHESIS_PROFILE=explore to look for new ones. They have no deadline: machines are noisy.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.json_names import checked_json

_NOISY_MACHINE = [HealthCheck.too_slow]
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, suppress_health_check=_NOISY_MACHINE
)
settings.register_profile("explore", deadline=None, max_examples=2_000, suppress_health_check=_NOISY_MACHINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(autouse=True, scope="session")
def _every_result_in_json_has_good_names() -> Iterator[None]:
    """Whatever command a test runs with --json in its own process, its result's names are looked at."""
    with checked_json():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole-system tests first: they wait for processes most of the time, while other workers compute."""
    items.sort(key=lambda item: "functional" not in item.path.parts)
