"""Random actions: what everything else must beat."""

from collections.abc import Iterator

import numpy as np

from .method import Iterate, Player, Problem, uniform


def random(problem: Problem) -> Iterator[Iterate]:
    """Uniformly random actions, for ever; the whole budget is one iteration that needs no steps."""
    with Player(problem, 1) as player:
        yield Iterate(problem.budget, uniform(player, np.random.default_rng(problem.seed)))
