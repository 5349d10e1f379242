"""Count-based exploration: α / √N for coming to a state that has been come to N times.

Hindsight is compared with it in Andrychowicz et al. 2017 ("Hindsight Experience Replay", section 4.2), after
Strehl and Littman 2005: a state is where the achieved goal lies relative to the desired one, on a grid.
"""

from typing import Any

import numpy as np
import torch

from .types import Episodes, Task

SLOTS = 2**20
"""Counters. Cells are hashed to them (Tang et al. 2017, "#Exploration"), so that memory is bounded; of n
cells, each shares its counter with another with probability n / SLOTS at most."""


class Counts:
    """How often behaviour came to each cell of achieved goals relative to desired ones.

    Args:
        rewarded: what of a goal is counted (``Task.rewarded``).
        bonus: α, the reward of coming to a cell for the first time.
        cell: width of a cell, in the goal's unit.
    """

    def __init__(self, rewarded: slice, bonus: float, cell: float):
        self._bonus, self._rewarded, self._cell = bonus, rewarded, cell
        self._counts = np.zeros(SLOTS, np.int64)

    def observe(self, episodes: Episodes) -> None:
        """Count what every step of new episodes came to."""
        achieved = episodes.achieved_goal[:, 1:]
        slots = self._slots(achieved, episodes.desired_goal[:, None])
        np.add.at(self._counts, slots.ravel(), 1)

    def bonus(self, achieved_goal: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """α / √N, ``(..., g), (..., g) -> (...)``; a cell that was never come to has N = 1.

        Under hindsight goals there are such cells.
        """
        visits = np.maximum(self._counts[self._slots(achieved_goal, goal)], 1)
        return self._bonus / np.sqrt(visits)

    def mean(self, episodes: Episodes) -> float:
        """Mean bonus of the steps of episodes."""
        return float(
            self.bonus(episodes.achieved_goal[:, 1:], episodes.desired_goal[:, None]).mean()
        )

    def rewarded(self, task: Task) -> Task:
        """A task whose reward has the bonus of the day on top, and so a range that reaches α higher."""
        low, high = task.reward_range
        return task._replace(
            reward=lambda achieved, goal: task.reward(achieved, goal) + self.bonus(achieved, goal),
            reward_range=(low, high + self._bonus),
        )

    def state_dict(self) -> dict[str, Any]:
        """The counters that are not 0, to be given to ``load_state_dict``."""
        slots = self._counts.nonzero()[0]
        return {
            "slots": torch.from_numpy(slots),
            "visits": torch.from_numpy(self._counts[slots]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: if it is not what ``state_dict`` gives.
        """
        slots, visits = state["slots"].numpy(), state["visits"].numpy()
        alike = (
            slots.dtype == visits.dtype == np.int64 and slots.shape == (slots.size,) == visits.shape
        )
        if not alike or (visits < 1).any() or not _ascending_below(slots, SLOTS):
            raise ValueError("the counts are no counts of cells")
        self._counts[:] = 0
        self._counts[slots] = visits

    def _slots(self, achieved_goal: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """The counter of each cell, ``(..., g), (..., g) -> (...)``."""
        # As the replay keeps them, so that what is replayed falls into the cell that was counted.
        achieved_goal, goal = achieved_goal.astype(np.float32), goal.astype(np.float32)
        offset = (achieved_goal - goal)[..., self._rewarded]
        cells = np.floor(offset / np.float32(self._cell)).astype(np.int64).view(np.uint64)
        key = np.zeros(cells.shape[:-1], np.uint64)
        for column in np.moveaxis(cells, -1, 0):
            key = _mix(key ^ column)
        return (key % np.uint64(SLOTS)).astype(np.int64)


def _ascending_below(numbers: np.ndarray, end: int) -> bool:
    inside = (numbers >= 0) & (numbers < end)
    return bool(inside.all() and (np.diff(numbers) > 0).all())


def _mix(key: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele et al. 2014): every bit of a key decides every bit of its hash."""
    key = key + np.uint64(0x9E3779B97F4A7C15)  # arrays wrap around, as is meant
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))
