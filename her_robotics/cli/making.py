"""Where learning and physics are joined: from a configuration to an env."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym

import envs
from envs.adapter import GoalVectorEnv

from ..building import MakeEnv
from ..config import EnvConfig
from ..distributed import local_size
from ..errors import UserError
from ..health.machine import cores
from .imaging import images


def env_maker(env: EnvConfig, run: Path | None = None) -> MakeEnv:
    """A function that builds the vector env of the configured task, or of any Gymnasium goal env.

    Args:
        env: the configuration.
        run: folder of the run that it is of, which holds what its images are seen through.

    Raises:
        UserError: if settings are given that only other envs have.
    """
    ours = env.task in envs.IDS
    _refuse_settings_of_others(env)
    turned = images(env, run)

    def make(num_envs: int, test: bool = False, **options: Any) -> gym.vector.VectorEnv:
        try:
            made = _own_task(env, num_envs, options) if ours else _any_env(env, num_envs, options)
            return turned(made, test)
        except ValueError as error:
            known = ours or ":" in env.task or env.task in gym.registry
            hint = "" if known else f" (our own tasks: {', '.join(envs.IDS)})"
            raise UserError(f"{error}{hint}") from error

    return make


def threads_shared(env: EnvConfig) -> EnvConfig:
    """``env`` with this rank's share of the machine's cores, where it would take all of them."""
    if local_size() == 1 or env.num_threads or env.task not in envs.TASKS:
        return env
    return dataclasses.replace(env, num_threads=max(1, cores() // local_size()))


def _own_task(env: EnvConfig, num_envs: int, options: dict[str, Any]) -> gym.vector.VectorEnv:
    if env.max_episode_steps is not None:
        options = {**options, "max_episode_steps": env.max_episode_steps}
    settings = _fetch_settings(env) if env.task in envs.TASKS else {}
    if env.bits is not None:
        settings["bits"] = env.bits
    return gym.make_vec(envs.IDS[env.task], num_envs=num_envs, **settings, **options)


def _fetch_settings(env: EnvConfig) -> dict[str, Any]:
    return {
        "reward_type": env.reward,
        "goal": None if env.goal == "image" else env.goal,
        "distance_threshold": env.distance_threshold,
        "randomize": dataclasses.asdict(env.randomize),
        "model": env.model,
        "num_threads": env.num_threads,
    }


def _any_env(env: EnvConfig, num_envs: int, options: dict[str, Any]) -> gym.vector.VectorEnv:
    # What it draws has a size of its own.
    kept = {name: value for name, value in options.items() if name not in ("width", "height")}
    find_modules_here(env.task)
    return GoalVectorEnv(
        env.task,
        num_envs,
        workers=env.workers,
        max_episode_steps=env.max_episode_steps,
        distance_threshold=env.distance_threshold,
        ignore_termination=env.ignore_termination,
        **kept,
    )


FETCH = ("goal", "observation", "reward", "model", "num_threads", "randomize")
"""Settings that only Fetch tasks have."""


def _refuse_settings_of_others(env: EnvConfig) -> None:
    refused = {}
    if env.task not in envs.TASKS:
        refused |= dict.fromkeys(FETCH, "our own Fetch tasks")
    if env.task != envs.BIT_FLIP:
        refused["bits"] = envs.BIT_FLIP
    else:
        refused["distance_threshold"] = "tasks whose goals are reached by coming near"
    plain = EnvConfig()
    for name, owner in refused.items():
        if getattr(env, name) != getattr(plain, name):
            raise UserError(f"env.{name} is a setting of {owner}; {env.task} has none")


def task_name(env: str) -> str:
    """What ``--env`` means: one of our tasks by its name or id, or the id of another env."""
    return next((name for name, known in envs.IDS.items() if known == env), env)


def find_modules_here(env: str) -> None:
    """Let ``module:Id`` name a module in the working directory, as under ``python -m``."""
    if ":" in env and "" not in sys.path:
        sys.path.insert(0, "")
