"""Replay of whole episodes in preallocated rings, relabelled when sampled."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .relabel import GoalIndex, Strategy, relabel
from .types import Ahead, Batch, Episodes, EpisodeShape, GoalTest, RewardFunction


class Replay:
    """A ring of episodes, each kept once as float32; the oldest makes room for the newest.

    Args:
        shape: sizes of an episode.
        capacity: transitions to hold; rounded down to whole episodes.
        strategy: how hindsight goals are chosen (see ``relabel.STRATEGIES``).
        k: hindsight goals per real goal.
        reward: recomputes the reward of relabelled transitions.
        seed: of the generator that draws transitions and goals.
        lookahead: steps by which batches look ahead of each transition at most; 1 or less for none.
        td_lambda: probability of looking one step further, for TD(λ); 0 looks as far as it may.
        blur: how far the goals that rewards are judged by are moved at random, in standard deviations of
            the desired goals: rewards then rise over a width instead of at an edge.
        scatter: how far hindsight goals are moved at random from what was achieved, in the same unit: values
            are then learnt on both sides of the edge of success, and not at its centre alone.
        rings: how many nested goals a reward is the mean over, the i-th of them i / rings as wide as the
            env's: rewards then rise from the edge of success to its centre.
        rings_after: transitions stored before rings count; until then rewards are the env's own, which tell
            sooner what succeeds at all.
        k_end: what ``k`` comes to. Hindsight goals are chosen by what came out, so that where outcomes are
            partly luck values are too hopeful.
        k_until: transitions over which it evenly comes to that; None keeps ``k``.

    Raises:
        ValueError: if ``capacity`` is less than one episode.
    """

    def __init__(
        self,
        shape: EpisodeShape,
        capacity: int,
        strategy: Strategy,
        k: float,
        reward: RewardFunction,
        seed: int,
        lookahead: int = 0,
        td_lambda: float = 0.0,
        blur: float = 0.0,
        scatter: float = 0.0,
        rings: int = 1,
        rings_after: int = 0,
        k_end: float = 0.0,
        k_until: int | None = None,
    ):
        self.shape, self._lookahead, self._td_lambda = shape, lookahead, td_lambda
        self.max_episodes = capacity // shape.horizon
        if self.max_episodes < 1:
            raise ValueError(f"capacity {capacity} holds no episode of {shape.horizon} steps")
        self._strategy, self._k, self._reward = strategy, k, reward
        self._blur, self._scatter, self._rings = blur, scatter, rings
        self._rings_after, self._k_end, self._k_until = rings_after, k_end, k_until
        self._goal_deviation = np.zeros(shape.goal, np.float32)
        self.generator = np.random.default_rng(seed)
        count, steps = self.max_episodes, shape.horizon
        self._data = Episodes(
            observation=np.zeros((count, steps + 1, shape.observation), np.float32),
            achieved_goal=np.zeros((count, steps + 1, shape.goal), np.float32),
            desired_goal=np.zeros((count, shape.goal), np.float32),
            action=np.zeros((count, steps, shape.action), np.float32),
        )
        self.added = 0

    @staticmethod
    def memory(shape: EpisodeShape, capacity: int) -> int:
        """Bytes that a replay of ``capacity`` transitions takes, known before it is built."""
        return capacity // shape.horizon * shape.floats * 4

    @property
    def nbytes(self) -> int:
        """Bytes that it takes when it is full."""
        return sum(ring.nbytes for ring in self._data)

    def __len__(self) -> int:
        """Episodes stored."""
        return min(self.added, self.max_episodes)

    def add(self, episodes: Episodes) -> None:
        """Store n episodes, over the oldest ones when the ring is full.

        Raises:
            ValueError: if a shape is not the replay's, or more episodes come than fit.
        """
        count = len(episodes.desired_goal)
        if count > self.max_episodes:
            raise ValueError(f"{count} episodes at once do not fit in room for {self.max_episodes}")
        slots = (self.added + np.arange(count)) % self.max_episodes
        for name, ring, new in zip(Episodes._fields, self._data, episodes, strict=True):
            if new.shape != (count, *ring.shape[1:]):
                raise ValueError(f"{name} has shape {new.shape}, not {(count, *ring.shape[1:])}")
        for ring, new in zip(self._data, episodes, strict=True):
            ring[slots] = new
        self.added += count
        self._measure_goals()

    def sample(self, batch_size: int) -> Batch:
        """Draw transitions uniformly and judge each against the goal its relabelling names, or near it.

        Raises:
            ValueError: if nothing is stored yet.
        """
        episode, step, goals = self._draw(self.generator, batch_size)
        goal = self._goals(goals)
        if self._scatter:
            goal += self._offsets(goals)
        judged = self._blurred(goal)
        batch = self._gather(episode, step, goal, judged)
        if self._lookahead < 2:
            return batch
        steps = np.minimum(self._reach(episode, step, goals), self._lookahead)
        return batch._replace(ahead=self._look_ahead(episode, step, steps, judged))

    def satisfied_share(self, reached: GoalTest, draws: int = 2048) -> float:
        """Share of hindsight goals that were reached before the transition they are to teach.

        They teach to stand still. Draws do not touch the generator of ``sample``; NaN if a
        strategy gives no hindsight goals.
        """
        episode, step, goals = self._draw(np.random.default_rng(self.added), draws)
        achieved = _rows(self._data.achieved_goal, episode, step)
        satisfied = reached(achieved, self._goals(goals))
        hindsight = ~np.any([part.desired for part in goals], axis=0)
        return float(satisfied[hindsight].mean()) if hindsight.any() else float("nan")

    def _draw(
        self, generator: np.random.Generator, count: int
    ) -> tuple[np.ndarray, np.ndarray, list[GoalIndex]]:
        """Which transitions, ``(count,)`` episodes and steps, and where each part of their goals is."""
        if not self.added:
            raise ValueError("the replay is empty: add episodes before sampling")
        stored, horizon = len(self), self.shape.horizon
        episode = generator.integers(0, stored, size=count)
        step = generator.integers(0, horizon, size=count)
        k = self._k_by_now()
        goals = [
            relabel(generator, self._strategy, k, episode, step, horizon, stored)
            for _ in range(self.shape.parts)
        ]
        return episode, step, goals

    def _k_by_now(self) -> float:
        """Hindsight goals per real goal, after as many transitions as there have been."""
        if self._k_until is None:
            return self._k
        passed = min(1.0, self._transitions() / self._k_until)
        return self._k + passed * (self._k_end - self._k)

    def _transitions(self) -> int:
        """How many have been stored, with those that others took the place of."""
        return self.added * self.shape.horizon

    def _goals(self, parts: list[GoalIndex]) -> np.ndarray:
        chosen = []
        for index in parts:
            achieved = _rows(self._data.achieved_goal, index.episode, index.step)
            desired = self._data.desired_goal.take(index.episode, axis=0)
            chosen.append(np.where(index.desired[:, None], desired, achieved))
        if len(chosen) == 1:
            return chosen[0]
        width = self.shape.goal // self.shape.parts
        columns = [goal[:, i * width : (i + 1) * width] for i, goal in enumerate(chosen)]
        return np.concatenate(columns, axis=1)

    def _reach(self, episode: np.ndarray, step: np.ndarray, goals: list[GoalIndex]) -> np.ndarray:
        """How many steps a batch may look ahead, ``(b,)``."""
        horizon = self.shape.horizon
        if self._td_lambda:
            drawn = self.generator.geometric(1.0 - self._td_lambda, len(step))
            return np.minimum(drawn, horizon - step)
        # Up to where a hindsight goal was reached later in the episode, or else to its end.
        elsewhere = [g.desired | (g.episode != episode) | (g.step <= step) for g in goals]
        ends = [np.where(other, horizon, g.step) for other, g in zip(elsewhere, goals, strict=True)]
        return np.max(ends, axis=0) - step

    def _blurred(self, goal: np.ndarray) -> np.ndarray:
        """Goals ``(b, g)`` moved at random, those of one batch each on its own."""
        if not self._blur:
            return goal
        return goal + self._moves(self._blur, len(goal))

    def _offsets(self, goals: list[GoalIndex]) -> np.ndarray:
        """How far goals are moved, ``(b, g)``: those of hindsight at random, desired ones not at all."""
        hindsight = ~np.stack([part.desired for part in goals], axis=1)
        moved = hindsight.repeat(self.shape.goal // self.shape.parts, axis=1)
        return moved * self._moves(self._scatter, len(moved))

    def _moves(self, share: float, count: int) -> np.ndarray:
        """Random moves ``(count, g)`` of so many of the desired goals' standard deviations."""
        noise = self.generator.standard_normal((count, self.shape.goal), dtype=np.float32)
        return share * self._goal_deviation * noise

    def _measure_goals(self) -> None:
        if (self._blur or self._scatter) and len(self):
            self._goal_deviation = self._data.desired_goal[: len(self)].std(axis=0)

    def _judge(self, achieved: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Rewards, ``(..., g), (..., g) -> (...)`` float32."""
        return np.asarray(self._over_rings(self._reward, achieved, goal), np.float32)

    def _over_rings(self, reward: Callable[[Any, Any], Any], achieved: Any, goal: Any) -> Any:
        """The mean reward over all rings, of arrays or of tensors.

        A goal so many times as far away is missed where one as much stricter is.
        """
        if self._rings == 1 or self._transitions() < self._rings_after:
            return reward(achieved, goal)
        apart = goal - achieved
        stricter = (self._rings / ring for ring in range(1, self._rings + 1))
        return sum(reward(achieved, achieved + times * apart) for times in stricter) / self._rings

    def _gather(
        self, episode: np.ndarray, step: np.ndarray, goal: np.ndarray, judged: np.ndarray
    ) -> Batch:
        pair = np.stack([step, step + 1])  # s and s'
        achieved = _rows(self._data.achieved_goal, episode, pair)
        reward = self._judge(achieved[1], judged)
        return Batch(
            observation=torch.from_numpy(_rows(self._data.observation, episode, pair)),
            achieved_goal=torch.from_numpy(achieved),
            goal=torch.from_numpy(goal),
            action=torch.from_numpy(_rows(self._data.action, episode, step)),
            reward=torch.from_numpy(reward),
        )

    def _look_ahead(
        self, episode: np.ndarray, step: np.ndarray, steps: np.ndarray, goal: np.ndarray
    ) -> Ahead:
        """What was achieved ``steps`` steps after ``step``, and the rewards for ``goal`` on the way."""
        offset = np.arange(1, self._lookahead + 1)  # (n,)
        on_the_way = offset <= steps[:, None]  # (b, n)
        passed = step[:, None] + np.minimum(offset, steps[:, None])
        achieved = _rows(self._data.achieved_goal, episode[:, None], passed)  # (b, n, g)
        goals = np.broadcast_to(goal[:, None], achieved.shape)
        rewards = np.where(on_the_way, self._judge(achieved, goals), np.float32(0.0))
        return Ahead(
            observation=torch.from_numpy(_rows(self._data.observation, episode, step + steps)),
            achieved_goal=torch.from_numpy(achieved[:, -1]),
            rewards=torch.from_numpy(rewards),
            steps=torch.from_numpy(steps),
        )

    def state_dict(self) -> dict:
        """Stored episodes and the generator's state, to be given to ``load_state_dict``."""
        filled = {
            name: torch.from_numpy(ring[: len(self)])
            for name, ring in zip(Episodes._fields, self._data, strict=True)
        }
        generator = json.dumps(self.generator.bit_generator.state)
        return {"added": self.added, "generator": generator, **filled}

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: if it was saved from a replay of another size, or holds what none can.
        """
        added = state["added"]
        if type(added) is not int or not 0 <= added < 2**48:
            raise ValueError(f"saved replay says that it has had {added!r} episodes"[:200])
        stored = min(added, self.max_episodes)
        for name, ring in zip(Episodes._fields, self._data, strict=True):
            saved, expected = tuple(state[name].shape), (stored, *ring.shape[1:])
            if saved != expected:
                raise ValueError(f"saved replay has {name} of shape {saved}, not {expected}")
            if not state[name].isfinite().all():
                raise ValueError(f"saved replay has {name} that is not finite")
        for name, ring in zip(Episodes._fields, self._data, strict=True):
            ring[:stored] = state[name].numpy()
        self.added = added
        self._measure_goals()
        self.generator.bit_generator.state = json.loads(state["generator"])


def _rows(ring: np.ndarray, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
    """``ring[episode, step]`` of a contiguous ``(episodes, steps, width)`` ring, by one flat take."""
    steps, width = ring.shape[1:]
    return ring.reshape(-1, width).take(episode * steps + step, axis=0)
