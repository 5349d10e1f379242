"""Whole episodes from a vector env."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from .types import Episodes, GoalObs

ActionFunction = Callable[[GoalObs], np.ndarray]


class NonFiniteError(RuntimeError):
    """An observation or an action is NaN or infinite; the message says in which env and step."""


DIVERGED, DIED = "diverged", "died"
"""How an episode was lost: by its simulation, or with the process that stepped it."""


class Divergence(NamedTuple):
    """An episode whose simulation diverged, or whose process died, up to where it did.

    Attributes:
        env: in which of the envs.
        step: at which step what it showed was no longer finite, t.
        seed: of the episode.
        observation: ``(t + 1, o)``; the last is the one that is not finite, or another part is.
        achieved_goal: ``(t + 1, g)``.
        desired_goal: ``(t + 1, g)``.
        action: ``(t, a)``.
        physics: the simulator's state before the last step, ``(s,)``; empty where the env does not tell.
        cause: ``DIVERGED`` or ``DIED``.
    """

    env: int
    step: int
    seed: int
    observation: np.ndarray
    achieved_goal: np.ndarray
    desired_goal: np.ndarray
    action: np.ndarray
    physics: np.ndarray
    cause: str = DIVERGED


Lose = Callable[[Divergence], None]
"""What is told of every episode that is lost."""


def episode_seeds(run_seed: int, stream: int, first: int, count: int) -> list[int]:
    """Seeds of episodes ``first`` to ``first + count - 1`` of a stream of a run.

    An episode's seed depends on nothing but these numbers, so a resumed run, or one with other
    ``num_envs``, meets the same episodes.
    """
    streams = (np.random.SeedSequence((run_seed, stream, first + i)) for i in range(count))
    return [int(seed.generate_state(1)[0]) for seed in streams]


def play(
    env: gym.vector.VectorEnv,
    horizon: int,
    seeds: list[int],
    act: ActionFunction,
    lose: Lose | None = None,
) -> Episodes:
    """Play one episode of ``horizon`` steps in every env.

    Args:
        env: a vector env of goal observations that does not reset by itself.
        horizon: steps to play, T.
        seeds: one for each env's reset.
        act: from what the n envs show to actions ``(n, a)``.
        lose: told of each episode in which an observation was not finite. The env is reset, and the
            episode left out of what is returned. None takes such an observation for an error.

    Returns:
        Episodes in float32; those that were lost are left out, the others keep their order.

    Raises:
        NonFiniteError: if an action is not finite, or an observation that is not to be lost.
    """
    lost = np.zeros(env.num_envs, dtype=bool)
    obs, told = _reset(env, seeds), {}
    history, actions = [obs], []
    for step in range(horizon + 1):
        if lose is None:
            _check_finite(obs, step)
        elif not _finite(obs).all():
            for index in np.flatnonzero(~_finite(obs) & ~lost):
                lose(_divergence(int(index), step, seeds, history, actions, told))
            lost |= ~_finite(obs)
            obs = _recover(env, obs, step)
        if step == horizon:
            break
        action = act(obs)
        obs, told = _step(env, action, step)
        history.append(obs)
        actions.append(action)
    return Episodes(
        observation=np.stack([o.observation[~lost] for o in history], axis=1, dtype=np.float32),
        achieved_goal=np.stack([o.achieved_goal[~lost] for o in history], axis=1, dtype=np.float32),
        desired_goal=obs.desired_goal[~lost].astype(np.float32),
        action=np.stack([each[~lost] for each in actions], axis=1, dtype=np.float32),
    )


def start(env: gym.vector.VectorEnv, seeds: list[int]) -> GoalObs:
    """Begin an episode in every env; what they show first.

    Raises:
        NonFiniteError: if it is not finite.
    """
    obs = _reset(env, seeds)
    _check_finite(obs, 0)
    return obs


def advance(env: gym.vector.VectorEnv, action: np.ndarray, step: int) -> GoalObs:
    """Take step number ``step`` in every env; what they show after it.

    Raises:
        NonFiniteError: if the action or what is shown is not finite.
    """
    obs, _ = _step(env, action, step)
    _check_finite(obs, step + 1)
    return obs


def _native(env: gym.vector.VectorEnv, action: np.ndarray) -> np.ndarray:
    """Actions ``(n, a)`` as the env takes them: choices are ``(n,)`` integers there."""
    space = env.single_action_space
    if not isinstance(space, gym.spaces.Discrete):
        return action
    return space.start + action[:, 0].astype(np.int64)


def _reset(env: gym.vector.VectorEnv, seeds: list[int]) -> GoalObs:
    reset: Any = env.reset
    shown, _ = reset(seed=seeds)
    return GoalObs(*(shown[name] for name in GoalObs._fields))


def _step(
    env: gym.vector.VectorEnv, action: np.ndarray, step: int
) -> tuple[GoalObs, dict[str, Any]]:
    _refuse("action", action, step)
    shown, *_, told = env.step(_native(env, action))
    return GoalObs(*(shown[name] for name in GoalObs._fields)), told


def _recover(env: gym.vector.VectorEnv, obs: GoalObs, step: int) -> GoalObs:
    """Reset the envs that show what is not finite, so that they can be stepped on; what all show then.

    Raises:
        NonFiniteError: if that does not help.
    """
    mask = ~_finite(obs)
    shown, _ = env.reset(options={"reset_mask": mask})
    fresh = GoalObs(
        *(np.where(mask[:, None], shown[name], getattr(obs, name)) for name in obs._fields)
    )
    _check_finite(fresh, step)
    return fresh


def _divergence(
    env: int,
    step: int,
    seeds: list[int],
    history: list[GoalObs],
    actions: list[np.ndarray],
    told: dict[str, Any],
) -> Divergence:
    shown = (np.stack([part[env] for part in parts]) for parts in zip(*history, strict=True))
    taken = np.array([action[env] for action in actions])
    physics = told["physics_before"][env] if "physics_before" in told else np.zeros(0)
    cause = DIED if "process_died" in told and told["process_died"][env] else DIVERGED
    return Divergence(env, step, seeds[env], *shown, taken, physics, cause)


def _finite(obs: GoalObs) -> np.ndarray:
    """Which envs show nothing but finite numbers, ``(n,)`` bool."""
    return np.all([np.isfinite(part).all(axis=1) for part in obs], axis=0)


def _check_finite(obs: GoalObs, step: int) -> None:
    for name, values in zip(GoalObs._fields, obs, strict=True):
        _refuse(name, values, step)


def _refuse(name: str, values: np.ndarray, step: int) -> None:
    if not np.isfinite(values).all():
        env = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise NonFiniteError(f"{name} is not finite in env {env} at step {step}")
