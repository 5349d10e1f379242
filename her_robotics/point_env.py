"""The point robot as a goal env: ``GoalVectorEnv("her_robotics.point_env:PointRobot-v0")``."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from .point_robot import PointRobot

ROBOT = PointRobot(effort=0.0)
"""Effort costs nothing here, since rewards of a goal env are of goals alone."""
COMMAND = 2.0
"""Largest action, at which a motor gives 96% of its force."""


class PointRobotEnv(gym.Env):
    """A point robot to be brought to a goal, through Gymnasium and without gradients.

    Observations are position and velocity, goals are positions.
    """

    distance_threshold = 0.1
    """Metres."""

    def __init__(self) -> None:
        self.action_space = gym.spaces.Box(-COMMAND, COMMAND, (ROBOT.action_size,), np.float32)
        state, place = (
            gym.spaces.Box(-np.inf, np.inf, (size,), np.float64)
            for size in (ROBOT.state_size, ROBOT.goal_size)
        )
        self.observation_space = gym.spaces.Dict(
            {"observation": state, "achieved_goal": place, "desired_goal": place}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A robot at rest and a goal, both anywhere in the square."""
        super().reset(seed=seed)
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**63)))
        state, goal = ROBOT.start(1, generator)
        self._state, self._goal = state[0], goal[0]
        return self._show(), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Push for one period."""
        self._state = ROBOT.step(self._state, torch.as_tensor(action))
        shown = self._show()
        reward = self.compute_reward(shown["achieved_goal"], shown["desired_goal"], {})
        return shown, float(reward), False, False, {}

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """Minus the squared distance, ``(..., 2), (..., 2) -> (...)``."""
        achieved, desired = (torch.tensor(each) for each in (achieved_goal, desired_goal))
        return ROBOT.reward(achieved, torch.zeros_like(achieved), desired).numpy()

    def _show(self) -> dict[str, np.ndarray]:
        state, goal = self._state.double().numpy(), self._goal.double().numpy()
        return {"observation": state, "achieved_goal": state[:2], "desired_goal": goal}


gym.register(
    "PointRobot-v0",
    entry_point="her_robotics.point_env:PointRobotEnv",
    max_episode_steps=ROBOT.horizon,
)
