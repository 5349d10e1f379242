"""Covariance matrix adaptation (Hansen & Ostermeier 2001), by the package of its author."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..errors import UserError
from .evolution import Population
from .method import Iterate, Player, Problem

DIAGONAL_FROM = 500
"""Parameters from which on only variances are adapted, no covariances (Ros & Hansen 2008)."""


def cma_es(
    problem: Problem, candidates: int = 20, episodes: int = 1, deviation: float = 0.1
) -> Iterator[Iterate]:
    """Adapt a Gaussian over parameters, ranks of returns being all that is used of them.

    Args:
        problem: what is to be learnt.
        candidates: drawn in each iteration.
        episodes: that each is tried out in.
        deviation: of each parameter at first.

    Raises:
        UserError: if the package ``cma`` is missing.
    """
    with Player(problem, candidates * episodes) as player:
        population = Population(problem, player, candidates)
        strategy = _strategy(population.start, deviation, candidates, problem.seed)
        yield Iterate(player.steps, partial(population.act, population.start))
        while player.steps < problem.budget:
            drawn = strategy.ask()
            strategy.tell(drawn, list(-population.returns(np.array(drawn))))
            yield Iterate(player.steps, partial(population.act, np.array(strategy.mean)))


def _strategy(start: np.ndarray, deviation: float, candidates: int, seed: int) -> Any:
    try:
        import cma
    except ImportError:
        raise UserError(
            'cma_es needs the package cma: pip install "her-robotics[methods]"'
        ) from None
    generator = np.random.default_rng(seed)
    options = {
        "popsize": candidates,
        "CMA_diagonal": len(start) >= DIAGONAL_FROM,
        "randn": lambda *shape: generator.standard_normal(shape),
        "seed": math.nan,  # which leaves NumPy's global generator alone
        "verbose": -9,
    }
    return cma.CMAEvolutionStrategy(start, deviation, options)
