"""What the networks of all methods written here see."""

import numpy as np
import torch
from torch import nn

from ..goals.manual import ManualGoal
from ..normalizer import Normalizer
from ..types import Episodes, EpisodeShape, GoalObs


class Inputs(nn.Module):
    """Observations and goals, standardised by the moments of the first episodes for good.

    Moments that went on moving would move the policy behind an update's back.

    Args:
        shape: widths of observation and goal.
        relative_goal: whether the goal relative to the achieved one is added.
    """

    def __init__(self, shape: EpisodeShape, relative_goal: bool):
        super().__init__()
        self.normalizer = Normalizer(shape.observation)
        self.encoder = ManualGoal(shape.goal, relative_goal)
        self.sizes = shape.observation, self.encoder.output_size

    def fit(self, episodes: Episodes) -> None:
        """Take the moments of these episodes."""
        self.normalizer.update(_tensor(episodes.observation))
        self.encoder.observe(_tensor(episodes.desired_goal))

    def forward(self, obs: GoalObs) -> tuple[torch.Tensor, torch.Tensor]:
        """s ``(..., o)`` and g ``(..., g)``, as tensors that networks take."""
        observation, achieved, desired = map(_tensor, obs)
        return self.normalizer(observation), self.encoder(achieved, desired)

    def of_episodes(self, episodes: Episodes) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of every step, the last state included, ``(n, T + 1, ...)``."""
        achieved = episodes.achieved_goal
        desired = np.broadcast_to(episodes.desired_goal[:, None], achieved.shape)
        return self(GoalObs(episodes.observation, achieved, desired))


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
