from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from her_robotics.config import GuideConfig
from her_robotics.evaluate import moved
from her_robotics.guides import Guide, Relay, relay
from her_robotics.types import Episodes, GoalObs

from .guiding import ENVS, HORIZON, Push, first_obs, led, make, many, opened, taught


@pytest.fixture(scope="module")
def push() -> Iterator[Push]:
    yield from opened("fetch_push")


@pytest.fixture(scope="module")
def push_two() -> Iterator[Push]:
    yield from opened("fetch_push_two")


def test_a_gripper_goal_is_kept_for_a_while(push: Push) -> None:
    guide, obs = taught("relay", push), many(first_obs(push), 500)
    guide.start(500)
    # In one place only another goal makes another action.
    changed = (np.diff([guide.lead(obs) for _ in range(40)], axis=0) != 0.0).any(axis=2)
    assert 0.9 < changed.mean() * relay.HOLD < 1.1


def least_distance(push: Push, episodes: Episodes) -> float:
    """How near the gripper came to the object, on average."""
    offset = episodes.observation[..., push.task.gripper] - episodes.achieved_goal
    return float(np.linalg.norm(offset, axis=-1).min(axis=1).mean())


def test_it_learns_within_a_few_episodes_to_meet_the_object_and_to_move_it(
    push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RADIUS", 0.0)
    guide = make("relay", push, updates=800)
    guide.learn(push.random)
    guide.learn(led(push, guide, first=ENVS))
    after = led(push, guide, first=0)
    assert least_distance(push, after) < 0.075 < least_distance(push, push.random)
    assert moved(after).mean() > max(0.5, moved(push.random).mean())


def heeded(guide: Guide, obs: GoalObs, which: int) -> np.ndarray:
    """In which rows the action depends on where one of two objects lies."""
    displaced = obs.achieved_goal.copy()
    displaced[:, 3 * which : 3 * which + 3] += 0.05
    return (guide.lead(obs) != guide.lead(obs._replace(achieved_goal=displaced))).any(axis=1)


def test_of_two_objects_it_heeds_either_and_the_same_one_all_along(
    push_two: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "HOLD", 1e9)
    guide, obs = taught("relay", push_two), many(first_obs(push_two), 1000)
    guide.start(1000)
    first = heeded(guide, obs, 0)
    assert 0.45 < first.mean() < 0.55
    np.testing.assert_array_equal(heeded(guide, obs, 1), ~first)
    np.testing.assert_array_equal(heeded(guide, obs, 0), first)
    guide.start(1000)
    again = (heeded(guide, obs, 0) == first).mean()
    assert 0.45 < again < 0.55, "the choice is made anew for new episodes"


def test_it_learns_to_meet_either_of_two_objects_and_to_stay_near_it(
    push_two: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RADIUS", 0.0)
    guide, played = make("relay", push_two, updates=1200, sigma=0.2), push_two.random
    for first in range(3):
        guide.learn(played)
        played = led(push_two, guide, first * ENVS)
    objects = played.achieved_goal.reshape(ENVS, HORIZON + 1, 2, 3)
    gripper = played.observation[..., push_two.task.gripper]
    distance = np.linalg.norm(gripper[:, :, None] - objects, axis=-1)
    chosen = distance.min(axis=1).argmin(axis=1)
    assert set(chosen) == {0, 1}
    rows = np.arange(ENVS)
    near, far = distance[rows, :, chosen], distance[rows, :, 1 - chosen]
    met = np.maximum.accumulate(near < 0.06, axis=1)
    assert met.any(axis=1).all()
    since = met & (objects[rows, :, chosen, 2] > 0.4)  # it may push the object from the table
    assert near[since].mean() < 0.1
    assert (near < far)[since].mean() > 0.9


def test_goals_that_are_no_whole_number_of_positions_are_refused(push: Push) -> None:
    odd = push.task._replace(shape=replace(push.task.shape, goal=4))
    with pytest.raises(ValueError, match="goals of 4 numbers are no positions of 3 each"):
        Relay(odd, GuideConfig(name="relay"), seed=0)


def test_a_task_without_a_gripper_is_refused(push: Push) -> None:
    with pytest.raises(ValueError, match="positions of an object for a gripper to move"):
        Relay(push.task._replace(gripper=None), GuideConfig(name="relay"), seed=0)
