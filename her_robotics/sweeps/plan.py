"""A sweep's file, in the format of `wandb sweep`, which drives a search by Optuna too."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml

from ..config import PositiveCount
from ..errors import UserError
from ..shipped import config_folder
from ..strict import ConfigError, Least, from_mapping, read_yaml, shown
from .parameters import Choice, Parameter, Value, read_parameters

ARGUMENTS = "${args}"
STARTS = (
    ("${program}", "train"),
    ("her-robotics", "train"),
    ("${interpreter}", "-m", "her_robotics", "train"),
)
"""How a command may begin, behind ``${env}``."""
REQUIRED = ("method", "metric", "parameters", "command")
COMMAND = '["${env}", "${program}", train, TASK, "${args}"] with program: her-robotics'


@dataclass(frozen=True)
class Metric:
    """What is optimised: a figure of metrics.jsonl, as the last test has it."""

    name: str
    """Its name, such as test/success_rate."""
    goal: Literal["minimize", "maximize"] = "minimize"
    """Which way; wandb's default is to minimise."""
    target: float | None = None
    """No trial is begun once one has come to this."""


@dataclass(frozen=True)
class EarlyTerminate:
    """Hyperband's rule for trials that fall behind (Li et al. 2017): at tests ``min_iter``,
    ``min_iter * eta``, …, only the best 1 / ``eta`` of what has come that far goes on."""

    type: Literal["hyperband"] = "hyperband"
    """The rule."""
    min_iter: Annotated[int, Least(1, 10**6)] | None = None
    """The test at which it is first applied."""
    max_iter: Annotated[int, Least(1, 10**6)] | None = None
    """Instead of `min_iter`: the last test; it is first applied at ``max_iter / eta ** s``."""
    s: Annotated[int, Least(1, 100)] | None = None
    """With `max_iter`: how often it is applied at most."""
    eta: Annotated[int, Least(2, 100)] = 3
    """One in how many goes on."""

    @property
    def first(self) -> int:
        """The test at which it is first applied."""
        if self.min_iter is not None:
            return self.min_iter
        if self.max_iter is None or self.s is None:
            raise ConfigError("early_terminate needs min_iter, or max_iter and s")
        return max(1, math.ceil(self.max_iter / self.eta**self.s))


@dataclass(frozen=True)
class Plan:
    """A sweep's file."""

    method: Literal["bayes", "random", "grid"]
    """How settings are chosen: by what trials have shown (here by TPE), at random, or all in turn."""
    parameters: dict
    """Settings to vary, by name."""
    metric: Metric
    """What is optimised."""
    command: tuple[str, ...]
    """What trains; ``${args}`` stands for the settings."""
    program: str = "her-robotics"
    """What ``${program}`` stands for."""
    run_cap: PositiveCount | None = None
    """Trials, over all who work at the sweep."""
    early_terminate: EarlyTerminate | None = None
    """Which trials end early, if any do."""
    name: str | None = None
    """What wandb calls the sweep."""
    description: str | None = None
    """What it is for."""
    project: str | None = None
    """wandb's project."""
    entity: str | None = None
    """wandb's user or team."""

    @property
    def space(self) -> dict[str, Parameter]:
        """What is varied."""
        return read_parameters(self.parameters)

    def arguments(self, values: Mapping[str, Value]) -> list[str]:
        """What `her-robotics train` is told in a trial: as wandb's agent would tell it.

        Raises:
            ConfigError: if the command is not one of ours.
        """
        words = [word for word in self.command if word != "${env}"]
        start: tuple[str, ...] | None = next(
            (s for s in STARTS if tuple(words[: len(s)]) == s), None
        )
        rest = words[len(start or ()) :]
        macros = [word for word in rest if word.startswith("${")]
        ours = self.program == "her-robotics" or "${program}" not in words
        if start is None or macros != [ARGUMENTS] or not ours:
            raise ConfigError(f"command = {shown(list(self.command))} must be like {COMMAND}")
        flags = [f"--{name}={value}" for name, value in values.items()]
        place = rest.index(ARGUMENTS)
        return [*rest[:place], *flags, *rest[place + 1 :]]

    @property
    def grid(self) -> list[dict[str, Value]]:
        """All combinations of values.

        Raises:
            ConfigError: if a setting has no list of them.
        """
        space = self.space
        for name, parameter in space.items():
            if not isinstance(parameter, Choice):
                raise ConfigError(f"parameters.{name} needs a list of values for method grid")
        every = itertools.product(*(parameter.values for parameter in space.values()))
        return [dict(zip(space, values, strict=True)) for values in every]


def shipped_sweeps() -> dict[str, Path]:
    """The sweeps that ship with the project, by name."""
    return {path.stem: path for path in sorted((config_folder() / "sweeps").glob("*.yaml"))}


def find_plan(name: str) -> Path:
    """The file of a sweep that ships, or the file named.

    Raises:
        UserError: if there is neither.
    """
    shipped = shipped_sweeps()
    if name in shipped:
        return shipped[name]
    if not name.endswith((".yaml", ".yml")):
        choices = ", ".join(shipped)
        raise UserError(f"unknown sweep {name!r}: choose one of {choices}, or name a YAML file")
    return Path(name)


def read_plan(path: Path) -> Plan:
    """A sweep's file, understood and within what its settings may be.

    Raises:
        ConfigError: if it is not; one line says where and what is allowed.
    """
    values = read_yaml(path)
    try:
        if yaml.safe_load(path.read_text(encoding="utf-8")) != values:
            raise ConfigError("a number like 1e-3 is text to wandb: write 0.001 or 1.0e-3")
        if missing := [key for key in REQUIRED if key not in values]:
            raise ConfigError(f"it names no {' and no '.join(missing)}")
        if not isinstance(values["command"], list):
            raise ConfigError(f"command = {shown(values['command'])} must be like {COMMAND}")
        plan = from_mapping(Plan, {**values, "command": list(map(str, values["command"]))})
        plan.arguments(dict.fromkeys(plan.space))
        if plan.method == "grid":
            _ = plan.grid
        if plan.early_terminate:
            _ = plan.early_terminate.first
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return plan
