"""Pictures of runs: success against env steps and against time."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .errors import UserError
from .files import replacing
from .run_folder import METRICS, TIMINGS, read_config
from .statistics import bootstrap_interval, interquartile_mean
from .strict import Range, shown
from .tracking import read_lines

STEPS, SHARE = Range(0, 1e12), Range(0.0, 1.0)
FIGURES = {
    "step": STEPS,
    "test/success_rate": SHARE,
    "test/success_low": SHARE,
    "test/success_high": SHARE,
}
TIMES = {"step": STEPS, "seconds": Range(0.0, 1e12)}
"""What is drawn, and what it may be."""
GRID = 200
"""Points at which the curves of several runs are compared."""


class Curve(NamedTuple):
    """A run's success as it learns; all arrays ``(tests,)``.

    Attributes:
        label: what runs are grouped by: the task.
        steps: env steps.
        seconds: training time, tests left out.
        success: last-step success rate of each test.
        low: lower end of its 95% interval.
        high: upper end of its 95% interval.
    """

    label: str
    steps: np.ndarray
    seconds: np.ndarray
    success: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_curve(folder: Path) -> Curve:
    """The learning curve of a run folder.

    Raises:
        UserError: if it is not a run folder or holds no test yet.
    """
    label = read_config(folder).env.task
    steps, success, low, high = _columns(folder / METRICS, FIGURES)
    if not len(steps):
        raise UserError(f"{folder / METRICS} holds no test yet: there is nothing to plot")
    known = dict(zip(*_columns(folder / TIMINGS, TIMES), strict=True))
    seconds = np.array([known.get(step, np.nan) for step in steps])
    return Curve(label, steps, seconds, success, low, high)


def _columns(path: Path, names: Mapping[str, Range]) -> list[np.ndarray]:
    """Some figures of every line of a file, each ``(lines,)``."""
    rows = read_lines(path)
    for row, (name, allowed) in itertools.product(rows, names.items()):
        value = row.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or value not in allowed:
            raise UserError(
                f"{path}: {name} = {shown(value)} must be a number {allowed} in every line"
            )
    return [np.array([row[name] for row in rows], dtype=float) for name in names]


def plot_runs(folders: list[Path], output: Path) -> None:
    """Draw runs into one picture: one run with the interval of its tests, several with their
    interquartile mean and its 95% bootstrap interval, a colour a task.

    Raises:
        UserError: if a folder holds no run with tests.
    """
    groups: dict[str, list[Curve]] = defaultdict(list)
    for folder in folders:
        curve = read_curve(folder)
        groups[curve.label].append(curve)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    try:
        _draw_groups(axes, groups)
        with replacing(output) as aside:
            figure.savefig(aside, format="png", dpi=130)
    finally:
        plt.close(figure)


def _draw_groups(axes: Any, groups: dict[str, list[Curve]]) -> None:
    """Success against steps on the left, against time on the right."""
    for colour, (label, curves) in enumerate(groups.items()):
        _draw(axes[0], label, curves, "steps", f"C{colour}")
        _draw(axes[1], label, curves, "seconds", f"C{colour}")
    axes[0].set(xlabel="env steps", ylabel="success at the last step", ylim=(-0.02, 1.02))
    axes[1].set(xlabel="seconds of training (tests left out)")
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(loc="lower right")


def _draw(axis: Axes, label: str, curves: list[Curve], x: str, colour: str) -> None:
    if len(curves) == 1:
        curve = curves[0]
        axis.plot(getattr(curve, x), curve.success, color=colour, label=label)
        axis.fill_between(getattr(curve, x), curve.low, curve.high, color=colour, alpha=0.2, lw=0)
        return
    for curve in curves:
        axis.plot(getattr(curve, x), curve.success, color=colour, lw=0.6, alpha=0.4)
    grid, values = _common_grid(curves, x)
    low, high = bootstrap_interval(values)
    axis.plot(
        grid, interquartile_mean(values), color=colour, label=f"{label} ({len(curves)} seeds)"
    )
    axis.fill_between(grid, low, high, color=colour, alpha=0.2, lw=0)


def _common_grid(curves: list[Curve], x: str) -> tuple[np.ndarray, np.ndarray]:
    """Success of every run at common points, up to where the shortest ends; ``(GRID,), (runs, GRID)``."""
    ends: list[Any] = [getattr(curve, x)[-1] for curve in curves]
    starts: list[Any] = [getattr(curve, x)[0] for curve in curves]
    if max(starts) > min(ends):
        raise UserError(f"the runs of {curves[0].label} share no {x} at which to compare them")
    grid = np.linspace(max(starts), min(ends), GRID)
    return grid, np.stack([np.interp(grid, getattr(curve, x), curve.success) for curve in curves])
