"""REINFORCE (Williams 1992)."""

from collections.abc import Iterator

import torch

from ..gradients import likelihood_ratio
from ..known_mdp import GaussianPolicy
from .method import Iterate, Problem
from .on_policy import Samples, Update, learn


def reinforce(problem: Problem, episodes: int = 20, step_size: float = 0.01) -> Iterator[Iterate]:
    """Follow the likelihood-ratio gradient by Adam.

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        step_size: Adam's.
    """

    def updater(policy: GaussianPolicy) -> Update:
        optimizer = torch.optim.Adam(policy.parameters(), step_size)

        def update(samples: Samples) -> None:
            optimizer.zero_grad()
            distribution = policy.distribution(samples.state, samples.goal)
            (-likelihood_ratio(distribution, samples.action, samples.advantage).mean()).backward()
            optimizer.step()

        return update

    return learn(problem, episodes, updater)
