"""`her-robotics sweep`: a search for settings, on this machine or on many that share a folder."""

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tqdm import tqdm

from envs.fleet import WorkerError
from envs.making import GoalEnvError

from ..errors import UserError, first_line
from ..files import write_text
from ..rollout import NonFiniteError
from ..run_folder import METRICS
from ..sweeps.plan import Plan, find_plan, read_plan
from ..tracking import read_lines
from .parse import at_least, parse
from .training import begin, configure_line, go_on

if TYPE_CHECKING:
    from ..sweeps.study import Study, Trial

PLAN = "sweep.yaml"
FAILURES = 3
"""Failed trials in a row after which something else than their settings is taken to be wrong."""


@dataclasses.dataclass(frozen=True)
class SweepArguments:
    """Search for settings. Begun again, it goes on; begun several times over, they share the trials."""

    sweep: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FILE")]
    """A sweep that ships with the project, or a YAML file as `wandb sweep` takes it."""
    trials: int | None = None
    """Trials, over all who work at the sweep. None takes the file's run_cap, or all of a grid."""
    out: str | None = None
    """Its folder (default runs/sweeps/<name>): the study, and a run folder for every trial."""
    seed: int = 0
    """Seed of what is drawn; the runs' own is a setting, seed."""
    json: bool = False
    """Print one JSON object."""


class Pruned(Exception):
    """A trial fell behind the others."""


class NoSuchFigure(Exception):
    """What is to be optimised is no figure of a test."""


class Watcher:
    """A tracker that tells the study of every test, and ends a trial that falls behind."""

    def __init__(self, trial: "Trial", metric: str, bar: tqdm):
        self._trial, self._metric, self._bar = trial, metric, bar
        self._tests = 0
        self.value = float("nan")

    def catch_up(self, rows: list[dict[str, Any]]) -> None:
        """Take in the tests that the trial had before."""
        self._tests = len(rows)
        if rows:
            self.value = float(rows[-1][self._metric])

    def log(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Note a test.

        Raises:
            Pruned: if the trial has fallen behind.
            NoSuchFigure: if the figure is not among the test's.
        """
        if self._metric not in metrics:
            choices = ", ".join(name for name in metrics if name != "step")
            raise NoSuchFigure(f"metric.name = {self._metric} must be one of {choices}")
        self._tests, self.value = self._tests + 1, float(metrics[self._metric])
        self._bar.set_postfix_str(
            f"trial {self._trial.number}, step {metrics['step']:,d}: {self.value:.3g}"
        )
        if self._trial.fell_behind(self.value, self._tests):
            raise Pruned

    def finish(self) -> None:
        pass


def sweep(arguments: list[str]) -> int:
    """Search for settings; returns the exit code."""
    given = parse(SweepArguments, arguments, "her-robotics sweep")
    at_least("--seed", given.seed, 0)
    path = find_plan(given.sweep)
    plan = read_plan(path)
    cap = _cap(given, plan)
    configure_line(plan.arguments({name: each.values[0] for name, each in plan.space.items()}))
    folder = Path(given.out) if given.out else Path("runs/sweeps") / path.stem
    from ..sweeps.study import Study

    _settle(folder, path)
    study = Study(folder, plan, cap, given.seed)
    code = _work(study, plan)
    _say(given, plan, study)
    return code


def _cap(given: SweepArguments, plan: Plan) -> int:
    """How many trials there are to be."""
    if given.trials is not None:
        at_least("--trials", given.trials, 1)
    asked = given.trials or plan.run_cap
    if plan.method == "grid":
        return min(asked or len(plan.grid), len(plan.grid))
    if asked is None:
        raise UserError(f"method {plan.method} has no end: give --trials, or run_cap in the file")
    return asked


def _settle(folder: Path, path: Path) -> None:
    """Make the sweep's folder, with a copy of its file.

    Raises:
        UserError: if it holds another sweep, or cannot be written.
    """
    text, copy = path.read_text(encoding="utf-8"), folder / PLAN
    if copy.is_file() and copy.read_text(encoding="utf-8") != text:
        raise UserError(f"{folder} holds a sweep of another file ({copy}): give another --out")
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_text(copy, text)
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}") from error


def _work(study: "Study", plan: Plan) -> int:
    """Work at trials until there are none left, or somebody asks to stop; the exit code."""
    failed = 0
    with tqdm(total=study.cap, unit="trial", disable=None) as bar:
        while trial := study.next():
            told = " ".join(f"{name}={value}" for name, value in trial.values.items())
            bar.update(trial.number - bar.n)
            try:
                code, end = _train(study, trial, plan, bar)
            finally:
                trial.lock.release()
            _print(f"trial {trial.number:>3}  {end}  {told}")
            if code:
                return code
            failed = failed + 1 if end.startswith("failed") else 0
            if failed == FAILURES:
                raise UserError(f"{FAILURES} trials failed one after another, the last: {end}")
        bar.update(study.cap - bar.n)
    return 0


def _train(study: "Study", trial: "Trial", plan: Plan, bar: tqdm) -> tuple[int, str]:
    """Train a trial, in its run folder; what stops the sweep, or 0, and how the trial ended."""
    watcher = Watcher(trial, plan.metric.name, bar)
    try:
        with _said_to(trial.folder.with_suffix(".log")):
            if trial.begun:
                session = go_on(trial.folder, [watcher])
                tested = session.learner.progress.tested_at
                rows = read_lines(trial.folder / METRICS)
                watcher.catch_up([row for row in rows if row["step"] <= tested])
            else:
                config = configure_line(plan.arguments(trial.values))
                session = begin(config, trial.folder, [watcher])
            if code := session.run():
                return code, "stopped"
    except Pruned:
        study.finish(trial, watcher.value, pruned=True)
        return 0, f"{watcher.value:.3g} and behind"
    except NoSuchFigure as error:
        study.fail(trial, str(error))
        raise UserError(str(error)) from error
    except (UserError, GoalEnvError, NonFiniteError, WorkerError, OSError, MemoryError) as error:
        study.fail(trial, first_line(error))
        return 0, f"failed: {first_line(error)}"
    study.finish(trial, watcher.value)
    return 0, f"{watcher.value:.3g}"


@contextlib.contextmanager
def _said_to(path: Path) -> Generator[None]:
    """What a run says goes to its log."""
    with (
        path.open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


def _print(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _say(given: SweepArguments, plan: Plan, study: "Study") -> None:
    """What has been found."""
    rows, best = study.rows, study.best
    if given.json:
        print(json.dumps({"sweep": given.sweep, "best": best, "trials": rows}))
        return
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"{len(rows)} of {study.cap} trials in {study.folder}: {said}")
    if best is None:
        return
    print(
        f"best     {plan.metric.name} {best['value']:.3g} in trial {best['number']}: {best['run']}"
    )
    again = shlex.join(["her-robotics", "train", *plan.arguments(best["settings"])])
    print(f"again    {again}")
    if len(rows) < study.cap or counts.get("running"):
        print(f"go on    her-robotics sweep {given.sweep} --out {study.folder}")
