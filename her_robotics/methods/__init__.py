"""Methods alike in what they are given and what they give (after Duan et al. 2016); one has a model."""

from .cem import cem
from .cma_es import cma_es
from .method import Iterate, Method, Problem
from .off_policy import ddpg, ddpg_her, svg
from .random import random
from .reinforce import reinforce
from .reps import reps
from .rwr import rwr
from .svg_infinity import svg_infinity
from .tnpg import tnpg
from .trpo import trpo

__all__ = ["METHODS", "Iterate", "Method", "Problem"]

METHODS: dict[str, Method] = {
    "random": random,
    "reinforce": reinforce,
    "tnpg": tnpg,
    "rwr": rwr,
    "reps": reps,
    "trpo": trpo,
    "cem": cem,
    "cma_es": cma_es,
    "ddpg": ddpg,
    "svg": svg,
    "ddpg_her": ddpg_her,
    "svg_infinity": svg_infinity,
}
"""In the lecture's order, then this project's own."""
