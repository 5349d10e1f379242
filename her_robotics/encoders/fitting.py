"""Training an encoder on frames, and measuring what it has learnt."""

import sys
import time
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from .encoder import PictureEncoder
from .frames import Frames

REPORTS = 10
"""Lines that are printed while an encoder learns."""


class ProbeResult(NamedTuple):
    """How far what a linear probe reads is from the truth.

    Attributes:
        mean: mean distance, in the goal's unit.
        most: distance that 95 of 100 stay below.
        pictures: how many were read.
    """

    mean: float
    most: float
    pictures: int


def fit(
    encoder: PictureEncoder,
    frames: Frames,
    updates: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> None:
    """Descend the encoder's loss on ``frames`` by Adam, with a step size that falls to 0 on a line.

    Progress and the time left are shown: by a bar on a terminal, and in a few lines anywhere.

    Args:
        encoder: learns, in place.
        frames: to learn from.
        updates: steps.
        batch_size: frames in each.
        learning_rate: step size at the start.
        seed: of the frames that are drawn; torch's own is left to the caller.
    """
    generator = np.random.default_rng(seed)
    encoder.prepare(frames)
    encoder.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]
    optimizer = torch.optim.Adam(encoder.parameters(), learning_rate, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, total_iters=updates)
    sums, every = 0.0, max(1, updates // REPORTS)
    with tqdm(total=updates, unit="update", disable=None, dynamic_ncols=True, leave=False) as bar:
        started = time.monotonic()
        for update in range(1, updates + 1):
            optimizer.zero_grad()
            loss = encoder.loss(frames.draw(generator, batch_size))
            loss.backward()
            optimizer.step()
            falling.step()
            sums += loss.item()
            bar.update()
            if update % every == 0:
                left = (time.monotonic() - started) / update * (updates - update)
                line = f"update {update:>6,d}  loss {sums / every:.4f}  {tqdm.format_interval(left)} left"
                tqdm.write(line, file=sys.stderr)
                sums = 0.0
    encoder.to(memory_format=torch.contiguous_format)  # ty: ignore[no-matching-overload]


def fit_probe(encoder: PictureEncoder, frames: Frames) -> None:
    """Set the encoder's probe by least squares on ``frames``."""
    weight, bias = least_squares(encoder.embed(frames.pictures), frames.goals)
    encoder.probe_weight.copy_(torch.from_numpy(weight))
    encoder.probe_bias.copy_(torch.from_numpy(bias))


def least_squares(inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The affine map nearest to ``(n, d) -> (n, g)``: weight ``(g, d)`` and bias ``(g,)``.

    Inputs that do not vary get no weight.
    """
    mean, deviation = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    scale = 1.0 / np.where(deviation > 1e-6, deviation, np.inf)
    ones = np.ones((len(inputs), 1))
    solution, *_ = np.linalg.lstsq(
        np.concatenate([(inputs - mean) * scale, ones], axis=1), outputs.astype(np.float64)
    )
    weight = (solution[:-1] * scale[:, None]).T
    return weight, solution[-1] - weight @ mean


def nearest_error(encoder: PictureEncoder, frames: Frames, seen: Frames, width: int = 3) -> float:
    """How far positions in pictures are from those in the seen frame whose embedding is nearest, on average.

    It shows what embeddings tell and a linear probe does not read.
    """
    distances = torch.cdist(
        *(torch.from_numpy(encoder.embed(each.pictures)) for each in (frames, seen))
    )
    errors = seen.goals[distances.argmin(dim=1).numpy()] - frames.goals
    return float(np.linalg.norm(errors.reshape(len(errors), -1, width), axis=-1).mean())


def probe(encoder: PictureEncoder, frames: Frames, width: int = 3) -> ProbeResult:
    """How well the encoder's probe reads positions of ``width`` numbers each in pictures it never saw."""
    errors = encoder.read(encoder.embed(frames.pictures)) - frames.goals
    distances = np.linalg.norm(errors.reshape(len(errors), -1, width), axis=-1).ravel()
    return ProbeResult(float(distances.mean()), float(np.quantile(distances, 0.95)), len(errors))
