"""Pictures of interaction to learn from, with the goals that are achieved in them."""

from typing import NamedTuple

import numpy as np
import torch

NEAR = 1.25
"""Kept frames by which a later frame lies behind an earlier one, on average."""


class FrameBatch(NamedTuple):
    """b frames.

    Attributes:
        pictures: ``(b, size, size, 3)`` uint8.
        later: ``(b, size, size, 3)``, of each a frame from further on in its episode.
        goals: ``(b, g)`` what is achieved in ``pictures``.
    """

    pictures: torch.Tensor
    later: torch.Tensor
    goals: torch.Tensor


class Frames(NamedTuple):
    """n frames, those of an episode together and in the order of time.

    Attributes:
        pictures: ``(n, size, size, 3)`` uint8.
        goals: ``(n, g)`` float32, what is achieved in each, for the simulator.
        episode: ``(n,)`` which episode each is of; single pictures are episodes of one frame.
    """

    pictures: np.ndarray
    goals: np.ndarray
    episode: np.ndarray

    def __add__(self, other: "Frames") -> "Frames":  # ty: ignore[incompatible-method-override]
        """These and then those, as other episodes."""
        after = 1 + self.episode.max()
        return Frames(
            np.concatenate([self.pictures, other.pictures]),
            np.concatenate([self.goals, other.goals]),
            np.concatenate([self.episode, other.episode + after]),
        )

    def split(self, held_out: float) -> tuple["Frames", "Frames"]:
        """The frames of the first episodes, and those of a share of them, the last."""
        count = 1 + int(self.episode.max())
        first = self.episode < count - max(1, round(held_out * count))
        return self._take(first), self._take(~first)

    def draw(self, generator: np.random.Generator, count: int) -> FrameBatch:
        """Frames drawn uniformly, each with a later one of its episode: the next, or further on with a
        geometrically falling probability; the last of an episode with itself.
        """
        index = generator.integers(0, len(self.goals), count)
        last = np.searchsorted(self.episode, self.episode[index], side="right") - 1
        later = np.minimum(index + generator.geometric(1.0 / NEAR, count), last)
        return FrameBatch(
            torch.from_numpy(self.pictures[index]),
            torch.from_numpy(self.pictures[later]),
            torch.from_numpy(self.goals[index]),
        )

    def _take(self, which: np.ndarray) -> "Frames":
        episode = np.unique(self.episode[which], return_inverse=True)[1]
        return Frames(self.pictures[which], self.goals[which], episode)
