"""A straight line through what a node holds: growth is seen, noise and warm-up are not taken for it."""

from random import Random

import pytest

from tests.soak.network.memory import MAX_GROWTH_MIB, Sample, line_through

SOAK_S = 1_800.0


def samples(growth_mib_per_h: float, noise_mib: float = 1.0) -> list[Sample]:
    random = Random(1)
    return [
        Sample(time_s, min(time_s, 500) / 25 + 60 + growth_mib_per_h * time_s / 3_600 + random.gauss(0, noise_mib))
        for time_s in range(0, int(SOAK_S), 2)
    ]


def test_caches_that_fill_in_the_beginning_are_no_growth() -> None:
    line = line_through(samples(0), SOAK_S)
    assert line is not None
    assert line.judged_s == pytest.approx(SOAK_S * 2 / 3, abs=2)
    assert line.begin_mib == pytest.approx(80, abs=0.5)
    assert abs(line.growth_mib) < 0.5
    assert line.is_flat


def test_a_leak_is_seen_under_noise() -> None:
    line = line_through(samples(30, noise_mib=3), SOAK_S)
    assert line is not None
    assert line.growth_mib == pytest.approx(10, abs=1)
    assert line.growth_mib > MAX_GROWTH_MIB
    assert not line.is_flat


def test_in_a_short_soak_nothing_is_judged() -> None:
    short = line_through([Sample(0, 60), Sample(30, 60), Sample(60, 90)], 60)
    assert short is not None
    assert short.is_flat
    assert line_through([], 60) is None
    assert line_through([Sample(59, 60)], 60) is None
