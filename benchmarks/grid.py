"""Grids of trainings: variants × tasks × seeds, summed up with intervals in JSON, Markdown and a picture."""

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, complete
from benchmarks.report import RESULTS, at_least, machine, publish
from benchmarks.trainings import Trainings, figures
from her_robotics.errors import UserError
from her_robotics.files import write_text
from her_robotics.plots import plot_panels
from her_robotics.statistics import bootstrap_interval, interquartile_mean

Variants = Mapping[str, Mapping[str, str]]
"""By task, what `her-robotics train` is told in each variant."""
Places = Callable[[str, Sequence[str]], Sequence[tuple[str, str]]]
"""For a variant, and all those of its task that are drawn: the rows of panels that it is drawn in, and what
its curve is called there."""
MOST_COLUMNS = 4


@dataclass(frozen=True)
class GridArguments:
    """What every grid can be told."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, a run each for every task and variant."""
    variants: tuple[str, ...] = ()
    """Variants, by name; without any, all of them."""
    steps: int | None = None
    """Env steps of every run; without it, as many as the variant or else the task has."""
    options: str = ""
    """Options handed on to `her-robotics train` behind the variant's own, in one string."""
    workers: int = 1
    """Runs side by side; each then gets one thread."""
    target: float = 0.95
    """Success rate whose first crossing is reported."""
    finished: bool = False
    """Train nothing: sum up the runs that have finished."""
    runs: Path = Path("runs/benchmarks")
    """Where the run folders go."""
    out: str | None = None
    """The summary, beside which the table and the picture go; without it, in benchmarks/results/."""
    json: bool = False
    """Print the summary as one JSON object instead of the table."""


def run_grid(
    name: str,
    given: GridArguments,
    tasks: Sequence[str],
    variants: Variants,
    places: Places,
    label: str = "",
) -> int:
    """Train what has not been trained, and sum up; the exit code, 0 if every run finished.

    Args:
        name: of the benchmark's module.
        given: its command line.
        tasks: those asked for.
        variants: all there are, of every task there is.
        places: where curves are drawn.
        label: what tells its results from others of the module.
    """
    where = machine()
    work = trainings(given, variants)
    try:
        cells = list_cells(given, tasks, variants)
        done = [cell for cell in cells if work.is_done(cell)]
        if given.finished and not done:
            raise UserError(f"none of these runs has finished yet in {given.runs}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not given.finished:
        if code := complete(work, cells, given.workers):
            return code
        done = cells
    summary = sum_up(given, work, done, [cell.name for cell in cells if cell not in done])
    publish(name, given, where, summary, label=label)
    output = Path(given.out) if given.out else RESULTS / f"{name}{label}.json"
    draw(output.with_suffix(".png"), work, done, places)
    text = format_table(summary, given.target)
    write_text(output.with_suffix(".md"), text + "\n")
    if not given.json:
        print(text)
    return 0


def trainings(given: GridArguments, variants: Variants) -> Trainings:
    """How the cells are trained."""

    def options(task: str, variant: str) -> str:
        steps = "" if given.steps is None else f"--train.steps {given.steps}"
        return " ".join(filter(None, [variants[task][variant], steps, given.options]))

    return Trainings(given.runs, options, given.workers)


def list_cells(given: GridArguments, tasks: Sequence[str], variants: Variants) -> list[Cell]:
    """Every cell, seed by seed, so that a grid that is cut off has whole tables of fewer seeds.

    Raises:
        UserError: if there is no such task or variant, or a number means nothing.
    """
    for task in tasks:
        if task not in variants:
            raise UserError(f"unknown task {task!r}: choose among {', '.join(variants)}")
    known = list(dict.fromkeys(name for task in tasks for name in variants[task]))
    for variant in given.variants:
        if variant not in known:
            raise UserError(f"unknown variant {variant!r}: choose among {', '.join(known)}")
    seeds = given.seeds
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds must be different numbers of at least 0, not {list(seeds)}")
    if not 0 < given.target <= 1:
        raise UserError(f"--target must be above 0 and at most 1, not {given.target}")
    at_least(1, workers=given.workers, steps=1 if given.steps is None else given.steps)
    chosen = given.variants or known
    return [
        Cell(task, variant, seed)
        for seed in seeds
        for task in tasks
        for variant in variants[task]
        if variant in chosen
    ]


def draw(output: Path, work: Trainings, cells: Iterable[Cell], places: Places) -> None:
    """The picture: a row of panels for each place, with a column for each task, if every task has it."""
    drawn: dict[str, dict[str, list[Path]]] = {}
    for cell in cells:
        drawn.setdefault(cell.task, {}).setdefault(cell.variant, []).append(work.folder(cell))
    rows: dict[str, dict[str, dict[str, list[Path]]]] = {}
    for task, variants in drawn.items():
        for variant, folders in variants.items():
            for row, label in places(variant, list(variants)):
                rows.setdefault(row, {}).setdefault(task, {})[label] = folders
    panels = {
        ", ".join(filter(None, [task, row])): lines
        for row, tasks in rows.items()
        for task, lines in tasks.items()
    }
    aligned = len(drawn) > 1 and len(panels) == len(rows) * len(drawn)
    plot_panels(output, panels, len(drawn) if aligned else MOST_COLUMNS)


def sum_up(
    given: GridArguments, work: Trainings, cells: Sequence[Cell], missing: Sequence[str]
) -> dict[str, Any]:
    """Every run's figures, and those over seeds, by task and variant."""
    tasks: dict[str, dict[str, Any]] = {}
    for cell in cells:
        rows = tasks.setdefault(cell.task, {}).setdefault(cell.variant, {})
        rows[str(cell.seed)] = figures(work.folder(cell), given.target)
    return {
        "success": "share of test episodes within the threshold at their last step",
        "interval": "95%, by the bootstrap over seeds, of the interquartile mean; none of one seed",
        "tasks": {
            task: {
                variant: {"options": work.options(task, variant), **over_seeds(rows)}
                for variant, rows in variants.items()
            }
            for task, variants in tasks.items()
        },
        "missing": list(missing),
    }


def over_seeds(rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Figures over the runs of a variant, by their seeds, and every one of them.

    ``mean_success`` is over all tests along the way, so that learning soon counts too.
    """
    runs = list(rows.values())
    curves = np.array([[point["success"] for point in run["curve"]] for run in runs])
    reached = sorted(run["steps_to_target"] for run in runs if run["steps_to_target"] is not None)
    middle = len(runs) // 2
    steps = [point["step"] for point in runs[0]["curve"]]
    return {
        "last_success": estimate(curves[:, -1]),
        "mean_success": estimate(curves.mean(axis=1)),
        "final_success": estimate(np.array([run["final_success"] for run in runs])),
        # The median over all seeds exists only if more than half of them got there.
        "steps_to_target": reached[middle] if len(reached) > middle else None,
        "reached_target": len(reached),
        "seconds": statistics.median(run["seconds"] for run in runs),
        "curve": [
            {"step": step, **estimate(values)} for step, values in zip(steps, curves.T, strict=True)
        ],
        "seeds": {
            seed: {**run, "curve": [point["success"] for point in run["curve"]]}
            for seed, run in rows.items()
        },
    }


def estimate(values: np.ndarray) -> dict[str, Any]:
    """Interquartile mean and mean over seeds, ``(seeds,)``, and the interval of the former."""
    low, high = bootstrap_interval(values)
    return {
        "interquartile_mean": float(interquartile_mean(values)),
        "mean": float(values.mean()),
        "interval": [float(low), float(high)] if len(values) > 1 else None,
    }


def format_table(summary: dict[str, Any], target: float) -> str:
    """A Markdown table for every task: a row for each variant."""
    lines = []
    for task, rows in summary["tasks"].items():
        header = f"{task} | last test | mean over tests | steps to {target:g} (seeds) | minutes"
        lines += ["", f"| {header} |", "|---|--:|--:|--:|--:|"]
        for variant, row in rows.items():
            steps = "–" if row["steps_to_target"] is None else f"{row['steps_to_target']:,d}"
            seeds = f"{row['reached_target']} of {len(row['seeds'])}"
            shown = [_shown(row[name]) for name in ("last_success", "mean_success")]
            cells = [variant, *shown, f"{steps} ({seeds})", f"{row['seconds'] / 60:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    if summary["missing"]:
        lines += ["", f"Not trained yet: {', '.join(summary['missing'])}."]
    return "\n".join(lines[1:])


def _shown(figure: dict[str, Any]) -> str:
    interval = figure["interval"]
    behind = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{figure['interquartile_mean']:.2f}{behind}"
