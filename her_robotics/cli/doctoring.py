"""`her-robotics doctor`: what on this machine stands in training's way. Where its checks are joined."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from envs import health as physics_health

from ..config import Config
from ..errors import UserError, first_line
from ..health import Finding, failed, machine, outputs, passed, software
from ..shipped import load_task_config, shipped_tasks
from .parse import at_least, parse


@dataclasses.dataclass(frozen=True)
class DoctorArguments:
    """Find what on this machine stands in the way of training, and how to mend it."""

    out: str = "runs"
    """Where runs are to be written."""
    seconds: float = 10.0
    """How long to measure speed, over all tasks; 0 leaves it out."""
    only: tuple[str, ...] = ()
    """Names of checks, or of tasks whose speed is to be measured, in place of all."""
    json: bool = False
    """Print one JSON object."""


class Patient:
    """The machine, and what several checks need to know of it.

    Args:
        given: what was asked for.
    """

    def __init__(self, given: DoctorArguments):
        self.folder, self.seconds, self.only = Path(given.out), given.seconds, given.only

    @functools.cached_property
    def needs(self) -> dict[str, int]:
        """Bytes of replay that each task's run fills."""
        from ..building import read_task
        from ..health.training import filled
        from .making import env_maker

        needs = {}
        for task in shipped_tasks():
            config = load_task_config(task)
            env = env_maker(config.env)(1)
            needs[task] = filled(config, read_task(env).shape)
            env.close()
        return needs


CHECKS: dict[str, Callable[[Patient], Finding]] = {
    "python": lambda patient: software.python(),
    "packages": lambda patient: software.packages(),
    "configs": lambda patient: software.configs(),
    "physics": lambda patient: _judged(physics_health.physics()),
    "rendering": lambda patient: _judged(physics_health.rendering()),
    "film": lambda patient: outputs.film(),
    "wandb": lambda patient: outputs.wandb(),
    "device": lambda patient: machine.device(),
    "threads": lambda patient: machine.threads(),
    "memory": lambda patient: machine.memory(patient.needs),
    "disk": lambda patient: machine.disk(patient.folder, patient.needs),
    "scratch": lambda patient: machine.scratch(),
}
"""What is looked at, in this order."""
NEEDED_FOR_SPEED = ("packages", "configs", "physics")
"""Checks without which there is no speed to measure."""


def doctor(arguments: list[str]) -> int:
    """Run the checks; returns 1 if one that training needs fails, else 0."""
    given = parse(DoctorArguments, arguments, "her-robotics doctor")
    at_least("--seconds", given.seconds, 0)
    findings = {}
    for name, finding in examine(Patient(given)):
        findings[name] = finding
        if not given.json:
            _print(name, finding)
    wrong = [name for name, finding in findings.items() if finding.status == "fail"]
    if given.json:
        checks = {name: finding._asdict() for name, finding in findings.items()}
        print(json.dumps({"passed": not wrong, "checks": checks}))
    else:
        print(f"to mend before training: {', '.join(wrong)}" if wrong else "ready to train")
    return 1 if wrong else 0


def examine(patient: Patient) -> Iterator[tuple[str, Finding]]:
    """Name and finding of every check that is asked for, the speed of each task last.

    Raises:
        UserError: if there is no such check.
    """
    tasks = _tasks()
    asked = patient.only or (*CHECKS, *tasks)
    if unknown := [name for name in asked if name not in (*CHECKS, *tasks)]:
        choices = ", ".join((*CHECKS, *tasks))
        raise UserError(f"unknown check {unknown[0]!r}: choose among {choices}")
    fit = True
    for name in (name for name in CHECKS if name in asked):
        finding = _guarded(CHECKS[name], patient)
        fit &= finding.status != "fail" or name not in NEEDED_FOR_SPEED
        yield name, finding
    for task in (task for task in tasks if task in asked and fit and patient.seconds):
        yield task, _guarded(functools.partial(_speed, task=task), patient)


def _tasks() -> tuple[str, ...]:
    """The shipped tasks; none where the settings are broken, which a check tells."""
    try:
        return shipped_tasks()
    except UserError:
        return ()


def _guarded(check: Callable[[Patient], Finding], patient: Patient) -> Finding:
    """What a check finds; one that fails itself has found something."""
    try:
        return check(patient)
    except Exception as error:  # anything on this machine may be broken
        said = f"could not be checked: {type(error).__name__}: {first_line(error)}"
        return failed(said, software.reinstalling(error))


def _judged(verdict: physics_health.Verdict) -> Finding:
    well, says, mend = verdict
    return passed(says) if well else failed(says, mend)


def _speed(patient: Patient, task: str) -> Finding:
    """How fast a task trains here, with the settings it ships with."""
    from ..building import build
    from ..console import duration
    from ..health.training import measure
    from .making import env_maker
    from .policies import named_policy

    config: Config = load_task_config(task)
    light = dataclasses.replace(config, eval=dataclasses.replace(config.eval, num_envs=1))
    learner = build(light, env_maker(config.env), teacher=named_policy(config.train.teacher))
    try:
        speed = measure(learner, patient.seconds / len(patient.only or shipped_tasks()))
    finally:
        learner.close()
    seconds = speed.seconds(config, learner.task.shape.horizon)
    return passed(
        f"{speed.env_steps:,.0f} env steps/s, {speed.updates:,.0f} updates/s: about "
        f"{duration(seconds)} for its {config.train.steps:,d} steps",
        env_steps_per_second=speed.env_steps,
        updates_per_second=speed.updates,
        seconds=seconds,
    )


def _print(name: str, finding: Finding) -> None:
    mend = f"\n      mend: {finding.mend}" if finding.mend else ""
    print(f"{finding.status}  {name:22} {finding.says}{mend}", flush=True)
