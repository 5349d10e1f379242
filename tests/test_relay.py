from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from envs.fetch import FetchVectorEnv
from her_robotics.config import RelayConfig
from her_robotics.evaluate import moved
from her_robotics.learner import read_task
from her_robotics.relay import Relay
from her_robotics.rollout import episode_seeds, play
from her_robotics.types import Episodes, GoalObs, Task

from .runs import same

ENVS, HORIZON = 8, 50


class Push(NamedTuple):
    """A task of pushing with episodes of random actions."""

    env: FetchVectorEnv
    task: Task
    random: Episodes


@pytest.fixture(scope="module")
def push() -> Iterator[Push]:
    yield from opened("fetch_push")


@pytest.fixture(scope="module")
def push_two() -> Iterator[Push]:
    yield from opened("fetch_push_two")


def opened(task: str) -> Iterator[Push]:
    env = FetchVectorEnv(task, ENVS, num_threads=1)
    generator = np.random.default_rng(0)

    def act(obs: GoalObs) -> np.ndarray:
        return generator.uniform(-1.0, 1.0, (ENVS, 4)).astype(np.float32)

    yield Push(env, read_task(env), play(env, HORIZON, episode_seeds(0, 0, 0, ENVS), act))
    env.close()


def make(push: Push, seed: int = 0, **settings: float) -> Relay:
    config = RelayConfig(**{"share": 1.0, "updates": 40, **settings})
    assert push.task.gripper is not None
    return Relay(push.task, push.task.gripper, config, seed)


def first_obs(push: Push) -> GoalObs:
    """What the episodes showed first, once for every episode."""
    random = push.random
    return GoalObs(random.observation[:, 0], random.achieved_goal[:, 0], random.desired_goal)


def many(obs: GoalObs, count: int) -> GoalObs:
    """``count`` times the first row."""
    return GoalObs(*(np.repeat(array[:1], count, axis=0) for array in obs))


def untouched(relay: Relay, obs: GoalObs) -> np.ndarray:
    """In which rows the relay leaves the action to the main agent."""
    impossible = np.full((len(obs.observation), 4), 7.0, np.float32)
    return (relay(obs, impossible) == 7.0).all(axis=1)


def test_it_acts_in_its_share_of_the_episodes_and_in_them_all_along(push: Push) -> None:
    relay, obs = make(push, share=0.3), many(first_obs(push), 2000)
    relay.start(2000)
    left = untouched(relay, obs)
    assert 0.65 < left.mean() < 0.75
    np.testing.assert_array_equal(untouched(relay, obs), left)
    relay.start(2000)
    assert (untouched(relay, obs) != left).any()


@pytest.mark.parametrize(("share", "left"), [(0.0, True), (1.0, False)])
def test_all_or_nothing(push: Push, share: float, left: bool) -> None:
    relay = make(push, share=share)
    relay.start(ENVS)
    assert (untouched(relay, first_obs(push)) == left).all()


def test_its_actions_are_actions(push: Push) -> None:
    relay = make(push, sigma=3.0)
    relay.start(ENVS)
    actions = relay(first_obs(push), np.zeros((ENVS, 4), np.float32))
    assert actions.shape == (ENVS, 4)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() == 1.0


def test_a_gripper_goal_is_kept_for_as_long_as_asked(push: Push) -> None:
    steps, count = 40, 500
    obs = many(first_obs(push), count)
    for hold, low, high in ((1.0, 0.99, 1.0), (8.0, 0.1, 0.15), (1e9, 0.0, 0.0)):
        relay = make(push, hold=hold, sigma=0.0)
        relay.start(count)
        actions = [relay(obs, np.zeros((count, 4), np.float32)) for _ in range(steps)]
        # In one place and without noise only another goal makes another action.
        changed = (np.diff(actions, axis=0) != 0.0).any(axis=2)
        assert low <= changed.mean() <= high


def test_it_learns_an_update_a_step_until_it_has_had_its_share(push: Push) -> None:
    relay = make(push, updates=ENVS * HORIZON + 7)
    for expected in (ENVS * HORIZON, ENVS * HORIZON + 7, ENVS * HORIZON + 7):
        relay.learn(push.random)
        assert relay.agent.updates == expected


def test_more_episodes_at_once_than_it_keeps_are_learnt_from(push: Push) -> None:
    relay = make(push, updates=1)
    copies = Episodes(*(np.concatenate([array] * 70) for array in push.random))
    relay.learn(copies)
    assert relay.agent.updates == 1


def test_what_it_learns_from_is_left_as_it_was(push: Push) -> None:
    before = Episodes(*(array.copy() for array in push.random))
    make(push).learn(push.random)
    for array, kept in zip(push.random, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def relayed(push: Push, relay: Relay, first: int) -> Episodes:
    """Real episodes that the relay plays."""
    relay.start(ENVS)

    def act(obs: GoalObs) -> np.ndarray:
        return relay(obs, np.zeros((ENVS, 4), np.float32))

    return play(push.env, HORIZON, episode_seeds(0, 1, first, ENVS), act)


def least_distance(push: Push, episodes: Episodes) -> float:
    """How near the gripper came to the object, on average."""
    offset = episodes.observation[..., push.task.gripper] - episodes.achieved_goal
    return float(np.linalg.norm(offset, axis=-1).min(axis=1).mean())


def test_it_learns_within_a_few_episodes_to_meet_the_object_and_to_move_it(push: Push) -> None:
    relay = make(push, updates=800, radius=0.0)
    before = relayed(push, relay, first=0)
    relay.learn(push.random)
    relay.learn(relayed(push, relay, first=ENVS))
    after = relayed(push, relay, first=0)
    assert least_distance(push, after) < 0.075 < least_distance(push, before)
    assert moved(after).mean() > moved(before).mean()


def moved_by(relay: Relay, obs: GoalObs, which: int) -> np.ndarray:
    """In which rows the action depends on where one of two objects lies."""
    displaced = obs.achieved_goal.copy()
    displaced[:, 3 * which : 3 * which + 3] += 0.05
    still = np.zeros((len(displaced), 4), np.float32)
    return (relay(obs, still) != relay(obs._replace(achieved_goal=displaced), still)).any(axis=1)


def test_of_two_objects_it_heeds_either_and_the_same_one_all_along(push_two: Push) -> None:
    relay, obs = make(push_two, sigma=0.0, hold=1e9), many(first_obs(push_two), 1000)
    relay.start(1000)
    first = moved_by(relay, obs, 0)
    assert 0.45 < first.mean() < 0.55
    np.testing.assert_array_equal(moved_by(relay, obs, 1), ~first)
    np.testing.assert_array_equal(moved_by(relay, obs, 0), first)
    relay.start(1000)
    again = (moved_by(relay, obs, 0) == first).mean()
    assert 0.45 < again < 0.55, "the choice is made anew for new episodes"


def test_it_learns_to_meet_either_of_two_objects_and_to_stay_near_it(push_two: Push) -> None:
    relay, played = make(push_two, updates=1200, radius=0.0), push_two.random
    for first in range(3):
        relay.learn(played)
        played = relayed(push_two, relay, first * ENVS)
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
    task = push.task
    assert task.gripper is not None
    odd = replace(task.shape, goal=4)
    with pytest.raises(ValueError, match="goals of 4 numbers are no positions of 3 each"):
        Relay(task._replace(shape=odd), task.gripper, RelayConfig(share=1.0), seed=0)


@pytest.mark.parametrize("name", ["push", "push_two"])
def test_going_on_from_its_state_is_going_on(name: str, request: pytest.FixtureRequest) -> None:
    push: Push = request.getfixturevalue(name)
    relay, resumed = make(push), make(push, seed=9)
    relay.start(ENVS)
    relay.learn(push.random)
    resumed.load_state_dict(relay.state_dict())
    assert same(resumed.state_dict(), relay.state_dict())
    obs, actions = first_obs(push), np.zeros((ENVS, 4), np.float32)
    for each in (relay, resumed):
        each.start(ENVS)
    np.testing.assert_array_equal(resumed(obs, actions), relay(obs, actions))
