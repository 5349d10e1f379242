"""Small real things that several test files need: a toy goal env, made-up episodes, a reward."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from her_robotics.types import Episodes, EpisodeShape, GoalTest

STEP_LENGTH = 0.1
NO_GOAL = -1.0


class PointVectorEnv(VectorEnv):
    """Points in a plane that move by a tenth of the action and want to be somewhere.

    Args:
        num_envs: how many points.
        poison: ``(observation key, env, step)`` that is NaN; step 0 is the reset.
        test: whether they are to test a policy, which is all the same to them.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(
        self, num_envs: int, poison: tuple[str, int, int] | None = None, test: bool = False
    ) -> None:
        self.num_envs = num_envs
        self.poison = poison
        box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.single_observation_space = gym.spaces.Dict(
            dict.fromkeys(("observation", "achieved_goal", "desired_goal"), box)
        )
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        goals = [np.random.default_rng(value).uniform(0.3, 1.0, size=2) for value in seed]
        self.goal = np.stack(goals)
        self.position = np.zeros((self.num_envs, 2))
        self.steps = 0
        return self._show(), {}

    def step(self, actions: np.ndarray) -> tuple:
        self.position = self.position + STEP_LENGTH * np.asarray(actions, dtype=np.float64)
        self.steps += 1
        nothing = np.zeros(self.num_envs)
        return self._show(), nothing, nothing.astype(bool), nothing.astype(bool), {}

    def _show(self) -> dict[str, np.ndarray]:
        shown = {
            "observation": -self.position,
            "achieved_goal": self.position.copy(),
            "desired_goal": self.goal.copy(),
        }
        if self.poison is not None and self.steps == self.poison[2]:
            shown[self.poison[0]][self.poison[1], 0] = np.nan
        return shown


class GoalPoints(PointVectorEnv):
    """The points with all that learning must be told of a task, and nothing that it may be."""

    max_episode_steps = 15

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return sparse_reward(achieved, desired)

    def reached(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        return within(0.05)(achieved, desired)


class RewardedPoints(GoalPoints):
    """The points with a reward of 1 at the goal and 0 elsewhere."""

    reward_range = (0.0, 1.0)

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return 1.0 + sparse_reward(achieved, desired)


def within(threshold: float) -> GoalTest:
    """Whether goals are less than ``threshold`` apart."""
    return lambda achieved, desired: np.linalg.norm(achieved - desired, axis=-1) < threshold


def sparse_reward(achieved_goal: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """0 where the two are within 0.05 of each other, else -1."""
    distance = np.linalg.norm(achieved_goal - goal, axis=-1)
    return -(distance > 0.05).astype(np.float32)


def random_episodes(shape: EpisodeShape, count: int, seed: int = 0) -> Episodes:
    """Episodes of noise."""
    generator = np.random.default_rng(seed)

    def draw(*size: int) -> np.ndarray:
        return generator.standard_normal((count, *size)).astype(np.float32)

    return Episodes(
        observation=draw(shape.horizon + 1, shape.observation),
        achieved_goal=draw(shape.horizon + 1, shape.goal),
        desired_goal=draw(shape.goal),
        action=draw(shape.horizon, shape.action),
    )


def labelled_episodes(count: int, horizon: int, first: int = 0) -> Episodes:
    """Episodes in which every array says which (episode, step) it is of.

    Observations, achieved goals and actions are ``(episode, step)``; desired goals are
    ``(episode, NO_GOAL)``, so they cannot be taken for achieved ones.
    """
    episode = np.arange(first, first + count, dtype=np.float32)
    label = np.empty((count, horizon + 1, 2), np.float32)
    label[..., 0] = episode[:, None]
    label[..., 1] = np.arange(horizon + 1)
    desired = np.stack([episode, np.full(count, NO_GOAL, np.float32)], axis=1)
    return Episodes(label, label.copy(), desired, label[:, :-1].copy())


def push_the_object(observation: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Actions ``(n, 4)`` that drive grippers into their objects: ``observation`` is ``(n, 25)``."""
    action = generator.uniform(-1.0, 1.0, (len(observation), 4)).astype(np.float32)
    if observation.shape[1] == 25:
        action[:, :3] = np.clip(10.0 * observation[:, 6:9], -1.0, 1.0)
    return action
