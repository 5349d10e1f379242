"""What training a task takes on this machine: time, and memory."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..config import Config
from ..learner import Learner
from ..replay import Replay
from ..rollout import episode_seeds, play
from ..types import Episodes, EpisodeShape, GoalObs

WARM_UP = 3
"""Updates before the clock starts, which allocate what the others reuse."""
EPISODES_OF_GUIDE = 1
"""Episodes that a guide is timed on: it makes an update for each of their steps."""
STREAM = 9
"""Stream of episode seeds that no run uses."""


def filled(config: Config, shape: EpisodeShape) -> int:
    """Bytes of replay that a run fills before it ends, which its checkpoint keeps too."""
    cycle = config.env.num_envs * shape.horizon
    steps = -(-config.train.steps // cycle) * cycle
    return Replay.memory(shape, min(steps, config.replay.capacity))


class Speed(NamedTuple):
    """What a task's training does here, per second; all with acting, sampling and reading included.

    Attributes:
        env_steps: env steps, over all envs.
        updates: updates of the agent.
        guide_updates: updates of the guide; infinite if there is none.
    """

    env_steps: float
    updates: float
    guide_updates: float

    def seconds(self, config: Config, horizon: int) -> float:
        """How long training takes from start to finish, its tests included."""
        train, tests = config.train, math.ceil(config.train.steps / config.eval.every)
        guide = min(config.exploration.guide.updates, train.steps)
        return (
            (train.steps + tests * config.eval.episodes * horizon) / self.env_steps
            + train.steps * train.updates_per_step / self.updates
            + guide / self.guide_updates
        )


def measure(learner: Learner, seconds: float) -> Speed:
    """Play one episode in every env, then make updates until ``seconds`` are over."""
    start = time.perf_counter()
    episodes = _play(learner)
    env_steps = episodes.action.shape[0] * episodes.action.shape[1] / (time.perf_counter() - start)
    learner.replay.add(episodes)
    learner.agent.observe(episodes)
    guide_updates = _time_guide(learner, episodes)
    for _ in range(WARM_UP):
        _update(learner)
    updates = _rate(lambda: _update(learner), max(0.2, seconds - (time.perf_counter() - start)))
    return Speed(env_steps, updates, guide_updates or updates)


def _play(learner: Learner) -> Episodes:
    env = learner.env
    learner.exploration.start((env.num_envs, learner.task.shape.action))

    def act(obs: GoalObs) -> np.ndarray:
        return learner.exploration(learner.agent.act(obs))

    seeds = episode_seeds(learner.config.seed, STREAM, 0, env.num_envs)
    return play(env, learner.task.shape.horizon, seeds, act)


def _time_guide(learner: Learner, episodes: Episodes) -> float:
    """Its updates per second: infinite without a guide, 0 if there was nothing for it to learn from."""
    guide = learner.guide
    if guide is None:
        return math.inf
    start = time.perf_counter()
    guide.learn(Episodes(*(part[:EPISODES_OF_GUIDE] for part in episodes)))
    return guide.agent.updates / (time.perf_counter() - start)


def _update(learner: Learner) -> None:
    learner.agent.update(learner.replay.sample(learner.config.train.batch_size))


def _rate(work: Callable[[], None], seconds: float) -> float:
    """How often per second ``work`` is done, over at least ``seconds``."""
    start, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds or not done:
        work()
        done += 1
    return done / spent
