"""Random worlds of contracts give the same result, gas, logs, accounts and storage here and in revm."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.comparison import differences
from tests.fuzz.programs import make_world

pytest.importorskip("pyrevm", reason="revm for Python exists for x86-64 only")


@given(st.binary(min_size=300, max_size=900))
@settings(max_examples=2_200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False)
def test_a_random_world_runs_as_in_revm(data: bytes) -> None:
    assert differences(make_world(data)) == []
