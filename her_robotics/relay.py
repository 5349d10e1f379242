"""A relay: a small agent that learns to bring the gripper to the object, and explores for the main one.

Until the object moves, every hindsight goal is where it already lies and teaches nothing. Gripper
positions are goals too (the universal goal space of Andrychowicz et al. 2017 has both), they are
learnt within a few hundred updates, and pursuing ones drawn around the object keeps pushing it about
(after RHER, Luo et al. 2023, and guided by the same idea: reach first, then manipulate).
"""

import numpy as np
import torch

from .agents.ddpg import DDPG
from .config import AgentConfig, RelayConfig
from .relabel import STRATEGIES
from .replay import EpisodeShape, Replay
from .types import Episodes, GoalObs, RewardFunction

AGENT = AgentConfig(hidden=(64, 64), gamma=0.95, tau=0.05, action_l2=0.1)
CAPACITY_EPISODES = 400
BATCH_SIZE = 256


class Relay:
    """Behaviour for a share of the episodes: pursue gripper positions around the object.

    Args:
        shape: sizes of the task's episodes; its goal must be a position in the gripper's space.
        gripper: where the gripper's position stands in the observation.
        reward: of positions, as the task's reward.
        config: how much of it.
        seed: of its randomness.
    """

    def __init__(
        self,
        shape: EpisodeShape,
        gripper: slice,
        reward: RewardFunction,
        config: RelayConfig,
        seed: int,
    ):
        self.config, self._gripper = config, gripper
        self.agent = DDPG(shape, AGENT)
        capacity = CAPACITY_EPISODES * shape.horizon
        self._replay = Replay(shape, capacity, STRATEGIES["future"], 4.0, reward, seed)
        self.generator = np.random.default_rng(seed)
        self._chosen = np.zeros(0, dtype=bool)
        self._offset = np.zeros((0, shape.goal))

    def start(self, num_envs: int) -> None:
        """Choose in which of the new episodes the relay acts."""
        self._chosen = self.generator.random(num_envs) < self.config.share
        self._offset = self._draw(num_envs)

    def __call__(self, obs: GoalObs, actions: np.ndarray) -> np.ndarray:
        """``actions`` ``(n, a)``, replaced by the relay's in its episodes."""
        if not self._chosen.any():
            return actions
        renewed = self.generator.random(len(actions)) < 1.0 / self.config.hold
        self._offset = np.where(renewed[:, None], self._draw(len(actions)), self._offset)
        aim = obs.achieved_goal + self._offset
        seen = GoalObs(obs.observation, obs.observation[:, self._gripper], aim)
        noise = self.generator.normal(0.0, self.config.sigma, actions.shape)
        pursuing = np.clip(self.agent.act(seen) + noise, -1.0, 1.0)
        return np.where(self._chosen[:, None], pursuing, actions).astype(np.float32)

    def learn(self, episodes: Episodes) -> None:
        """Learn to reach from new episodes, until it has had its updates."""
        gripper = episodes.observation[:, :, self._gripper]
        reach = episodes._replace(achieved_goal=gripper, desired_goal=episodes.achieved_goal[:, -1])
        self._replay.add(reach)
        self.agent.observe(reach)
        for _ in range(min(self.config.updates_per_cycle, self.config.updates - self.agent.updates)):
            self.agent.update(self._replay.sample(BATCH_SIZE))

    def _draw(self, count: int) -> np.ndarray:
        """Offsets from the object, ``(count, g)``: flat, since what lies on a table is moved sideways."""
        spread = np.full(self._offset.shape[1], self.config.radius)
        spread[-1] *= 0.3
        return self.generator.uniform(-spread, spread, (count, len(spread)))

    def state_dict(self) -> dict:
        """Everything it goes on from between two cycles."""
        return {
            "agent": self.agent.state_dict(),
            "replay": self._replay.state_dict(),
            "generator": torch.tensor(0),
        }
