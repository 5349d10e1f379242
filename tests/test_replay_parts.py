"""Goals of several parts: each part is relabelled on its own."""

import numpy as np
import pytest

from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Episodes, EpisodeShape

from .helpers import within

TWO = EpisodeShape(horizon=6, observation=1, goal=4, action=1, parts=2)
EPISODES, NOT_ACHIEVED = 10, -1.0


def nothing(achieved: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return np.zeros(len(goal), np.float32)


def marked_episodes() -> Episodes:
    """Each part of a goal is ``(episode, step)``, the second one with 100 added; desired steps are -1."""
    episode, step = np.meshgrid(np.arange(EPISODES), np.arange(TWO.horizon + 1), indexing="ij")
    achieved = np.stack([episode, step, episode + 100, step + 100], axis=-1).astype(np.float32)
    desired = achieved[:, 0].copy()
    desired[:, [1, 3]] = NOT_ACHIEVED
    steps = np.arange(TWO.horizon + 1, dtype=np.float32)
    observation = np.broadcast_to(steps[None, :, None], (EPISODES, TWO.horizon + 1, 1))
    return Episodes(
        observation, achieved, desired, np.zeros((EPISODES, TWO.horizon, 1), np.float32)
    )


def drawn(strategy: str, k: float, shape: EpisodeShape = TWO) -> tuple[np.ndarray, ...]:
    """Steps, goals and achieved goals of many transitions."""
    replay = Replay(shape, EPISODES * shape.horizon, STRATEGIES[strategy], k, nothing, seed=0)
    replay.add(marked_episodes())
    batch = replay.sample(8000)
    return batch.observation[0, :, 0].numpy(), batch.goal.numpy(), batch.achieved_goal[0].numpy()


def test_a_part_is_asked_for_or_achieved_whatever_the_other_is() -> None:
    _, goal, _ = drawn("future", k=1.0)
    desired = goal[:, [1, 3]] == NOT_ACHIEVED
    both = np.mean(desired.all(axis=1)), np.mean((~desired).all(axis=1))
    np.testing.assert_allclose(both, (0.25, 0.25), atol=0.03)
    np.testing.assert_allclose(desired.mean(axis=0), (0.5, 0.5), atol=0.03)


def test_parts_are_never_mixed_up_and_come_from_later_steps_of_the_same_episode() -> None:
    step, goal, achieved = drawn("future", k=4.0)
    first, second = goal[:, 1], goal[:, 3] - 100
    for steps, wanted in ((first, goal[:, 1]), (second, goal[:, 3])):
        hindsight = wanted != NOT_ACHIEVED
        assert (steps[hindsight] > step[hindsight]).all()
    np.testing.assert_array_equal(goal[:, [0, 2]], achieved[:, [0, 2]])
    both = (goal[:, 1] != NOT_ACHIEVED) & (goal[:, 3] != NOT_ACHIEVED)
    assert (first != second)[both].mean() > 0.3, "each is drawn on its own"


def test_a_goal_of_one_part_is_relabelled_whole() -> None:
    _, goal, _ = drawn("future", 1.0, EpisodeShape(6, 1, 4, 1))
    np.testing.assert_array_equal(goal[:, 1] == NOT_ACHIEVED, goal[:, 3] == NOT_ACHIEVED)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_takes_goals_of_parts(strategy: str) -> None:
    _, goal, _ = drawn(strategy, k=4.0)
    assert goal.shape == (8000, 4)
    assert (goal[:, 2] >= 100).all()
    assert (goal[:, 0] < EPISODES).all()


def test_the_satisfied_share_is_of_goals_that_are_hindsight_in_every_part() -> None:
    replay = Replay(TWO, EPISODES * TWO.horizon, STRATEGIES["none"], 4.0, nothing, seed=0)
    replay.add(marked_episodes())
    assert np.isnan(replay.satisfied_share(within(0.5)))
