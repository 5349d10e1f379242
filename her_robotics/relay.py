"""A relay: a small agent that learns to bring the gripper to the object, and explores for the main one.

Until the object moves, every hindsight goal is where it already lies and teaches nothing. Gripper
positions are goals too, learnt within a few hundred updates; pursuing ones drawn around the object
keeps pushing it about. Reaching first and manipulating then is the idea of RHER (Luo et al. 2022,
"Relay Hindsight Experience Replay"). It is a prior on the task: it must be told where in the
observation the gripper's position stands, and that goals are positions in the same space.
"""

import json
from dataclasses import replace

import numpy as np

from .agents import DDPG
from .config import AgentConfig, RelayConfig
from .relabel import STRATEGIES
from .replay import Replay
from .types import Episodes, GoalObs, Task

AGENT = AgentConfig(hidden=(64, 64), gamma=0.95, tau=0.05, action_l2=0.1)
CAPACITY_EPISODES = 500
BATCH_SIZE = 256


class Relay:
    """Behaviour for a share of the episodes: pursue gripper positions around the object.

    Args:
        task: what is known of it; its reward must also judge single positions.
        gripper: where the gripper's position stands in the observation.
        config: how much of it.
        seed: of its randomness.

    Raises:
        ValueError: if the goals are not positions as wide as the gripper's.
    """

    def __init__(self, task: Task, gripper: slice, config: RelayConfig, seed: int):
        shape = task.shape
        self.config, self._gripper = config, gripper
        self._size = gripper.stop - gripper.start
        if shape.goal % self._size:
            raise ValueError(f"goals of {shape.goal} numbers are no positions of {self._size} each")
        self._objects = shape.goal // self._size
        shape = replace(shape, goal=self._size, parts=1)
        self.agent = DDPG(shape, AGENT, task.reward_range)
        capacity = CAPACITY_EPISODES * shape.horizon
        self._replay = Replay(shape, capacity, STRATEGIES["future"], 4.0, task.reward, seed)
        self._generator = np.random.default_rng(seed)
        self.start(0)

    def start(self, num_envs: int) -> None:
        """Choose in which of the new episodes the relay acts."""
        self._acting = self._generator.random(num_envs) < self.config.share
        self._object = self._generator.integers(0, self._objects, num_envs)
        self._offset = self._draw(num_envs)

    def __call__(self, obs: GoalObs, actions: np.ndarray) -> np.ndarray:
        """``actions`` ``(n, a)``, replaced by the relay's own in its episodes."""
        renewed = self._generator.random(len(actions)) < 1.0 / self.config.hold
        self._offset = np.where(renewed[:, None], self._draw(len(actions)), self._offset)
        gripper = obs.observation[:, self._gripper]
        aim = self._position(obs.achieved_goal, self._object) + self._offset
        reaching = self.agent.act(GoalObs(obs.observation, gripper, aim))
        reaching = reaching + self._generator.normal(0.0, self.config.sigma, actions.shape)
        chosen = np.where(self._acting[:, None], np.clip(reaching, -1.0, 1.0), actions)
        return chosen.astype(np.float32)

    def learn(self, episodes: Episodes) -> None:
        """Learn to reach from new episodes, one update a step until it has had its share."""
        gripper = episodes.observation[:, :, self._gripper]
        each = np.arange(len(gripper)) % self._objects
        ends = self._position(episodes.achieved_goal[:, -1], each)
        reaching = episodes._replace(achieved_goal=gripper, desired_goal=ends)
        self.agent.observe(reaching)
        self._replay.add(Episodes(*(part[-CAPACITY_EPISODES:] for part in reaching)))
        steps = episodes.action.shape[0] * episodes.action.shape[1]
        for _ in range(min(steps, self.config.updates - self.agent.updates)):
            self.agent.update(self._replay.sample(BATCH_SIZE))

    def state_dict(self) -> dict:
        """Everything it goes on from between two cycles."""
        return {
            "agent": self.agent.state_dict(),
            "replay": self._replay.state_dict(),
            "generator": json.dumps(self._generator.bit_generator.state),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave."""
        self.agent.load_state_dict(state["agent"])
        self._replay.load_state_dict(state["replay"])
        self._generator.bit_generator.state = json.loads(state["generator"])

    def _draw(self, count: int) -> np.ndarray:
        """Offsets from the object, ``(count, g)``, in a cube around it."""
        radius = self.config.radius
        return self._generator.uniform(-radius, radius, (count, self._size))

    def _position(self, achieved_goal: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Where one object of each of n envs is, ``(n, objects * g), (n,) -> (n, g)``."""
        positions = achieved_goal.reshape(len(achieved_goal), self._objects, self._size)
        return positions[np.arange(len(positions)), which]
