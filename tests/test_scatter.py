"""Hindsight goals that are moved at random from what was achieved."""

import numpy as np
import torch

from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Episodes, EpisodeShape

from .helpers import random_episodes, sparse_reward

SHAPE = EpisodeShape(horizon=8, observation=3, goal=2, action=1)
TWO = EpisodeShape(horizon=8, observation=3, goal=4, action=1, parts=2)
DRAWN = 100_000


def filled(strategy: str, scatter: float, k: float = 4.0, shape: EpisodeShape = SHAPE) -> Replay:
    """A replay of episodes that achieve nothing but the origin, and want to be 1 or -1 from it, and 0.5."""
    settings = (STRATEGIES[strategy], k, sparse_reward, 0, 4)
    replay = Replay(shape, 800, *settings, scatter=scatter)
    replay.add(still(shape))
    return replay


def still(shape: EpisodeShape) -> Episodes:
    episodes = random_episodes(shape, 100)
    episodes.achieved_goal[:] = 0.0
    desired = episodes.desired_goal
    desired[:, ::2] = np.where(np.arange(100) % 2, 1.0, -1.0)[:, None]
    desired[:, 1::2] = 0.5
    return episodes


def test_hindsight_goals_move_by_a_share_of_the_desired_goals_deviation_in_each_coordinate() -> (
    None
):
    hindsight = filled("final", 0.1, k=1e9).sample(DRAWN).goal
    squares = hindsight[:, 0].square()
    assert abs(squares.mean() - 0.1**2) < 5 * squares.std() / DRAWN**0.5
    assert hindsight[:, 1].eq(0.0).all()  # all desire the same there


def test_goals_that_were_desired_stay_where_they_are() -> None:
    assert set(filled("none", 0.3).sample(DRAWN).goal[:, 0].tolist()) == {-1.0, 1.0}
    mixed = filled("future_actual", 0.01, k=1e9).sample(DRAWN).goal[:, 0]
    desired = mixed.abs() == 1.0
    assert 0.48 < desired.float().mean() < 0.52
    assert mixed[~desired].abs().max() < 0.1


def test_each_part_of_a_goal_moves_if_it_is_of_hindsight() -> None:
    goal = filled("future_actual", 0.01, k=1e9, shape=TWO).sample(DRAWN).goal
    kept = goal[:, ::2].abs() == 1.0
    assert (~kept & (goal[:, ::2].abs() < 0.1))[~kept].all()
    assert 0.23 < (kept[:, 0] & ~kept[:, 1]).float().mean() < 0.27


def test_rewards_on_the_whole_way_are_those_of_the_moved_goals() -> None:
    batch = filled("future", 0.1).sample(DRAWN)
    assert batch.ahead is not None
    rewards = sparse_reward(batch.achieved_goal[1].numpy(), batch.goal.numpy())
    assert np.array_equal(batch.reward.numpy(), rewards)
    assert 0.1 < (rewards == 0.0).mean() < 0.9
    assert torch.equal(batch.ahead.rewards[:, 0], batch.reward)


def test_a_replay_brought_back_scatters_alike() -> None:
    first, second = filled("future", 0.2), filled("future", 0.2)
    first.sample(64)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.sample(64).goal, second.sample(64).goal)
