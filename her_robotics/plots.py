"""Pictures of runs: success against env steps and against time."""

import itertools
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
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
    _plot(groups, output)


def plot_groups(groups: dict[str, list[Path]], output: Path) -> None:
    """The same with a colour a group, and its name as the label.

    Raises:
        UserError: if a folder holds no run with tests.
    """
    _plot({name: [read_curve(one) for one in folders] for name, folders in groups.items()}, output)


def _plot(groups: dict[str, list[Curve]], output: Path) -> None:
    with picture(output, 2, figsize=(11, 4.2), sharey=True) as axes:
        _draw_groups(axes, groups)


def plot_panels(
    output: Path, panels: Mapping[str, Mapping[str, Sequence[Path]]], columns: int
) -> None:
    """Draw runs into panels, success against env steps, with intervals as ``plot_runs`` has them.

    Args:
        output: the picture.
        panels: by title, and then by label, the run folders that one curve is of.
        columns: panels side by side.

    Raises:
        UserError: if a folder holds no run with tests.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.6 * columns, 3.4 * rows)
    with picture(output, columns, rows, figsize=size, sharey=True) as axes:
        for axis, (title, lines) in zip(axes, panels.items(), strict=False):
            for colour, (label, folders) in enumerate(lines.items()):
                curves = [read_curve(folder)._replace(label=label) for folder in folders]
                _draw(axis, label, curves, "steps", f"C{colour}")
            axis.set(title=title, xlabel="env steps", ylim=(-0.02, 1.02))
            axis.grid(alpha=0.3)
            axis.legend(fontsize="small")
        for axis in axes[::columns]:
            axis.set_ylabel("success at the last step")
        for axis in axes[len(panels) :]:
            axis.set_axis_off()


@contextmanager
def picture(output: Path, columns: int, rows: int = 1, **options: Any) -> Generator[Any]:
    """Axes row by row, ``(rows * columns,)``, to draw into; saved as a PNG if nothing went wrong.

    Raises:
        OSError: if it cannot be written.
    """
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", **options)
    try:
        yield axes.ravel()
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
        axis.plot(getattr(curve, x), curve.success, ".-", color=colour, ms=3, lw=0.6, alpha=0.4)
    grid, values = _common_grid(curves, x)
    low, high = bootstrap_interval(values)
    axis.plot(
        grid, interquartile_mean(values), color=colour, label=f"{label} ({len(curves)} seeds)"
    )
    axis.fill_between(grid, low, high, color=colour, alpha=0.2, lw=0)


def _common_grid(curves: list[Curve], x: str) -> tuple[np.ndarray, np.ndarray]:
    """Success of every run at common points, up to where the shortest ends; ``(GRID,), (runs, GRID)``.

    Without any points where runs have none in common, as runs of one test each.
    """
    ends: list[Any] = [getattr(curve, x)[-1] for curve in curves]
    starts: list[Any] = [getattr(curve, x)[0] for curve in curves]
    count = GRID if max(starts) <= min(ends) else 0
    grid = np.linspace(max(starts), min(ends), count)
    return grid, np.stack([np.interp(grid, getattr(curve, x), curve.success) for curve in curves])
