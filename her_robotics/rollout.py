"""Whole episodes from a vector env."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from .types import Episodes, GoalObs

ActionFunction = Callable[[GoalObs], np.ndarray]


class NonFiniteError(RuntimeError):
    """An observation or an action is NaN or infinite; the message says in which env and step."""


def episode_seeds(run_seed: int, stream: int, first: int, count: int) -> list[int]:
    """Seeds of episodes ``first`` to ``first + count - 1`` of a stream of a run.

    An episode's seed depends on nothing but these numbers, so a resumed run, or one with other
    ``num_envs``, meets the same episodes.
    """
    streams = (np.random.SeedSequence((run_seed, stream, first + i)) for i in range(count))
    return [int(seed.generate_state(1)[0]) for seed in streams]


def play(
    env: gym.vector.VectorEnv, horizon: int, seeds: list[int], act: ActionFunction
) -> Episodes:
    """Play one episode of ``horizon`` steps in every env.

    Args:
        env: a vector env of goal observations that does not reset by itself.
        horizon: steps to play, T.
        seeds: one for each env's reset.
        act: from what the n envs show to actions ``(n, a)``.

    Returns:
        Episodes in float32.

    Raises:
        NonFiniteError: if an observation or action is not finite.
    """
    obs = start(env, seeds)
    history, actions = [obs], []
    for step in range(horizon):
        action = act(obs)
        obs = advance(env, action, step)
        history.append(obs)
        actions.append(action)
    return Episodes(
        observation=np.stack([o.observation for o in history], axis=1, dtype=np.float32),
        achieved_goal=np.stack([o.achieved_goal for o in history], axis=1, dtype=np.float32),
        desired_goal=obs.desired_goal.astype(np.float32),
        action=np.stack(actions, axis=1, dtype=np.float32),
    )


def start(env: gym.vector.VectorEnv, seeds: list[int]) -> GoalObs:
    """Begin an episode in every env; what they show first.

    Raises:
        NonFiniteError: if it is not finite.
    """
    reset: Any = env.reset
    shown, _ = reset(seed=seeds)
    return _goal_obs(shown, 0)


def advance(env: gym.vector.VectorEnv, action: np.ndarray, step: int) -> GoalObs:
    """Take step number ``step`` in every env; what they show after it.

    Raises:
        NonFiniteError: if the action or what is shown is not finite.
    """
    _check_finite("action", action, step)
    shown, *_ = env.step(_native(env, action))
    return _goal_obs(shown, step + 1)


def _native(env: gym.vector.VectorEnv, action: np.ndarray) -> np.ndarray:
    """Actions ``(n, a)`` as the env takes them: choices are ``(n,)`` integers there."""
    space = env.single_action_space
    if not isinstance(space, gym.spaces.Discrete):
        return action
    return space.start + action[:, 0].astype(np.int64)


def _goal_obs(shown: dict[str, np.ndarray], step: int) -> GoalObs:
    obs = GoalObs(*(shown[name] for name in GoalObs._fields))
    for name, values in zip(GoalObs._fields, obs, strict=True):
        _check_finite(name, values, step)
    return obs


def _check_finite(name: str, values: np.ndarray, step: int) -> None:
    if not np.isfinite(values).all():
        env = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise NonFiniteError(f"{name} is not finite in env {env} at step {step}")
