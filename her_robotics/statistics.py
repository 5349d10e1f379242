"""Intervals for what was measured."""

from collections.abc import Callable

import numpy as np

Z95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95% interval of a success rate (Wilson 1927).

    Raises:
        ValueError: unless 0 <= successes <= trials and trials > 0.
    """
    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"{successes} successes of {trials} trials is not a rate")
    rate, z2 = successes / trials, Z95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = rate * (1 - rate) / trials + z2 / (4 * trials**2)
    half = Z95 / (1 + z2 / trials) * np.sqrt(spread)
    low = 0.0 if successes == 0 else float(centre - half)
    return low, 1.0 if successes == trials else float(centre + half)


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of many independent values, ``(n,)``, and its 95% interval by the central limit theorem.

    Raises:
        ValueError: if there are fewer than two.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"an interval needs two or more values, not {count}")
    mean, half = float(values.mean()), float(Z95 * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def interquartile_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of the middle half (Agarwal et al. 2021); of all values where there are fewer than four."""
    ordered = np.sort(values, axis=axis)
    cut = ordered.shape[axis] // 4
    middle = np.arange(cut, ordered.shape[axis] - cut)
    return ordered.take(middle, axis=axis).mean(axis=axis)


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile bootstrap interval of a statistic over runs, ``(runs, ...) -> (...), (...)``."""
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(values), size=(resamples, len(values)))
    estimates = statistic(np.asarray(values)[picks], axis=1)
    low, high = np.percentile(estimates, [2.5, 97.5], axis=0)
    return low, high
