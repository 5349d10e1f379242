"""Goal encoders: from a goal (a vector, or the number of a picture) to what networks are conditioned on."""

from typing import Protocol

import torch

from .cnn import CNNGoal
from .manual import ManualGoal

__all__ = ["GOAL_ENCODERS", "CNNGoal", "GoalEncoder", "ManualGoal"]


class GoalEncoder(Protocol):
    """What every encoder is: a ``torch.nn.Module`` with these members. If it has parameters, agents teach it.

    Attributes:
        output_size: width of the embedding.
    """

    output_size: int

    def __call__(self, achieved_goal: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Embed goals seen from achieved goals, ``(..., g), (..., g) -> (..., output_size)``."""
        ...

    def observe(self, desired_goal: torch.Tensor) -> None:
        """Learn what can be learnt from the desired goals ``(n, g)`` of new episodes."""
        ...


GOAL_ENCODERS = {"manual": ManualGoal, "cnn": CNNGoal}
