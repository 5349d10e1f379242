import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from envs.tasks import TASKS, THRESHOLDS, find_task, goal_distance, goal_reward

COORDINATE = st.floats(-10.0, 10.0)
GOAL_PAIRS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=4).map(lambda lead: (2, *lead, 3)),
    elements=COORDINATE,
)


@settings(deadline=None, max_examples=50)
@given(GOAL_PAIRS)
def test_distance_is_the_euclidean_one(pair: np.ndarray) -> None:
    expected = np.linalg.norm(pair[0] - pair[1], axis=-1)
    np.testing.assert_allclose(goal_distance(pair[0], pair[1]), expected, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(GOAL_PAIRS)
def test_dense_reward_is_minus_the_distance(pair: np.ndarray) -> None:
    reward = goal_reward(pair[0], pair[1], 0.05, "dense")
    np.testing.assert_array_equal(reward, -goal_distance(pair[0], pair[1]))


@settings(deadline=None, max_examples=50)
@given(GOAL_PAIRS, st.floats(0.01, 5.0))
def test_sparse_reward_is_zero_within_the_threshold_and_minus_one_beyond(
    pair: np.ndarray, threshold: float
) -> None:
    reward = goal_reward(pair[0], pair[1], threshold, "sparse")
    np.testing.assert_array_equal(reward == 0.0, goal_distance(pair[0], pair[1]) <= threshold)
    assert set(np.unique(reward)) <= {-1.0, 0.0}


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_reward_of_a_stack_is_the_stack_of_rewards(
    kind: str, generator: np.random.Generator
) -> None:
    achieved, desired = generator.uniform(0.0, 0.08, (2, 4, 5, 3))
    stacked = goal_reward(achieved, desired, 0.05, kind)
    assert stacked.shape == (4, 5)
    for index in np.ndindex(4, 5):
        assert stacked[index] == goal_reward(achieved[index], desired[index], 0.05, kind)


def test_an_unknown_task_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fetch_fly") as error:
        find_task("fetch_fly")
    assert all(name in str(error.value) for name in TASKS)


def test_every_task_offers_its_own_goal_first_and_the_robots_goals_too() -> None:
    for task in TASKS.values():
        assert task.goal_names[0] == task.goal
        assert {"gripper", "joints"} <= set(task.goal_names) <= set(THRESHOLDS)
        assert ("object" in task.goal_names) == task.has_object
