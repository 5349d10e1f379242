import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics.rollout import NonFiniteError, episode_seeds, play
from her_robotics.types import GoalObs

from .conftest import MakeEnv
from .helpers import STEP_LENGTH, PointVectorEnv

ENVS, HORIZON = 3, 5


def random_walk(obs: GoalObs) -> np.ndarray:
    """Actions that differ between envs and steps, decided by what is shown."""
    return np.sin(1.0 + 7.0 * obs.observation + np.arange(len(obs.observation))[:, None])


def test_an_episode_has_one_more_observation_than_actions() -> None:
    episodes = play(PointVectorEnv(ENVS), HORIZON, [1, 2, 3], random_walk)
    assert episodes.observation.shape == (ENVS, HORIZON + 1, 2)
    assert episodes.achieved_goal.shape == (ENVS, HORIZON + 1, 2)
    assert episodes.desired_goal.shape == (ENVS, 2)
    assert episodes.action.shape == (ENVS, HORIZON, 2)
    assert all(array.dtype == np.float32 for array in episodes)


def test_the_actions_returned_are_those_that_moved_the_world() -> None:
    episodes = play(PointVectorEnv(ENVS), HORIZON, [1, 2, 3], random_walk)
    moved = np.diff(episodes.achieved_goal, axis=1)
    np.testing.assert_allclose(moved, STEP_LENGTH * episodes.action, atol=1e-6)
    np.testing.assert_array_equal(episodes.observation, -episodes.achieved_goal)
    assert (episodes.achieved_goal[:, 0] == 0.0).all()
    assert np.abs(episodes.action).min() > 0.0


def test_the_policy_is_asked_about_what_is_shown_before_each_action() -> None:
    asked: list[GoalObs] = []

    def act(obs: GoalObs) -> np.ndarray:
        asked.append(obs)
        return random_walk(obs)

    episodes = play(PointVectorEnv(ENVS), HORIZON, [1, 2, 3], act)
    assert len(asked) == HORIZON
    for step, obs in enumerate(asked):
        np.testing.assert_allclose(obs.observation, episodes.observation[:, step], atol=1e-6)
        np.testing.assert_allclose(obs.desired_goal, episodes.desired_goal, atol=1e-6)


def test_the_seeds_decide_the_episodes() -> None:
    first, again = (play(PointVectorEnv(2), HORIZON, [5, 6], random_walk) for _ in range(2))
    np.testing.assert_array_equal(first.desired_goal, again.desired_goal)
    swapped = play(PointVectorEnv(2), HORIZON, [6, 5], random_walk)
    np.testing.assert_array_equal(first.desired_goal, swapped.desired_goal[::-1])


def test_real_physics_is_played_alike_by_one_env_and_by_many(make_env: MakeEnv) -> None:
    def act(obs: GoalObs) -> np.ndarray:
        return np.clip(10.0 * obs.observation[:, [6, 7, 8, 9]], -1.0, 1.0)

    seeds = episode_seeds(0, 0, 0, 3)
    many = play(make_env("fetch_push", num_envs=3), 20, seeds, act)
    ones = [play(make_env("fetch_push"), 20, [seed], act) for seed in seeds]
    for together, apart in zip(many, zip(*ones, strict=True), strict=True):
        np.testing.assert_array_equal(together, np.concatenate(apart))
    assert np.abs(many.achieved_goal[:, -1] - many.achieved_goal[:, 0]).max() > 0.01


@pytest.mark.parametrize("name", GoalObs._fields)
@pytest.mark.parametrize(("env", "step"), [(0, 0), (2, 3), (1, HORIZON)])
def test_an_observation_that_is_not_finite_stops_it_by_env_and_step(
    name: str, env: int, step: int
) -> None:
    with pytest.raises(NonFiniteError, match=rf"{name} .*env {env} at step {step}$"):
        play(PointVectorEnv(ENVS, (name, env, step)), HORIZON, [1, 2, 3], random_walk)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_not_finite_stops_it_before_it_is_taken(bad: float) -> None:
    world, calls = PointVectorEnv(ENVS), iter(range(HORIZON))

    def act(obs: GoalObs) -> np.ndarray:
        actions = random_walk(obs)
        if next(calls) == 2:
            actions[1, 1] = bad
        return actions

    with pytest.raises(NonFiniteError, match=r"action .*env 1 at step 2"):
        play(world, HORIZON, [1, 2, 3], act)
    assert world.steps == 2


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32),
    st.integers(0, 5),
    st.integers(0, 1000),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_seeds_do_not_depend_on_how_episodes_are_split_into_calls(
    run: int, stream: int, first: int, head: int, tail: int
) -> None:
    whole = episode_seeds(run, stream, first, head + tail)
    split = episode_seeds(run, stream, first, head)
    split += episode_seeds(run, stream, first + head, tail)
    assert whole == split


def test_seeds_differ_between_runs_streams_and_episodes() -> None:
    streams = [(run, stream) for run in range(5) for stream in range(5)]
    seeds = [seed for run, stream in streams for seed in episode_seeds(run, stream, 0, 40)]
    assert len(set(seeds)) == len(seeds) == 1000
    assert all(isinstance(seed, int) and seed >= 0 for seed in seeds)


def test_a_choice_is_kept_as_an_index_and_taken_as_the_envs_own_number() -> None:
    world, taken = PointVectorEnv(ENVS), []
    world.single_action_space = gym.spaces.Discrete(4, start=2)
    step = world.step

    def step_noting(actions: np.ndarray) -> tuple:
        taken.append(actions)
        return step(np.zeros((ENVS, 2)))

    world.step = step_noting
    episodes = play(world, 2, [1, 2, 3], lambda obs: np.array([[0], [3], [1]], np.float32))
    assert episodes.action.shape == (ENVS, 2, 1)
    assert (episodes.action[:, 0, 0] == (0, 3, 1)).all()
    assert taken[0].tolist() == [2, 5, 3]
    assert taken[0].dtype == np.int64
