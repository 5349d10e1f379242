"""Which episodes to begin anew: those that failed (after Jiang et al. 2021, "Prioritized Level Replay")."""

import json
from typing import Any

import numpy as np

from .types import Episodes, GoalTest

ROOM = 500
"""Failed episodes that are remembered: those of late, so that what is beyond reach is left in the end."""


class Retries:
    """Has a share of the episodes begin as one did that failed, at the same start and with the same goal.

    An episode's seed decides both, so that this needs to know nothing of the task.

    Args:
        share: probability with which an episode is begun anew in place of a fresh one.
        reached: whether an achieved goal counts as a desired one.
        seed: of the generator behind it.
    """

    def __init__(self, share: float, reached: GoalTest, seed: int):
        self._share, self._reached = share, reached
        self._generator = np.random.default_rng(seed)
        self._failed: list[int] = []

    def choose(self, fresh: list[int]) -> list[int]:
        """Seeds to begin episodes with: each the ``fresh`` one, or one that failed and is forgotten now."""
        return [self._failed_one() if self._is_retried() else seed for seed in fresh]

    def observe(self, seeds: list[int], episodes: Episodes) -> None:
        """Remember those of ``seeds`` whose episodes end away from their goals; episodes in their order."""
        reached = self._reached(episodes.achieved_goal[:, -1], episodes.desired_goal)
        failed = [seed for seed, success in zip(seeds, reached, strict=True) if not success]
        self._failed = [*self._failed, *failed][-ROOM:]

    def _is_retried(self) -> bool:
        return bool(self._failed) and self._generator.random() < self._share

    def _failed_one(self) -> int:
        return self._failed.pop(int(self._generator.integers(len(self._failed))))

    def state_dict(self) -> dict[str, Any]:
        """Everything it goes on from."""
        generator = json.dumps(self._generator.bit_generator.state)
        return {"generator": generator, "failed": list(self._failed)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: if ``failed`` is not seeds of episodes.
        """
        failed = state["failed"]
        few = isinstance(failed, list) and len(failed) <= ROOM
        if not few or not all(type(seed) is int and 0 <= seed < 2**32 for seed in failed):
            raise ValueError("the failed episodes are no list of seeds")
        self._generator.bit_generator.state = json.loads(state["generator"])
        self._failed = list(failed)
