"""What encoders of pictures have in common."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from .frames import FrameBatch, Frames

CHUNK = 256
"""Pictures embedded at once: what their feature maps take stays in the cache's reach."""


class PictureEncoder(nn.Module, ABC):
    """From square pictures to embeddings of a few numbers.

    It also keeps a linear probe: what a linear map reads of the simulator's goal in an embedding. The
    probe takes no part in learning; it tells what an encoder has learnt (Alain & Bengio 2016).

    Args:
        size: width and height of the pictures; a multiple of 16.
        goal: width g of the simulator's goals.
        embedding: width d of the embeddings; None takes the encoder's own.

    Raises:
        ValueError: if there is no such network; the message says what is allowed.
    """

    supervised = False
    """Whether it learns from the simulator's goals, or from pictures alone."""
    every = 5
    """Steps between the frames of an episode that it learns from."""

    def __init__(self, size: int, goal: int, embedding: int | None = None):
        super().__init__()
        if type(size) is not int or size < 32 or size % 16:
            raise ValueError(f"pictures of {size} pixels: choose a multiple of 16, at least 32")
        if type(goal) is not int or goal < 1:
            raise ValueError(f"goals of {goal} numbers: choose at least 1")
        self.size, self.goal = size, goal
        self.embedding = self.default_width(goal) if embedding is None else embedding
        if type(self.embedding) is not int or not 1 <= self.embedding <= 1024:
            raise ValueError(f"embeddings of {embedding} numbers: choose 1 to 1024")
        self.register_buffer("probe_weight", torch.zeros(goal, self.embedding))
        self.register_buffer("probe_bias", torch.zeros(goal))

    probe_weight: torch.Tensor
    probe_bias: torch.Tensor

    @staticmethod
    def default_width(goal: int) -> int:
        """Width of embeddings unless another is asked for."""
        return 16

    @abstractmethod
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Embed pictures, ``(n, size, size, 3)`` uint8 -> ``(n, embedding)``."""

    @abstractmethod
    def loss(self, batch: FrameBatch) -> torch.Tensor:
        """What learning descends, a scalar."""

    @abstractmethod
    def show(self, pictures: np.ndarray, frames: Frames) -> np.ndarray:
        """What it makes of ``pictures``, for people to see: ``(n, height, width, 3)`` uint8.

        Args:
            pictures: ``(n, size, size, 3)`` uint8.
            frames: others, to compare them with.
        """

    def prepare(self, frames: Frames) -> None:
        """Take what is to be known of all frames before learning."""

    @torch.no_grad()
    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Embed pictures of any number, ``(n, size, size, 3)`` uint8 -> ``(n, embedding)`` float32."""
        return np.concatenate([self(chunk).numpy() for chunk in chunks(pictures)])

    def follow(self, pictures: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Embed what is seen of simulations a step later: each picture for itself, unless an encoder knows
        how to tell from what was before.

        Args:
            pictures: ``(n, size, size, 3)`` uint8.
            before: ``(n, embedding)`` what this gave a step before; NaN where an episode begins.
        """
        return self.embed(pictures)

    def embed_goals(self, pictures: np.ndarray) -> np.ndarray:
        """Embed goal images, which are pictures like any other."""
        return self.embed(pictures)

    def read(self, embeddings: np.ndarray) -> np.ndarray:
        """What the probe reads of the simulator's goal, ``(..., embedding) -> (..., goal)``."""
        return embeddings @ self.probe_weight.numpy().T + self.probe_bias.numpy()


def chunks(pictures: np.ndarray) -> list[torch.Tensor]:
    """Pictures in as few parts as cache well, ``(n, size, size, 3)`` -> ``(c, size, size, 3)`` each."""
    count = max(1, -(-len(pictures) // CHUNK))
    return [torch.from_numpy(np.array(chunk)) for chunk in np.array_split(pictures, count)]


def planes(pictures: torch.Tensor) -> torch.Tensor:
    """``(n, size, size, 3)`` uint8 as ``(n, 3, size, size)`` in [-0.5, 0.5], channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float() / 255.0 - 0.5


def nearest(encoder: PictureEncoder, pictures: np.ndarray, frames: Frames) -> np.ndarray:
    """The frames whose embeddings are nearest to those of ``pictures``, ``(n, size, size, 3)``."""
    embeddings, others = encoder.embed(pictures), encoder.embed(frames.pictures)
    distances = np.linalg.norm(embeddings[:, None] - others[None], axis=-1)
    return frames.pictures[distances.argmin(axis=1)]
