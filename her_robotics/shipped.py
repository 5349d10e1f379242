"""The YAML files that ship: a configuration for every task, and a few for more than one."""

from pathlib import Path

from .config import Config
from .strict import ConfigError, from_mapping, merge, read_yaml

GOAL_ENV = "goal_env"
PRESETS = ("debug", GOAL_ENV)
"""YAML files beside those of the tasks: a run of seconds, and settings to try on any env."""


def config_folder() -> Path:
    """The folder of shipped YAML files, in the clone or in the installed package.

    Raises:
        ConfigError: if neither holds it.
    """
    here = Path(__file__).resolve().parent
    candidates = (here.parent / "configs", here / "configs")
    for folder in candidates:
        if (folder / "base.yaml").is_file():
            return folder
    raise ConfigError(
        f"configs/base.yaml is in none of {[str(path.parent) for path in candidates]}"
    )


def shipped_tasks() -> tuple[str, ...]:
    """Names of the tasks that have a YAML file."""
    names = sorted(path.stem for path in config_folder().glob("*.yaml"))
    return tuple(name for name in names if name not in ("base", *PRESETS))


def load_task_config(task: str) -> Config:
    """``base.yaml`` overlaid with ``<task>.yaml``, or with one of ``PRESETS``.

    Between the two comes the file that ``<task>.yaml`` names as ``inherits``, if it does.

    Raises:
        ConfigError: if the task is unknown, or a file is not a valid configuration.
    """
    if task not in (*shipped_tasks(), *PRESETS):
        raise ConfigError(
            f"unknown task {task!r}: choose one of {', '.join(shipped_tasks())}, debug"
        )
    folder = config_folder()
    base = read_yaml(folder / "base.yaml")
    own = read_yaml(folder / f"{task}.yaml")
    inherited = own.pop("inherits", None)
    if inherited is not None:
        own = merge(read_yaml(folder / f"{inherited}.yaml"), own)
    return from_mapping(Config, merge(base, own))
