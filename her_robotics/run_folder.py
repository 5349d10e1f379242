"""The folder of a run: its names, its refusal to overwrite, its configuration."""

import contextlib
import platform
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .checkpoint import has_checkpoint
from .config import Config
from .errors import UserError
from .files import write_text
from .strict import ConfigError, from_mapping, read_yaml, to_mapping, write_yaml

CONFIG, METRICS, TIMINGS = "config.yaml", "metrics.jsonl", "timings.jsonl"
CURVE, VIDEO, DIVERGED = "learning_curve.png", "policy.mp4", "diverged"
PACKAGES = ("her-robotics", "torch", "mujoco", "gymnasium", "gymnasium-robotics", "numpy", "wandb")


def default_folder(task: str, seed: int) -> Path:
    """``runs/<task>-<date>-<time>-s<seed>``."""
    name = re.sub(r"[^\w.]+", "-", task)
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-s{seed}"


def create(folder: Path, config: Config, again: bool = False) -> None:
    """Make a run folder and write its ``config.yaml``.

    Args:
        folder: the run folder.
        config: of the run.
        again: whether the process is there in place of one that failed: a run that it has begun, and
            that has come nowhere, begins anew.

    Raises:
        UserError: if it already holds a run, or cannot be written.
    """
    if (folder / CONFIG).exists() and not (again and is_of(folder, config)):
        resume = f"go on with it by --resume {folder}, or " if has_checkpoint(folder) else ""
        raise UserError(f"{folder} already holds a run: {resume}give another name with --out")
    text = write_yaml({**to_mapping(config), "provenance": provenance()})
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / CONFIG, text)
    except OSError as error:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise UserError(f"cannot write to the run folder {folder}: {error.strerror}") from error


def extend(folder: Path, steps: int) -> None:
    """Note in a run's ``config.yaml`` that it goes on to more steps than it was to make, and by what.

    Raises:
        UserError: if it cannot be written.
    """
    config = read_config(folder)
    if steps == config.train.steps:
        return
    longer = replace(config, train=replace(config.train, steps=steps))
    origin = {**provenance(), "before": read_yaml(folder / CONFIG).get("provenance")}
    try:
        write_text(folder / CONFIG, write_yaml({**to_mapping(longer), "provenance": origin}))
    except OSError as error:
        raise UserError(f"cannot write to {folder / CONFIG}: {error.strerror}") from error


def is_of(folder: Path, config: Config) -> bool:
    """Whether a run folder is of a run that is so configured."""
    return (folder / CONFIG).is_file() and read_config(folder) == config


def read_config(folder: Path) -> Config:
    """The configuration of an existing run.

    Raises:
        UserError: if there is none, or it is not valid.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} is not a run folder: it holds no {CONFIG}")
    values = read_yaml(path)
    values.pop("provenance", None)
    try:
        return from_mapping(Config, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def provenance() -> dict[str, Any]:
    """What a result depends on beside its configuration: versions, commit, machine, command."""
    return {
        "command": " ".join(["her-robotics", *sys.argv[1:]]),
        "commit": git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that matter."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_commit() -> str:
    """Commit of the clone this code runs from, ``-dirty`` where it was changed; else ``unknown``."""
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip() or "unknown"
