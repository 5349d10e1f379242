"""Frames of interaction, gathered from an env whose simulations can be drawn."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from ..rollout import ActionFunction, episode_seeds, play
from ..types import Episodes, GoalObs
from .frames import Frames

HOLD = 3.0
"""Mean steps for which a random action is kept, so that the gripper gets about."""
NOISE, RANDOM = 0.3, 0.2
"""Deviation of the noise on a policy's actions, and share of them that are random instead."""


class HeldActions:
    """Uniformly random actions, each kept for a while.

    Args:
        size: width of an action.
        generator: source of randomness.
    """

    def __init__(self, size: int, generator: np.random.Generator):
        self._size, self._generator = size, generator
        self._actions = np.zeros((0, size), np.float32)

    def __call__(self, obs: GoalObs) -> np.ndarray:
        count = len(obs.observation)
        if len(self._actions) != count:
            self._actions = self._draw(count)
        turn = self._generator.random(count) < 1.0 / HOLD
        self._actions = np.where(turn[:, None], self._draw(count), self._actions)
        return self._actions

    def _draw(self, count: int) -> np.ndarray:
        return self._generator.uniform(-1.0, 1.0, (count, self._size)).astype(np.float32)


def noisy(act: ActionFunction, generator: np.random.Generator) -> ActionFunction:
    """A policy's actions with noise, some of them random."""

    def behave(obs: GoalObs) -> np.ndarray:
        actions = act(obs)
        actions = actions + generator.normal(0.0, NOISE, actions.shape)
        drawn = generator.uniform(-1.0, 1.0, actions.shape)
        random = generator.random((len(actions), 1)) < RANDOM
        return np.clip(np.where(random, drawn, actions), -1.0, 1.0).astype(np.float32)

    return behave


def collect(
    env: gym.vector.VectorEnv,
    behaviours: list[ActionFunction],
    episodes: int,
    seed: int,
    camera: str,
    size: int,
    on_round: Callable[[int], object] = lambda count: None,
    scene: bool = False,
    every: int = 5,
) -> Frames:
    """Play episodes, by each behaviour in turn, and keep frames of them.

    Args:
        env: a vector env that draws its simulations: ``env.unwrapped.poses`` and ``pictures``.
        behaviours: what acts.
        episodes: how many, rounded up to whole rounds of all behaviours in all envs.
        seed: of the episodes.
        camera: what sees.
        size: width and height of the pictures.
        on_round: told how many episodes came after each round.
        scene: whether frames are labelled by all positions, of objects and gripper, or by the goal achieved.
        every: steps from one kept frame of an episode to the next.
    """
    base: Any = env.unwrapped
    kept: list[Frames] = []
    rounds = -(-episodes // (env.num_envs * len(behaviours)))
    for number in range(rounds * len(behaviours)):
        behaviour, poses = behaviours[number % len(behaviours)], []

        def act(obs: GoalObs, behaviour: ActionFunction = behaviour, poses: list = poses) -> Any:
            poses.append(base.poses)
            return behaviour(obs)

        seeds = episode_seeds(seed, 0, number * env.num_envs, env.num_envs)
        played = play(env, base.max_episode_steps, seeds, act)
        pictures = base.pictures(np.stack(poses[::every], axis=1), camera, size)
        goals = (_scene(base, played) if scene else played.achieved_goal)[:, :-1:every]
        owner = np.repeat(np.arange(env.num_envs), goals.shape[1])
        flat = (pictures.reshape(-1, *pictures.shape[2:]), goals.reshape(-1, goals.shape[-1]))
        kept.append(Frames(*flat, owner + number * env.num_envs))
        on_round(env.num_envs)
    return Frames(*map(np.concatenate, zip(*kept, strict=True)))


def _scene(base: Any, played: Episodes) -> np.ndarray:
    """Positions of all objects, and behind them the gripper's, ``(n, T + 1, 3 k + 3)``."""
    if base.gripper is None:  # then the goal is the gripper's own
        return played.achieved_goal
    return np.concatenate([played.achieved_goal, played.observation[..., base.gripper]], axis=-1)
