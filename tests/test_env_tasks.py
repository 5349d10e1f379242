import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from envs.tasks import (
    TASKS,
    THRESHOLDS,
    RewardType,
    find_task,
    goal_reward,
    point_distances,
    whole_distance,
)

COORDINATE = st.floats(-10.0, 10.0)
GOAL_PAIRS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=4).map(lambda lead: (2, *lead, 6)),
    elements=COORDINATE,
)


@settings(deadline=None, max_examples=50)
@given(GOAL_PAIRS)
def test_distances_are_euclidean_of_the_whole_and_of_every_point(pair: np.ndarray) -> None:
    difference = pair[0] - pair[1]
    whole = np.linalg.norm(difference, axis=-1, keepdims=True)
    np.testing.assert_allclose(whole_distance(pair[0], pair[1]), whole, atol=1e-12)
    points = np.stack(
        [np.linalg.norm(difference[..., part], axis=-1) for part in (slice(3), slice(3, 6))],
        axis=-1,
    )
    np.testing.assert_allclose(point_distances(pair[0], pair[1]), points, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(GOAL_PAIRS)
def test_dense_reward_is_minus_the_mean_distance(pair: np.ndarray) -> None:
    distances = point_distances(pair[0], pair[1])
    np.testing.assert_array_equal(goal_reward(distances, 0.05, "dense"), -distances.mean(axis=-1))


@settings(deadline=None, max_examples=50)
@given(GOAL_PAIRS, st.floats(0.01, 5.0))
def test_sparse_reward_is_zero_within_the_threshold_and_minus_one_beyond(
    pair: np.ndarray, threshold: float
) -> None:
    distance = whole_distance(pair[0], pair[1])
    reward = goal_reward(distance, threshold, "sparse")
    np.testing.assert_array_equal(reward == 0.0, distance[..., 0] <= threshold)
    assert set(np.unique(reward)) <= {-1.0, 0.0}


def test_sparse_reward_of_two_objects_counts_those_that_are_not_there() -> None:
    distances = np.array([[0.0, 0.04], [0.0, 0.06], [0.06, 0.04], [1.0, 2.0]])
    assert goal_reward(distances, 0.05, "sparse").tolist() == [0.0, -0.5, -0.5, -1.0]


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_reward_of_a_stack_is_the_stack_of_rewards(
    kind: RewardType, generator: np.random.Generator
) -> None:
    distances = generator.uniform(0.0, 0.1, (4, 5, 2))
    stacked = goal_reward(distances, 0.05, kind)
    assert stacked.shape == (4, 5)
    for index in np.ndindex(4, 5):
        assert stacked[index] == goal_reward(distances[index], 0.05, kind)


def test_an_unknown_task_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fetch_fly") as error:
        find_task("fetch_fly")
    assert all(name in str(error.value) for name in TASKS)


def test_every_task_offers_its_own_goal_first_and_the_robots_goals_too() -> None:
    for task in TASKS.values():
        assert task.goal_names[0] == task.goal
        assert {"gripper", "joints"} <= set(task.goal_names) <= set(THRESHOLDS)
        assert ("object" in task.goal_names) == task.has_object
