"""Reward-weighted regression (Peters & Schaal 2007)."""

from collections.abc import Iterator

import torch

from .method import Iterate, Problem
from .on_policy import Samples, regress


def rwr(
    problem: Problem,
    episodes: int = 20,
    temperature: float = 1.0,
    fits: int = 20,
    step_size: float = 3e-3,
) -> Iterator[Iterate]:
    """Regress on what was done, weighted by how well it went.

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        temperature: of the weights.
        fits: Adam's steps towards each regression.
        step_size: Adam's.
    """

    def weigh(samples: Samples) -> torch.Tensor:
        return reward_weights(samples.advantage, temperature)

    return regress(problem, episodes, weigh, fits, step_size)


def reward_weights(advantage: torch.Tensor, temperature: float) -> torch.Tensor:
    """w ∝ exp(A / temperature), of mean 1, in the shape of A."""
    return (advantage / temperature).flatten().softmax(0).view_as(advantage) * advantage.numel()
