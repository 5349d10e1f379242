"""Gymnasium's pendulum in the shape of a goal env: ``GoalVectorEnv("envs.pendulum:PendulumGoal-v0")``."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv, angle_normalize

from .vector import PARTS, ObsDict

UPRIGHT = np.zeros(3)
"""The one goal: upright, at rest, and without a torque."""


class PendulumGoalEnv(PendulumEnv):
    """``Pendulum-v1``, whose reward is one of achieved and desired goals.

    What is achieved in a step is what the pendulum is charged for: the angle and the velocity that it
    was taken at, and the torque. Returns are therefore those of ``Pendulum-v1``. There is one goal
    alone, so hindsight has no others to learn from.

    Args:
        kwargs: as for ``PendulumEnv``.
    """

    distance_threshold = 0.0
    """Nothing counts as success in this task."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        plain = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.observation_space = gym.spaces.Dict(dict.fromkeys(PARTS, plain))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsDict, dict[str, Any]]:
        """Begin at any angle, nearly at rest."""
        observation, info = super().reset(seed=seed, options=options)
        return self._show(observation, np.append(self.state, 0.0)), info

    def step(self, u: np.ndarray) -> tuple[ObsDict, float, bool, bool, dict[str, Any]]:
        """Apply a torque u."""
        before = self.state
        observation, reward, terminated, truncated, info = super().step(u)
        charged = np.array([*before, self.last_u])
        return self._show(observation, charged), float(reward), terminated, truncated, info

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """-(θ² + 0.1 θ'² + 0.001 u²) of what is between both goals, ``(..., 3), (..., 3) -> (...)``."""
        angle, velocity, torque = np.moveaxis(np.subtract(achieved_goal, desired_goal), -1, 0)
        return -(angle_normalize(angle) ** 2 + 0.1 * velocity**2 + 0.001 * torque**2)

    def _show(self, observation: np.ndarray, charged: np.ndarray) -> ObsDict:
        shown = (observation.astype(np.float64), charged.astype(np.float64), UPRIGHT.copy())
        return dict(zip(PARTS, shown, strict=True))


gym.register("PendulumGoal-v0", entry_point="envs.pendulum:PendulumGoalEnv", max_episode_steps=200)
