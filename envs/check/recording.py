"""Episodes as they were recorded, and how two of them differ."""

from typing import Any, NamedTuple

import numpy as np

from ..vector import PARTS
from .report import show

Obs = dict[str, np.ndarray]


class Pair(NamedTuple):
    """An achieved and a desired goal, as ``compute_reward`` takes them."""

    achieved: np.ndarray
    desired: np.ndarray

    def __str__(self) -> str:
        return f"achieved {show(self.achieved)} and desired {show(self.desired)}"


class Episode(NamedTuple):
    """One episode of T steps; step ``k``, counted from 1, leads to ``shown[k]``.

    Attributes:
        seed: given to reset.
        shown: T + 1 observations, copied.
        actions: T actions.
        rewards: T rewards.
        terminated: T flags.
        truncated: T flags.
        infos: T dicts.
    """

    seed: int
    shown: list[Obs]
    actions: list[Any]
    rewards: list[float]
    terminated: list[bool]
    truncated: list[bool]
    infos: list[dict[str, Any]]

    @property
    def length(self) -> int:
        """T."""
        return len(self.actions)

    def start(self, steps: int) -> "Episode":
        """The first steps of this episode."""
        return Episode(
            self.seed,
            self.shown[: steps + 1],
            self.actions[:steps],
            self.rewards[:steps],
            self.terminated[:steps],
            self.truncated[:steps],
            self.infos[:steps],
        )

    def goals(self, part: str) -> np.ndarray:
        """``part`` at all moments, ``(T + 1, ...)``."""
        return np.stack([shown[part] for shown in self.shown])

    def pair(self, step: int, back: int = 0) -> "Pair":
        """The goal achieved ``back`` steps before the end of a step, and the one it was to achieve."""
        achieved = self.shown[step - back]["achieved_goal"]
        return Pair(achieved, self.shown[step]["desired_goal"])

    def at(self, step: int) -> str:
        """Words for a step of this episode."""
        return f"step {step} of the episode seeded {self.seed}"


def difference(one: Episode, other: Episode) -> str | None:
    """Words for the first thing in which two episodes differ; None if there is none.

    Rewards are left out: whether they can be relied on is asked of ``compute_reward`` itself.
    """
    for index, (a, b) in enumerate(zip(one.shown, other.shown, strict=False)):
        for part in PARTS:
            if not np.array_equal(a[part], b[part], equal_nan=True):
                change = np.abs(a[part].astype(float) - b[part].astype(float)).max()
                return f"{part} differs by up to {change:.2g} at step {index}"
    if (one.terminated, one.truncated) != (other.terminated, other.truncated):
        return f"one has {one.length} steps and the other {other.length}"
    return None
