"""What a method is given, what it gives, and the episodes it plays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from ..building import MakeEnv, read_task
from ..rollout import ActionFunction, episode_seeds, play
from ..train import TRAIN
from ..types import Episodes


@dataclass(frozen=True)
class Problem:
    """What a method is to learn from, alike for all of them.

    Attributes:
        make_env: builds the vector env.
        budget: env steps to learn from, in whole iterations; the last may go beyond.
        seed: of everything random.
        hidden: widths of the hidden layers of every network.
        relative_goal: whether the networks also see the goal relative to the achieved one.
    """

    make_env: MakeEnv
    budget: int
    seed: int = 0
    hidden: tuple[int, ...] = (32, 32)
    relative_goal: bool = True


class Iterate(NamedTuple):
    """Where a method stands after an iteration.

    Attributes:
        steps: env steps learnt from so far.
        act: the policy without exploration. It is the method's own, and moves on with it.
    """

    steps: int
    act: ActionFunction


Method = Callable[[Problem], Iterator[Iterate]]
"""Learns for as long as it is asked to go on and the budget allows."""


class Player:
    """Plays the episodes that a method learns from, and counts their steps.

    Args:
        problem: what is to be learnt.
        num_envs: episodes played at once.
    """

    def __init__(self, problem: Problem, num_envs: int):
        self.env = problem.make_env(num_envs)
        self.task = read_task(self.env)
        self.steps = 0
        self._seed, self._episodes = problem.seed, 0

    def play(self, act: ActionFunction, alike: int = 1) -> Episodes:
        """One episode in every env.

        Args:
            act: the behaviour.
            alike: how often each episode's start and goal are met, by as many envs in a row.
        """
        count = self.env.num_envs // alike
        seeds = episode_seeds(self._seed, TRAIN, self._episodes, count)
        self._episodes += count
        self.steps += self.env.num_envs * self.task.shape.horizon
        return play(
            self.env, self.task.shape.horizon, [each for each in seeds for _ in range(alike)], act
        )

    def rewards(self, episodes: Episodes) -> np.ndarray:
        """Of every step of every episode, ``(n, T)`` float64."""
        achieved = episodes.achieved_goal[:, 1:]
        desired = np.broadcast_to(episodes.desired_goal[:, None], achieved.shape)
        return np.asarray(self.task.reward(achieved, desired), dtype=np.float64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.env.close()


def uniform(player: Player, generator: np.random.Generator) -> ActionFunction:
    """Uniformly random actions in [-1, 1], which are not learnt from anything."""
    shape = player.task.shape
    return lambda obs: generator.uniform(-1.0, 1.0, (len(obs.observation), shape.action))
