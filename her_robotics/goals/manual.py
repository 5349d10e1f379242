"""Goals given by hand: a vector such as an object's centroid or the arm's joint angles."""

import torch
from torch import nn

from ..normalizer import Normalizer, magnified


class ManualGoal(nn.Module):
    """Standardises the goal vector, and optionally adds where it lies from the achieved goal.

    Moments are those of desired goals alone, so goals no task asks for (an object on the floor) do
    not widen the scale. The relative goal is in the same deviations, clipped alike.

    Args:
        goal_size: width g of the goal vector.
        relative: whether to add (g - achieved).
        near_scale: length on which that is added once more, ``magnified``; a deviation is 1 there too.
    """

    def __init__(self, goal_size: int, relative: bool = True, near_scale: float | None = None):
        super().__init__()
        self.relative, self.near_scale = relative, near_scale
        self.normalizer = Normalizer(goal_size)
        self.output_size = goal_size * (1 + relative * (1 if near_scale is None else 2))

    def forward(self, achieved_goal: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Embed goals, ``(..., g), (..., g) -> (..., output_size)``; ``goal`` may broadcast."""
        embedding = self.normalizer(goal).expand_as(achieved_goal)
        if not self.relative:
            return embedding
        clip, offset = self.normalizer.clip, goal - achieved_goal
        parts = [embedding, (offset * self.normalizer.scale).clamp(-clip, clip)]
        if self.near_scale is not None:
            deviation = magnified(1.0 / self.normalizer.scale, self.near_scale)
            parts.append((magnified(offset, self.near_scale) / deviation).clamp(-clip, clip))
        return torch.cat(parts, dim=-1)

    def observe(self, desired_goal: torch.Tensor) -> None:
        """Take the desired goals ``(n, g)`` of new episodes into the moments."""
        self.normalizer.update(desired_goal)
