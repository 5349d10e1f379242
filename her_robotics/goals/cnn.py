"""Goal images embedded by a network that learns with the critic, from its loss alone."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .frames import FrameStore

EMBEDDING = 16
"""Width of an embedding."""
CHANNELS, POINTS = 16, 32
SHIFT = 1
"""Pixels by which pictures are moved at random in learning. Where things are is what a goal says, so this
is little."""
RATE = 0.02
"""Share of the way that the moments of points move at each step of learning."""
LEAST = 0.01
"""Deviation that is added to that of a point: one that stays where it is says nothing."""
STALE = 20
"""Steps of learning over which an embedding of the follower will do."""
CHUNK = 256
"""Pictures embedded at once."""


class Points(nn.Module):
    """Spatial-softmax points (Levine et al. 2016, "End-to-End Training of Deep Visuomotor Policies"),
    standardised, and a small network behind them: ``(n, size, size, 3)`` uint8 -> ``(n, EMBEDDING)``.

    Points begin near the middle of all pictures, where hardly anything moves them: in deviations of their
    own they tell pictures apart from the start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, POINTS, 3, padding=1),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * POINTS, 64), nn.ReLU(), nn.Linear(64, EMBEDDING), nn.LayerNorm(EMBEDDING)
        )
        self.register_buffer("measured", torch.zeros((), dtype=torch.int64))
        self.register_buffer("running_mean", torch.zeros(2 * POINTS))
        self.register_buffer("running_var", torch.ones(2 * POINTS))

    measured: torch.Tensor
    """How often the moments moved, ``()``."""
    running_mean: torch.Tensor
    running_var: torch.Tensor
    """Moments of points, called as those of batch normalisation, which ranks average."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Embed pictures; where there is a gradient, their points are taken into the moments."""
        maps = self.features(pictures.permute(0, 3, 1, 2).float() / 255.0 - 0.5)
        rows, columns = maps.shape[2:]
        share = maps.flatten(2).softmax(dim=-1).view(maps.shape)
        right = share.sum(dim=2) @ torch.linspace(-1.0, 1.0, columns, device=maps.device)
        down = share.sum(dim=3) @ torch.linspace(-1.0, 1.0, rows, device=maps.device)
        points = torch.cat([right, down], dim=-1)
        if torch.is_grad_enabled():
            self._measure(points.detach())
        return self.head((points - self.running_mean) / (self.running_var.sqrt() + LEAST))

    @torch.no_grad()
    def _measure(self, points: torch.Tensor) -> None:
        """Take points ``(n, 2 POINTS)`` into their moments."""
        share = (1.0 / (1.0 + self.measured)).clamp(min=RATE)
        self.running_mean.lerp_(points.mean(dim=0), share)
        self.running_var.lerp_(points.var(dim=0, unbiased=False), share)
        self.measured += 1


class CNNGoal(nn.Module):
    """Embeds goals that are numbers of frames, by a network that learns and by one that follows it.

    Where there is a gradient, pictures are moved at random (Kostrikov et al. 2020, "Image Augmentation Is
    All You Need"). Targets, in training without a gradient, look through the follower as they do through
    target networks: were they to move with every step on the encoder, learning would chase itself.

    Args:
        goal_size: 1, the number of a frame.
        relative: whether to add how the goal's embedding differs from that of what is seen now.
        near_scale: nothing here, where embeddings have no unit.

    Raises:
        ValueError: if goals are no numbers of frames.
    """

    def __init__(self, goal_size: int, relative: bool = True, near_scale: float | None = None):
        super().__init__()
        if goal_size != 1:
            raise ValueError(f"cnn embeds the numbers of frames, not goals of {goal_size} numbers")
        self.relative, self.output_size = relative, EMBEDDING * (2 if relative else 1)
        self.network = Points()
        self.follower = copy.deepcopy(self.network).requires_grad_(False)
        self.register_buffer("version", torch.zeros((), dtype=torch.int64))
        # Weights that come from elsewhere make all embeddings that are kept outdated.
        self.register_load_state_dict_post_hook(lambda module, keys: self._forget())
        self.frames: FrameStore | None = None
        """Where the pictures are; whoever joins policy and env sets it."""
        self.eval()  # what is learnt is what acts, unless an update says otherwise

    version: torch.Tensor
    """Steps of learning so far, ``()``."""

    def forward(self, achieved_goal: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Embed goals, ``(..., 1), (..., 1) -> (..., output_size)``; ``goal`` may broadcast."""
        embedding = self._embed(goal).expand(*achieved_goal.shape[:-1], EMBEDDING)
        if not self.relative:
            return embedding
        return torch.cat([embedding, embedding - self._embed(achieved_goal)], dim=-1)

    def observe(self, desired_goal: torch.Tensor) -> None:
        """Make all embeddings anew from here on, so that a resumed run, which starts here, has the same."""
        self._forget()

    def _embed(self, goal: torch.Tensor) -> torch.Tensor:
        """Embeddings of numbers ``(..., 1)``."""
        if self.frames is None:
            raise ValueError("the goal encoder was not told where frames are kept")
        numbers = goal.detach().cpu().numpy().astype(np.int64).ravel()
        distinct, places = np.unique(numbers, return_inverse=True)
        if torch.is_grad_enabled():
            made = self.network(shifted(self._draw(self.frames, distinct)))
        elif self.training:
            made = torch.from_numpy(self._recall(self.frames, distinct)).to(goal.device)
        else:
            made = self._through(self.network, self.frames, distinct)
        return made[torch.from_numpy(places).to(goal.device)].view(*goal.shape[:-1], EMBEDDING)

    def _through(self, network: Points, frames: FrameStore, numbers: np.ndarray) -> torch.Tensor:
        """What a network makes of numbers ``(n,)``, ``(n, EMBEDDING)``."""
        chunks = np.array_split(numbers, -(-len(numbers) // CHUNK))
        return torch.cat([network(self._draw(frames, chunk)) for chunk in chunks])

    def _draw(self, frames: FrameStore, numbers: np.ndarray) -> torch.Tensor:
        """Pictures ``(n, size, size, 3)``, which are kept on the host, where the network is."""
        return torch.from_numpy(frames.draw(numbers)).to(self.version.device)

    def _forget(self) -> None:
        if self.frames is not None:
            self.frames.forget()

    def _recall(self, frames: FrameStore, numbers: np.ndarray) -> np.ndarray:
        """The follower's embeddings of numbers ``(n,)``, made anew where those kept are out of date."""
        version = int(self.version)
        embeddings, fresh = frames.recall(numbers, version - STALE)
        if not fresh.all():
            stale = numbers[~fresh]
            embeddings[~fresh] = self._through(self.follower, frames, stale).cpu().numpy()
            frames.remember(stale, embeddings[~fresh], version)
        return embeddings


def shifted(pictures: torch.Tensor, most: int = SHIFT) -> torch.Tensor:
    """Pictures ``(n, size, size, 3)``, each moved by up to ``most`` pixels both ways; edges are repeated."""
    count, size = pictures.shape[:2]
    padded = functional.pad(pictures.permute(0, 3, 1, 2).float(), [most] * 4, mode="replicate")
    start = (torch.randint(0, 2 * most + 1, (2, count, 1)) + torch.arange(size)).to(pictures.device)
    which = torch.arange(count, device=pictures.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, start[0, :, :, None], start[1, :, None, :]]
