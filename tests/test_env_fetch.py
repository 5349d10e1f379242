import gymnasium as gym
import numpy as np
import pytest

from envs import HORIZON, TASKS, Task
from envs.fetch import FetchVectorEnv, ObsDict

from .conftest import MakeEnv
from .helpers import push_the_object


def play(env: FetchVectorEnv, steps: int, seed: int = 0) -> list[ObsDict]:
    """Steps of random action; the observations after each."""
    generator = np.random.default_rng(seed)
    shape = env.action_space.shape
    return [env.step(generator.uniform(-1.0, 1.0, shape))[0] for _ in range(steps)]


def assert_same(one: ObsDict, other: ObsDict) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_make_vec_builds_every_task_within_its_spaces(task: Task) -> None:
    env = gym.make_vec(task.id, num_envs=3, num_threads=1)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert observation in env.observation_space
    assert reward.shape == terminated.shape == truncated.shape == info["is_success"].shape == (3,)
    env.close()


def test_make_vec_builds_64_envs_that_differ() -> None:
    env = gym.make_vec(TASKS["fetch_push"].id, num_envs=64)
    observation, _ = env.reset(seed=0)
    assert observation["observation"].shape == (64, 25)
    assert len(np.unique(observation["desired_goal"][:, 0])) == 64
    env.close()


def test_make_vec_hands_over_the_horizon_asked_for() -> None:
    env = gym.make_vec(TASKS["fetch_push"].id, num_envs=2, max_episode_steps=3)
    env.reset(seed=0)
    truncated = [env.step(np.zeros((2, 4)))[3].tolist() for _ in range(3)]
    assert truncated == [[False, False], [False, False], [True, True]]


def test_episodes_are_truncated_at_the_horizon_and_never_terminated(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", num_envs=2, distance_threshold=10.0)
    env.reset(seed=0)
    for step in range(1, HORIZON + 1):
        _, _, terminated, truncated, info = env.step(np.zeros((2, 4)))
        assert info["is_success"].all()
        assert not terminated.any()
        assert (truncated == (step == HORIZON)).all()


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_and_actions_give_the_same_episode(task: str, make_env: MakeEnv) -> None:
    runs = []
    for env in (make_env(task, num_envs=2), make_env(task, num_envs=2)):
        start, _ = env.reset(seed=7)
        runs.append([start, *play(env, 10)])
    for one, other in zip(*runs, strict=True):
        assert_same(one, other)


def test_reset_without_a_seed_goes_on_to_new_episodes_that_the_first_seed_decides(
    make_env: MakeEnv,
) -> None:
    seconds = []
    for env in (make_env("fetch_push"), make_env("fetch_push")):
        first, _ = env.reset(seed=3)
        second, _ = env.reset()
        assert (first["desired_goal"] != second["desired_goal"]).any()
        seconds.append(second)
    assert_same(*seconds)


@pytest.mark.parametrize("goal", [None, "joints"])
def test_an_episode_depends_on_neither_num_envs_nor_num_threads(
    goal: str | None, make_env: MakeEnv, generator: np.random.Generator
) -> None:
    alone = make_env("fetch_push", goal=goal)
    crowd = make_env("fetch_push", goal=goal, num_envs=5, num_threads=2)
    one, many = alone.reset(seed=12)[0], crowd.reset(seed=10)[0]
    for _ in range(15):
        assert_same({name: value[2:3] for name, value in many.items()}, one)
        actions = push_the_object(many["observation"], generator)
        one, many = alone.step(actions[2:3])[0], crowd.step(actions)[0]


def test_nothing_resets_by_itself(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", max_episode_steps=4)
    start, _ = env.reset(seed=0)
    assert env.metadata["autoreset_mode"] is gym.vector.AutoresetMode.DISABLED
    last = play(env, 4)[-1]
    after, _, _, truncated, _ = env.step(np.zeros((1, 4)))
    assert truncated.all()
    np.testing.assert_array_equal(after["desired_goal"], start["desired_goal"])
    assert np.abs(after["observation"][:, :3] - last["observation"][:, :3]).max() < 0.02


@pytest.mark.parametrize("task", TASKS)
def test_a_reset_mask_leaves_the_other_episodes_as_if_nothing_had_been_reset(
    task: str, make_env: MakeEnv
) -> None:
    masked, whole = make_env(task, num_envs=3), make_env(task, num_envs=3)
    for env in (masked, whole):
        env.reset(seed=0)
        before = play(env, 10)[-1]
    shown, _ = masked.reset(options={"reset_mask": np.array([False, True, False])})
    others = [0, 2]
    for name in shown:
        np.testing.assert_array_equal(shown[name][others], before[name][others])
    assert (shown["desired_goal"][1] != before["desired_goal"][1]).any()
    for one, other in zip(play(masked, 10, seed=1), play(whole, 10, seed=1), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name][others], other[name][others])


def test_a_reset_mask_restarts_only_its_own_clocks(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=3, max_episode_steps=10)
    env.reset(seed=0)
    play(env, 4)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    play(env, 5)
    assert env.step(np.zeros((3, 4)))[3].tolist() == [True, False, True]


def test_actions_out_of_bounds_are_clipped(make_env: MakeEnv) -> None:
    big, bounded = make_env("fetch_push"), make_env("fetch_push")
    big.reset(seed=0), bounded.reset(seed=0)
    action = np.array([[7.0, -9.0, 0.5, 2.0]])
    assert_same(big.step(action)[0], bounded.step(np.clip(action, -1.0, 1.0))[0])


def test_writing_to_an_observation_does_not_reach_the_simulation(make_env: MakeEnv) -> None:
    env, untouched = make_env("fetch_push"), make_env("fetch_push")
    for value in env.reset(seed=0)[0].values():
        value[:] = 99.0
    untouched.reset(seed=0)
    assert_same(env.step(np.zeros((1, 4)))[0], untouched.step(np.zeros((1, 4)))[0])


@pytest.mark.parametrize("reward_type", ["sparse", "dense"])
def test_the_step_rewards_what_compute_reward_says_of_the_next_goals(
    reward_type: str, make_env: MakeEnv
) -> None:
    env = make_env("fetch_reach", num_envs=2, reward_type=reward_type)
    env.reset(seed=0)
    shown, reward, _, _, info = env.step(np.ones((2, 4)))
    distance = np.linalg.norm(shown["achieved_goal"] - shown["desired_goal"], axis=1)
    expected = -distance if reward_type == "dense" else -1.0 * (distance > 0.05)
    np.testing.assert_allclose(reward, expected, atol=1e-12)
    np.testing.assert_array_equal(info["is_success"], distance < 0.05)
    recomputed = env.compute_reward(shown["achieved_goal"], shown["desired_goal"], {})
    np.testing.assert_array_equal(reward, recomputed)
