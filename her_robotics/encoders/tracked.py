"""Points of interest that know when they are hidden: what cannot be seen stays where it was last."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .encoder import PictureEncoder, chunks, planes
from .frames import FrameBatch, Frames
from .keypoint import OUTLYING, POINTS, Keypoint, paint, spatial_softmax

POSITION = 3
"""Numbers of a position, each of which has networks of its own."""
DOUBTFUL = 0.02
"""Mean error that is expected, in metres, beyond which what was seen before is believed instead."""
RESTING = 0.01
"""Way from one frame to the next, in metres, that counts as none."""
WEIGHT = 0.02
"""Of the expected errors' part of the loss."""
LEAST, MOST = math.log(1e-3), math.log(20.0)
"""Bounds of the logarithm of an expected error, in deviations of the goals."""
PEAK = 10.0
"""Divides the height of maps, which is then about as large as where they have it."""


class Tracked(PictureEncoder):
    """Keypoints of each position, that also say how far off it may be, and are followed over an episode.

    An arm that comes before an object leaves its picture to guesses, which are several centimetres off and
    move with the arm, as if it moved the object. Errors are taken for Laplace's, of a scale that is learnt
    from pictures as well (Kendall & Gal 2017, "What Uncertainties Do We Need in Bayesian Deep Learning for
    Computer Vision?", section 3); how high the maps are tells most of it. Where the scale is beyond 2 cm,
    the number seen a step before stands, if it is of what rests most of the time, as objects do. Of what
    always moves, as grippers do, a guess is better.

    Args:
        size: width and height of the pictures.
        goal: width of the simulator's goals, and of the embedding: of positions, or of anything else.
        embedding: None or ``goal``.

    Raises:
        ValueError: if another width is asked for.
    """

    supervised = True

    def __init__(self, size: int, goal: int, embedding: int | None = None):
        super().__init__(size, goal, embedding)
        width = goal if goal % POSITION else POSITION
        self.positions = nn.ModuleList(_Position(size, width) for _ in range(goal // width))
        if self.embedding != goal:
            raise ValueError(f"tracked embeds goals of {goal} numbers as {goal}, not {embedding}")

    @staticmethod
    def default_width(goal: int) -> int:
        return goal

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._look(pictures)[0]

    def loss(self, batch: FrameBatch) -> torch.Tensor:
        """That of keypoints, and the likelihood of their errors under those that are expected."""
        parts = zip(self._each(), self._apart(batch.goals), strict=True)
        return torch.stack([one.loss(batch._replace(goals=own)) for one, own in parts]).mean()

    def prepare(self, frames: Frames) -> None:
        """Take mean and deviation of each position, in which its errors are measured, and whether it rests
        from one frame of an episode to the next in most of them.
        """
        following = frames.episode[1:] == frames.episode[:-1]
        for one, goals in zip(self._each(), self._apart(frames.goals), strict=True):
            one.prepare(frames._replace(goals=goals))
            ways = np.linalg.norm(np.diff(goals, axis=0), axis=1)[following]
            one.rests.fill_(bool(ways.size) and float(np.median(ways)) < RESTING)

    @torch.no_grad()
    def follow(self, pictures: np.ndarray, before: np.ndarray) -> np.ndarray:
        looks = [self._look(chunk) for chunk in chunks(pictures)]
        seen, expected = (torch.cat(parts).numpy() for parts in zip(*looks, strict=True))
        rests = torch.stack([one.rests for one in self._each()]).numpy()
        hidden = (expected > DOUBTFUL) & rests.repeat(self.goal // len(rests))
        return np.where(hidden & np.isfinite(before), before, seen)

    @torch.no_grad()
    def show(self, pictures: np.ndarray, frames: Frames) -> np.ndarray:
        """The pictures, larger, with their points painted on them in a colour each."""
        points = [one.points(torch.from_numpy(pictures)) for one in self._each()]
        return paint(pictures, torch.cat(points, dim=1).numpy())

    def _look(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is seen, and by how much it is expected to be off; both ``(n, goal)``."""
        looks = [one.look(pictures) for one in self._each()]
        seen, expected = (torch.cat(parts, dim=1) for parts in zip(*looks, strict=True))
        return seen, expected

    def _each(self) -> list["_Position"]:
        return [one for one in self.positions if isinstance(one, _Position)]

    def _apart(self, goals: Any) -> list[Any]:
        """Goals ``(n, goal)`` as those of each position."""
        width = self.goal // len(self.positions)
        return [goals[:, first : first + width] for first in range(0, self.goal, width)]


class _Position(Keypoint):
    """Keypoints of one position."""

    def __init__(self, size: int, goal: int):
        super().__init__(size, goal)
        self.head = nn.Sequential(nn.Linear(3 * POINTS, 64), nn.ReLU(), nn.Linear(64, 2 * goal))
        self.register_buffer("rests", torch.tensor(False))

    rests: torch.Tensor

    def look(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        standard, scale = self._standard(pictures)
        return self.shift + self.scale * standard, self.scale * scale.exp()

    def loss(self, batch: FrameBatch) -> torch.Tensor:
        standard, scale = self._standard(batch.pictures)
        error = standard - (batch.goals - self.shift) / self.scale
        off = functional.huber_loss(error, torch.zeros_like(error), delta=OUTLYING)
        likelihood = (error.detach().abs() * (-scale).exp() + scale).mean()
        return off + WEIGHT * likelihood

    def _standard(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Goals in deviations, and the logarithms of their expected errors; both ``(n, goal)``."""
        maps = self.features(planes(pictures))
        height = maps.flatten(2).logsumexp(dim=-1) - math.log(maps[0, 0].numel())
        parts = [spatial_softmax(maps).flatten(1), height / PEAK]
        standard, scale = self.head(torch.cat(parts, dim=1)).split(self.goal, dim=1)
        return standard, scale.clamp(LEAST, MOST)
