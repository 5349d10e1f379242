"""stable-baselines3's hindsight replay, filled with episodes of ours to be compared with."""

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from her_robotics.types import Episodes

from .helpers import sparse_reward


class RewardOnlyEnv(gym.Env):
    """What the buffer asks of an environment: spaces and a reward function."""

    def __init__(self, spaces: dict[str, int], action: int) -> None:
        boxes = {
            name: gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
            for name, size in spaces.items()
        }
        self.observation_space = gym.spaces.Dict(boxes)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (action,), np.float32)

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return sparse_reward(achieved, desired)


def filled_her_buffer(
    episodes: Episodes, strategy: str, n_sampled_goal: int = 4
) -> HerReplayBuffer:
    """A buffer that has been given each transition of ``episodes`` in turn."""
    count, horizon = episodes.action.shape[:2]
    sizes = {
        "observation": episodes.observation.shape[-1],
        "achieved_goal": episodes.achieved_goal.shape[-1],
        "desired_goal": episodes.desired_goal.shape[-1],
    }
    env = DummyVecEnv([lambda: RewardOnlyEnv(sizes, episodes.action.shape[-1])])
    buffer = HerReplayBuffer(
        count * horizon,
        env.observation_space,
        env.action_space,
        env,
        device="cpu",
        n_sampled_goal=n_sampled_goal,
        goal_selection_strategy=strategy,
    )
    for index in range(count):
        for step in range(horizon):
            now, after = _shown(episodes, index, step), _shown(episodes, index, step + 1)
            action = episodes.action[index, step][None]
            reward = sparse_reward(after["achieved_goal"], after["desired_goal"])
            done = np.array([step == horizon - 1])
            buffer.add(now, after, action, reward, done, [{"TimeLimit.truncated": bool(done[0])}])
    return buffer


def _shown(episodes: Episodes, index: int, step: int) -> dict[str, np.ndarray]:
    return {
        "observation": episodes.observation[index, step][None],
        "achieved_goal": episodes.achieved_goal[index, step][None],
        "desired_goal": episodes.desired_goal[index][None],
    }
