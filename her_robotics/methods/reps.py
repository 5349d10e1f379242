"""Relative entropy policy search (Peters, Mülling & Altün 2010), for episodes of a fixed length."""

import math
from collections.abc import Iterator

import torch

from .method import Iterate, Problem
from .on_policy import Samples, regress

RIDGE = 1e-6
"""Weight of squared coefficients in the dual, for features that say the same."""
COLDEST = 0.1
"""Least η, in standard deviations of the rewards. Where many of them are the greatest, the bound lets all
weight go there, and the dual falls on towards η = 0, where it is lost to rounding."""
WARMEST = 20.0
"""Greatest log(η - COLDEST), far beyond use: a line search may try numbers that have no exponential."""


def reps(
    problem: Problem,
    episodes: int = 20,
    bound: float = 1.0,
    fits: int = 20,
    step_size: float = 3e-3,
) -> Iterator[Iterate]:
    """Reweight what was done as far as the bound allows, and regress on it.

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        bound: ε, of the divergence of reweighted samples from the samples.
        fits: Adam's steps towards each regression.
        step_size: Adam's.
    """

    def weigh(samples: Samples) -> torch.Tensor:
        return entropy_weights(samples.reward, samples.features, bound).float()

    return regress(problem, episodes, weigh, fits, step_size)


def entropy_weights(reward: torch.Tensor, features: torch.Tensor, bound: float) -> torch.Tensor:
    """Weights w ``(n, T)``, of mean 1, of the reweighting with the greatest reward within the bound.

    The reweighted samples p_i = w_i / (n T) maximise Σ p_i r_i subject to KL(p ‖ uniform) <= ε and to
    leading from states to states that they also visit, in the mean over features φ. So

        w ∝ exp(δ / η),  δ_t = r_t + vᵀ(φ_{t+1} - φ_t),  φ_T = 0

    with η, v at the least of the dual g = η ε + η log E[exp(δ / η)] + vᵀ E[φ_0] / T, and η at least
    ``COLDEST``. Where all rewards are the same, all weights are 1.

    Args:
        reward: ``(n, T)``.
        features: φ ``(n, T + 1, f)``.
        bound: ε, above 0.
    """
    scale = reward.std(correction=0)
    if not scale > 0.0:
        return torch.ones_like(reward)  # nothing that was done is better than the rest
    later = features[:, 1:].clone()
    later[:, -1] = 0.0  # nothing follows the last step
    change = later - features[:, :-1]
    first = features[:, 0].mean(0) / reward.shape[1]
    # Without units of its own for each feature the dual is too narrow in some directions to be followed.
    unit = change.flatten(0, 1).std(0).clamp(min=1e-3)
    given = (reward / scale, change / unit, first / unit)
    warmth = torch.zeros((), dtype=reward.dtype, requires_grad=True)  # log(η - COLDEST)
    values = torch.zeros(features.shape[-1], dtype=reward.dtype, requires_grad=True)
    unknown = [warmth, values]
    optimizer = torch.optim.LBFGS(
        unknown,
        max_iter=500,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def temperature() -> torch.Tensor:
        return COLDEST + warmth.clamp(max=WARMEST).exp()

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = dual(temperature(), values, *given, bound) + RIDGE * values.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        advantage = given[0] + given[1] @ values
        exponent = (advantage / temperature()).flatten()
        return exponent.softmax(0).view_as(reward) * reward.numel()


def dual(
    temperature: torch.Tensor,
    values: torch.Tensor,
    reward: torch.Tensor,
    change: torch.Tensor,
    first: torch.Tensor,
    bound: float,
) -> torch.Tensor:
    """g(η, v), 0-d.

    Args:
        temperature: η, above 0.
        values: v ``(f,)``.
        reward: ``(n, T)``.
        change: φ_{t+1} - φ_t, ``(n, T, f)``.
        first: E[φ_0] / T, ``(f,)``.
        bound: ε.
    """
    exponent = ((reward + change @ values) / temperature).flatten()
    log_mean = exponent.logsumexp(0) - math.log(len(exponent))
    return temperature * (bound + log_mean) + first @ values
