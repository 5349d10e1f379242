"""What every algorithm keeps to act with: how states and goals are seen, and a network that chooses."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from ..config import AgentConfig
from ..goals import GOAL_ENCODERS
from ..normalizer import Normalizer, magnified, waves
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
        self._near_scale, self._near_waves = config.near_scale, config.near_waves
        observation, goal = (part.stop - part.start for part in (observed, pursued))
        size = observation * (1 if config.near_scale is None else 4 if config.near_waves else 2)
        self.normalizer = Normalizer(size)
        kind = GOAL_ENCODERS[config.goal_encoder]
        self.encoder = kind(goal, config.relative_goal, config.near_scale)
        self.state_goal_size = size + self.encoder.output_size

    def encode(
        self, observation: torch.Tensor, achieved_goal: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """s ‖ g as the network sees it, ``(..., o), (..., g), (..., g) -> (..., state_goal_size)``."""
        embedding = self.encoder(achieved_goal[..., self._pursued], goal[..., self._pursued])
        return torch.cat([self.normalizer(self._scaled(observation)), embedding], dim=-1)

    def observe(self, observation: torch.Tensor, desired_goal: torch.Tensor) -> None:
        """Take the observations ``(..., o)`` and goals ``(n, g)`` of new episodes into the moments."""
        self.normalizer.update(self._scaled(observation))
        self.encoder.observe(desired_goal[..., self._pursued])

    def _scaled(self, observation: torch.Tensor) -> torch.Tensor:
        """The part that is observed, before it is standardised: as it is, magnified, and as waves."""
        parts = [observation[..., self._observed]]
        if self._near_scale is not None:
            parts.append(magnified(parts[0], self._near_scale))
            if self._near_waves:
                parts.append(waves(parts[0], self._near_scale))
        return torch.cat(parts, dim=-1)


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
