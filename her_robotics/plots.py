"""Pictures of runs: success against env steps and against time."""

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
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
from .tracking import read_lines

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
    times = _columns(folder / TIMINGS, ("step", "seconds"))
    names = ("step", "test/success_rate", "test/success_low", "test/success_high")
    steps, success, low, high = _columns(folder / METRICS, names)
    if not len(steps):
        raise UserError(f"{folder / METRICS} holds no test yet: there is nothing to plot")
    known = dict(zip(*times, strict=True))
    seconds = np.array([known.get(step, np.nan) for step in steps])
    return Curve(label, steps, seconds, success, low, high)


def _columns(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Some figures of every line of a file, each ``(lines,)``."""
    rows = read_lines(path)
    try:
        return [np.array([row[name] for row in rows], dtype=float) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        wanted = ", ".join(names)
        raise UserError(f"{path} does not hold the numbers {wanted} in every line") from error


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
    with picture(output, 2, figsize=(11, 4.2), sharey=True) as axes:
        _draw_groups(axes, groups)


@contextmanager
def picture(output: Path, columns: int, **options: Any) -> Generator[Any]:
    """Axes in a row, ``(columns,)``, to draw into; saved as a PNG if nothing went wrong.

    Raises:
        OSError: if it cannot be written.
    """
    figure, axes = plt.subplots(1, columns, squeeze=False, layout="constrained", **options)
    try:
        yield axes[0]
        with replacing(output) as aside:
            figure.savefig(aside, format="png", dpi=130)
    finally:
        plt.close(figure)


def plot_against(output: Path, x: str, lines: dict[str, dict[float, list[float]]]) -> None:
    """Draw success against a number that runs differ in: mean over seeds, 95% bootstrap interval, dots.

    Args:
        output: the picture.
        x: what the number is called.
        lines: by label, the last success of every seed at each number.
    """
    with picture(output, 1, figsize=(6.5, 4.2)) as (axis,):
        for colour, (label, points) in enumerate(lines.items()):
            numbers = sorted(points)
            intervals = [bootstrap_interval(np.array(points[n]), np.mean) for n in numbers]
            low, high = zip(*intervals, strict=True)
            means = [float(np.mean(points[n])) for n in numbers]
            axis.plot(numbers, means, color=f"C{colour}", label=label)
            axis.fill_between(numbers, low, high, color=f"C{colour}", alpha=0.2, lw=0)
            for n in numbers:
                axis.plot([n] * len(points[n]), points[n], ".", color=f"C{colour}", alpha=0.5)
        axis.set(xlabel=x, ylabel="success at the last step", ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
        axis.legend()


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
