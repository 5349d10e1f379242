"""Reward-weighted regression (Peters & Schaal 2007)."""

from collections.abc import Iterator

import torch

from ..known_mdp import GaussianPolicy
from .method import Iterate, Problem
from .on_policy import Samples, Update, learn, weighted_fit


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

    def updater(policy: GaussianPolicy) -> Update:
        optimizer = torch.optim.Adam(policy.parameters(), step_size)

        def update(samples: Samples) -> None:
            weights = reward_weights(samples.advantage, temperature)
            weighted_fit(policy, optimizer, samples, weights, fits)

        return update

    return learn(problem, episodes, updater)


def reward_weights(advantage: torch.Tensor, temperature: float) -> torch.Tensor:
    """w ∝ exp(A / temperature), of mean 1, in the shape of A."""
    return (advantage / temperature).flatten().softmax(0).view_as(advantage) * advantage.numel()
