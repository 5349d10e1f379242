"""Model-free methods at one budget of env steps (Duan et al. 2016): `python -m benchmarks.methods`.

Every task, method and seed is one cell, kept in a folder of its own as soon as it is done, so a benchmark
that is cut off goes on with the next one. The table goes to benchmarks/results/methods.json.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro

from benchmarks.cells import Cell, complete, in_process, refuse_other
from benchmarks.report import at_least, machine, publish
from her_robotics.building import MakeEnv, read_task
from her_robotics.cli.making import env_maker
from her_robotics.config import EnvConfig
from her_robotics.demos.demo import table
from her_robotics.evaluate import evaluate
from her_robotics.files import write_text
from her_robotics.methods import METHODS, Method, Problem
from her_robotics.train import TEST

HINDSIGHT = ("ddpg_her",)
"""Methods that need goals to choose from."""
NONE, RESULT = "-", "result.json"


class BenchmarkTask(NamedTuple):
    """A task of the comparison.

    Attributes:
        make_env: builds its vector env.
        goals: whether goals differ, and can be reached.
    """

    make_env: MakeEnv
    goals: bool = True


def _task(name: str, goals: bool = True, **settings: Any) -> BenchmarkTask:
    return BenchmarkTask(env_maker(EnvConfig(task=name, **settings)), goals)


TASKS = {
    "point_robot": _task("her_robotics.point_env:PointRobot-v0"),
    "pendulum": _task("envs.pendulum:PendulumGoal-v0", goals=False),
    "fetch_reach_dense": _task("fetch_reach", reward="dense", num_threads=1),
    "fetch_reach": _task("fetch_reach", num_threads=1),
}


@dataclass(frozen=True)
class Arguments:
    """Compare methods on tasks, over seeds."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks, by name."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods, by name."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, a cell each for every task and method."""
    budget: int = 50_000
    """Env steps that each may learn from, in whole iterations."""
    hidden: tuple[int, ...] = (32, 32)
    """Widths of the hidden layers of every network."""
    tests: int = 10
    """Tests along the way; the last one is at the end of the budget."""
    episodes: int = 100
    """Episodes of each test."""
    workers: int = 1
    """Cells side by side."""
    runs: Path = Path("runs/benchmarks/methods")
    """Where finished cells go."""
    out: str | None = None
    """The result; without it, benchmarks/results/methods.json."""
    json: bool = False
    """Print the result as one JSON object instead of the table."""


@dataclass(frozen=True)
class Comparison:
    """What the cells are: a method learns a task, and its result is one file."""

    given: Arguments

    def path(self, cell: Cell) -> Path:
        """The file of a cell's result."""
        return self.given.runs / cell.name / RESULT

    def result(self, cell: Cell) -> dict[str, Any]:
        """Of a cell that has finished."""
        return json.loads(self.path(cell).read_text(encoding="utf-8"))

    def method(self, cell: Cell) -> Method:
        """What learns."""
        return METHODS[cell.variant]

    def problem(self, cell: Cell) -> Problem:
        """What it learns from."""
        task = TASKS[cell.task]
        return Problem(task.make_env, self.given.budget, cell.seed, self.given.hidden, task.goals)

    def settings(self, cell: Cell) -> dict[str, Any]:
        """What a cell's result depends on, beside the cell, as JSON gives it back."""
        names = ("budget", "hidden", "tests", "episodes")
        return json.loads(json.dumps({name: getattr(self.given, name) for name in names}))

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell's result is there.

        Raises:
            UserError: if it is one of other settings.
        """
        path = self.path(cell)
        if path.exists():
            refuse_other(path.parent, self.result(cell)["settings"], self.settings(cell))
        return path.exists()

    def run(self, cell: Cell) -> None:
        """Run a cell from its start."""
        in_process(run_cell, self, cell)


def main() -> int:
    """Run the benchmark; 0 if every cell finished."""
    given = tyro.cli(Arguments, description=__doc__)
    refuse_nonsense(given)
    where = machine()
    work, cells = Comparison(given), list_cells(given)
    if code := complete(work, cells, given.workers):
        return code
    results = sum_up(work, cells)
    publish("methods", given, where, results, packages=("cma",))
    if not given.json:
        print(format_results(results))
    return 0


def refuse_nonsense(given: Arguments, methods: Iterable[str] = METHODS) -> None:
    """Refuse unknown names and numbers too small to measure anything.

    Args:
        given: the command line.
        methods: those there are.

    Raises:
        SystemExit: with a message that names what was given and what is allowed.
    """
    for name, chosen, known in (("task", given.tasks, TASKS), ("method", given.methods, methods)):
        unknown = [each for each in chosen if each not in known]
        if unknown:
            raise SystemExit(f"unknown {name} {unknown[0]!r}: choose among {', '.join(known)}")
    counts = {"seeds": len(given.seeds), "tasks": len(given.tasks), "methods": len(given.methods)}
    sizes = {name: getattr(given, name) for name in ("budget", "tests", "episodes", "workers")}
    at_least(1, **counts, **sizes)


def list_cells(given: Arguments) -> list[Cell]:
    """Every cell, seed by seed, so that a benchmark that is cut off has whole tables of fewer seeds."""
    return [
        Cell(task, method, seed)
        for seed in given.seeds
        for task in given.tasks
        for method in given.methods
        if TASKS[task].goals or method not in HINDSIGHT
    ]


def run_cell(work: Comparison, cell: Cell) -> None:
    """Learn, test along the way, and write the result down."""
    torch.set_num_threads(1)
    method, problem = work.method(cell), work.problem(cell)
    began = process_time()
    curve = measure(method, problem, work.given.tests, work.given.episodes)
    seconds = round(process_time() - began, 2)
    content = {"settings": work.settings(cell), "processor_seconds": seconds, "curve": curve}
    path = work.path(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2) + "\n")


def measure(method: Method, problem: Problem, tests: int, episodes: int) -> list[dict[str, float]]:
    """Test a method's policy after each iteration that spends another share of the budget.

    Returns:
        A point for each test, all of them on the same episodes; the last is at the end of the budget.
    """
    env = problem.make_env(min(episodes, 50))
    task, curve, shares = read_task(env), [], 0
    for steps, act in method(problem):
        spent = min(tests, steps * tests // problem.budget)
        if spent > shares:
            shares = spent
            result = evaluate(env, task, act, episodes, problem.seed, TEST)
            figures = {"return": result.mean_return, "success": result.success_rate}
            curve.append({"step": steps, **figures})
    env.close()
    return curve


def sum_up(work: Comparison, cells: list[Cell]) -> dict[str, Any]:
    """Every cell's figures, and their means and deviations over seeds.

    ``return`` and ``success`` are those of the last test; ``mean_return`` is over all tests along the
    way, as in Duan et al. (2016), so that learning soon counts too.
    """
    found: dict[str, Any] = {}
    for task in work.given.tasks:
        for method in work.given.methods:
            runs = [work.result(cell) for cell in cells if cell[:2] == (task, method)]
            if runs:
                found.setdefault(task, {})[method] = _figures(runs, TASKS[task].goals)
    return {"deviation": "of seeds, with n - 1", "tasks": found}


def _figures(runs: list[dict[str, Any]], goals: bool) -> dict[str, Any]:
    values = {
        "return": [run["curve"][-1]["return"] for run in runs],
        "mean_return": [
            float(np.mean([point["return"] for point in run["curve"]])) for run in runs
        ],
    }
    if goals:
        values["success"] = [run["curve"][-1]["success"] for run in runs]
    spread = {
        name: {"mean": mean(each), "deviation": deviation(each)} for name, each in values.items()
    }
    return {**spread, "runs": runs}


def mean(values: list[float]) -> float:
    """Over seeds."""
    return float(np.mean(values))


def deviation(values: list[float]) -> float | None:
    """Over seeds; None of a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def format_results(results: dict[str, Any]) -> str:
    """One row a method, for each task the return and the success of the last test."""
    tasks = results["tasks"]
    methods = list(dict.fromkeys(method for found in tasks.values() for method in found))
    header, columns = ["mean ± deviation"], []
    for task, found in tasks.items():
        for name in ("return", "success"):
            if any(name in figures for figures in found.values()):
                header.append(f"{task}, {name}")
                columns.append((found, name))
    rows = [
        [method, *(_cell(found.get(method, {}).get(name)) for found, name in columns)]
        for method in methods
    ]
    return table(header, rows)


def _cell(figure: dict[str, float | None] | None) -> str:
    if figure is None:
        return NONE
    spread = figure["deviation"]
    return f"{figure['mean']:.2f} ± {NONE if spread is None else f'{spread:.2f}'}"


if __name__ == "__main__":
    sys.exit(main())
