import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from her_robotics.statistics import (
    bootstrap_interval,
    interquartile_mean,
    mean_interval,
    wilson_interval,
)

RATES = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(deadline=None, max_examples=100)
@given(RATES)
def test_wilsons_interval_is_scipys(rate: tuple[int, int]) -> None:
    successes, trials = rate
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    low, high = wilson_interval(successes, trials)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0.0 <= low < high <= 1.0
    assert low - 1e-12 <= successes / trials <= high + 1e-12


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0), (1, -1)])
def test_what_is_no_rate_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {trials} trials"):
        wilson_interval(successes, trials)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2), elements=st.floats(-1e6, 1e6))
)
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: np.ndarray) -> None:
    expected = stats.trim_mean(values, 0.25, axis=0)
    np.testing.assert_allclose(interquartile_mean(values), expected, rtol=1e-9, atol=1e-6)


def test_the_interquartile_mean_of_fewer_than_four_is_the_mean() -> None:
    for count in (1, 2, 3):
        values = np.arange(count) ** 3.0
        assert interquartile_mean(values) == pytest.approx(values.mean())


def test_the_interquartile_mean_ignores_outliers_along_its_axis() -> None:
    runs = np.array([[1.0, 1e9], [2.0, 5.0], [3.0, 6.0], [-1e9, 7.0]])
    assert interquartile_mean(runs).tolist() == [1.5, 6.5]
    assert interquartile_mean(runs.T, axis=1).tolist() == [1.5, 6.5]


@pytest.mark.parametrize("statistic", [np.mean, interquartile_mean])
def test_the_interval_contains_the_statistic_and_shrinks_with_more_runs(
    statistic: object, generator: np.random.Generator
) -> None:
    widths = []
    for count in (5, 50, 500):
        values = generator.normal(3.0, 1.0, (count, 2))
        low, high = bootstrap_interval(values, statistic, resamples=500)
        assert low.shape == high.shape == (2,)
        estimate = statistic(values, axis=0)
        assert ((low <= estimate) & (estimate <= high)).all()
        widths.append(high - low)
    assert (widths[0] > widths[1]).all()
    assert (widths[1] > widths[2]).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says(
    generator: np.random.Generator,
) -> None:
    values = generator.normal(3.0, 1.0, (40, 300))
    low, high = bootstrap_interval(values, np.mean, resamples=400)
    assert 0.88 < ((low <= 3.0) & (high >= 3.0)).mean() < 0.99


def test_the_interval_of_equal_runs_is_a_point() -> None:
    low, high = bootstrap_interval(np.full(7, 0.25))
    assert low == high == 0.25


def test_the_seed_decides_the_interval(generator: np.random.Generator) -> None:
    values = generator.normal(size=20)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_the_interval_of_a_mean_is_scipys(generator: np.random.Generator) -> None:
    values = generator.exponential(2.0, 500)
    mean, low, high = mean_interval(values)
    expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert (mean, low, high) == pytest.approx((values.mean(), *expected))
    with pytest.raises(ValueError, match="two or more values, not 1"):
        mean_interval(values[:1])
