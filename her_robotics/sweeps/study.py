"""An Optuna study in a folder, at which any number of workers may be, and which any of them may leave."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import has_checkpoint
from ..errors import UserError
from ..run_folder import CONFIG
from .parameters import Value
from .plan import Plan

try:
    import optuna
    from filelock import FileLock, Timeout
except ImportError as error:  # an optional extra
    raise UserError(
        f"sweeps need a package that is missing ({error}): pip install 'her-robotics[sweep]'"
    ) from error

NAME, DATABASE, LOCK, PLAN = "sweep", "study.db", "study.lock", "sweep.yaml"
PATIENCE = 120
"""Seconds to wait for others who write."""
RUNNING, DONE = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.COMPLETE
WAITING = optuna.trial.TrialState.WAITING
PRUNED, FAILED = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL
ERROR = "error"


@dataclass
class Trial:
    """One set of values, and the run that tries them out.

    Attributes:
        number: from 0 on.
        values: of the settings that are varied.
        folder: of the run.
        lock: held by whoever trains it; the system lets go of it with the process.
    """

    number: int
    values: dict[str, Value]
    folder: Path
    lock: FileLock
    _trial: optuna.trial.Trial

    @property
    def begun(self) -> bool:
        """Whether there is a run to go on with; what a run left that cannot be gone on with is removed."""
        if has_checkpoint(self.folder):
            return True
        if (self.folder / CONFIG).exists():
            shutil.rmtree(self.folder)
        return False

    def fell_behind(self, value: float, test: int) -> bool:
        """Note the figure at a test, from 1 on; whether the trial should end, by what others have shown."""
        self._trial.report(value, test)
        return self._trial.should_prune()


class Study:
    """The trials of a sweep.

    A trial whose worker has died, or was stopped, is the next one to be handed out again.

    Args:
        folder: of the sweep.
        plan: what is varied, and how.
        cap: trials at most, over all workers.
        seed: of what is drawn.

    Raises:
        UserError: if the folder holds another sweep.
    """

    def __init__(self, folder: Path, plan: Plan, cap: int, seed: int):
        self.folder, self._plan, self.cap, self._seed = folder, plan, cap, seed
        self._lock = FileLock(folder / LOCK, timeout=PATIENCE)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._lock:
            self._storage = optuna.storages.RDBStorage(
                f"sqlite:///{folder / DATABASE}",
                engine_kwargs={"connect_args": {"timeout": PATIENCE}},
            )
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=NAME,
                load_if_exists=True,
                direction=plan.metric.goal,
                pruner=_pruner(plan),
            )

    def next(self) -> Trial | None:
        """A trial to work at, which is ours until ``release``; None if there is none left."""
        with self._lock:
            trials = self._study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state == RUNNING and (lock := self._take(trial.number)):
                    return self._handed_out(self._again(trial.number), lock)
            waiting = any(trial.state == WAITING for trial in trials)  # put there by who then died
            if not waiting and (len(trials) >= self.cap or self.target_met):
                return None
            self._study.sampler = self._sampler(len(trials))
            if self._plan.method == "grid" and not waiting:
                tried = [trial.params for trial in trials]
                self._study.enqueue_trial(next(v for v in self._plan.grid if v not in tried))
            trial = self._study.ask()
            lock = self._take(trial.number)
            assert lock is not None, "its number is new"
            return self._handed_out(trial, lock)

    def finish(self, trial: Trial, value: float, pruned: bool = False) -> None:
        """Note what a trial came to."""
        if pruned:
            self._study.tell(trial.number, state=PRUNED)
        else:
            self._study.tell(trial.number, value)

    def fail(self, trial: Trial, reason: str) -> None:
        """Note why a trial came to nothing."""
        trial._trial.set_user_attr(ERROR, reason)
        self._study.tell(trial.number, state=FAILED)

    @property
    def best(self) -> dict[str, Any] | None:
        """The best trial so far, as in ``rows``; None before any has finished."""
        done = [row for row in self.rows if row["state"] == DONE.name.lower()]
        choose = max if self._plan.metric.goal == "maximize" else min
        return choose(done, key=lambda row: row["value"]) if done else None

    @property
    def target_met(self) -> bool:
        """Whether a trial has come to what the sweep is for."""
        target, best = self._plan.metric.target, self.best
        if target is None or best is None:
            return False
        up = self._plan.metric.goal == "maximize"
        return best["value"] >= target if up else best["value"] <= target

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Number, state, value, settings and run folder of every trial, and why it failed if it did."""
        return [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                "tests": len(trial.intermediate_values),
                "settings": trial.params,
                "run": str(self._run(trial.number)),
                **({ERROR: trial.user_attrs[ERROR]} if ERROR in trial.user_attrs else {}),
            }
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def _handed_out(self, trial: optuna.trial.Trial, lock: FileLock) -> Trial:
        values = {name: each.suggest(trial, name) for name, each in self._plan.space.items()}
        return Trial(trial.number, values, self._run(trial.number), lock, trial)

    def _again(self, number: int) -> optuna.trial.Trial:
        """A running trial, to go on with; what it was given and has reported stands."""
        study = self._storage.get_study_id_from_name(NAME)
        known = self._storage.get_trial_id_from_study_id_trial_number(study, number)
        return optuna.trial.Trial(self._study, known)

    def _run(self, number: int) -> Path:
        return self.folder / "runs" / f"{number:04d}"

    def _take(self, number: int) -> FileLock | None:
        """The lock of a trial, unless somebody is at work on it."""
        folder = self._run(number).parent
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / f"{number:04d}.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def _sampler(self, drawn: int) -> optuna.samplers.BaseSampler:
        """What draws trial number ``drawn``, whichever worker does: settings are a function of the seed
        and of what trials have shown."""
        seed = int(np.random.SeedSequence((self._seed, drawn)).generate_state(1)[0])
        if self._plan.method == "bayes":
            return optuna.samplers.TPESampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    rule = plan.early_terminate
    if rule is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=rule.first, reduction_factor=rule.eta
    )
