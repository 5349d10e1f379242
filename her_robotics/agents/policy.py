"""What every algorithm keeps to act with: how states and goals are seen, and a network that chooses."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from ..config import AgentConfig
from ..goals import GOAL_ENCODERS
from ..normalizer import Normalizer
from ..types import EpisodeShape, GoalObs


class Policy(nn.Module, ABC):
    """All that is needed to act: observation normaliser, goal encoder, and what a subclass chooses by.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
    """

    def __init__(self, shape: EpisodeShape, config: AgentConfig):
        super().__init__()
        self.normalizer = Normalizer(shape.observation)
        self._seen = shape.seen
        seen = shape.embedding or shape.goal
        self.encoder = GOAL_ENCODERS[config.goal_encoder](seen, config.relative_goal)
        self.state_goal_size = shape.observation + self.encoder.output_size

    def encode(
        self, observation: torch.Tensor, achieved_goal: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """s ‖ g as the networks see it, ``(..., o), (..., g), (..., g) -> (..., state_goal_size)``."""
        embedding = self.encoder(achieved_goal[..., self._seen], goal[..., self._seen])
        return torch.cat([self.normalizer(observation), embedding], dim=-1)

    @torch.no_grad()
    def act(self, obs: GoalObs) -> np.ndarray:
        """Greedy actions, ``(n, a)`` float32: in [-1, 1], or the indices of choices."""
        return self.choose(self.see(obs)).numpy()

    def see(self, obs: GoalObs) -> torch.Tensor:
        """s ‖ g of what n envs show, ``(n, state_goal_size)``."""
        arrays = (obs.observation, obs.achieved_goal, obs.desired_goal)
        return self.encode(*(torch.as_tensor(np.asarray(a, dtype=np.float32)) for a in arrays))

    def observe_goals(self, desired_goal: torch.Tensor) -> None:
        """Take the desired goals ``(n, g)`` of new episodes into the goal encoder's moments."""
        self.encoder.observe(desired_goal[..., self._seen])

    @abstractmethod
    def choose(self, state_goal: torch.Tensor) -> torch.Tensor:
        """Greedy actions for encoded states and goals, ``(n, state_goal_size) -> (n, a)``."""
