"""Points of interest in a picture, and from them what the simulator calls the goal: supervised."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .encoder import PictureEncoder, planes
from .frames import FrameBatch, Frames

POINTS = 16
CHANNELS = 16
OUTLYING = 0.2
"""Error, in deviations of the goals, beyond which it counts in proportion and no longer by its square."""
LARGER = 4
"""How many times larger than a picture its points are drawn."""


class Keypoint(PictureEncoder):
    """Spatial-softmax points (Levine et al. 2016; Finn et al. 2016), read by a small network.

    It learns from the simulator's goals, so its embedding of a picture is an estimate of what is achieved
    there, in the same units: the image counterpart of goals given by hand. A policy for those may be
    shown these.

    Args:
        size: width and height of the pictures.
        goal: width of the simulator's goals, and of the embedding.
        embedding: None or ``goal``.

    Raises:
        ValueError: if another width is asked for.
    """

    supervised = True

    def __init__(self, size: int, goal: int, embedding: int | None = None):
        super().__init__(size, goal, embedding)
        if self.embedding != goal:
            raise ValueError(f"keypoint embeds goals of {goal} numbers as {goal}, not {embedding}")
        width = CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, POINTS, 3, padding=1),
        )
        self.head = nn.Sequential(nn.Linear(2 * POINTS, 64), nn.ReLU(), nn.Linear(64, goal))
        self.register_buffer("shift", torch.zeros(goal))
        self.register_buffer("scale", torch.ones(goal))

    shift: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def default_width(goal: int) -> int:
        return goal

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        standard = self.head(self.points(pictures).flatten(1))
        return self.shift + self.scale * standard

    def points(self, pictures: torch.Tensor) -> torch.Tensor:
        """Where each feature is on average over its softmax, ``(n, size, size, 3) -> (n, points, 2)``.

        Right and down, both in [-1, 1].
        """
        return spatial_softmax(self.features(planes(pictures)))

    def loss(self, batch: FrameBatch) -> torch.Tensor:
        """Huber's loss of the error, in deviations of the goals: what is out of the picture cannot be known,
        and must not outweigh what can.
        """
        error = (self(batch.pictures) - batch.goals) / self.scale
        return functional.huber_loss(error, torch.zeros_like(error), delta=OUTLYING)

    def prepare(self, frames: Frames) -> None:
        """Take mean and deviation of the goals, in which errors are measured."""
        self.shift.copy_(torch.from_numpy(frames.goals.mean(axis=0)))
        # One deviation for all: a metre is a metre in each direction.
        self.scale.fill_(float(frames.goals.std(axis=0).max()) or 1.0)

    @torch.no_grad()
    def show(self, pictures: np.ndarray, frames: Frames) -> np.ndarray:
        """The pictures, larger, with their points painted on them in a colour each."""
        return paint(pictures, self.points(torch.from_numpy(pictures)).numpy())


def paint(pictures: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Pictures, larger, with points of interest on them, ``(n, size, size, 3), (n, points, 2)``."""
    shown = pictures.repeat(LARGER, axis=1).repeat(LARGER, axis=2)
    colours = np.random.default_rng(0).integers(64, 256, (points.shape[1], 3))
    places = np.rint((points + 1.0) / 2.0 * (shown.shape[1] - 1)).astype(int)
    for picture, spots in zip(shown, places, strict=True):
        for (right, down), colour in zip(spots, colours, strict=True):
            picture[max(0, down - 2) : down + 3, max(0, right - 2) : right + 3] = colour
    return shown


def spatial_softmax(maps: torch.Tensor) -> torch.Tensor:
    """Where each map is on average over its softmax, ``(n, points, rows, columns) -> (n, points, 2)``."""
    rows, columns = maps.shape[2:]
    share = maps.flatten(2).softmax(dim=-1).view(maps.shape)
    right = share.sum(dim=2) @ torch.linspace(-1.0, 1.0, columns)
    down = share.sum(dim=3) @ torch.linspace(-1.0, 1.0, rows)
    return torch.stack([right, down], dim=-1)
