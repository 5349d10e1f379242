"""What a foreign goal env's reward is: vectorised or not, sparse or dense, and when a goal is reached."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from .vector import first_line

EPISODES, STEPS = 4, 20
"""Random play from which pairs of goals are taken."""


class GoalReward(NamedTuple):
    """How an env judges goals.

    Attributes:
        reward: ``(achieved (..., g), desired (..., g)) -> (...)`` float64.
        reached: ``(achieved (..., g), desired (..., g)) -> (...)`` bool.
        range: least and greatest reward of a step; infinite where the reward is dense.
    """

    reward: Callable[[np.ndarray, np.ndarray], np.ndarray]
    reached: Callable[[np.ndarray, np.ndarray], np.ndarray]
    range: tuple[float, float]


def read_goal_reward(env: gym.Env, distance_threshold: float | None = None) -> GoalReward:
    """Find out how an env judges goals, from pairs of goals met in a little random play.

    A reward that takes two values, the greater one where a goal is achieved exactly, is sparse: then a
    goal is reached where the reward says so. Any other is dense, and needs a distance threshold.

    Args:
        env: made, not necessarily reset; its episode is lost.
        distance_threshold: for dense rewards; None takes the env's attribute of that name.

    Raises:
        ValueError: if ``compute_reward`` is missing or not vectorised, nothing tells when a goal is
            reached, or a threshold is given where the reward tells.
    """
    try:
        compute = env.get_wrapper_attr("compute_reward")
    except AttributeError:
        raise ValueError("it has no compute_reward(achieved_goal, desired_goal, info)") from None

    def reward(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        lead, size = np.shape(achieved)[:-1], np.shape(achieved)[-1]
        flat = compute(np.reshape(achieved, (-1, size)), np.reshape(desired, (-1, size)), {})
        return np.asarray(flat, dtype=np.float64).reshape(lead)

    achieved, desired = _pairs(env)
    _check_vectorised(compute, achieved, desired)
    values = reward(achieved, desired)
    perfect = reward(desired, desired)
    low, high = float(values.min()), float(perfect.max()) + 0.0  # no negative zero
    if low < high and np.isin(values, (low, high)).all() and (perfect == high).all():
        if distance_threshold is not None:
            raise ValueError(
                "its reward is sparse and tells itself when a goal is reached: leave distance_threshold out"
            )
        return GoalReward(reward, lambda a, d: reward(a, d) == high, (low, high))
    threshold = distance_threshold
    if threshold is None:
        threshold = getattr(env.unwrapped, "distance_threshold", None)
    if threshold is None:
        raise ValueError(
            "its reward is dense, so it does not tell when a goal is reached: give distance_threshold"
        )
    limit = float(threshold)

    def reached(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        return np.linalg.norm(np.subtract(achieved, desired), axis=-1) < limit

    return GoalReward(reward, reached, (-np.inf, np.inf))


def _pairs(env: gym.Env) -> tuple[np.ndarray, np.ndarray]:
    """Goals achieved in random play, each with every goal achieved or desired in it, ``(n, g)`` twice."""
    generator = np.random.default_rng(0)
    space: Any = env.action_space
    achieved, desired = [], []
    for seed in range(EPISODES):
        shown, _ = env.reset(seed=seed)
        for _ in range(STEPS):
            # Copies: some envs show the same array again, with other numbers in it.
            achieved.append(np.array(shown["achieved_goal"], dtype=np.float64))
            desired.append(np.array(shown["desired_goal"], dtype=np.float64))
            shown, _, terminated, truncated, _ = env.step(_random_action(space, generator))
            if terminated or truncated:
                break
    goals = np.array([*achieved, *desired[::STEPS]])
    first, second = np.meshgrid(np.arange(len(goals)), np.arange(len(goals)), indexing="ij")
    return goals[first.ravel()], goals[second.ravel()]


def _random_action(space: Any, generator: np.random.Generator) -> Any:
    if isinstance(space, gym.spaces.Discrete):
        return space.start + generator.integers(space.n)
    return generator.uniform(space.low, space.high).astype(space.dtype)


def _check_vectorised(
    compute: Callable[..., Any], achieved: np.ndarray, desired: np.ndarray
) -> None:
    """Refuse a reward of n pairs that is not the n rewards of a pair.

    Raises:
        ValueError: saying what came instead.
    """
    hint = "compute_reward must take (n, g) goals and give (n,) rewards (norms over axis=-1)"
    sample = np.linspace(0, len(achieved) - 1, 16).astype(int)
    try:
        batch = np.asarray(compute(achieved[sample], desired[sample], {}), dtype=np.float64)
        single = [float(compute(achieved[i], desired[i], {})) for i in sample]
    except Exception as error:
        raise ValueError(f"{hint}; it failed: {first_line(error)}") from error
    if batch.shape != (len(sample),) or not np.allclose(batch, single, equal_nan=False):
        raise ValueError(
            f"{hint}; for 16 pairs it gave an array of shape {batch.shape}, or other rewards"
        )
