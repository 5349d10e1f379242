"""Cells that are a `her-robotics train` each, in a process of its own, and what can be read of them."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from benchmarks.cells import Cell, refuse_other
from envs import TASKS
from her_robotics.checkpoint import has_checkpoint
from her_robotics.cli.parse import take
from her_robotics.cli.training import configure
from her_robotics.config import Config, EnvConfig, TrainConfig
from her_robotics.errors import UserError
from her_robotics.run_folder import CONFIG, METRICS, TIMINGS, read_config
from her_robotics.saved_policy import CARD
from her_robotics.strict import to_mapping
from her_robotics.tracking import read_lines

FIXED = ("--wandb", "disabled", "--video.enabled", "false")


@dataclass(frozen=True)
class Trainings:
    """How the cells of a benchmark are trained.

    Attributes:
        runs: where the run folders go.
        options: what `her-robotics train` is told of a task and a variant, beside the task.
        workers: cells side by side; each of several gets one thread for its physics and arithmetic.
    """

    runs: Path
    options: Callable[[str, str], str]
    workers: int = 1

    def folder(self, cell: Cell) -> Path:
        """Where its run is, or will be."""
        return self.runs / cell.name

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell has left its policy.

        Raises:
            UserError: if its options are not allowed, or its folder was run with others.
        """
        folder = self.folder(cell)
        config = replace(_config(cell.task, self.options(cell.task, cell.variant)), seed=cell.seed)
        if (folder / CONFIG).exists():
            refuse_other(folder, _deciding(read_config(folder)), _deciding(config))
        return (folder / CARD).exists()

    def run(self, cell: Cell) -> None:
        """Train a cell, or go on with it.

        Raises:
            UserError: if another process trains it just now, or training fails.
        """
        folder = self.folder(cell)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.log")) as log:
            command = [sys.executable, "-m", "her_robotics", "train", *self.next_arguments(cell)]
            threads = {"OMP_NUM_THREADS": "1"} if self.workers > 1 else {}
            environment = {**os.environ, **threads}
            code = subprocess.run(
                command, stdout=log, stderr=log, env=environment, check=False
            ).returncode
        if code:
            raise UserError(f"exit code {code}: see {log.name}")

    def arguments(self, cell: Cell) -> list[str]:
        """What `her-robotics train` is told to train a cell from its start."""
        physics = ["--env.num-threads", "1"] if self.workers > 1 and cell.task in TASKS else []
        options = self.options(cell.task, cell.variant).split()
        where = ["--seed", str(cell.seed), "--out", str(self.folder(cell))]
        return [cell.task, *where, *FIXED, *physics, *options]

    def next_arguments(self, cell: Cell) -> list[str]:
        """The same to go on with it; what left no checkpoint is cleared away, to start anew."""
        folder = self.folder(cell)
        if has_checkpoint(folder):
            return ["--resume", str(folder)]
        if (folder / CONFIG).exists():
            shutil.rmtree(folder)
        return self.arguments(cell)


@contextmanager
def _locked(path: Path) -> Generator[TextIO]:
    """A log file to append to, which no other process trains behind.

    The lock is that of the open file, which the training process inherits and so holds to its end.
    """
    with path.open("a") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process trains it just now: see {path}") from None
        yield log


@cache
def _config(task: str, options: str) -> Config:
    """The settings of a cell of any seed."""
    arguments = [*FIXED, *options.split()]
    env = take(arguments, "--env")
    config = configure(task, arguments, env)
    if config.seed != Config().seed:
        raise UserError(f"--seed {config.seed} is no option here: give --seeds")
    return config


def _deciding(config: Config) -> dict[str, Any]:
    """The settings that decide what is learnt."""
    same = replace(
        config,
        wandb=None,
        wandb_project="",
        env=replace(config.env, num_threads=EnvConfig().num_threads),
        train=replace(config.train, checkpoint_seconds=TrainConfig().checkpoint_seconds),
    )
    settings = to_mapping(same)
    del settings["video"]
    return settings


def figures(folder: Path, target: float) -> dict[str, Any]:
    """One run: its curve, when it first reached the target, and its last test on fresh episodes.

    Args:
        folder: of a run that has finished.
        target: success rate whose first crossing is told; None where there was none.

    Raises:
        UserError: if its files are not of one run.
    """
    metrics, timings = read_lines(folder / METRICS), read_lines(folder / TIMINGS)
    card = json.loads((folder / CARD).read_text())
    curve = [
        {
            "step": row["step"],
            "seconds": round(time["seconds"], 2),
            "success": row["test/success_rate"],
            "moved": row["test/moved_rate"],
        }
        for row, time in zip(metrics, timings, strict=True)
    ]
    first = next((point for point in curve if point["success"] >= target), None)
    if card["trained"]["steps"] != curve[-1]["step"]:
        raise UserError(f"{folder}: the policy is of another run than the curve")
    return {
        "steps_to_target": first and first["step"],
        "seconds_to_target": first and first["seconds"],
        "last_success": curve[-1]["success"],
        "final_success": card["test"]["success_rate"],
        "final_interval": [card["test"]["success_low"], card["test"]["success_high"]],
        "steps": curve[-1]["step"],
        "seconds": curve[-1]["seconds"],
        "commit": card["provenance"]["commit"],
        "curve": curve,
    }
