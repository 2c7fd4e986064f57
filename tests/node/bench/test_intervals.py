"""Statistics of block times, against published tables and against drawn samples whose mean is known."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.bench.intervals import (
    exponential_interval,
    exponential_precision,
    gamma_distribution,
    gamma_quantile,
    percentile,
    student_interval,
    student_quantile,
)


@pytest.mark.parametrize(
    ("degrees", "probability", "value"),
    # Chi-squared tables: the quantile of 2n degrees is twice that of the gamma distribution of shape n.
    [(2, 0.975, 7.3778), (2, 0.025, 0.0506), (20, 0.975, 34.1696), (20, 0.025, 9.5908), (100, 0.5, 99.3341)],
)
def test_gamma_quantiles_are_those_of_chi_squared_tables(degrees: int, probability: float, value: float) -> None:
    assert 2 * gamma_quantile(degrees // 2, probability) == pytest.approx(value, abs=1e-4)


@given(st.integers(1, 300), st.floats(0.001, 0.999))
def test_a_gamma_quantile_has_its_probability(shape: int, probability: float) -> None:
    assert gamma_distribution(shape, gamma_quantile(shape, probability)) == pytest.approx(probability, abs=1e-6)


def test_nothing_of_a_gamma_distribution_lies_below_zero() -> None:
    assert gamma_distribution(3, 0.0) == gamma_distribution(3, -1.0) == 0.0


@pytest.mark.parametrize(
    ("degrees", "value", "tolerance"),
    [(3, 3.1824, 0.02), (5, 2.5706, 0.003), (10, 2.2281, 1e-3), (30, 2.0423, 1e-4), (100, 1.9840, 1e-4)],
)
def test_student_quantiles_are_those_of_tables(degrees: int, value: float, tolerance: float) -> None:
    assert student_quantile(degrees, 0.975) == pytest.approx(value, abs=tolerance)


def test_exponential_interval_of_a_known_sample() -> None:
    # 10 samples of 1: chi-squared of 20 degrees, 34.17 and 9.591.
    interval = exponential_interval([1.0] * 10)
    assert interval.mean == 1
    assert interval.low == pytest.approx(20 / 34.1696, rel=1e-4)
    assert interval.high == pytest.approx(20 / 9.5908, rel=1e-4)
    assert interval.method == "exponential"
    assert interval.scaled(9).high == pytest.approx(9 * interval.high)


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    random = Random(1)
    covered = {"exponential": 0, "student": 0}
    for _ in range(400):
        exponential = exponential_interval([random.expovariate(1 / 9) for _ in range(50)])
        normal = student_interval([random.gauss(9, 2) for _ in range(20)])
        covered["exponential"] += exponential.low <= 9 <= exponential.high
        covered["student"] += normal.low <= 9 <= normal.high
    # 95 % of 400 are 380, with a standard deviation of 4.4.
    assert all(365 <= count <= 395 for count in covered.values()), covered


def test_precision_shrinks_with_the_root_of_the_count() -> None:
    assert exponential_precision(100) == pytest.approx(0.2, abs=0.01)
    assert exponential_precision(400) == pytest.approx(1.96 / math.sqrt(400), rel=0.02)


def test_percentiles_are_samples() -> None:
    samples = [float(number) for number in range(100, 0, -1)]
    assert percentile(samples, 50) == 50
    assert percentile(samples, 99) == 99
    assert percentile(samples, 100) == 100
    assert percentile([3.0], 50) == percentile([3.0], 99) == 3.0
