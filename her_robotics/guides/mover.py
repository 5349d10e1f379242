"""A mover: it keeps the achieved goal changing, whatever that takes, and knows nothing of the task.

Its reward is that of change itself: 0 for a step in which the achieved goal changed and is where goals
are asked for, else -1. A few random episodes in which something moved are enough to learn from what
moves it; that goals on the floor pay nothing keeps it from sweeping the table clear. Change as a
reward is from Parisi et al. 2021 ("Interesting Object, Curious Agent"); here it chooses none of the
main agent's actions, only where they begin.
"""

from dataclasses import replace

import numpy as np

from ..config import AgentConfig, GuideConfig
from ..types import Episodes, GoalObs, Task
from .guide import Guide

AGENT = AgentConfig(hidden=(64, 64), gamma=0.9, tau=0.02, action_l2=0.1, relative_goal=False)
CAPACITY = 4_000
"""Episodes it learns from: all there are, for at first few of them move anything."""
STILL = 0.0025
"""Change in a step that counts for none, as a share of the diagonal of the goals' box."""
MARGIN = 0.05
"""How far outside the box of desired goals an achieved one may lie, as a share of its diagonal."""


class Mover(Guide):
    """Keep the achieved goal changing within the box of the desired goals seen so far.

    Its own goal is one number, 1 for "changing", of which a step's flag is the achieved value.

    Args:
        task: what is known of it.
        config: how much it leads and learns.
        seed: of its randomness.
        near_scale: as in ``AgentConfig``.
    """

    def __init__(self, task: Task, config: GuideConfig, seed: int, near_scale: float | None = None):
        own = replace(task.shape, goal=1, parts=1, embedding=0)
        agent = replace(AGENT, near_scale=near_scale)
        super().__init__(own, _unchanged, (-1.0, 0.0), agent, "none", CAPACITY, config, seed)
        self.taught = False
        self._rewarded = task.rewarded
        self._low = np.full(len(range(task.shape.goal)[self._rewarded]), np.inf, np.float32)
        self._high = -self._low

    def lead(self, obs: GoalObs) -> np.ndarray:
        changing = np.ones((len(obs.observation), 1), np.float32)
        return self.agent.act(GoalObs(obs.observation, changing, changing))

    def lesson(self, episodes: Episodes) -> Episodes:
        desired = episodes.desired_goal[:, self._rewarded]
        self._low = np.minimum(self._low, desired.min(axis=0, initial=np.inf))
        self._high = np.maximum(self._high, desired.max(axis=0, initial=-np.inf))
        changed = self.changed(episodes.achieved_goal[..., self._rewarded])
        self.taught |= bool(changed.any())
        asked = np.ones((len(changed), 1), np.float32)
        return episodes._replace(achieved_goal=changed[..., None], desired_goal=asked)

    def changed(self, achieved_goal: np.ndarray) -> np.ndarray:
        """Whether each step changed what is achieved, within the box; ``(n, T + 1, g) -> (n, T + 1)``.

        The first column, before any step, is 0.
        """
        diagonal = np.linalg.norm(self._high - self._low)
        margin = MARGIN * diagonal
        after = achieved_goal[:, 1:]
        inside = np.all((after >= self._low - margin) & (after <= self._high + margin), axis=-1)
        change = np.linalg.norm(after - achieved_goal[:, :-1], axis=-1)
        flags = np.zeros(achieved_goal.shape[:2], np.float32)
        flags[:, 1:] = inside & (change > STILL * diagonal)
        return flags

    def state_dict(self) -> dict:
        box = {"taught": self.taught, "low": self._low.tolist(), "high": self._high.tolist()}
        return {**super().state_dict(), **box}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.taught = state["taught"]
        self._low, self._high = (np.array(state[name], np.float32) for name in ("low", "high"))


def _unchanged(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """The reward: -1 where what is achieved is not "changing"."""
    return -(achieved < desired)[..., 0].astype(np.float32)
