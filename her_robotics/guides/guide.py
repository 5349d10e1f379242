"""What all guides have in common: they learn a task of their own, and take turns with the main agent.

Until an object moves, every hindsight goal is where it already lies and teaches nothing, and the few
random episodes that move it are too few. A guide learns, from the same steps, something easier that
brings it to the object. It leads for a stretch and hands over where it has come to, so that the main
agent acts, and errs, where things happen. Such turns are the idea of going back before exploring
(Ecoffet et al. 2021, "First return, then explore") and of a relay (Luo et al. 2022, "Relay Hindsight
Experience Replay"). Tests never use a guide.
"""

import json
import math
from abc import ABC, abstractmethod

import numpy as np

from ..agents import DDPG
from ..config import AgentConfig, GuideConfig
from ..distributed import gather
from ..relabel import STRATEGIES
from ..replay import Replay
from ..types import Episodes, EpisodeShape, GoalObs, RewardFunction

BATCH_SIZE = 256


class Guide(ABC):
    """A guide learns by DDPG from a replay of its own.

    Args:
        shape: sizes of its own episodes, and so of its own goals.
        reward: of achieved and desired goals of its own.
        reward_range: least and greatest of it.
        agent: configuration of its learner.
        strategy: how its hindsight goals are chosen.
        capacity: episodes that its replay holds.
        config: how much it leads and learns.
        seed: of its randomness.
    """

    def __init__(
        self,
        shape: EpisodeShape,
        reward: RewardFunction,
        reward_range: tuple[float, float],
        agent: AgentConfig,
        strategy: str,
        capacity: int,
        config: GuideConfig,
        seed: int,
    ):
        self.config, self._capacity = config, capacity
        self.agent = DDPG(shape, agent, reward_range)
        room, hindsight = capacity * shape.horizon, STRATEGIES[strategy]
        self._replay = Replay(shape, room, hindsight, 4.0, reward, seed)
        self._generator = np.random.default_rng(seed)
        self._actions = shape.action
        self._leads, self._drift = np.zeros(0, dtype=bool), np.zeros((0, shape.action))
        self.taught = True
        """Whether there has been anything to learn from."""

    @abstractmethod
    def lead(self, obs: GoalObs) -> np.ndarray:
        """Its own actions ``(n, a)`` for what n envs show, before noise."""

    @abstractmethod
    def lesson(self, episodes: Episodes) -> Episodes:
        """New episodes as episodes of its own task."""

    def start(self, num_envs: int) -> None:
        """Begin new episodes: choose in which of them it leads first."""
        self._leads = self._generator.random(num_envs) < self.config.share
        self._drift = self._draw_drift(num_envs)

    def __call__(self, obs: GoalObs, actions: np.ndarray) -> np.ndarray:
        """``actions`` ``(n, a)``, replaced by the guide's own in the envs in which it leads just now."""
        count = len(actions)
        turn = self._generator.random(count) < 1.0 / self.config.stretch
        chosen = self._generator.random(count) < self.config.share
        self._leads = np.where(turn, chosen, self._leads)
        self._drift = np.where(turn[:, None], self._draw_drift(count), self._drift)
        if not self.agent.updates:
            return actions
        noise = self._drift + self._generator.normal(0.0, self.config.sigma, actions.shape)
        leading = np.clip(self.lead(obs) + noise, -1.0, 1.0)
        return np.where(self._leads[:, None], leading, actions).astype(np.float32)

    def _draw_drift(self, count: int) -> np.ndarray:
        """Noise that is kept for a stretch, so that fingers which close stay closed; ``(count, a)``."""
        return self._generator.normal(0.0, self.config.drift, (count, self._actions))

    def learn(self, episodes: Episodes) -> None:
        """Learn from new episodes, one update a step until it has had its share."""
        lesson = self.lesson(episodes)
        self.agent.observe(lesson)
        self._replay.add(Episodes(*(part[-self._capacity :] for part in lesson)))
        self.taught = any(gather("whether a guide was taught", self.taught))
        if not self.taught or not all(gather("a guide's replay", len(self._replay))):
            return
        steps = min(gather("steps of a guide", math.prod(episodes.action.shape[:2])))
        for _ in range(min(steps, self.config.updates - self.agent.updates)):
            self.agent.update(self._replay.sample(BATCH_SIZE))

    @property
    def replay_bytes(self) -> int:
        """Bytes that its replay takes when it is full."""
        return self._replay.nbytes

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
