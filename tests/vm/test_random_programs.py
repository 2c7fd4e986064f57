"""Random worlds of contracts give the same result, gas, logs, accounts and storage here and in revm."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.comparison import differences
from tests.fuzz.programs import make_world

pytest.importorskip("pyrevm", reason="revm for Python exists for x86-64 only")


_WORLDS = st.binary(min_size=300, max_size=900)


@given(_WORLDS)
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_random_world_runs_as_in_revm(data: bytes) -> None:
    assert differences(make_world(data)) == []


@given(_WORLDS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_random_world_runs_as_in_revm_when_its_code_is_translated(data: bytes) -> None:
    assert differences(make_world(data), translated=True) == []
