"""Rewards that are the mean over nested goals."""

import numpy as np
import pytest
import torch

from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Batch, EpisodeShape

from .helpers import random_episodes, sparse_reward

SHAPE = EpisodeShape(horizon=8, observation=3, goal=2, action=1)
RADIUS = 0.05


def rewards(distance: float, rings: int, after: int = 0) -> Batch:
    """Of 100 episodes that stay ``distance`` from the goal that they desire."""
    rest = {"lookahead": 4, "rings": rings, "rings_after": after}
    replay = Replay(SHAPE, 800, STRATEGIES["none"], 4.0, sparse_reward, 0, **rest)
    episodes = random_episodes(SHAPE, 100)
    angle = np.linspace(0.0, 6.0, 100)
    away = distance * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    episodes.achieved_goal[:] = (episodes.desired_goal + away)[:, None]
    replay.add(episodes)
    return replay.sample(256)


@pytest.mark.parametrize("rings", [1, 2, 3, 10])
def test_a_reward_counts_the_rings_that_are_missed(rings: int) -> None:
    for ring in range(rings + 1):
        batch = rewards(RADIUS * (ring + 0.5) / rings, rings)
        torch.testing.assert_close(batch.reward, torch.full((256,), -ring / rings))


def test_rewards_are_never_above_the_envs_own() -> None:
    for distance in (0.0, 0.02, RADIUS + 1e-3, 0.3):
        assert (rewards(distance, 5).reward <= rewards(distance, 1).reward).all()


def test_the_steps_ahead_are_judged_alike() -> None:
    batch = rewards(0.6 * RADIUS, 2)
    assert batch.ahead is not None
    assert batch.ahead.rewards[:, 0].eq(-0.5).all()
    assert torch.equal(batch.ahead.rewards[:, 0], batch.reward)


def test_until_enough_is_stored_rewards_are_the_envs_own() -> None:
    stored = 100 * SHAPE.horizon
    for after, expected in ((stored, -0.5), (stored + 1, 0.0)):
        batch = rewards(0.6 * RADIUS, 2, after)
        assert batch.ahead is not None
        assert batch.reward.eq(expected).all()
        assert batch.ahead.rewards[:, 0].eq(expected).all()
