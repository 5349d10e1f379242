"""The shapes that travel between modules."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

RewardFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(achieved_goal (b, g), desired_goal (b, g)) -> reward (b,)``, vectorised and pure."""


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
        action: ``(n, T, a)``.
    """

    observation: np.ndarray
    achieved_goal: np.ndarray
    desired_goal: np.ndarray
    action: np.ndarray


class Batch(NamedTuple):
    """b transitions (s, a, r, s') with the goal each is judged against.

    Attributes:
        observation: ``(2, b, o)``, of s and of s'.
        achieved_goal: ``(2, b, g)``, in s and in s'.
        goal: ``(b, g)``, the desired goal or a hindsight goal.
        action: ``(b, a)``.
        reward: ``(b,)``, of s' for ``goal``.
    """

    observation: torch.Tensor
    achieved_goal: torch.Tensor
    goal: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
