"""Trust region policy optimisation: ``tnpg``'s step, shortened until it does what it promised."""

from collections.abc import Iterator

import torch
from torch.distributions import Distribution

from ..known_mdp import GaussianPolicy
from .method import Iterate, Problem
from .on_policy import Samples, Update, learn
from .tnpg import BOUND, frozen, mean_divergence, move, natural_step

HALVINGS = 10
"""After which a step is given up."""


def trpo(problem: Problem, episodes: int = 20, bound: float = BOUND) -> Iterator[Iterate]:
    """Maximise E[π_θ / π_old · A] within E[KL(π_old ‖ π_θ)] <= δ (Schulman et al. 2015).

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        bound: δ.
    """

    def updater(policy: GaussianPolicy) -> Update:
        return lambda samples: trust_region_update(policy, samples, bound)

    return learn(problem, episodes, updater)


def trust_region_update(policy: GaussianPolicy, samples: Samples, bound: float) -> bool:
    """Take the natural step, or the first of its halvings that keeps the bound and raises the surrogate.

    Returns:
        Whether one was found; the policy stays as it was if not.
    """
    old = frozen(policy, samples)
    before = surrogate(old, policy, samples)
    step = natural_step(policy, samples, bound).step
    move(policy, step)
    for _ in range(HALVINGS):
        with torch.no_grad():
            within = mean_divergence(old, policy, samples) <= bound
        if within and surrogate(old, policy, samples) > before:
            return True
        step = step / 2.0
        move(policy, -step)
    move(policy, -step)
    return False


@torch.no_grad()
def surrogate(old: Distribution, policy: GaussianPolicy, samples: Samples) -> torch.Tensor:
    """E[π_θ(a) / π_old(a) · A], 0-d."""
    new = policy.distribution(samples.state, samples.goal)
    ratio = (new.log_prob(samples.action) - old.log_prob(samples.action)).exp()
    return (ratio * samples.advantage).mean()
