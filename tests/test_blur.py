"""Goals that rewards are judged by, moved at random."""

import numpy as np
import torch

from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Batch, Episodes, EpisodeShape, RewardFunction

from .helpers import random_episodes, sparse_reward

SHAPE = EpisodeShape(horizon=8, observation=3, goal=2, action=1)
RADIUS = 0.05
DRAWN = 100_000


def distances(achieved: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """A reward that tells how far the goal it was judged by lies from what was achieved."""
    return np.linalg.norm(achieved - goal, axis=-1).astype(np.float32)


def sample(
    blur: float, episodes: Episodes, reward: RewardFunction = sparse_reward, lookahead: int = 0
) -> Batch:
    replay = Replay(SHAPE, 800, STRATEGIES["none"], 4.0, reward, 0, lookahead, 0.0, blur)
    replay.add(episodes)
    return replay.sample(DRAWN)


def apart(distance: float) -> Episodes:
    """Episodes that stay ``distance`` from goals with a deviation of 1 and 0 in their two coordinates."""
    episodes = random_episodes(SHAPE, 100)
    desired = episodes.desired_goal
    desired[:, 0] = np.where(np.arange(100) % 2, 1.0, -1.0)
    desired[:, 1] = 0.5
    achieved = np.repeat(desired[:, None], SHAPE.horizon + 1, axis=1)
    achieved[..., 0] += distance
    return episodes._replace(achieved_goal=achieved)


def test_goals_move_by_a_share_of_the_desired_goals_deviation_in_each_coordinate() -> None:
    batch = sample(0.1, apart(0.0), distances)
    squares = batch.reward.square()
    assert abs(squares.mean() - 0.1**2) < 5 * squares.std() / DRAWN**0.5


def test_rewards_rise_over_a_width_instead_of_at_an_edge() -> None:
    inside, edge, outside = (sample(0.02, apart(d)).reward.mean() for d in (0.0, RADIUS, 0.1))
    assert inside > -0.05
    assert -0.55 < edge < -0.45
    assert outside < -0.95
    assert sample(0.0, apart(RADIUS + 1e-3)).reward.eq(-1.0).all()


def test_networks_see_the_goals_where_they_are() -> None:
    sharp, blurred = sample(0.0, apart(0.03)), sample(0.5, apart(0.03))
    assert set(blurred.goal[:, 0].tolist()) == set(sharp.goal[:, 0].tolist()) == {-1.0, 1.0}
    assert torch.equal(blurred.achieved_goal[:, :, 1], sharp.achieved_goal[:, :, 1])


def test_the_steps_ahead_are_judged_by_the_same_goal_as_the_step() -> None:
    batch = sample(0.3, apart(0.0), distances, lookahead=4)
    assert batch.ahead is not None
    assert torch.equal(batch.ahead.rewards[:, 0], batch.reward)
    assert batch.reward.std() > 0.05


def test_a_replay_brought_back_blurs_alike() -> None:
    hindsight = STRATEGIES["future"]
    first, second = (
        Replay(SHAPE, 800, hindsight, 4.0, distances, 0, 0, 0.0, blur=0.2) for _ in range(2)
    )
    first.add(random_episodes(SHAPE, 30))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.sample(64).reward, second.sample(64).reward)
