"""The shapes that travel between modules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

RewardFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(achieved_goal (b, g), desired_goal (b, g)) -> reward (b,)``, vectorised and pure."""
GoalTest = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(achieved_goal (..., g), desired_goal (..., g)) -> reached (...)`` bool."""


@dataclass(frozen=True)
class EpisodeShape:
    """Sizes of an episode.

    Attributes:
        horizon: steps, T.
        observation: width of an observation.
        goal: width of a goal.
        action: width of an action; 1 where it is a choice.
        parts: parts of equal width that make up a goal and are relabelled each on its own, such as the
            positions of several objects.
        choices: how many actions there are to choose from, if they are discrete: an action is then the
            index of one, and stored like any other. None where actions are continuous.
        embedding: numbers at the head of a goal that an encoder made of a picture: networks see these
            alone, and tests judge by what stands behind them, the simulator's own goal. 0 where a goal
            is the simulator's own alone, which then is seen and judged by.
        sight: numbers at the head of an observation that an encoder made of what a camera saw: actors see
            these alone, and critics what stands behind them, the simulator's state, with its goal. 0
            where actors and critics observe the same.
    """

    horizon: int
    observation: int
    goal: int
    action: int
    parts: int = 1
    choices: int | None = None
    embedding: int = 0
    sight: int = 0

    def __post_init__(self) -> None:
        if self.choices is not None and self.action != 1:
            raise ValueError(f"one of {self.choices} choices has width 1, not {self.action}")

    @property
    def seen(self) -> slice:
        """Where in a goal that stands which networks see."""
        return slice(0, self.embedding or self.goal)

    @property
    def judged(self) -> slice:
        """Where in a goal the simulator's own stands."""
        return slice(self.embedding, self.goal)

    @property
    def sighted(self) -> slice:
        """Where in an observation that stands which actors see."""
        return slice(0, self.sight or self.observation)

    @property
    def state(self) -> slice:
        """Where in an observation the simulator's state stands, or what is observed in its place."""
        return slice(self.sight, self.observation)

    @property
    def floats(self) -> int:
        """Numbers stored for one episode."""
        steps = self.horizon + 1
        return steps * (self.observation + self.goal) + self.goal + self.horizon * self.action


class Task(NamedTuple):
    """What learning must know of a task.

    Attributes:
        shape: sizes of an episode.
        reward: of achieved and desired goals.
        reached: whether achieved goals count as desired ones.
        reward_range: least and greatest reward of a step; infinite where unknown.
        gripper: where the gripper's position stands in the observation, if goals are positions of
            something for it to move; else None.
        rewarded: where in a goal that stands which rewards look at, and whatever else may guide training.
    """

    shape: EpisodeShape
    reward: RewardFunction
    reached: GoalTest
    reward_range: tuple[float, float]
    gripper: slice | None
    rewarded: slice = slice(None)


class GoalObs(NamedTuple):
    """What n envs show at one step.

    Attributes:
        observation: ``(n, o)``.
        achieved_goal: ``(n, g)``.
        desired_goal: ``(n, g)``.
    """

    observation: np.ndarray
    achieved_goal: np.ndarray
    desired_goal: np.ndarray


class Episodes(NamedTuple):
    """n whole episodes of T steps, each pursuing one goal.

    Attributes:
        observation: ``(n, T + 1, o)``.
        achieved_goal: ``(n, T + 1, g)``.
        desired_goal: ``(n, g)``.
        action: ``(n, T, a)``, in [-1, 1], or the index of the choice made.
    """

    observation: np.ndarray
    achieved_goal: np.ndarray
    desired_goal: np.ndarray
    action: np.ndarray


class Ahead(NamedTuple):
    """What behaviour came to within a few steps of each of b transitions.

    Attributes:
        observation: ``(b, o)``, where it was after ``steps`` steps.
        achieved_goal: ``(b, g)``, likewise.
        rewards: ``(b, n)``, of these steps for the transition's goal; 0 beyond ``steps``.
        steps: ``(b,)``, between 1 and n.
    """

    observation: torch.Tensor
    achieved_goal: torch.Tensor
    rewards: torch.Tensor
    steps: torch.Tensor


class Batch(NamedTuple):
    """b transitions (s, a, r, s') with the goal each is judged against.

    Attributes:
        observation: ``(2, b, o)``, of s and of s'.
        achieved_goal: ``(2, b, g)``, in s and in s'.
        goal: ``(b, g)``, the desired goal or a hindsight goal.
        action: ``(b, a)``.
        reward: ``(b,)``, of s' for ``goal``.
        ahead: what behaviour came to further on, where targets are to heed it.
    """

    observation: torch.Tensor
    achieved_goal: torch.Tensor
    goal: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    ahead: Ahead | None = None
