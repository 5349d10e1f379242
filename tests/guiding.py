"""A real task to guide in, and what the tests of guides do with one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from envs.fetch import FetchVectorEnv
from her_robotics.building import read_task
from her_robotics.config import GuideConfig
from her_robotics.guides import Guide, make_guide
from her_robotics.rollout import episode_seeds, play
from her_robotics.types import Episodes, GoalObs, Task

from .helpers import push_the_object

ENVS, HORIZON = 8, 50


class Push(NamedTuple):
    """A task of pushing with episodes of random actions and others that run into the object."""

    env: FetchVectorEnv
    task: Task
    random: Episodes
    pushed: Episodes


def opened(task: str) -> Iterator[Push]:
    """The task, until the tests are done with it."""
    env = FetchVectorEnv(task, ENVS, num_threads=1)
    generator = np.random.default_rng(0)
    seeds = episode_seeds(0, 0, 0, ENVS)
    random = play(env, HORIZON, seeds, lambda _: uniform(generator))
    aimed = play(
        env, HORIZON, seeds, lambda obs: push_the_object(obs.observation[:, :25], generator)
    )
    yield Push(env, read_task(env), random, aimed)
    env.close()


def uniform(generator: np.random.Generator) -> np.ndarray:
    """Random actions for every env."""
    return generator.uniform(-1.0, 1.0, (ENVS, 4)).astype(np.float32)


def make(name: str, push: Push, seed: int = 0, **settings: Any) -> Guide:
    """A guide that leads all along."""
    config = GuideConfig(**{"name": name, "share": 1.0, "updates": 40, **settings})
    guide = make_guide(push.task, config, seed)
    assert guide is not None
    return guide


def taught(name: str, push: Push, **settings: Any) -> Guide:
    """A guide that has learnt as little as it takes to lead."""
    guide = make(name, push, **{"updates": 1, **settings})
    guide.learn(push.pushed)
    assert guide.agent.updates
    return guide


def led(push: Push, guide: Guide, first: int) -> Episodes:
    """Real episodes in which the guide leads, or else nobody moves."""
    guide.start(ENVS)
    still = np.zeros((ENVS, 4), np.float32)
    seeds = episode_seeds(0, 1, first, ENVS)
    return play(push.env, HORIZON, seeds, lambda obs: guide(obs, still))


def first_obs(push: Push) -> GoalObs:
    """What the episodes showed first."""
    random = push.random
    return GoalObs(random.observation[:, 0], random.achieved_goal[:, 0], random.desired_goal)


def many(obs: GoalObs, count: int) -> GoalObs:
    """``count`` times the first row."""
    return GoalObs(*(np.repeat(array[:1], count, axis=0) for array in obs))
