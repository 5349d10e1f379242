"""`her-robotics check`: is an env fit for learning by hindsight?"""

import dataclasses
from typing import Annotated

import gymnasium as gym
import tyro

import envs
from envs.check import check_goal_env
from envs.making import GoalEnvError, make_by_id

from .making import find_modules_here, task_name
from .parse import at_least, parse


@dataclasses.dataclass(frozen=True)
class CheckArguments:
    """Find what in a goal env breaks learning by hindsight."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """A task, or the id of any Gymnasium env: FetchPush-v4, my_module:MyEnv-v0."""
    episodes: int = 10
    """Random episodes to play."""
    seed: int = 0
    """Seed of the first of them."""


def check(arguments: list[str]) -> int:
    """Check an env; returns 1 if something breaks learning from its state, else 0."""
    given = parse(CheckArguments, arguments, "her-robotics check")
    at_least("--episodes", given.episodes, 2)
    at_least("--seed", given.seed, 0)
    report = check_goal_env(_make(given.env), given.episodes, given.seed)
    for finding in report.findings:
        where = " (only matters when learning from images)" if finding.pixels_only else ""
        print(f"{finding.name}{where}: {finding.explanation}")
    for sentence in report.unchecked:
        print(f"not checked: {sentence}")
    broken = [finding for finding in report.findings if not finding.pixels_only]
    verdict = f"{len(broken)} things break" if len(broken) > 1 else "one thing breaks"
    print(f"{given.env}: {verdict if broken else 'nothing found that breaks'} hindsight")
    return 1 if broken else 0


def _make(name: str) -> gym.Env:
    find_modules_here(name)
    name = envs.IDS.get(task_name(name), name)
    try:
        return make_by_id(name, render_mode="rgb_array")
    except GoalEnvError:  # not every env can be asked to draw
        return make_by_id(name)
