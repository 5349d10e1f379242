"""Where learning and physics are joined: from a configuration to an env."""

import dataclasses
import sys
from typing import Any

import gymnasium as gym

import envs
from envs.adapter import GoalVectorEnv

from ..config import EnvConfig
from ..errors import UserError
from ..learner import MakeEnv


def env_maker(env: EnvConfig) -> MakeEnv:
    """A function that builds the vector env of the configured task, or of any Gymnasium goal env.

    Raises:
        UserError: if settings that only our tasks have are given for another env.
    """
    ours = env.task in envs.TASKS
    if not ours:
        _refuse_own_settings(env)

    def make(num_envs: int, **options: Any) -> gym.vector.VectorEnv:
        try:
            return _own_task(env, num_envs, options) if ours else _any_env(env, num_envs, options)
        except ValueError as error:
            known = ours or ":" in env.task or env.task in gym.registry
            hint = "" if known else f" (our own tasks: {', '.join(envs.TASKS)})"
            raise UserError(f"{error}{hint}") from error

    return make


def _own_task(env: EnvConfig, num_envs: int, options: dict[str, Any]) -> gym.vector.VectorEnv:
    if env.max_episode_steps is not None:
        options = {**options, "max_episode_steps": env.max_episode_steps}
    return gym.make_vec(
        envs.TASKS[env.task].id,
        num_envs=num_envs,
        reward_type=env.reward,
        goal=env.goal,
        distance_threshold=env.distance_threshold,
        randomize=dataclasses.asdict(env.randomize),
        model=env.model,
        num_threads=env.num_threads,
        **options,
    )


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


def _refuse_own_settings(env: EnvConfig) -> None:
    plain = EnvConfig()
    for name in ("goal", "reward", "model", "num_threads", "randomize"):
        if getattr(env, name) != getattr(plain, name):
            raise UserError(f"env.{name} is a setting of our own tasks; {env.task} has none")


def task_name(env: str) -> str:
    """What ``--env`` means: one of our tasks by its name or id, or the id of another env."""
    return next((name for name, task in envs.TASKS.items() if task.id == env), env)


def find_modules_here(env: str) -> None:
    """Let ``module:Id`` name a module in the working directory, as under ``python -m``."""
    if ":" in env and "" not in sys.path:
        sys.path.insert(0, "")
