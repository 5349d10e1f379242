"""Hindsight goals as index arithmetic: which goal is each transition judged against?

A strategy is a pure function of a random generator and integer arrays. It sees no data, only where
things are, so it can be tested as arithmetic and as a distribution. Andrychowicz et al. 2017
("Hindsight Experience Replay"), section 4.5, names the strategies.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class GoalIndex(NamedTuple):
    """Where the goals of b transitions are to be found.

    Attributes:
        episode: ``(b,)`` the episode the goal comes from.
        step: ``(b,)`` the step in 1..T at which it was achieved; ignored where ``desired``.
        desired: ``(b,)`` bool, True for that episode's desired goal instead of an achieved one.
    """

    episode: np.ndarray
    step: np.ndarray
    desired: np.ndarray


Strategy = Callable[[np.random.Generator, np.ndarray, np.ndarray, int, int], GoalIndex]
"""``(generator, episode (b,), step (b,) in 0..T-1, horizon T, episodes stored) -> GoalIndex``."""


def _achieved(episode: np.ndarray, step: np.ndarray) -> GoalIndex:
    return GoalIndex(episode, step, np.zeros(len(episode), dtype=bool))


def none(
    generator: np.random.Generator, episode: np.ndarray, step: np.ndarray, horizon: int, stored: int
) -> GoalIndex:
    """No hindsight: the goal the episode pursued."""
    return GoalIndex(episode, step + 1, np.ones(len(episode), dtype=bool))


def final(
    generator: np.random.Generator, episode: np.ndarray, step: np.ndarray, horizon: int, stored: int
) -> GoalIndex:
    """m(s_T): what the episode had achieved at its end."""
    return _achieved(episode, np.full_like(step, horizon))


def future(
    generator: np.random.Generator, episode: np.ndarray, step: np.ndarray, horizon: int, stored: int
) -> GoalIndex:
    """What the same episode achieved at a step drawn from t+1..T."""
    offset = (generator.random(len(step)) * (horizon - step)).astype(step.dtype)
    return _achieved(episode, step + 1 + offset)


def episode(
    generator: np.random.Generator, episode: np.ndarray, step: np.ndarray, horizon: int, stored: int
) -> GoalIndex:
    """What the same episode achieved at a step drawn from 1..T."""
    return _achieved(episode, generator.integers(1, horizon + 1, size=len(step)))


def random(
    generator: np.random.Generator, episode: np.ndarray, step: np.ndarray, horizon: int, stored: int
) -> GoalIndex:
    """What any stored episode achieved at any step."""
    other = generator.integers(0, stored, size=len(step))
    return _achieved(other, generator.integers(1, horizon + 1, size=len(step)))


def future_actual(
    generator: np.random.Generator, episode: np.ndarray, step: np.ndarray, horizon: int, stored: int
) -> GoalIndex:
    """Half ``future``; half the goal that some stored episode really pursued (Pitis et al. 2020)."""
    goals = future(generator, episode, step, horizon, stored)
    actual = generator.random(len(step)) < 0.5
    other = generator.integers(0, stored, size=len(step))
    return GoalIndex(np.where(actual, other, goals.episode), goals.step, actual)


STRATEGIES: dict[str, Strategy] = {
    "none": none,
    "final": final,
    "future": future,
    "episode": episode,
    "random": random,
    "future_actual": future_actual,
}


def relabel(
    generator: np.random.Generator,
    strategy: Strategy,
    k: float,
    episode: np.ndarray,
    step: np.ndarray,
    horizon: int,
    stored: int,
) -> GoalIndex:
    """Give each transition a hindsight goal with probability 1 - 1 / (1 + k), else its own.

    Args:
        generator: source of randomness; the number of draws depends on ``len(step)`` alone.
        strategy: one of ``STRATEGIES``.
        k: hindsight goals per real goal, as in the paper.
        episode: ``(b,)`` episode of each transition.
        step: ``(b,)`` step of each transition, 0..T-1.
        horizon: T.
        stored: how many episodes are stored, numbered from 0.
    """
    goals = strategy(generator, episode, step, horizon, stored)
    own = generator.random(len(step)) < 1.0 / (1.0 + k)
    return GoalIndex(np.where(own, episode, goals.episode), goals.step, goals.desired | own)
