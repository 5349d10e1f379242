"""What is installed, and whether the shipped settings are whole."""

import platform
import sys
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from ..errors import UserError
from ..shipped import config_folder, load_task_config, shipped_tasks
from .finding import Finding, failed, passed

PROJECT = "her-robotics"
LEAST_PYTHON = (3, 11)
KNOWN_BAD = {
    ("mujoco", "4.0.0"): "its sparse Cholesky is wrong above 60 degrees of freedom, 4.0.1 mends it"
}
"""Versions that a range in pyproject.toml excludes for a reason worth telling."""


def python() -> Finding:
    """Whether Python is new enough."""
    if sys.version_info < LEAST_PYTHON:
        wanted = ".".join(map(str, LEAST_PYTHON))
        return failed(
            f"Python {platform.python_version()} is older than {wanted}",
            f"rm -rf .venv && PYTHON=python{wanted} bash scripts/setup.sh",
        )
    return passed(f"{platform.python_version()}, {platform.system()} {platform.machine()}")


def packages() -> Finding:
    """Whether every package is there, in a version that pyproject.toml allows."""
    try:
        declared = metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
        return failed(f"{PROJECT} itself is not installed", f"{sys.executable} -m pip install -e .")
    wanted = [each for each in map(_read, declared) if each and _always(each)]
    found = {each.name: _version(each.name) for each in wanted}
    wrong = [each for each in wanted if not _allows(each, found[each.name])]
    if wrong:
        said = "; ".join(_complaint(each, found[each.name]) for each in wrong)
        asked = " ".join(f"'{each.name}{each.specifier}'" for each in wrong)
        return failed(said, f"{sys.executable} -m pip install {asked}", versions=found)
    named = ("torch", "mujoco", "gymnasium", "gymnasium-robotics", "numpy")
    shown = ", ".join(f"{name} {found[name]}" for name in named if name in found)
    return passed(
        f"{shown}, and {len(found) - len(named)} more, all in pyproject's ranges", versions=found
    )


def reinstalling(error: Exception) -> str:
    """The command that most likely mends what ``error`` tells of: it installs a package again, or all."""
    module = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    owners = metadata.packages_distributions().get(module)
    what = owners[0] if owners else "--constraint constraints.txt --editable ."
    return f"{sys.executable} -m pip install --force-reinstall {what}"


def configs() -> Finding:
    """Whether the settings of every shipped task can be read."""
    try:
        tasks = shipped_tasks()
        for task in (*tasks, "debug", "goal_env"):
            load_task_config(task)
        folder = config_folder()
    except UserError as error:
        return failed(str(error), "git checkout -- configs")
    if not tasks:
        return failed(f"{folder} holds no task", "git checkout -- configs")
    return passed(f"settings of {len(tasks)} tasks")


def _read(declared: str) -> Requirement | None:
    try:
        return Requirement(declared)
    except InvalidRequirement:
        return None


def _always(requirement: Requirement) -> bool:
    """Whether it is needed here, and not by an extra alone."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _allows(requirement: Requirement, version: str | None) -> bool:
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _complaint(requirement: Requirement, version: str | None) -> str:
    if version is None:
        return f"{requirement.name} is missing"
    why = KNOWN_BAD.get((requirement.name, version))
    reason = f" ({why})" if why else f", not {requirement.specifier}"
    return f"{requirement.name} is {version}{reason}"
