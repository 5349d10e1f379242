"""What every algorithm keeps to act with: how states and goals are seen, and a network that chooses."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from ..config import AgentConfig
from ..goals import GOAL_ENCODERS
from ..normalizer import Normalizer
from ..types import EpisodeShape, GoalObs


class View(nn.Module):
    """What a network sees of an observation and a goal, standardised.

    Args:
        observed: which part of an observation.
        pursued: which part of a goal.
        config: the agent's configuration.
    """

    def __init__(self, observed: slice, pursued: slice, config: AgentConfig):
        super().__init__()
        self._observed, self._pursued = observed, pursued
        observation, goal = (part.stop - part.start for part in (observed, pursued))
        self.normalizer = Normalizer(observation)
        self.encoder = GOAL_ENCODERS[config.goal_encoder](goal, config.relative_goal)
        self.state_goal_size = observation + self.encoder.output_size

    def encode(
        self, observation: torch.Tensor, achieved_goal: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """s ‖ g as the network sees it, ``(..., o), (..., g), (..., g) -> (..., state_goal_size)``."""
        embedding = self.encoder(achieved_goal[..., self._pursued], goal[..., self._pursued])
        return torch.cat([self.normalizer(observation[..., self._observed]), embedding], dim=-1)

    def observe(self, observation: torch.Tensor, desired_goal: torch.Tensor) -> None:
        """Take the observations ``(..., o)`` and goals ``(n, g)`` of new episodes into the moments."""
        self.normalizer.update(observation[..., self._observed])
        self.encoder.observe(desired_goal[..., self._pursued])


class Policy(View, ABC):
    """All that is needed to act: a view of what is shown, and what a subclass chooses by.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
    """

    def __init__(self, shape: EpisodeShape, config: AgentConfig):
        super().__init__(shape.sighted, shape.seen, config)

    @torch.no_grad()
    def act(self, obs: GoalObs) -> np.ndarray:
        """Greedy actions, ``(n, a)`` float32: in [-1, 1], or the indices of choices."""
        return self.choose(self.see(obs)).cpu().numpy()

    def see(self, obs: GoalObs) -> torch.Tensor:
        """s ‖ g of what n envs show, ``(n, state_goal_size)``."""
        arrays, device = (
            (np.asarray(a, dtype=np.float32) for a in obs),
            self.normalizer.shift.device,
        )
        return self.encode(*(torch.as_tensor(a, device=device) for a in arrays))

    @abstractmethod
    def choose(self, state_goal: torch.Tensor) -> torch.Tensor:
        """Greedy actions for encoded states and goals, ``(n, state_goal_size) -> (n, a)``."""
