"""A relay: it brings the gripper to the object and keeps it there (Luo et al. 2022).

Gripper positions are goals too, learnt within a few hundred updates; pursuing ones drawn around the
object pushes it about. It is a prior on the task: a relay must be told where in the observation the
gripper's position stands, and that goals are positions in the same space.
"""

from dataclasses import replace

import numpy as np

from ..config import AgentConfig, GuideConfig
from ..types import Episodes, GoalObs, Task
from .guide import Guide

AGENT = AgentConfig(hidden=(64, 64), gamma=0.95, tau=0.05, action_l2=0.1)
CAPACITY = 500
"""Episodes it learns from: those of late, for it soon knows how to reach."""
RADIUS = 0.08
"""Greatest half-width in metres of the cubes around the object in which its goals are drawn."""
HOLD = 8.0
"""Mean steps for which it keeps a goal."""


class Relay(Guide):
    """Pursue gripper positions around the object.

    Args:
        task: what is known of it; its reward must also judge single positions.
        config: how much it leads and learns.
        seed: of its randomness.
        near_scale: as in ``AgentConfig``.

    Raises:
        ValueError: if the goals are not positions as wide as the gripper's, or it is not known.
    """

    def __init__(self, task: Task, config: GuideConfig, seed: int, near_scale: float | None = None):
        if task.gripper is None:
            raise ValueError("it needs goals that are positions of an object for a gripper to move")
        shape, self._gripper = task.shape, task.gripper
        self._size = task.gripper.stop - task.gripper.start
        self._seen = shape.seen
        width = self._seen.stop - self._seen.start
        if width % self._size:
            raise ValueError(f"goals of {width} numbers are no positions of {self._size} each")
        self._objects = width // self._size
        own = replace(shape, goal=self._size, parts=1, embedding=0)
        agent = replace(AGENT, near_scale=near_scale)
        super().__init__(
            own, task.reward, task.reward_range, agent, "future", CAPACITY, config, seed
        )
        self.start(0)

    def start(self, num_envs: int) -> None:
        super().start(num_envs)
        self._object = self._generator.integers(0, self._objects, num_envs)
        self._offset = self._draw(num_envs)

    def lead(self, obs: GoalObs) -> np.ndarray:
        count = len(obs.observation)
        renewed = self._generator.random(count) < 1.0 / HOLD
        self._offset = np.where(renewed[:, None], self._draw(count), self._offset)
        aim = self._position(obs.achieved_goal, self._object) + self._offset
        gripper = obs.observation[:, self._gripper]
        return self.agent.act(GoalObs(obs.observation, gripper, aim))

    def lesson(self, episodes: Episodes) -> Episodes:
        gripper = episodes.observation[:, :, self._gripper]
        each = np.arange(len(gripper)) % self._objects
        ends = self._position(episodes.achieved_goal[:, -1], each)
        return episodes._replace(achieved_goal=gripper, desired_goal=ends)

    def _draw(self, count: int) -> np.ndarray:
        """Offsets from the object, ``(count, g)``, in cubes of every size around it."""
        radius = self._generator.uniform(0.0, RADIUS, (count, 1))
        return radius * self._generator.uniform(-1.0, 1.0, (count, self._size))

    def _position(self, achieved_goal: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Where one object of each of n envs is, ``(n, objects * g), (n,) -> (n, g)``."""
        seen = achieved_goal[:, self._seen]
        positions = seen.reshape(len(seen), self._objects, self._size)
        return positions[np.arange(len(positions)), which]
