"""Time-contrastive embeddings: pictures of one episode are near each other, of different ones apart."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .encoder import PictureEncoder, nearest, planes
from .frames import FrameBatch, Frames


class Contrastive(PictureEncoder):
    """Embeddings learnt by InfoNCE (van den Oord et al. 2018) from what comes later in an episode, as in
    time-contrastive networks (Sermanet et al. 2018) and contrastive reinforcement learning (Eysenbach et
    al. 2022). No labels.

    How far things move between a frame and its later one is how finely embeddings tell places apart: the
    gripper moves by 3 cm in two steps, and by 11 cm in ten.

    Args:
        size: width and height of the pictures.
        goal: width of the simulator's goals, for the probe.
        embedding: width of the embedding.
    """

    every = 2

    def __init__(self, size: int, goal: int, embedding: int | None = None):
        super().__init__(size, goal, embedding)
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        flat = 32 * (size // 8) ** 2
        self.head = nn.Sequential(nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, self.embedding))
        self.log_sharpness = nn.Parameter(torch.zeros(()))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(planes(pictures)))

    def loss(self, batch: FrameBatch) -> torch.Tensor:
        """InfoNCE both ways: which of b later frames is of which frame's episode, by squared distances."""
        count = len(batch.pictures)
        both = self(torch.cat([batch.pictures, batch.later]))
        now, later = both[:count], both[count:]
        squares = (now[:, None] - later[None]).square().sum(dim=-1)
        logits = -squares * self.log_sharpness.exp()
        own = torch.arange(count)
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2

    def show(self, pictures: np.ndarray, frames: Frames) -> np.ndarray:
        """Each picture, and beside it the frame whose embedding is nearest to its own."""
        return np.concatenate([pictures, nearest(self, pictures, frames)], axis=2)
