"""The cross-entropy method (Rubinstein 1999), with noise that keeps it searching (Szita & Lőrincz 2006)."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from .evolution import Population
from .method import Iterate, Player, Problem


def cem(
    problem: Problem,
    candidates: int = 20,
    episodes: int = 1,
    elite: float = 0.2,
    deviation: float = 0.3,
    extra: float = 0.1,
) -> Iterator[Iterate]:
    """Refit a Gaussian over parameters to the best of what it gave.

    Args:
        problem: what is to be learnt.
        candidates: drawn in each iteration.
        episodes: that each is tried out in.
        elite: share of them that the next Gaussian is fitted to.
        deviation: of each parameter at first.
        extra: deviation that is added to each at first; it falls to 0 over the first half of the budget.
    """
    generator = np.random.default_rng(problem.seed)
    with Player(problem, candidates * episodes) as player:
        population = Population(problem, player, candidates)
        mean, sigma = population.start, np.full_like(population.start, deviation)
        yield Iterate(player.steps, partial(population.act, mean))
        while player.steps < problem.budget:
            drawn = mean + sigma * generator.standard_normal((candidates, len(mean)))
            returns = population.returns(drawn)
            left = max(0.0, 1.0 - 2.0 * player.steps / problem.budget)
            mean, sigma = refit(drawn, returns, elite, extra * left)
            yield Iterate(player.steps, partial(population.act, mean))


def refit(
    drawn: np.ndarray, returns: np.ndarray, elite: float, extra: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the best, ``(k, p), (k,) -> (p,), (p,)``.

    Args:
        drawn: candidates.
        returns: how they did.
        elite: share that counts as best, at least one candidate.
        extra: deviation added, in the sense that variances add.
    """
    count = max(1, round(elite * len(drawn)))
    best = drawn[np.argsort(-returns, kind="stable")[:count]]
    return best.mean(0), np.sqrt(best.var(0) + extra**2)
