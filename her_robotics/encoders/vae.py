"""A variational autoencoder of pictures: embeddings that say enough to draw the picture again."""

import numpy as np
import torch
from torch import nn

from .encoder import PictureEncoder, planes
from .frames import FrameBatch, Frames

BETA = 0.5
"""Weight of the divergence from a standard normal distribution."""
PIXEL_DEVIATION = 0.05
"""Deviation of a pixel's likelihood, in the range of colours: how much a small block counts."""


class VAE(PictureEncoder):
    """A β-VAE (Kingma & Welling 2014; Higgins et al. 2017) on frames of interaction, as goals are learnt
    in RIG (Nair et al. 2018, "Visual Reinforcement Learning with Imagined Goals"). No labels.

    Args:
        size: width and height of the pictures.
        goal: width of the simulator's goals, for the probe.
        embedding: width of the embedding.
    """

    def __init__(self, size: int, goal: int, embedding: int | None = None):
        super().__init__(size, goal, embedding)
        side = size // 16
        self._map = (32, side, side)
        flat = 32 * side * side
        self.encoder = nn.Sequential(
            *_halved(3, 16), *_halved(16, 32), *_halved(32, 32), *_halved(32, 32), nn.Flatten()
        )
        self.moments = nn.Linear(flat, 2 * self.embedding)
        self.start = nn.Sequential(nn.Linear(self.embedding, flat), nn.ReLU())
        self.decoder = nn.Sequential(
            *_doubled(32, 32), *_doubled(32, 32), *_doubled(32, 16), nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._moments(pictures)[0]

    def decode(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Pictures drawn again, ``(n, embedding) -> (n, 3, size, size)`` as ``planes``."""
        return self.decoder(self.start(embeddings).view(-1, *self._map))

    def loss(self, batch: FrameBatch) -> torch.Tensor:
        """Minus the evidence's lower bound, its divergence weighted by β, by number of pixels."""
        mean, log_variance = self._moments(batch.pictures)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        target = planes(batch.pictures)
        error = ((self.decode(drawn) - target) / PIXEL_DEVIATION).square().sum(dim=(1, 2, 3)) / 2.0
        divergence = (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1) / 2.0
        return (error + BETA * divergence).mean() / target[0].numel()

    @torch.no_grad()
    def show(self, pictures: np.ndarray, frames: Frames) -> np.ndarray:
        """Each picture, and what is drawn from its embedding beside it."""
        drawn = self.decode(self(torch.from_numpy(pictures))) + 0.5
        again = (drawn.clamp(0.0, 1.0) * 255.0).round().byte().permute(0, 2, 3, 1).numpy()
        return np.concatenate([pictures, again], axis=2)

    def _moments(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance of the embedding, ``(n, embedding)`` each."""
        mean, log_variance = self.moments(self.encoder(planes(pictures))).chunk(2, dim=1)
        return mean, log_variance.clamp(-12.0, 4.0)


def _halved(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]


def _doubled(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
