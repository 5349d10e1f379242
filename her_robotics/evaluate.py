"""Tests of a policy: how often, how soon and how closely it reaches its goals."""

import math
from typing import NamedTuple

import gymnasium as gym
import numpy as np

from .distributed import failing_together, gather, share
from .rollout import (
    DIVERGED,
    ActionFunction,
    Divergence,
    Lose,
    NonFiniteError,
    episode_seeds,
    play,
)
from .statistics import wilson_interval
from .types import Episodes, Task


class Evaluation(NamedTuple):
    """Results over test episodes.

    Attributes:
        success_rate: share of episodes whose last step reaches the goal. The headline.
        success_any: share of episodes any of whose steps is.
        interval: 95% Wilson interval of ``success_rate``.
        episodes: how many were played.
        final_distance: mean distance from the goal at the last step, in the goal's unit.
        hitting_time: mean first step at the goal, over the episodes that have one; NaN if none.
        mean_return: mean undiscounted return.
        moved_rate: share of episodes in which the achieved goal moved more than ``MOVED``.
        diverged: episodes whose simulation diverged. They count as missed; distance, return and what moved
            are of the others, NaN if there are none.
    """

    success_rate: float
    success_any: float
    interval: tuple[float, float]
    episodes: int
    final_distance: float
    hitting_time: float
    mean_return: float
    moved_rate: float
    diverged: int = 0

    def metrics(self, prefix: str) -> dict[str, float]:
        """The figures as a flat dict, interval as ``low`` and ``high``; left out is what is undefined, and
        that nothing diverged.
        """
        figures = self._asdict()
        low, high = figures.pop("interval")
        figures |= {"success_low": low, "success_high": high}
        if not self.diverged:
            del figures["diverged"]
        defined = {name: value for name, value in figures.items() if value == value}
        return {f"{prefix}{name}": value for name, value in defined.items()}


MOVED = 0.01
"""Change of the achieved goal over an episode, in its own unit, that counts as having moved it."""


ADVICE = "the simulation is not sound (their last states are in the run's folder)"


def evaluate(
    env: gym.vector.VectorEnv,
    task: Task,
    act: ActionFunction,
    episodes: int,
    seed: int,
    stream: int,
    lose: Lose = lambda divergence: None,
) -> Evaluation:
    """Play test episodes, as many at once as ``env`` has simulations, and judge them.

    Ranks play a share each and judge all.

    Args:
        env: a vector env of the task.
        task: what is known of it.
        act: the policy.
        episodes: how many. Which they are does not depend on ``env.num_envs``.
        seed: of the run.
        stream: which of the run's streams of episodes to take (see ``rollout.episode_seeds``).
        lose: told of each episode whose simulation diverged, which counts as missed.

    Raises:
        NonFiniteError: if an action is not finite.
    """
    rounds, lost, own = [], 0, share(episodes)
    with failing_together(NonFiniteError):
        for first in range(own.start, own.stop, env.num_envs):
            wanted = min(env.num_envs, own.stop - first)
            seeds = episode_seeds(seed, stream, first, env.num_envs)
            played, diverged = _play_round(env, task, act, seeds)
            counted = [each for each in diverged if each.env < wanted]
            for each in counted:
                lose(each)
            lost += len(counted)
            rounds.append(Episodes(*(part[: wanted - len(counted)] for part in played)))
    everyones = [each for shares in gather("tests", rounds) for each in shares]
    whole = Episodes(*(np.concatenate(parts) for parts in zip(*everyones, strict=True)))
    return judge(whole, task, sum(gather("lost tests", lost)))


def _play_round(
    env: gym.vector.VectorEnv, task: Task, act: ActionFunction, seeds: list[int]
) -> tuple[Episodes, list[Divergence]]:
    """Episodes, and those that diverged. If a process dies all are played again: seeds decide them."""
    while True:
        lost: list[Divergence] = []
        played = play(env, task.shape.horizon, seeds, act, lost.append)
        if all(each.cause == DIVERGED for each in lost):
            return played, lost


def judge(episodes: Episodes, task: Task, diverged: int = 0) -> Evaluation:
    """Judge whole episodes; what is achieved before the first step does not count.

    Args:
        episodes: those that went to their end.
        task: what is known of it.
        diverged: how many more did not, and count as missed.
    """
    if not len(episodes.action):
        nothing = dict.fromkeys(
            ("final_distance", "hitting_time", "mean_return", "moved_rate"), math.nan
        )
        interval = wilson_interval(0, diverged)
        return Evaluation(0.0, 0.0, interval, diverged, **nothing, diverged=diverged)
    achieved = episodes.achieved_goal[:, 1:]  # (n, T, g)
    desired = np.broadcast_to(episodes.desired_goal[:, None], achieved.shape)
    offset = (achieved.astype(np.float64) - desired)[..., task.shape.judged]
    distance = np.linalg.norm(offset, axis=-1)  # (n, T)
    reached = task.reached(achieved, desired)
    hit = reached.any(axis=1)
    rewards = np.asarray(task.reward(achieved, desired), dtype=np.float64)
    count = len(reached) + diverged
    successes = int(reached[:, -1].sum())
    return Evaluation(
        success_rate=successes / count,
        success_any=int(hit.sum()) / count,
        interval=wilson_interval(successes, count),
        episodes=count,
        final_distance=float(distance[:, -1].mean()),
        hitting_time=float((reached[hit].argmax(axis=1) + 1).mean()) if hit.any() else math.nan,
        mean_return=float(rewards.sum(axis=1).mean()),
        moved_rate=float(moved(episodes, task.shape.judged).mean()),
        diverged=diverged,
    )


def moved(episodes: Episodes, judged: slice = slice(None)) -> np.ndarray:
    """Whether what is ``judged`` of the achieved goal moved over each episode, ``(n,)`` bool."""
    change = episodes.achieved_goal[:, -1] - episodes.achieved_goal[:, 0]
    return np.linalg.norm(change[:, judged], axis=-1) > MOVED
